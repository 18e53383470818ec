//! Opening: the format is told by the contents, never by the file's name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Contents, Format, TensorFile};
use crate::error::{CheckpointError, Fault, Parsed, shorten};
use crate::safetensors::{self, open_shards};
use crate::source::Source;
use crate::table::Table;
use crate::torch::{self, TorchFile};
use crate::zip;

/// What the first bytes of a file tell.
enum Kind {
    Safetensors,
    Index,
    Archive,
    Legacy,
}

impl TensorFile {
    /// Opens safetensors, an index of safetensors shards, or a file of `torch.save` or `torch.jit.save`. The file is
    /// mapped, not read: it must neither be shortened nor rewritten in place while this or a [`crate::MappedBytes`] of
    /// it is in use (replacing it by renaming another file is fine).
    ///
    /// # Errors
    /// [`CheckpointError`], naming the file: unknown, damaged, cut short, forged, or asking for code to be run.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let source = Source::map(path)?;
        let origin = path.display().to_string();
        let kind = kind(&source).map_err(|fault| fault.in_file(&origin))?;
        let (mut contents, table) = match kind {
            Kind::Index => {
                let shards = open_shards(path, &source)?;
                let contents = Contents {
                    format: Format::ShardedSafetensors,
                    metadata: shards.metadata,
                    sources: shards.sources,
                    paths: shards.paths,
                    ..Contents::plain(origin)
                };
                (contents, shards.table)
            }
            kind => read(kind, source, origin)?,
        };
        contents.paths.push(path.to_owned());
        Ok(Self::new(contents, table))
    }

    /// The same for bytes in memory or in the program; `origin` is what errors call them.
    ///
    /// # Errors
    /// As [`TensorFile::open`]; also for an index, whose shards lie in no folder here.
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        origin: &str,
    ) -> Result<Self, CheckpointError> {
        let source = Source::Held(bytes.into());
        if source.is_empty() {
            return Err(CheckpointError::Empty {
                origin: origin.to_string(),
            });
        }
        let (contents, table) = match kind(&source).map_err(|fault| fault.in_file(origin))? {
            Kind::Index => {
                return Err(CheckpointError::Unsupported {
                    origin: origin.to_string(),
                    what: "an index of shards outside of its folder".to_string(),
                    remedy: "open it by its path".to_string(),
                });
            }
            kind => read(kind, source, origin.to_string())?,
        };
        Ok(Self::new(contents, table))
    }

    fn new(contents: Contents, table: Table) -> Self {
        Self {
            contents: Arc::new(contents),
            tensors: Arc::new(table.into_entries()),
        }
    }
}

impl Contents {
    fn plain(origin: String) -> Self {
        Self {
            origin,
            paths: Vec::new(),
            format: Format::Safetensors,
            metadata: BTreeMap::new(),
            other_values: BTreeMap::new(),
            sources: Vec::new(),
            checks: Vec::new(),
        }
    }
}

fn read(kind: Kind, source: Source, origin: String) -> Result<(Contents, Table), CheckpointError> {
    let torch_file = match kind {
        Kind::Archive => torch::read_archive(&source),
        Kind::Legacy => torch::read_legacy(&source),
        Kind::Safetensors | Kind::Index => {
            let mut table = Table::of_bytes(source.len());
            let metadata = safetensors::read(&source, 0, &mut table)
                .map_err(|fault| fault.in_file(&origin))?;
            let contents = Contents {
                metadata,
                sources: vec![Arc::new(source)],
                ..Contents::plain(origin)
            };
            return Ok((contents, table));
        }
    };
    let TorchFile {
        format,
        table,
        other_values,
        checks,
    } = torch_file.map_err(|fault| fault.in_file(&origin))?;
    let contents = Contents {
        format,
        other_values,
        checks,
        sources: vec![Arc::new(source)],
        ..Contents::plain(origin)
    };
    Ok((contents, table))
}

fn kind(bytes: &[u8]) -> Parsed<Kind> {
    if zip::is_zip(bytes) {
        Ok(Kind::Archive)
    } else if torch::is_legacy(bytes) {
        Ok(Kind::Legacy)
    } else if torch::is_pickle(bytes) {
        Err(Fault::NotWeights(
            "a pickle that torch.save did not write".to_string(),
        ))
    } else if safetensors::looks_like(bytes) {
        Ok(Kind::Safetensors)
    } else if bytes.trim_ascii_start().starts_with(b"{") {
        Ok(Kind::Index)
    } else {
        Err(Fault::NotWeights(looks_like(bytes)))
    }
}

/// What people have instead of weights.
fn looks_like(bytes: &[u8]) -> String {
    let start = bytes.trim_ascii_start();
    let tells = |beginning: &str| {
        start.len() >= beginning.len()
            && start[..beginning.len()].eq_ignore_ascii_case(beginning.as_bytes())
    };
    if tells("version https://git-lfs") {
        "the note that Git LFS leaves in place of a file: run `git lfs pull`, or download the file itself".to_string()
    } else if tells("<!doctype") || tells("<html") {
        "a web page, perhaps of a login: download the file itself".to_string()
    } else if tells("GGUF") {
        "GGUF, which is not read here".to_string()
    } else {
        let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]);
        format!(
            "{} bytes that begin with `{}`",
            bytes.len(),
            shorten(&beginning)
        )
    }
}
