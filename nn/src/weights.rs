//! Strict loading of safetensors: every tensor that a model asks for is there, has the right shape and finite values,
//! and no tensor of the file is left over.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use std::collections::HashMap;
//! let tensors = HashMap::from([("head.weight".to_string(), Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?)]);
//! let weights = nn::Weights::from_tensors(tensors, "example");
//! let head = weights.root().pp("head").get("weight", &[1, 2])?;
//! weights.finish()?; // an error here would name the tensors nobody asked for
//! # assert_eq!(head.dims(), &[1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;

pub use error::WeightsError;

use crate::linear::WeightPrecision;
use candle_core::{DType, Device, Tensor};
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes before the header: its length as a little-endian u64.
const LENGTH_BYTES: u64 = 8;
/// The format's own limit on the header (safetensors `MAX_HEADER_SIZE`).
const HEADER_MAX_BYTES: u64 = 100_000_000;
/// Names listed in an error before "and N more".
const NAMES_SHOWN: usize = 8;

/// A file (or map) of tensors, with a record of which were asked for.
#[derive(Clone)]
pub struct Weights {
    inner: Arc<Inner>,
    device: Device,
    precision: WeightPrecision,
}

struct Inner {
    origin: String,
    source: Source,
    used: Mutex<HashSet<String>>,
}

enum Source {
    /// Tensors are read when asked for, so that a large file is never in memory twice.
    File {
        file: Mutex<File>,
        header: Header,
    },
    Bytes {
        bytes: Cow<'static, [u8]>,
        header: Header,
    },
    Tensors(HashMap<String, Tensor>),
    MadeUp(Box<MakeUp>),
}

/// From a name and a shape to values.
type MakeUp = dyn Fn(&str, &[usize]) -> candle_core::Result<Tensor> + Send + Sync;

struct Header {
    metadata: Metadata,
    data_start: u64,
}

impl Weights {
    /// Opens a safetensors file; only its header is read now.
    ///
    /// # Errors
    /// [`WeightsError::Read`] or [`WeightsError::Broken`].
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self, WeightsError> {
        let origin = path.as_ref().display().to_string();
        let read_error = |source| WeightsError::Read {
            origin: origin.clone(),
            source,
        };
        let mut file = File::open(&path).map_err(read_error)?;
        let file_bytes = file.metadata().map_err(read_error)?.len();
        let mut length = Vec::new();
        (&mut file)
            .take(LENGTH_BYTES)
            .read_to_end(&mut length)
            .map_err(read_error)?;
        let header_bytes = header_length(&origin, &length, file_bytes)?;
        let mut text = Vec::new();
        (&mut file)
            .take(header_bytes)
            .read_to_end(&mut text)
            .map_err(read_error)?;
        let header = parse_header(&origin, &text, file_bytes)?;
        let file = Mutex::new(file);
        Ok(Self::new(origin, device, Source::File { file, header }))
    }

    /// Reads the bytes of a safetensors file, owned or part of the program; `origin` is what errors call it.
    ///
    /// # Errors
    /// [`WeightsError::Broken`].
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        origin: &str,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let bytes = bytes.into();
        let total = bytes.len() as u64;
        let header_bytes = header_length(origin, &bytes, total)?;
        let text = &bytes[LENGTH_BYTES as usize..(LENGTH_BYTES + header_bytes) as usize];
        let header = parse_header(origin, text, total)?;
        Ok(Self::new(
            origin.to_string(),
            device,
            Source::Bytes { bytes, header },
        ))
    }

    /// Wraps tensors that are in memory already. Variables stay variables, so a model loaded from them can be trained.
    pub fn from_tensors(tensors: HashMap<String, Tensor>, origin: &str) -> Self {
        Self::new(origin.to_string(), &Device::Cpu, Source::Tensors(tensors))
    }

    /// Calls `make` for every tensor that is asked for: models of any size without a file, for tests and benchmarks.
    pub fn made_up(
        make: impl Fn(&str, &[usize]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let origin = "made up weights".to_string();
        Self::new(origin, &Device::Cpu, Source::MadeUp(Box::new(make)))
    }

    fn new(origin: String, device: &Device, source: Source) -> Self {
        let inner = Arc::new(Inner {
            origin,
            source,
            used: Mutex::default(),
        });
        Self {
            inner,
            device: device.clone(),
            precision: WeightPrecision::default(),
        }
    }

    /// Linear layers that load from these weights will keep them in this precision.
    pub fn in_precision(self, precision: WeightPrecision) -> Self {
        Self { precision, ..self }
    }

    /// The same weights, loaded to another device; what is loaded counts as used for both.
    pub fn on_device(self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self
        }
    }

    /// See [`in_precision`](Self::in_precision).
    pub fn precision(&self) -> WeightPrecision {
        self.precision
    }

    /// The scope of all names.
    pub fn root(&self) -> Scope {
        Scope {
            weights: self.clone(),
            path: String::new(),
        }
    }

    /// The file's own key-value metadata.
    pub fn metadata(&self) -> HashMap<String, String> {
        match &self.inner.source {
            Source::File { header, .. } | Source::Bytes { header, .. } => {
                header.metadata.metadata().clone().unwrap_or_default()
            }
            Source::Tensors(_) | Source::MadeUp(_) => HashMap::new(),
        }
    }

    /// Every name, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = match &self.inner.source {
            Source::File { header, .. } | Source::Bytes { header, .. } => {
                header.metadata.offset_keys()
            }
            Source::Tensors(tensors) => tensors.keys().cloned().collect(),
            Source::MadeUp(_) => Vec::new(),
        };
        names.sort();
        names
    }

    /// The shape of a tensor, without loading it or counting it as used.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.inner.source {
            Source::File { header, .. } | Source::Bytes { header, .. } => {
                header.metadata.info(name).map(|info| info.shape.clone())
            }
            Source::Tensors(tensors) => tensors.get(name).map(|tensor| tensor.dims().to_vec()),
            Source::MadeUp(_) => None,
        }
    }

    /// Number of values in all tensors together.
    pub fn parameter_count(&self) -> usize {
        let shapes = self
            .names()
            .into_iter()
            .filter_map(|name| self.shape(&name));
        shapes.map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Path or description given when it was opened.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// Ends loading.
    ///
    /// # Errors
    /// [`WeightsError::Unused`] when a tensor was never asked for.
    pub fn finish(&self) -> Result<(), WeightsError> {
        let used = self
            .inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<String> = self
            .names()
            .into_iter()
            .filter(|name| !used.contains(name))
            .collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Unused {
            origin: self.inner.origin.clone(),
            count: unused.len(),
            names: shorten(&unused),
        })
    }

    fn load(&self, name: &str, expected: &[usize]) -> Result<Tensor, WeightsError> {
        if let Source::MadeUp(make) = &self.inner.source {
            return make(name, expected)
                .and_then(|tensor| tensor.reshape(expected))
                .map_err(|source| self.candle(name, source));
        }
        let Some(actual) = self.shape(name) else {
            return Err(WeightsError::Missing {
                origin: self.inner.origin.clone(),
                name: name.to_string(),
                hint: self.hint(name),
            });
        };
        self.inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_string());
        if actual != expected {
            return Err(WeightsError::Shape {
                origin: self.inner.origin.clone(),
                name: name.to_string(),
                expected: expected.to_vec(),
                actual,
            });
        }
        let tensor = self.read(name)?;
        self.check_finite(name, &tensor)?;
        tensor
            .to_device(&self.device)
            .map_err(|source| self.candle(name, source))
    }

    fn read(&self, name: &str) -> Result<Tensor, WeightsError> {
        match &self.inner.source {
            Source::MadeUp(_) => Err(self.broken("made up weights are not read")),
            Source::Tensors(tensors) => match tensors.get(name) {
                Some(tensor) => self.convert(name, tensor),
                None => Err(self.broken("its header names a tensor it does not hold")),
            },
            Source::Bytes { bytes, header } => {
                let (info, start, end) = self.place(header, name)?;
                let data = bytes
                    .get(start as usize..end as usize)
                    .ok_or_else(|| self.broken("its data ends too early"))?;
                self.decode(name, info, data)
            }
            Source::File { file, header } => {
                let (info, start, end) = self.place(header, name)?;
                let mut data = vec![0; (end - start) as usize];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| file.read_exact(&mut data))
                    .map_err(|source| WeightsError::Read {
                        origin: self.inner.origin.clone(),
                        source,
                    })?;
                self.decode(name, info, &data)
            }
        }
    }

    fn place<'a>(
        &self,
        header: &'a Header,
        name: &str,
    ) -> Result<(&'a TensorInfo, u64, u64), WeightsError> {
        let info = header
            .metadata
            .info(name)
            .ok_or_else(|| self.broken("its header names a tensor it does not hold"))?;
        let (start, end) = info.data_offsets;
        Ok((
            info,
            header.data_start + start as u64,
            header.data_start + end as u64,
        ))
    }

    fn decode(&self, name: &str, info: &TensorInfo, data: &[u8]) -> Result<Tensor, WeightsError> {
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            Dtype::F16 => {
                let halves = data.as_chunks().0.iter();
                let halves: Vec<half::f16> = halves.map(|&b| half::f16::from_le_bytes(b)).collect();
                let mut values = vec![0f32; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            Dtype::BF16 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32())
                .collect(),
            other => return Err(self.wrong_type(name, format!("{other:?}"))),
        };
        Tensor::from_vec(values, info.shape.as_slice(), &Device::Cpu)
            .map_err(|source| self.candle(name, source))
    }

    fn convert(&self, name: &str, tensor: &Tensor) -> Result<Tensor, WeightsError> {
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Err(self.wrong_type(name, format!("{:?}", tensor.dtype())));
        }
        tensor
            .to_dtype(DType::F32)
            .and_then(|tensor| tensor.contiguous())
            .map_err(|source| self.candle(name, source))
    }

    fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<(), WeightsError> {
        let found = crate::storage::with_values("weights", [tensor], |[values]| {
            let element = values.iter().position(|value| !value.is_finite());
            Ok(element.map(|element| (element, values[element])))
        })
        .map_err(|source| self.candle(name, source))?;
        match found {
            None => Ok(()),
            Some((element, value)) => Err(WeightsError::NotFinite {
                origin: self.inner.origin.clone(),
                name: name.to_string(),
                value,
                element,
            }),
        }
    }

    fn hint(&self, name: &str) -> String {
        let last = name.rsplit('.').next().unwrap_or(name);
        let alike: Vec<String> = self
            .names()
            .into_iter()
            .filter(|other| {
                other.ends_with(name) || other.ends_with(last) && shared_prefix(other, name) > 0
            })
            .take(3)
            .collect();
        if alike.is_empty() {
            String::new()
        } else {
            format!(" (the file has {})", alike.join(", "))
        }
    }

    fn broken(&self, reason: &str) -> WeightsError {
        broken(&self.inner.origin, reason)
    }

    fn wrong_type(&self, name: &str, actual: String) -> WeightsError {
        WeightsError::Type {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            actual,
        }
    }

    fn candle(&self, name: &str, source: candle_core::Error) -> WeightsError {
        WeightsError::Tensor {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            source: Box::new(source),
        }
    }
}

/// A prefix of names: the part of a file that one layer loads from.
#[derive(Clone)]
pub struct Scope {
    weights: Weights,
    path: String,
}

impl Scope {
    /// The scope below, its name after a dot.
    pub fn pp(&self, name: impl AsRef<str>) -> Self {
        Self {
            weights: self.weights.clone(),
            path: self.full(name.as_ref()),
        }
    }

    /// The tensor of that name as contiguous f32; it counts as used from now on.
    ///
    /// # Errors
    /// [`WeightsError`], naming the tensor, when it is missing, of another shape or type, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        self.weights.load(&self.full(name), shape)
    }

    /// What went wrong with a tensor after it was read.
    pub(crate) fn failed(&self, name: &str, source: candle_core::Error) -> WeightsError {
        self.weights.candle(&self.full(name), source)
    }

    /// Whether there is such a tensor, or a scope of that name with tensors in it.
    pub fn contains(&self, name: &str) -> bool {
        let full = self.full(name);
        let below = format!("{full}.");
        self.weights.shape(&full).is_some()
            || self
                .weights
                .names()
                .iter()
                .any(|other| other.starts_with(&below))
    }

    /// The shape of a tensor, without loading it.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights.shape(&self.full(name))
    }

    /// The prefix, without a dot at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole that this is a part of.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    fn full(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_string(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }
}

/// Checks the header's length against the format's limit and the file's size before anything is allocated for it.
fn header_length(origin: &str, start: &[u8], total_bytes: u64) -> Result<u64, WeightsError> {
    let Some((&length, _)) = start.split_first_chunk() else {
        return Err(broken(origin, &format!("it has only {total_bytes} bytes")));
    };
    let length = u64::from_le_bytes(length);
    if length > HEADER_MAX_BYTES {
        return Err(broken(
            origin,
            &format!("it claims a header of {length} bytes, the format allows {HEADER_MAX_BYTES}"),
        ));
    }
    if length > total_bytes - LENGTH_BYTES {
        return Err(broken(
            origin,
            &format!("it claims a header of {length} bytes, but has {total_bytes} bytes in all"),
        ));
    }
    Ok(length)
}

fn parse_header(origin: &str, text: &[u8], total_bytes: u64) -> Result<Header, WeightsError> {
    let metadata: Metadata = serde_json::from_slice(text)
        .map_err(|error| broken(origin, &format!("its header does not parse ({error})")))?;
    let data_start = LENGTH_BYTES + text.len() as u64;
    let (expected, actual) = (metadata.data_len() as u64, total_bytes - data_start);
    if expected != actual {
        return Err(broken(
            origin,
            &format!("it should hold {expected} bytes of data and holds {actual}"),
        ));
    }
    Ok(Header {
        metadata,
        data_start,
    })
}

fn broken(origin: &str, reason: &str) -> WeightsError {
    WeightsError::Broken {
        origin: origin.to_string(),
        reason: reason.to_string(),
    }
}

fn shorten(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMES_SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn shared_prefix(left: &str, right: &str) -> usize {
    left.bytes()
        .zip(right.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}
