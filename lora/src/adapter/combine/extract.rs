//! An adapter of what a fine-tuned checkpoint differs in from its base, a tensor of each in memory at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use checkpoint::{ElementType, TensorEntry, TensorFile, shorten};
use half::{bf16, f16};
use nn::Stream;

use super::{Energy, Record, description, recorded, svd, total_energy};
use crate::adapter::Adapter;
use crate::adapter::names::LayerNames;
use crate::adapter::write::merged::layer_weight;
use crate::base::identity_named;
use crate::error::LoraError;
use crate::progress::Progress;

/// What the transformers that adapters attach to are called in files that hold more.
const TRANSFORMER: &str = "transformer.";

/// What was found.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// The adapter.
    pub adapter: Adapter,
    /// Of each of its layers.
    pub energies: BTreeMap<String, Energy>,
    /// Layers that are the same in both.
    pub unchanged: usize,
    /// Tensors that differ and are no weights of linear layers (norms, biases, tables), which an adapter cannot change.
    pub not_representable: Vec<String>,
    /// Tensors that only one of the two files has.
    pub unpaired: Vec<String>,
}

/// The change of every linear layer, brought to a rank. `base_name` is what the base is called in the adapter. Numbers that differ by no
/// more than the coarser file's precision are the same.
///
/// # Errors
/// When the files are not of one model, nothing that an adapter can change differs, a number is infinite, or `progress` asks for a stop.
pub fn extract(
    tuned: &TensorFile,
    base: &TensorFile,
    base_name: &str,
    rank: usize,
    progress: &mut dyn Progress,
) -> Result<Extracted, LoraError> {
    let (pairs, unpaired) = pairs(tuned, base)?;
    let has_transformer = base.names().any(|name| name.starts_with(TRANSFORMER));
    progress.begin("comparing", pairs.len());
    let (mut layers, mut energies) = (BTreeMap::new(), BTreeMap::new());
    let (mut unchanged, mut not_representable) = (0, Vec::new());
    for pair in &pairs {
        if progress.stop_requested() {
            return Err(LoraError::Stopped);
        }
        let layer = linear_layer(pair, has_transformer);
        let differs = pair.differs()?;
        match layer {
            Some(layer) if differs => {
                let random = Stream::new(0).named(layer);
                let reduced = svd::of_matrix(&pair.difference()?, rank, &random)?;
                energies.insert(layer.to_owned(), reduced.energy);
                layers.insert(layer.to_owned(), reduced.factors);
            }
            Some(_) => unchanged += 1,
            None if differs => not_representable.push(pair.name.to_owned()),
            None => {}
        }
        pair.discard_pages();
        progress.advance();
    }
    progress.end();
    if layers.is_empty() {
        return Err(bad(
            tuned,
            format!(
                "no weight of a linear layer differs from {}; there is nothing to extract",
                base.origin()
            ),
        ));
    }
    let record = Record {
        method: "fine-tuned minus base, singular value decomposition",
        parts: vec![
            recorded(Path::new(tuned.origin()), 1.0, None),
            recorded(Path::new(base.origin()), -1.0, None),
        ],
        rank: Some(rank),
        energy_kept: Some(total_energy(&energies).share()),
    };
    let identity = identity_named(base, base_name)?;
    let adapter = Adapter {
        metadata: record.into_metadata()?,
        ..Adapter::trained(description(&layers, Some(identity)), layers, None)
    };
    Ok(Extracted {
        adapter,
        energies,
        unchanged,
        not_representable,
        unpaired,
    })
}

/// A tensor of both files.
struct Pair<'a> {
    /// In the base.
    name: &'a str,
    tuned_name: &'a str,
    entry: &'a TensorEntry,
    tuned_entry: &'a TensorEntry,
    base: &'a TensorFile,
    tuned: &'a TensorFile,
}

/// Tensors of one name, wrappers aside, and those without another one.
fn pairs<'a>(
    tuned: &'a TensorFile,
    base: &'a TensorFile,
) -> Result<(Vec<Pair<'a>>, Vec<String>), LoraError> {
    let names = LayerNames::new(base.names());
    let mut found = BTreeMap::new();
    let mut unpaired = Vec::new();
    for name in tuned.names() {
        match names.resolve(name) {
            Some(own) => {
                found.insert(own.to_owned(), name);
            }
            None => unpaired.push(format!("{} (in {})", shorten(name), tuned.origin())),
        }
    }
    let (mut pairs, mut misfits) = (Vec::new(), Vec::new());
    for name in base.names() {
        let tuned_name = found.get(name).copied();
        let entries = tuned_name.and_then(|tuned_name| tuned.entry(tuned_name));
        let (Some(tuned_name), Some(tuned_entry), Some(entry)) =
            (tuned_name, entries, base.entry(name))
        else {
            unpaired.push(format!("{} (in {})", shorten(name), base.origin()));
            continue;
        };
        if entry.shape != tuned_entry.shape {
            let (found, expected) = (&tuned_entry.shape, &entry.shape);
            misfits.push(format!(
                "{} is {found:?}, in the base {expected:?}",
                shorten(name)
            ));
        }
        pairs.push(Pair {
            name,
            tuned_name,
            entry,
            tuned_entry,
            base,
            tuned,
        });
    }
    if !misfits.is_empty() {
        return Err(bad(
            tuned,
            format!(
                "not a fine-tuning of {}; name the checkpoint that it began with:\n  {}",
                base.origin(),
                misfits.join("\n  ")
            ),
        ));
    }
    match pairs.is_empty() {
        true => Err(bad(
            tuned,
            format!("no tensor has the name of one in {}", base.origin()),
        )),
        false => Ok((pairs, unpaired)),
    }
}

/// The layer, if the pair is the weight of a linear one that adapters attach to. Tables of embeddings are matrices too, and a base's file
/// may hold an autoencoder beside the transformer.
fn linear_layer<'a>(pair: &Pair<'a>, has_transformer: bool) -> Option<&'a str> {
    let layer = pair.name.strip_suffix(".weight")?;
    let last = layer.rsplit('.').next().unwrap_or(layer);
    let is_linear = pair.entry.shape.len() == 2
        && pair.entry.dtype.is_float()
        && pair.tuned_entry.dtype.is_float()
        && !last.contains("embed")
        && (!has_transformer || layer.starts_with(TRANSFORMER));
    is_linear.then_some(layer)
}

impl Pair<'_> {
    /// Whether the tensors differ, rounded to the coarser of their types.
    fn differs(&self) -> Result<bool, LoraError> {
        let (tuned, base) = (
            self.tuned.bytes(self.tuned_name)?,
            self.base.bytes(self.name)?,
        );
        let (dtype, tuned_dtype) = (self.entry.dtype, self.tuned_entry.dtype);
        if dtype == tuned_dtype {
            return Ok(tuned != base);
        }
        let values = |file: &TensorFile, name: &str| -> Result<Option<Vec<f32>>, LoraError> {
            let is_float = dtype.is_float() && tuned_dtype.is_float();
            let weight = is_float.then(|| layer_weight(file, name)).transpose()?;
            let read = |weight: Tensor| weight.flatten_all()?.to_dtype(DType::F32)?.to_vec1();
            Ok(weight.map(read).transpose()?)
        };
        let (Some(tuned), Some(base)) = (
            values(self.tuned, self.tuned_name)?,
            values(self.base, self.name)?,
        ) else {
            return Ok(true);
        };
        let is_either = |one| dtype == one || tuned_dtype == one;
        let coarse = |value: f32| {
            let mut value = value;
            if is_either(ElementType::F16) {
                value = f16::from_f32(value).to_f32();
            }
            if is_either(ElementType::BF16) {
                value = bf16::from_f32(value).to_f32();
            }
            value
        };
        let mut both = tuned.iter().zip(&base);
        Ok(both.any(|(tuned, base)| coarse(*tuned) != coarse(*base)))
    }

    /// Fine-tuned minus base, in f32.
    fn difference(&self) -> Result<Tensor, LoraError> {
        let tuned = layer_weight(self.tuned, self.tuned_name)?;
        let base = layer_weight(self.base, self.name)?;
        let wide = match [&tuned, &base].iter().any(|one| one.dtype() == DType::F64) {
            true => DType::F64,
            false => DType::F32,
        };
        let difference = (tuned.to_dtype(wide)? - base.to_dtype(wide)?)?.to_dtype(DType::F32)?;
        let sum = difference.abs()?.sum_all()?.to_scalar::<f32>()?;
        match sum.is_finite() {
            true => Ok(difference),
            false => Err(bad(
                self.tuned,
                format!(
                    "tensor {} differs by numbers that are not finite; the file is damaged or its training went wrong",
                    shorten(self.tuned_name)
                ),
            )),
        }
    }

    fn discard_pages(&self) {
        self.tuned.discard_pages(Some(self.tuned_name));
        self.base.discard_pages(Some(self.name));
    }
}

fn bad(file: &TensorFile, problem: String) -> LoraError {
    LoraError::BadFile {
        path: PathBuf::from(file.origin()),
        problem,
    }
}
