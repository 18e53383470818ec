//! A zip archive of uncompressed entries, each starting at a multiple of 64 bytes as torch's do (`caffe2/serialize/inline_container.cc`).

const ALIGNMENT: usize = 64;
/// Version 2.0, which any program reads.
const VERSION: u16 = 20;
/// 1 January 1980, the format's zero: the same adapter gives the same bytes.
const DATE: u16 = 0x21;
/// Tag of the extra field that torch fills up with.
const PADDING_TAG: [u8; 2] = *b"FB";
const EXTRA_HEADER_BYTES: usize = 4;
const LOCAL_HEADER_BYTES: usize = 30;

#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Archive {
    pub(super) fn entry(&mut self, name: &str, contents: &[u8]) -> Result<(), String> {
        let start = size(self.bytes.len())?;
        let length = size(contents.len())?;
        let name_length = u16::try_from(name.len()).map_err(|error| error.to_string())?;
        let before = self.bytes.len() + LOCAL_HEADER_BYTES + name.len() + EXTRA_HEADER_BYTES;
        let padding = before.next_multiple_of(ALIGNMENT) - before;
        // Version, flags, method (stored), time, date, checksum, both sizes, length of the name.
        let mut shared = Vec::new();
        for number in [VERSION, 0, 0, 0, DATE] {
            shared.extend_from_slice(&number.to_le_bytes());
        }
        for number in [crc32fast::hash(contents), length, length] {
            shared.extend_from_slice(&number.to_le_bytes());
        }
        shared.extend_from_slice(&name_length.to_le_bytes());
        self.bytes.extend_from_slice(b"PK\x03\x04");
        self.bytes.extend_from_slice(&shared);
        let extra = (EXTRA_HEADER_BYTES + padding) as u16;
        self.bytes.extend_from_slice(&extra.to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(&PADDING_TAG);
        self.bytes
            .extend_from_slice(&(padding as u16).to_le_bytes());
        self.bytes.resize(self.bytes.len() + padding, b'Z');
        self.bytes.extend_from_slice(contents);
        self.directory.extend_from_slice(b"PK\x01\x02");
        self.directory.extend_from_slice(&VERSION.to_le_bytes());
        self.directory.extend_from_slice(&shared);
        // Lengths of extra field and comment, disk, attributes inside and outside.
        self.directory.extend_from_slice(&[0; 12]);
        self.directory.extend_from_slice(&start.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.entries = self
            .entries
            .checked_add(1)
            .ok_or("too many layers for the original's format")?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, String> {
        let start = size(self.bytes.len())?;
        let length = size(self.directory.len())?;
        self.bytes.append(&mut self.directory);
        self.bytes.extend_from_slice(b"PK\x05\x06");
        for number in [0, 0, self.entries, self.entries] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&start.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        Ok(self.bytes)
    }
}

fn size(bytes: usize) -> Result<u32, String> {
    u32::try_from(bytes)
        .map_err(|_| "more than 4 GB, too much for one file of the original's format".to_owned())
}
