//! A folder of clips, measured.

use std::path::{Path, PathBuf};

use features::{NamedClip, measure_file};
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::error::EvalError;
use crate::files::{SoundFile, SoundFiles, sound_files};

/// A file that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file; in JSON, what is no Unicode of it appears as U+FFFD.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The clips of one folder.
#[derive(Debug, Clone)]
pub struct ClipSet {
    /// The folder.
    pub folder: PathBuf,
    /// Clips in the order of their names.
    pub clips: Vec<NamedClip>,
    /// The clips' files, in the same order.
    pub paths: Vec<PathBuf>,
    /// What could not be measured.
    pub skipped: Vec<Skipped>,
}

impl ClipSet {
    /// Measures all sound files below a folder, in parallel; `done` is called after each.
    ///
    /// # Errors
    /// When the folder cannot be listed or nothing in it can be measured.
    pub fn measure(folder: &Path, done: &(dyn Fn() + Sync)) -> Result<Self, EvalError> {
        let SoundFiles { files, skipped } = sound_files(folder)?;
        let measured: Vec<_> = files
            .par_iter()
            .map(|file| {
                let measurement = measure_file(&file.path);
                done();
                measurement
            })
            .collect();
        let mut set = Self {
            folder: folder.to_owned(),
            clips: Vec::new(),
            paths: Vec::new(),
            skipped,
        };
        for (SoundFile { path, name }, measurement) in files.into_iter().zip(measured) {
            match measurement {
                Ok(measurement) => {
                    set.clips.push(NamedClip { name, measurement });
                    set.paths.push(path);
                }
                Err(error) => set.skipped.push(Skipped {
                    path,
                    reason: error.to_string(),
                }),
            }
        }
        match set.skipped.first() {
            Some(first) if set.clips.is_empty() => Err(EvalError::NothingMeasured {
                path: folder.to_owned(),
                files: set.skipped.len(),
                reason: first.reason.clone(),
            }),
            _ => Ok(set),
        }
    }

    /// Total duration of the clips.
    pub fn duration_secs(&self) -> f64 {
        self.clips
            .iter()
            .map(|clip| clip.measurement.duration_secs)
            .sum()
    }
}
