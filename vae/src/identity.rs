//! Loading that remembers what was loaded: the hash by which cached latents are told apart.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::Tensor;
use nn::Scope;
use sha2::{Digest, Sha256};

use crate::VaeError;

/// Bytes of the hash that go into an identity: enough that no two models meet by chance.
const IDENTITY_BYTES: usize = 12;

/// Values hashed at a time.
const HASHED_VALUES: usize = 4096;

/// A scope whose tensors all enter one hash, with their names and shapes, in the order in which they are loaded.
#[derive(Clone)]
pub(crate) struct Source {
    scope: Scope,
    hash: Rc<RefCell<Sha256>>,
}

impl Source {
    /// `description` is whatever else decides the latents: the configuration.
    pub(crate) fn new(scope: Scope, description: &str) -> Self {
        let hash = Sha256::new_with_prefix(description.as_bytes());
        Self {
            scope,
            hash: Rc::new(RefCell::new(hash)),
        }
    }

    pub(crate) fn pp(&self, name: &str) -> Self {
        Self {
            scope: self.scope.pp(name),
            hash: Rc::clone(&self.hash),
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.scope.contains(name)
    }

    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, VaeError> {
        let tensor = self.scope.get(name, shape)?;
        let mut hash = self.hash.borrow_mut();
        // Names relative to the model, so that the same weights inside a larger file keep their identity.
        hash.update(format!("{name}{shape:?}").as_bytes());
        let flat = tensor.flatten_all()?;
        for start in (0..flat.elem_count()).step_by(HASHED_VALUES) {
            let count = HASHED_VALUES.min(flat.elem_count() - start);
            let values = flat.narrow(0, start, count)?.to_vec1::<f32>()?;
            let mut bytes = [0u8; size_of::<f32>() * HASHED_VALUES];
            for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(&values) {
                *bytes = value.to_le_bytes();
            }
            hash.update(&bytes[..size_of::<f32>() * values.len()]);
        }
        Ok(tensor)
    }

    /// `kind-` and the hash of everything loaded so far, in hexadecimal.
    pub(crate) fn identity(&self, kind: &str) -> String {
        let digest = self.hash.borrow().clone().finalize();
        let hex: String = digest
            .iter()
            .take(IDENTITY_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{kind}-{hex}")
    }
}
