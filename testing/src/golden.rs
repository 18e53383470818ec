//! One golden case: `golden.safetensors` with inputs and expected outputs, `golden.json` with notes and scalars. Tensors
//! are loaded on the [device at hand](crate::device()).

use crate::device::device;
use candle_core::Tensor;
use candle_core::safetensors::Load;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Tensors and notes of one case.
pub struct Golden {
    folder: PathBuf,
    tensors: HashMap<String, Tensor>,
    notes: Value,
}

impl Golden {
    /// Opens the case in a folder.
    ///
    /// # Panics
    /// When one of the two files is missing or broken.
    #[track_caller]
    pub fn open(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_path_buf();
        let tensors = load(&folder.join("golden.safetensors"));
        let notes_path = folder.join("golden.json");
        let text = std::fs::read_to_string(&notes_path)
            .unwrap_or_else(|error| panic!("{}: {error}", notes_path.display()));
        let notes = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", notes_path.display()));
        Self {
            folder,
            tensors,
            notes,
        }
    }

    /// The tensor of that name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn tensor(&self, name: &str) -> Tensor {
        match self.tensors.get(name) {
            Some(tensor) => tensor.clone(),
            None => panic!(
                "{}: no tensor {name} among {}",
                self.folder.display(),
                self.tensors.len()
            ),
        }
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Sorted names that begin with a prefix.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .tensors
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        names.sort();
        names
    }

    /// The notes in `golden.json`.
    pub fn notes(&self) -> &Value {
        &self.notes
    }

    /// The case's folder, for weights that lie beside it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Every tensor of a safetensors file on the device at hand, as stored; truth values as u8.
///
/// # Panics
/// When the file is missing or broken.
#[track_caller]
pub fn load(path: &Path) -> HashMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let device = device();
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let tensor = match view.dtype() {
            // Candle has no type for them.
            Dtype::BOOL => Tensor::from_slice(view.data(), view.shape(), &device),
            _ => view.load(&device),
        };
        let tensor = tensor.unwrap_or_else(|error| panic!("{}: {name}: {error}", path.display()));
        (name, tensor)
    };
    file.tensors().into_iter().map(tensor).collect()
}
