//! One golden case: tensors and notes that a reference implementation left, and the files beside them.

use crate::error::ParityError;
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A case, its tensors on the device that it runs on.
pub struct Case {
    folder: PathBuf,
    device: Device,
    notes: Value,
    tensors: BTreeMap<String, Tensor>,
    /// What was given to a model.
    inputs: RefCell<BTreeSet<String>>,
}

impl Case {
    /// Opens a folder with `golden.json` and `golden.safetensors`.
    ///
    /// # Errors
    /// [`ParityError::Read`] or [`ParityError::Broken`], naming the file.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, ParityError> {
        Ok(Self {
            folder: folder.to_path_buf(),
            device: device.clone(),
            notes: read_json(&folder.join("golden.json"))?,
            tensors: load(&folder.join("golden.safetensors"), device)?,
            inputs: RefCell::default(),
        })
    }

    /// Where models run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A path inside the case, or relative to it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// Whether there is such a file or folder.
    pub fn has_file(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    /// Names of the files in the folder that end so, sorted.
    ///
    /// # Errors
    /// [`ParityError::Read`].
    pub fn files_ending(&self, end: &str) -> Result<Vec<String>, ParityError> {
        let read_error = |source| ParityError::Read {
            path: self.folder.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(read_error)? {
            let name = entry.map_err(read_error)?.file_name();
            names.extend(
                name.to_str()
                    .filter(|name| name.ends_with(end))
                    .map(str::to_string),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Every tensor's name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What follows a prefix in the names that begin with it.
    pub fn names_after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.names()
            .filter_map(move |name| name.strip_prefix(prefix))
    }

    /// A tensor that is given to a model; it needs no comparison from now on.
    ///
    /// # Errors
    /// When there is none.
    pub fn input(&self, name: &str) -> Result<Tensor, ParityError> {
        self.inputs.borrow_mut().insert(name.to_string());
        self.expected(name).cloned()
    }

    /// [`input`](Self::input) of tokens or marks, which are stored in many types.
    ///
    /// # Errors
    /// When there is none.
    pub fn input_as(&self, name: &str, kind: DType) -> Result<Tensor, ParityError> {
        Ok(self.input(name)?.to_dtype(kind)?)
    }

    /// A tensor that a model should give.
    ///
    /// # Errors
    /// When there is none.
    pub fn expected(&self, name: &str) -> Result<&Tensor, ParityError> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.missing(format!("tensor {name}")))
    }

    pub(crate) fn is_input(&self, name: &str) -> bool {
        self.inputs.borrow().contains(name)
    }

    /// The notes of `golden.json`; [`Value::Null`] where there are none.
    pub fn notes(&self) -> &Value {
        &self.notes
    }

    /// A part of the notes, by its JSON pointer.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub fn note<T: DeserializeOwned>(&self, pointer: &str) -> Result<T, ParityError> {
        let missing = || self.missing(format!("{pointer} of the right type in golden.json"));
        let value = self.notes.pointer(pointer).ok_or_else(missing)?;
        serde_json::from_value(value.clone()).map_err(|_| missing())
    }

    /// The error that something is missing.
    pub fn missing(&self, what: impl Into<String>) -> ParityError {
        ParityError::Missing {
            folder: self.folder.clone(),
            what: what.into(),
        }
    }

    /// The error that something is not known.
    pub fn unknown(&self, what: impl Into<String>) -> ParityError {
        ParityError::Unknown {
            folder: self.folder.clone(),
            what: what.into(),
        }
    }
}

/// A JSON file.
///
/// # Errors
/// [`ParityError::Read`] or [`ParityError::Broken`].
pub fn read_json(path: &Path) -> Result<Value, ParityError> {
    let text = std::fs::read_to_string(path).map_err(|source| ParityError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|error| ParityError::Broken {
        path: path.to_path_buf(),
        problem: error.to_string(),
    })
}

/// Integers of a width that candle has no type for.
fn integers<const N: usize>(bytes: &[u8], value: fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks().0.iter().copied().map(value).collect()
}

/// Every tensor of a safetensors file, as stored; truth values as u8, integers that candle has no type for as i64.
///
/// # Errors
/// [`ParityError::Read`] or [`ParityError::Broken`].
pub fn load(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>, ParityError> {
    let bytes = std::fs::read(path).map_err(|source| ParityError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let broken = |problem: String| ParityError::Broken {
        path: path.to_path_buf(),
        problem,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let tensor = match view.dtype() {
            // Candle has no type for them.
            Dtype::BOOL => Tensor::from_slice(view.data(), view.shape(), device),
            Dtype::I8 => {
                let values = integers(view.data(), |byte| i8::from_le_bytes(byte).into());
                Tensor::from_vec(values, view.shape(), device)
            }
            Dtype::U16 => {
                let values = integers(view.data(), |bytes| u16::from_le_bytes(bytes).into());
                Tensor::from_vec(values, view.shape(), device)
            }
            _ => view.load(device),
        };
        match tensor {
            Ok(tensor) => Ok((name, tensor)),
            Err(error) => Err(broken(format!("{name}: {error}"))),
        }
    };
    file.tensors().into_iter().map(tensor).collect()
}
