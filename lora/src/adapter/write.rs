//! Adapters in the layouts of other programs. Everything is written aside, synced and renamed; what is there is not replaced unless asked.

mod comfyui;
pub(super) mod merged;
mod original;
mod peft;
mod pickle;
mod zip;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use checkpoint::shorten;

use super::names::is_underscored;
use super::read::{DIFFUSERS, PASSED_ON, STABLE_AUDIO_3};
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

/// What ComfyUI's own names begin with.
const COMFYUI_PREFIX: &str = "diffusion_model.";

/// Puts a file in its place, which is free unless it is to be replaced.
fn place(path: &Path, bytes: &[u8], replace: bool) -> Result<(), LoraError> {
    if path.is_dir() {
        return Err(LoraError::BadFile {
            path: path.to_owned(),
            problem: "is a folder, and this layout is a file; name another".to_owned(),
        });
    }
    let written = match replace {
        true => dataset::write_aside(path, bytes),
        false => dataset::write_new_aside(path, bytes),
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => LoraError::Exists {
            path: path.to_owned(),
        },
        _ => LoraError::file(path)(error),
    })
}

impl Adapter {
    /// Writes the adapter in a layout. The factors are written as they are; scales become alphas.
    ///
    /// # Errors
    /// [`LoraError::Exists`] unless `replace`; [`LoraError::BadFile`] when the layout cannot say what the adapter is, with one that can.
    pub fn write(&self, path: &Path, target: Target, replace: bool) -> Result<(), LoraError> {
        if path.symlink_metadata().is_ok() && !replace {
            return Err(LoraError::Exists {
                path: path.to_owned(),
            });
        }
        let cannot = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        };
        if target != Target::Single {
            self.check_names(target).map_err(cannot)?;
        }
        let bytes = match target {
            Target::Peft => {
                peft::write(self, path, replace)?;
                self.tell_of_losses(path, target);
                return Ok(());
            }
            Target::Single => self.to_bytes(),
            Target::ComfyUi => comfyui::to_bytes(self),
            Target::Original => original::to_bytes(self),
        };
        place(path, &bytes.map_err(cannot)?, replace)?;
        self.tell_of_losses(path, target);
        Ok(())
    }

    /// What the layout has no place for.
    fn tell_of_losses(&self, path: &Path, target: Target) {
        let description = &self.description;
        let mut lost = Vec::new();
        if target != Target::Single && self.trigger.is_some() {
            lost.push("the adapter's trigger vector".to_owned());
        }
        if target == Target::Original {
            if !description.trigger_words.is_empty() {
                lost.push("its trigger words".to_owned());
            }
            if description.base.is_some() || self.stated_base.is_some() {
                lost.push("the base that it is for".to_owned());
            }
            if !description.data_hash.is_empty() {
                lost.push("data hash, seed and validation loss of its training".to_owned());
            }
            let texts = self.metadata.keys().map(|key| shorten(key));
            let texts = texts.collect::<Vec<_>>().join(", ");
            if !texts.is_empty() {
                lost.push(format!("texts of its header ({texts})"));
            }
        }
        if !lost.is_empty() {
            tracing::warn!(
                "{}: the layout has no place for {}; left behind, a single file keeps all",
                path.display(),
                lost.join(", ")
            );
        }
    }

    /// The header for layouts that do not know it: the description, and the texts that came from another program.
    fn header_for_others(&self) -> Result<BTreeMap<String, String>, String> {
        let mut header = self.metadata.clone();
        // The tensors say it in their own way now; a reader would take both.
        for key in [DIFFUSERS, STABLE_AUDIO_3] {
            header.remove(key);
        }
        // What is not known, of an adapter that was trained elsewhere, need not be said.
        let trained_here = !self.description.lorelei_version.is_empty();
        if trained_here {
            let text = serde_json::to_string(&self.description);
            header.insert(
                PASSED_ON.to_owned(),
                text.map_err(|error| error.to_string())?,
            );
        }
        Ok(header)
    }

    /// Names that mean nothing to the other program, which would then apply nothing, some without a word.
    fn check_names(&self, target: Target) -> Result<(), String> {
        if let Some(name) = self.layers.keys().find(|name| is_underscored(name)) {
            return Err(format!(
                "layer {} has underscores for dots, so that only the base's names tell what it is; name the base (--base MODEL)",
                shorten(name)
            ));
        }
        let is_foreign = |name: &&String| match target {
            Target::Peft => name.starts_with(COMFYUI_PREFIX) || name.contains('/'),
            Target::Original => {
                !original::name(name).starts_with("transformer.") || name.contains('/')
            }
            Target::ComfyUi | Target::Single => false,
        };
        match (self.layers.keys().find(is_foreign), target) {
            (None, _) => Ok(()),
            (Some(name), Target::Original) => Err(format!(
                "layer {} is none of DiffRhythm's, which begin with \"transformer.\": the original's lora_infer.py would apply nothing, \
                 without a word; name the base (--base MODEL) if only the name is another program's",
                shorten(name)
            )),
            (Some(name), _) => Err(format!(
                "layer {} has the name that another program gives it, and PEFT would not find it; name the base (--base MODEL)",
                shorten(name)
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
