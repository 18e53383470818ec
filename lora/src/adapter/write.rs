//! Adapters in the layouts of other programs. Everything is written aside, synced and renamed; what is there is not replaced unless asked.

mod comfyui;
pub(super) mod merged;
mod original;
mod peft;
mod pickle;
mod zip;

use std::path::Path;

use super::names::is_underscored;
use super::{Adapter, Method};
use crate::error::LoraError;

/// A layout that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// PEFT's folder.
    Peft,
    /// Lorelei's own file.
    Single,
    /// ComfyUI's names.
    ComfyUi,
    /// The original project's `.pt`.
    Original,
}

impl Adapter {
    /// Writes the adapter in a layout. The factors are written as they are; scales become alphas.
    ///
    /// # Errors
    /// [`LoraError::Exists`] unless `replace`; [`LoraError::BadFile`] when the layout cannot say what the adapter is, with one that can.
    pub fn write(&self, path: &Path, target: Target, replace: bool) -> Result<(), LoraError> {
        if path.exists() && !replace {
            return Err(LoraError::Exists {
                path: path.to_owned(),
            });
        }
        let cannot = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        };
        if target != Target::Single {
            self.check_names().map_err(cannot)?;
            if self.trigger.is_some() {
                tracing::warn!(
                    "{}: the layout has no place for the adapter's trigger vector, which stays behind; a single file keeps it",
                    path.display()
                );
            }
        }
        match target {
            Target::Single => self.save(path),
            Target::Peft => peft::write(self, path, replace),
            Target::ComfyUi => {
                let bytes = comfyui::to_bytes(self).map_err(cannot)?;
                dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
            }
            Target::Original => {
                let bytes = original::to_bytes(self).map_err(cannot)?;
                dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
            }
        }
    }

    /// Names with underscores for dots mean nothing to other programs.
    fn check_names(&self) -> Result<(), String> {
        match self.layers.keys().find(|name| is_underscored(name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "layer {name} has underscores for dots, so that only the base's names tell what it is; name the base (--base MODEL)"
            )),
        }
    }

    /// The first layer whose method is another.
    fn other_than(&self, methods: &[Method]) -> Option<(&str, Method)> {
        let mut others = self
            .layers
            .iter()
            .filter(|(_, layer)| !methods.contains(&layer.method()));
        let (name, layer) = others.next()?;
        Some((name, layer.method()))
    }
}
