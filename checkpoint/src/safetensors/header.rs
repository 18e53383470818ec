//! One file: header length, header, data.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::ElementType;
use crate::entry::{Claim, TensorEntry};
use crate::error::{Fault, Parsed, damaged, shorten};
use crate::table::Table;

/// Bytes before the header: its length.
pub(crate) const LENGTH_BYTES: usize = 8;
/// The key of the free texts.
pub(crate) const METADATA_KEY: &str = "__metadata__";
/// The format's own limit on the header (`MAX_HEADER_SIZE` in the safetensors crate).
const HEADER_MAX_BYTES: u64 = 100_000_000;

/// A header as it stands in the file, in its order.
#[derive(Default)]
struct Header {
    metadata: Option<BTreeMap<String, String>>,
    tensors: Vec<(String, Info)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<i64>,
    data_offsets: (u64, u64),
}

/// Whether these bytes begin as a safetensors file does.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.get(LENGTH_BYTES) == Some(&b'{')
}

/// Reads the header of the `source`-th file into `table`; gives its metadata.
pub(crate) fn read(
    bytes: &[u8],
    source: usize,
    table: &mut Table,
) -> Parsed<BTreeMap<String, String>> {
    let text = header_text(bytes)?;
    let data_start = LENGTH_BYTES + text.len();
    let header: Header = serde_json::from_slice(text).map_err(|error| {
        damaged(format!(
            "its header does not parse ({})",
            shorten(&error.to_string())
        ))
    })?;
    let mut spans = Vec::with_capacity(header.tensors.len());
    for (name, info) in header.tensors {
        let entry = entry(&name, &info, bytes.len() - data_start, data_start, source)?;
        spans.push((info.data_offsets, name.clone()));
        table.insert(name, entry)?;
    }
    spans.sort_unstable();
    check_spans(&spans, (bytes.len() - data_start) as u64)?;
    Ok(header.metadata.unwrap_or_default())
}

fn header_text(bytes: &[u8]) -> Parsed<&[u8]> {
    let Some((&length, rest)) = bytes.split_first_chunk() else {
        return Err(Fault::Truncated(format!(
            "it has only {} bytes",
            bytes.len()
        )));
    };
    let length = u64::from_le_bytes(length);
    if length > HEADER_MAX_BYTES {
        return Err(damaged(format!(
            "it claims a header of {length} bytes, the format allows {HEADER_MAX_BYTES}"
        )));
    }
    rest.get(..length as usize).ok_or_else(|| {
        Fault::Truncated(format!(
            "its header should be {length} bytes, {} are there",
            rest.len()
        ))
    })
}

fn entry(
    name: &str,
    info: &Info,
    data_bytes: usize,
    data_start: usize,
    source: usize,
) -> Parsed<TensorEntry> {
    let dtype = ElementType::from_safetensors(&info.dtype).ok_or_else(|| Fault::Unsupported {
        what: format!(
            "the type {} of tensor `{}`",
            shorten(&info.dtype),
            shorten(name)
        ),
        remedy: "convert it to F32, F16 or BF16 where the file was made".to_string(),
    })?;
    let (start, end) = info.data_offsets;
    if end > data_bytes as u64 {
        return Err(Fault::Truncated(format!(
            "tensor `{}` should end at byte {end} of the data, {data_bytes} are there",
            shorten(name)
        )));
    }
    if start > end {
        return Err(damaged(format!(
            "tensor `{}` ends before it starts",
            shorten(name)
        )));
    }
    let claim = Claim {
        dtype,
        shape: &info.shape,
        strides: None,
        offset: 0,
        storage: data_start + start as usize..data_start + end as usize,
        source,
    };
    let entry = TensorEntry::check(name, &claim)?;
    if entry.byte_length() as u64 != end - start {
        return Err(damaged(format!(
            "tensor `{}` of shape {:?} and type {} needs {} bytes and has {}",
            shorten(name),
            entry.shape,
            info.dtype,
            entry.byte_length(),
            end - start
        )));
    }
    Ok(entry)
}

/// The format allows no byte that belongs to no tensor, or to two.
fn check_spans(spans: &[((u64, u64), String)], data_bytes: u64) -> Parsed<()> {
    let mut expected = 0;
    for ((start, end), name) in spans {
        if *start != expected {
            let what = if *start < expected {
                "overlaps another"
            } else {
                "has unused bytes before it"
            };
            return Err(damaged(format!("tensor `{}` {what}", shorten(name))));
        }
        expected = *end;
    }
    if expected == data_bytes {
        Ok(())
    } else {
        Err(damaged(format!(
            "its tensors take {expected} bytes, {data_bytes} are there"
        )))
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of tensors")
            }

            // A derived map would let the last of two equal names win.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key != METADATA_KEY {
                        header.tensors.push((key, map.next_value()?));
                    } else if header.metadata.replace(map.next_value()?).is_some() {
                        return Err(serde::de::Error::custom("two maps of metadata"));
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
