//! From any weight file to one safetensors file, a piece of a tensor at a time.
//!
//! The memory needed is that of a piece, whatever the model's size: mapped pages are given back as soon as they are read.

mod cast;
mod hash;
mod layout;
mod output;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{CheckpointError, damaged, shorten};
use crate::progress::{Progress, advance};
use crate::{ElementType, TensorEntry, TensorFile};
use cast::Cast;
use layout::Layout;
use output::Output;

pub use cast::NotFinite;
pub use hash::{check_sha256, sha256_digits, sha256_of};

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
    /// Numbers that became 0, being too small for the precision.
    pub flushed_to_zero: u64,
    /// What the source holds besides tensors (steps, rates, settings), which safetensors has no place for.
    pub other_values: usize,
}

/// Values of a changed tensor, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// For everything that 32 bits hold.
    F32(Vec<f32>),
    /// For doubles.
    F64(Vec<f64>),
}

/// Gives other values for a tensor, or none to keep its own.
pub type Change<'a, E> = dyn FnMut(&str, &TensorEntry) -> Result<Option<Values>, E> + 'a;

/// Writes the tensors of `source` to `out` as safetensors.
///
/// The source's hash and, of an archive, its checksums are verified first. The output is written aside, synced, read
/// back, and renamed, so that `out` is either as it was or whole.
///
/// # Errors
/// [`CheckpointError::Exists`] without [`ConvertOptions::overwrite`], [`CheckpointError::Hash`],
/// [`CheckpointError::Damaged`] for a wrong checksum, [`CheckpointError::Overflow`] for a value that the precision
/// cannot hold, [`CheckpointError::Unsupported`] for types that safetensors does not have, [`CheckpointError::Stopped`],
/// and those of writing.
pub fn convert(
    source: &TensorFile,
    out: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Converted, CheckpointError> {
    convert_changed(source, out, options, &mut |_, _| Ok(None), progress)
}

/// [`convert`] with other values for some of the tensors: those for which `change` gives any. A tensor is in memory at a time.
///
/// # Errors
/// Those of [`convert`] and of `change`, and [`CheckpointError::NotFinite`] for a changed value that is no number or infinite.
/// A change of another length than its tensor is [`CheckpointError::Unfaithful`].
pub fn convert_changed<E: From<CheckpointError>>(
    source: &TensorFile,
    out: &Path,
    options: &ConvertOptions,
    change: &mut Change<'_, E>,
    progress: &dyn Progress,
) -> Result<Converted, E> {
    refuse_taken_names(source, out, options)?;
    let layout = Layout::plan(source, options)?;
    let source_sha256 = check_sha256(source, options.expected_sha256.as_deref(), progress)?;
    check_checksums(source, progress)?;
    let mut output = Output::create(out, options.overwrite)?;
    output.write(layout.header())?;
    let (mut not_finite, mut flushed_to_zero) = (Vec::new(), 0);
    progress.begin("converting", layout.source_bytes());
    for (name, target) in layout.tensors() {
        let entry = source.require(name)?;
        let cast = match change(name, entry)? {
            Some(values) => write_changed(source, name, (entry, target), &values, &mut output)?,
            None => write_tensor(source, name, (entry, target), &mut output, progress)?,
        };
        flushed_to_zero += cast.flushed_to_zero();
        not_finite.extend(cast.not_finite(name));
    }
    progress.end();
    let tensors = layout.tensors().count();
    let (bytes, sha256) = output.finish(tensors, progress)?;
    tell(source.origin(), &not_finite, flushed_to_zero);
    Ok(Converted {
        tensors,
        bytes,
        sha256,
        source_sha256,
        not_finite,
        flushed_to_zero,
        other_values: source.other_values().len(),
    })
}

fn tell(origin: &str, not_finite: &[NotFinite], flushed_to_zero: u64) {
    for tensor in not_finite {
        tracing::warn!(origin, tensor = %tensor, "values are not finite");
    }
    if flushed_to_zero > 0 {
        tracing::warn!(
            origin,
            values = flushed_to_zero,
            "values too small for the precision became 0; bf16 and f32 hold them"
        );
    }
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
            advance(progress, end - start)?;
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

/// Writes one tensor.
fn write_tensor(
    source: &TensorFile,
    name: &str,
    (entry, target): (&TensorEntry, ElementType),
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<Cast, CheckpointError> {
    let mut cast = Cast::new(entry.dtype, target);
    source.for_each_piece(entry, PIECE_BYTES, |piece| {
        output.write(cast_piece(source, name, &mut cast, piece)?)?;
        advance(progress, piece.len())
    })?;
    Ok(cast)
}

/// Writes a tensor's other values.
fn write_changed(
    source: &TensorFile,
    name: &str,
    (entry, target): (&TensorEntry, ElementType),
    values: &Values,
    output: &mut Output,
) -> Result<Cast, CheckpointError> {
    let (from, bytes, found): (_, Vec<u8>, _) = match values {
        Values::F32(values) => {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (ElementType::F32, bytes.collect(), values.len())
        }
        Values::F64(values) => {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (ElementType::F64, bytes.collect(), values.len())
        }
    };
    if found != entry.elements() || !target.is_float() {
        return Err(output.unfaithful(format!(
            "{found} changed values for the {} of type {target} of `{}`",
            entry.elements(),
            shorten(name)
        )));
    }
    let mut cast = Cast::new(from, target);
    for piece in bytes.chunks(PIECE_BYTES) {
        let written = cast_piece(source, name, &mut cast, piece)?;
        output.write(written)?;
    }
    match cast.not_finite(name) {
        None => Ok(cast),
        Some(found) => Err(CheckpointError::NotFinite {
            origin: source.origin().to_string(),
            name: shorten(name),
            value: found.value,
            element: found.first_element,
        }),
    }
}

fn cast_piece<'a>(
    source: &TensorFile,
    name: &str,
    cast: &'a mut Cast,
    piece: &'a [u8],
) -> Result<&'a [u8], CheckpointError> {
    cast.piece(piece)
        .map_err(|overflow| CheckpointError::Overflow {
            origin: source.origin().to_string(),
            name: name.to_string(),
            value: overflow.value,
            element: overflow.element,
            precision: overflow.precision,
            remedy: overflow.remedy,
        })
}
