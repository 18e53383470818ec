//! Ready vectors in files: `.npy` (as numpy writes it) and `.safetensors`.

mod npy;
pub(crate) mod tensors;

use std::io;
use std::path::Path;

use crate::{EmbedError, aside, bounded};

/// The largest file that is read as a vector: wider vectors than these would be are unheard of.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads a vector of `width` values.
///
/// A `.npy` holds floating-point numbers of 16, 32 or 64 bits in C order, shape `[width]` or `[1, width]`; a
/// `.safetensors` a single tensor of such a shape, or several of which one is called `style`.
///
/// # Errors
/// When the file cannot be read, holds no such vector, or values that are not finite.
pub fn read(path: &Path, width: usize) -> Result<Vec<f32>, EmbedError> {
    let values = read_any(path)?;
    match values.len() == width {
        true => Ok(values),
        false => Err(EmbedError::Width {
            path: path.to_owned(),
            expected: width,
            actual: values.len(),
        }),
    }
}

/// Reads a vector of any width.
///
/// # Errors
/// As [`read`], but for the width.
pub fn read_any(path: &Path) -> Result<Vec<f32>, EmbedError> {
    let kind = Kind::of(path)?;
    let bytes = bounded::read(path, LARGEST_FILE)?;
    let Vector { shape, values } = match kind {
        Kind::Npy => npy::parse(&bytes),
        Kind::Safetensors => tensors::parse(&bytes),
    }
    .map_err(|reason| broken(path, reason))?;
    if !matches!(*shape.as_slice(), [_] | [1, _]) {
        return Err(broken(
            path,
            format!("its shape is {shape:?}, expected [width] or [1, width]"),
        ));
    }
    let largest = f32::from(half::f16::MAX);
    match values
        .iter()
        .enumerate()
        .find(|(_, value)| value.is_nan() || value.abs() > largest)
    {
        None => Ok(values),
        Some((index, &value)) if value.is_finite() => Err(EmbedError::VectorTooLarge {
            path: path.to_owned(),
            index,
            value,
        }),
        Some((index, &value)) => Err(EmbedError::VectorNotFinite {
            path: path.to_owned(),
            index,
            value,
        }),
    }
}

/// Writes a vector in f32, shape `[1, width]`, by the name's extension; a file that is there is left alone.
///
/// # Errors
/// When the extension is another, the file exists, or cannot be written.
pub fn write(path: &Path, values: &[f32]) -> Result<(), EmbedError> {
    let bytes = match Kind::of(path)? {
        Kind::Npy => npy::serialise(values),
        Kind::Safetensors => tensors::serialise(values, None),
    }
    .map_err(|reason| broken(path, reason))?;
    aside::create(path, &bytes).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => EmbedError::Exists {
            path: path.to_owned(),
        },
        _ => EmbedError::Write {
            path: path.to_owned(),
            source,
        },
    })
}

/// What a file holds.
pub(crate) struct Vector {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

enum Kind {
    Npy,
    Safetensors,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, EmbedError> {
        let extension = path
            .extension()
            .map(|extension| extension.to_ascii_lowercase());
        match extension
            .as_deref()
            .and_then(|extension| extension.to_str())
        {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(broken(path, "its name ends in neither".to_owned())),
        }
    }
}

fn broken(path: &Path, reason: String) -> EmbedError {
    EmbedError::Vector {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const VALUES: [f32; 4] = [0.5, -1.25, 3.0e-8, 7.0];

    /// A `.npy` as numpy lays it out.
    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let padded = format!("{header:<117}\n");
        bytes.extend((padded.len() as u16).to_le_bytes());
        bytes.extend(padded.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn header(kind: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}")
    }

    fn f32_bytes() -> Vec<u8> {
        VALUES
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn read_bytes(name: &str, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = |error: EmbedError| {
            let message = error.to_string();
            assert!(message.contains(name), "{message}");
            message
        };
        read(&path, 4).map_err(message)
    }

    #[test]
    fn every_float_and_both_shapes() {
        let halves: Vec<u8> = VALUES
            .iter()
            .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
            .collect();
        let doubles: Vec<u8> = VALUES
            .iter()
            .flat_map(|&v| f64::from(v).to_le_bytes())
            .collect();
        let big: Vec<u8> = VALUES.iter().flat_map(|v| v.to_be_bytes()).collect();
        let cases = [
            ("<f4", "(4,)", f32_bytes()),
            ("<f8", "(1, 4)", doubles),
            (">f4", "(1, 4)", big),
        ];
        for (kind, shape, data) in cases {
            let found = read_bytes("a.npy", &npy(&header(kind, "False", shape), &data));
            assert_eq!(found, Ok(VALUES.to_vec()), "{kind}");
        }
        let found = read_bytes("a.npy", &npy(&header("<f2", "False", "(4,)"), &halves)).unwrap();
        assert_eq!(found[..2], VALUES[..2]);
    }

    #[test]
    fn written_ones_come_back_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.npy", "a.safetensors", "B.NPY"] {
            let path = folder.path().join(name);
            write(&path, &VALUES).unwrap();
            assert_eq!(read(&path, 4).unwrap(), VALUES, "{name}");
            let message = write(&path, &[0.0; 4]).unwrap_err().to_string();
            assert!(message.contains("exists already"), "{message}");
            assert_eq!(read(&path, 4).unwrap(), VALUES, "{name}");
            let message = read(&path, 512).unwrap_err().to_string();
            assert!(
                message.contains("4 values, expected 512") && message.contains(name),
                "{message}"
            );
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "nothing is left beside"
        );
        assert!(write(&folder.path().join("a.wav"), &VALUES).is_err());
        assert!(write(&folder.path().join("none/a.npy"), &VALUES).is_err());
    }

    #[test]
    fn wrong_arrays_are_named() {
        let error = |kind: &str, order: &str, shape: &str, data: &[u8]| {
            read_bytes("a.npy", &npy(&header(kind, order, shape), data)).unwrap_err()
        };
        let data = f32_bytes();
        assert!(error("<f4", "False", "(2, 2)", &data).contains("[2, 2]"));
        assert!(error("<f4", "False", "()", &data).contains("[]"));
        assert!(error("<f4", "True", "(1, 4)", &data).contains("Fortran"));
        assert!(error("<i4", "False", "(4,)", &data).contains("<i4"));
        assert!(error("<f4", "False", "(4,)", &data[..15]).contains("bytes"));
        assert!(error("<f4", "False", "(3,)", &data).contains("bytes"));
        assert!(error("<f4", "False", "(18446744073709551615, 16)", &data).contains("shape"));
        assert!(error("|O", "False", "(4,)", &data).contains("a.npy"));
        let mut bad = VALUES;
        bad[2] = f32::NAN;
        let bytes = |values: [f32; 4]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        assert!(
            error("<f4", "False", "(4,)", &bytes(bad)).contains("value 2 of the vector is NaN")
        );
        bad[2] = 1e30;
        assert!(
            error("<f4", "False", "(4,)", &bytes(bad)).contains("value 2 of the vector is 1e30")
        );
        #[cfg(unix)]
        {
            let folder = tempfile::tempdir().unwrap();
            let endless = folder.path().join("endless.npy");
            std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
            let message = read(&endless, 4).unwrap_err().to_string();
            assert!(message.contains("too many"), "{message}");
        }
    }

    #[test]
    fn cut_or_foreign_files_are_errors() {
        let good = npy(&header("<f4", "False", "(4,)"), &f32_bytes());
        for length in 0..good.len() {
            assert!(
                read_bytes("a.npy", &good[..length]).is_err(),
                "cut to {length} bytes"
            );
        }
        assert!(read_bytes("a.npy", b"RIFF....WAVE").is_err());
        assert!(read_bytes("a.safetensors", &(1u64 << 60).to_le_bytes()).is_err());
        assert!(
            read_bytes("a.bin", &good)
                .unwrap_err()
                .contains("ends in neither")
        );
        assert!(
            read(Path::new("nowhere/a.npy"), 4)
                .unwrap_err()
                .to_string()
                .contains("check the path")
        );
    }
}
