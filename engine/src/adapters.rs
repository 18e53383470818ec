//! The adapters there are: the user's folder, and files that plugins name; what each one is, read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use candle_core::Device;
use lora::adapter::Adapter;
use lora::models::{EMBEDDED_NAME, KnownModel};
use protocol::places::Places;
use protocol::{AdapterInfo, AdapterUse, Problem, ProblemKind};

use crate::problem::{chain, of_file, of_lora, problem};

const ENDING: &str = "safetensors";

/// What is known of files, as long as they stay what they are.
pub(crate) struct Shelf {
    folder: PathBuf,
    known: Mutex<HashMap<PathBuf, Known>>,
}

struct Known {
    modified: Option<SystemTime>,
    bytes: u64,
    sha256: String,
    info: Option<AdapterInfo>,
}

impl Shelf {
    pub(crate) fn new(places: &Places) -> Self {
        Self {
            folder: places.adapters(),
            known: Mutex::new(HashMap::new()),
        }
    }

    /// SHA-256 of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self, path: &Path) -> Result<String, Problem> {
        let failed = |error: std::io::Error| of_file(path, &error);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            // A device or a pipe may never end.
            return Err(failed(std::io::Error::other("this is no file")));
        }
        let (modified, bytes) = (metadata.modified().ok(), metadata.len());
        if let Some(known) = self.lock().get(path)
            && (known.modified, known.bytes) == (modified, bytes)
        {
            return Ok(known.sha256.clone());
        }
        let hash = dataset::hash_file(path).map_err(failed)?;
        let sha256 = hash.rsplit(':').next().unwrap_or_default().to_owned();
        let known = Known {
            modified,
            bytes,
            sha256: sha256.clone(),
            info: None,
        };
        self.lock().insert(path.to_owned(), known);
        Ok(sha256)
    }

    /// What a file is; one that is there and cannot be used has a problem.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn look_at(&self, path: &Path) -> Result<AdapterInfo, Problem> {
        let sha256 = self.sha256(path)?;
        let known = self.lock().get(path).and_then(|known| known.info.clone());
        if let Some(info) = known {
            return Ok(info);
        }
        let info = read(path, sha256);
        if let Some(known) = self.lock().get_mut(path) {
            known.info = Some(info.clone());
        }
        Ok(info)
    }

    /// The user's adapters and these, by name.
    pub(crate) fn list(&self, added: &[PathBuf]) -> Vec<AdapterInfo> {
        let own = self.own_files();
        let more = added.iter().filter(|path| !own.contains(path));
        let paths = own.iter().chain(more);
        let mut adapters: Vec<AdapterInfo> =
            paths.filter_map(|path| self.look_at(path).ok()).collect();
        adapters.sort_by(|left, right| (&left.name, &left.path).cmp(&(&right.name, &right.path)));
        adapters
    }

    fn own_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let is_adapter = |path: &PathBuf| path.extension().is_some_and(|ending| ending == ENDING);
        paths.filter(is_adapter).collect()
    }

    /// The file that a recipe means, and its hash: where the recipe says, or in the user's folder with the content that it says.
    ///
    /// # Errors
    /// When it is at neither place, or is another one.
    pub(crate) fn resolve(&self, adapter: &AdapterUse) -> Result<(PathBuf, String), Problem> {
        let found = self.sha256(&adapter.path);
        let Some(expected) = &adapter.sha256 else {
            return match found {
                Ok(sha256) => Ok((adapter.path.clone(), sha256)),
                Err(error) => Err(missing(adapter, &error)),
            };
        };
        if found.as_ref().is_ok_and(|found| found == expected) {
            return Ok((adapter.path.clone(), expected.clone()));
        }
        let is_meant = |path: &PathBuf| self.sha256(path).is_ok_and(|sha256| &sha256 == expected);
        if let Some(path) = self.own_files().into_iter().find(is_meant) {
            return Ok((path, expected.clone()));
        }
        match found {
            Err(error) => Err(missing(adapter, &error)),
            Ok(found) => Err(problem(
                ProblemKind::WrongBase,
                format!(
                    "{}: this adapter has changed since the clip was made: its content was {}, and is {}; bring the earlier file back (also into {}), or choose the adapter anew",
                    adapter.path.display(),
                    short(expected),
                    short(&found),
                    self.folder.display()
                ),
            )),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(adapter: &AdapterUse, error: &Problem) -> Problem {
    let text = format!(
        "the adapter \"{}\" is missing ({}); put it back, or into the folder of adapters",
        adapter.name, error.text
    );
    problem(ProblemKind::MissingFile, text)
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn read(path: &Path, sha256: String) -> AdapterInfo {
    let stem = path.file_stem().unwrap_or_default();
    let mut info = AdapterInfo {
        path: path.to_owned(),
        name: stem.to_string_lossy().into_owned(),
        sha256,
        base: String::new(),
        problem: None,
        trigger_words: Vec::new(),
    };
    match Adapter::load(path, &Device::Cpu) {
        Err(error) => info.problem = Some(chain(&error)),
        Ok(adapter) => {
            info.base = base_of(&adapter);
            info.trigger_words = adapter.description.trigger_words;
        }
    }
    info
}

/// The base of an adapter, by the name that recipes have for it.
fn base_of(adapter: &Adapter) -> String {
    match &adapter.description.base {
        Some(base) if base.is_embedded() => EMBEDDED_NAME.to_owned(),
        Some(base) => match KnownModel::named(&base.name) {
            Some(known) => known.name.to_owned(),
            // Also of the base inside an earlier program.
            None => format!("{} version {}", base.name, base.version),
        },
        None => adapter.stated_base.clone().unwrap_or_default(),
    }
}

/// Reads an adapter to use it.
///
/// # Errors
/// When it is none that can be used.
pub(crate) fn load(path: &Path, device: &Device) -> Result<Adapter, Problem> {
    Adapter::load(path, device).map_err(|error| {
        let mut told = of_lora(&error);
        if told.kind == ProblemKind::Internal {
            // The file is at fault, not the engine: it is damaged, or another kind of file.
            told.kind = ProblemKind::BadRequest;
        }
        told
    })
}
