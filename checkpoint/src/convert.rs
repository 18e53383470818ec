//! From any weight file to one safetensors file, a piece of a tensor at a time.
//!
//! The memory needed is that of a piece, whatever the model's size: mapped pages are given back as soon as they are read.

mod cast;
mod layout;
mod output;

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{CheckpointError, damaged, shorten};
use crate::progress::Progress;
use crate::{ElementType, TensorEntry, TensorFile};
use cast::Cast;
use layout::Layout;
use output::Output;

pub use cast::NotFinite;

/// Bytes of a tensor that are in memory at a time.
const PIECE_BYTES: usize = 4 << 20;

/// What floating-point tensors become; others are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// What they are.
    #[default]
    Keep,
    /// 16 bits, 5 of exponent: values up to 65504.
    F16,
    /// 16 bits, 8 of exponent.
    BF16,
    /// 32 bits.
    F32,
}

/// How to convert.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The type of floating-point tensors.
    pub precision: Precision,
    /// Whether a file that is there may be replaced.
    pub overwrite: bool,
    /// Texts for the output's header, beside those of the source; these win.
    pub metadata: BTreeMap<String, String>,
    /// What [`Converted::source_sha256`] must be.
    pub expected_sha256: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of the output.
    pub bytes: u64,
    /// Of the output, as 64 hexadecimal digits.
    pub sha256: String,
    /// Of the source; of a sharded one, of its shards' bytes one after another in the order of their names.
    pub source_sha256: String,
    /// Tensors with values that are no numbers or infinite: written as they are, but no model will load them.
    pub not_finite: Vec<NotFinite>,
}

/// Writes the tensors of `source` to `out` as safetensors.
///
/// The source's hash and, of an archive, its checksums are verified first. The output is written aside, synced, read
/// back, and renamed, so that `out` is either as it was or whole.
///
/// # Errors
/// [`CheckpointError::Exists`] without [`ConvertOptions::overwrite`], [`CheckpointError::Hash`],
/// [`CheckpointError::Damaged`] for a wrong checksum, [`CheckpointError::Overflow`] for a value that the precision
/// cannot hold, [`CheckpointError::Unsupported`] for types that safetensors does not have, and those of writing.
pub fn convert(
    source: &TensorFile,
    out: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Converted, CheckpointError> {
    refuse_taken_names(source, out, options)?;
    let layout = Layout::plan(source, options)?;
    let source_sha256 = check_hash(source, options, progress)?;
    check_checksums(source, progress)?;
    let mut output = Output::create(out, options.overwrite)?;
    output.write(layout.header())?;
    let mut not_finite = Vec::new();
    progress.begin("converting", layout.source_bytes());
    for (name, target) in layout.tensors() {
        let entry = source.require(name)?;
        let found = write_tensor(source, name, (entry, target), &mut output, progress)?;
        not_finite.extend(found);
    }
    progress.end();
    let tensors = layout.tensors().count();
    let (bytes, sha256) = output.finish(tensors, progress)?;
    for tensor in &not_finite {
        tracing::warn!(origin = source.origin(), tensor = %tensor, "values are not finite");
    }
    Ok(Converted {
        tensors,
        bytes,
        sha256,
        source_sha256,
        not_finite,
    })
}

fn refuse_taken_names(
    source: &TensorFile,
    out: &Path,
    options: &ConvertOptions,
) -> Result<(), CheckpointError> {
    let real = |path: &Path| path.canonicalize().ok();
    if real(out).is_some_and(|out| source.paths().any(|path| real(path) == Some(out.clone()))) {
        return Err(CheckpointError::SameFile {
            path: out.to_owned(),
        });
    }
    if !options.overwrite && out.symlink_metadata().is_ok() {
        return Err(CheckpointError::Exists {
            path: out.to_owned(),
        });
    }
    Ok(())
}

/// The hash of the source's bytes, compared with the one that is expected.
fn check_hash(
    source: &TensorFile,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<String, CheckpointError> {
    let total: usize = source.sources().iter().map(|bytes| bytes.len()).sum();
    progress.begin("hashing the source", total as u64);
    let mut hasher = Sha256::new();
    for bytes in source.sources() {
        for start in (0..bytes.len()).step_by(PIECE_BYTES) {
            let end = bytes.len().min(start + PIECE_BYTES);
            hasher.update(&bytes[start..end]);
            bytes.discard(start..end);
            progress.advance((end - start) as u64);
        }
    }
    progress.end();
    let actual = output::hexadecimal(&hasher.finalize());
    match &options.expected_sha256 {
        Some(expected)
            if !expected
                .trim_start_matches("sha256:")
                .eq_ignore_ascii_case(&actual) =>
        {
            Err(CheckpointError::Hash {
                origin: source.origin().to_string(),
                expected: expected.clone(),
                actual,
            })
        }
        _ => Ok(actual),
    }
}

/// What an archive says of its entries' bytes.
fn check_checksums(source: &TensorFile, progress: &dyn Progress) -> Result<(), CheckpointError> {
    let (checks, [bytes]) = (source.checks(), source.sources()) else {
        return Ok(());
    };
    let total: usize = checks.iter().map(|check| check.range.len()).sum();
    progress.begin("checking the archive", total as u64);
    for check in checks {
        let mut hasher = crc32fast::Hasher::new();
        for start in check.range.clone().step_by(PIECE_BYTES) {
            let end = check.range.end.min(start + PIECE_BYTES);
            hasher.update(&bytes[start..end]);
            bytes.discard(start..end);
            progress.advance((end - start) as u64);
        }
        let actual = hasher.finalize();
        if actual != check.crc32 {
            let fault = damaged(format!(
                "the checksum of entry `{}` is {actual:08x}, the archive says {:08x}",
                shorten(&check.name),
                check.crc32
            ));
            return Err(fault.in_file(source.origin()));
        }
    }
    progress.end();
    Ok(())
}

/// Writes one tensor; tells whether some of its values are not finite.
fn write_tensor(
    source: &TensorFile,
    name: &str,
    (entry, target): (&TensorEntry, ElementType),
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<Option<NotFinite>, CheckpointError> {
    let mut cast = Cast::new(entry.dtype, target);
    source.for_each_piece(entry, PIECE_BYTES, |piece| {
        let cast_piece = cast
            .piece(piece)
            .map_err(|overflow| CheckpointError::Overflow {
                origin: source.origin().to_string(),
                name: name.to_string(),
                value: overflow.value,
                element: overflow.element,
                precision: overflow.precision,
                remedy: overflow.remedy,
            })?;
        output.write(cast_piece)?;
        progress.advance(piece.len() as u64);
        Ok(())
    })?;
    Ok(cast.not_finite(name))
}
