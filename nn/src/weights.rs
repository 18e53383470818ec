//! Strict loading of weights: every tensor that a model asks for is there, has the right shape and finite values, and no
//! tensor of the file is left over. Files are read by the crate `checkpoint`, whatever their format.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use std::collections::HashMap;
//! let tensors = HashMap::from([("head.weight".to_string(), Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?)]);
//! let weights = nn::Weights::from_tensors(tensors, "example");
//! let head = weights.root().pp("head").get("weight", &[1, 2])?;
//! weights.finish()?; // an error here would name the tensors nobody asked for
//! # assert_eq!(head.dims(), &[1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod mapped;

pub use error::WeightsError;
pub(crate) use mapped::MappedHalves;

use crate::linear::{FourBit, WeightPrecision};
use candle_core::{DType, Device, Tensor};
use checkpoint::{ElementType, TensorFile};
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Names listed in an error before "and N more".
const NAMES_SHOWN: usize = 8;

/// A file (or map) of tensors, with a record of which were asked for.
#[derive(Clone)]
pub struct Weights {
    inner: Arc<Inner>,
    device: Device,
    precision: WeightPrecision,
    /// Weights of linear layers that were quantised before, by the names of their tensors.
    four_bit: Arc<HashMap<String, Arc<FourBit>>>,
}

struct Inner {
    origin: String,
    source: Source,
    used: Mutex<HashSet<String>>,
}

enum Source {
    /// Tensors are read when asked for, so that a large file is never in memory twice.
    File(TensorFile),
    Tensors(HashMap<String, Tensor>),
    MadeUp(Box<MakeUp>),
}

/// From a name and a shape to values.
type MakeUp = dyn Fn(&str, &[usize]) -> candle_core::Result<Tensor> + Send + Sync;

impl Weights {
    /// Opens a file of weights, of any format that [`TensorFile::open`] knows; only its table of contents is read now.
    ///
    /// # Errors
    /// [`WeightsError::File`].
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self, WeightsError> {
        let file = TensorFile::open(path.as_ref())?;
        Ok(Self::from_tensor_file(file, device))
    }

    /// Reads the bytes of such a file, owned or part of the program; `origin` is what errors call it.
    ///
    /// # Errors
    /// [`WeightsError::File`].
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        origin: &str,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let file = TensorFile::from_bytes(bytes, origin)?;
        Ok(Self::from_tensor_file(file, device))
    }

    /// Takes the tensors of an open file.
    pub fn from_tensor_file(file: TensorFile, device: &Device) -> Self {
        Self::new(file.origin().to_string(), device, Source::File(file))
    }

    /// Wraps tensors that are in memory already, on one device, where they stay. Variables stay variables, so a model
    /// loaded from them can be trained.
    pub fn from_tensors(tensors: HashMap<String, Tensor>, origin: &str) -> Self {
        let device = match tensors.values().next() {
            Some(tensor) => tensor.device().clone(),
            None => Device::Cpu,
        };
        Self::new(origin.to_string(), &device, Source::Tensors(tensors))
    }

    /// Calls `make` for every tensor that is asked for: models of any size without a file, for tests and benchmarks.
    pub fn made_up(
        make: impl Fn(&str, &[usize]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let origin = "made up weights".to_string();
        Self::new(origin, &Device::Cpu, Source::MadeUp(Box::new(make)))
    }

    fn new(origin: String, device: &Device, source: Source) -> Self {
        let inner = Arc::new(Inner {
            origin,
            source,
            used: Mutex::default(),
        });
        Self {
            inner,
            device: device.clone(),
            precision: WeightPrecision::default(),
            four_bit: Arc::default(),
        }
    }

    /// The same weights, of which some were quantised to four bits before: linear layers that are to keep them so take these, by the names of
    /// the tensors, and need not read the tensors. One of another count of values is passed over.
    pub fn with_four_bit(self, weights: HashMap<String, Arc<FourBit>>) -> Self {
        Self {
            four_bit: Arc::new(weights),
            ..self
        }
    }

    /// Linear layers that load from these weights will keep them in this precision.
    pub fn in_precision(self, precision: WeightPrecision) -> Self {
        Self { precision, ..self }
    }

    /// The same weights, loaded to another device; what is loaded counts as used for both.
    pub fn on_device(self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self
        }
    }

    /// Where tensors are loaded to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// See [`in_precision`](Self::in_precision).
    pub fn precision(&self) -> WeightPrecision {
        self.precision
    }

    /// The scope of all names.
    pub fn root(&self) -> Scope {
        Scope {
            weights: self.clone(),
            path: String::new(),
        }
    }

    /// The file's own key-value metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        match &self.inner.source {
            Source::File(file) => file.metadata().clone(),
            Source::Tensors(_) | Source::MadeUp(_) => BTreeMap::new(),
        }
    }

    /// Every name, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = match &self.inner.source {
            Source::File(file) => file.names().map(str::to_string).collect(),
            Source::Tensors(tensors) => tensors.keys().cloned().collect::<Vec<_>>(),
            Source::MadeUp(_) => Vec::new(),
        };
        names.sort();
        names
    }

    /// The shape of a tensor, without loading it or counting it as used.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.inner.source {
            Source::File(file) => file.entry(name).map(|entry| entry.shape.clone()),
            Source::Tensors(tensors) => tensors.get(name).map(|tensor| tensor.dims().to_vec()),
            Source::MadeUp(_) => None,
        }
    }

    /// Number of values in all tensors together.
    pub fn parameter_count(&self) -> usize {
        let shapes = self
            .names()
            .into_iter()
            .filter_map(|name| self.shape(&name));
        shapes.map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Path or description given when it was opened.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// Ends loading.
    ///
    /// # Errors
    /// [`WeightsError::Unused`] when a tensor was never asked for.
    pub fn finish(&self) -> Result<(), WeightsError> {
        let used = self
            .inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<String> = self
            .names()
            .into_iter()
            .filter(|name| !used.contains(name))
            .collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Unused {
            origin: self.inner.origin.clone(),
            count: unused.len(),
            names: shorten(&unused),
        })
    }

    fn load(&self, name: &str, expected: &[usize]) -> Result<Tensor, WeightsError> {
        if let Source::MadeUp(make) = &self.inner.source {
            let made = make(name, expected).and_then(|tensor| match tensor.dims() == expected {
                // Reshaping would copy a tensor that repeats one value.
                true => Ok(tensor),
                false => tensor.reshape(expected),
            });
            return made.map_err(|source| self.candle(name, source));
        }
        self.claim(name, expected)?;
        let tensor = self.read(name)?;
        self.check_finite(name, &tensor)?;
        tensor
            .to_device(&self.device)
            .map_err(|source| self.candle(name, source))
    }

    /// Marks a tensor as used if it is there and has the shape.
    fn claim(&self, name: &str, expected: &[usize]) -> Result<(), WeightsError> {
        let Some(actual) = self.shape(name) else {
            return Err(WeightsError::Missing {
                origin: self.inner.origin.clone(),
                name: name.to_string(),
                hint: self.hint(name),
            });
        };
        self.inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_string());
        if actual == expected {
            return Ok(());
        }
        Err(WeightsError::Shape {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            expected: expected.to_vec(),
            actual,
        })
    }

    fn read(&self, name: &str) -> Result<Tensor, WeightsError> {
        match &self.inner.source {
            Source::MadeUp(_) => Err(self.missing(name)),
            Source::Tensors(tensors) => match tensors.get(name) {
                Some(tensor) => self.convert(name, tensor),
                None => Err(self.missing(name)),
            },
            Source::File(file) => {
                let entry = file.entry(name).ok_or_else(|| self.missing(name))?;
                let tensor = self.decode(name, entry.dtype, &entry.shape, &file.bytes(name)?);
                // What was copied is not needed twice.
                file.discard_pages(Some(name));
                tensor
            }
        }
    }

    /// A 16-bit tensor's values where they lie in the mapped file, if they are kept in that precision and can be used
    /// there.
    fn mapped(&self, name: &str, expected: &[usize]) -> Result<Option<MappedHalves>, WeightsError> {
        let (Source::File(file), true) = (&self.inner.source, self.device.is_cpu()) else {
            return Ok(None);
        };
        let stored = file.entry(name).map(|entry| entry.dtype);
        let asked = match self.precision {
            WeightPrecision::F16 => ElementType::F16,
            WeightPrecision::Bf16 => ElementType::BF16,
            WeightPrecision::F32 | WeightPrecision::Int8 | WeightPrecision::Nf4 => return Ok(None),
        };
        let bytes = match stored == Some(asked) {
            true => file.mapped(name),
            false => None,
        };
        let Some(halves) = bytes.and_then(MappedHalves::new) else {
            return Ok(None);
        };
        self.claim(name, expected)?;
        match halves.first_not_finite(self.precision) {
            None => Ok(Some(halves)),
            Some((element, value)) => Err(self.not_finite(name, element, value)),
        }
    }

    /// A tensor that was quantised before, if it is to be kept so.
    fn four_bit(
        &self,
        name: &str,
        expected: &[usize],
    ) -> Result<Option<Arc<FourBit>>, WeightsError> {
        let kept = match self.precision {
            WeightPrecision::Nf4 => self.four_bit.get(name),
            _ => None,
        };
        let count = expected.iter().product::<usize>();
        let Some(kept) = kept.filter(|kept| kept.count() == count) else {
            return Ok(None);
        };
        self.claim(name, expected)?;
        Ok(Some(Arc::clone(kept)))
    }

    fn decode(
        &self,
        name: &str,
        stored: ElementType,
        shape: &[usize],
        data: &[u8],
    ) -> Result<Tensor, WeightsError> {
        let values: Vec<f32> = match stored {
            ElementType::F32 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            ElementType::F16 => {
                let halves = data.as_chunks().0.iter();
                let halves: Vec<half::f16> = halves.map(|&b| half::f16::from_le_bytes(b)).collect();
                let mut values = vec![0f32; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            ElementType::BF16 => data
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32())
                .collect(),
            other => return Err(self.wrong_type(name, other.to_string())),
        };
        Tensor::from_vec(values, shape, &Device::Cpu).map_err(|source| self.candle(name, source))
    }

    fn convert(&self, name: &str, tensor: &Tensor) -> Result<Tensor, WeightsError> {
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Err(self.wrong_type(name, format!("{:?}", tensor.dtype())));
        }
        tensor
            .to_dtype(DType::F32)
            .and_then(|tensor| tensor.contiguous())
            .map_err(|source| self.candle(name, source))
    }

    fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<(), WeightsError> {
        let found = tensor
            .to_device(&Device::Cpu)
            .and_then(|tensor| {
                crate::storage::with_values("weights", [&tensor], |[values]| {
                    let element = values.iter().position(|value| !value.is_finite());
                    Ok(element.map(|element| (element, values[element])))
                })
            })
            .map_err(|source| self.candle(name, source))?;
        match found {
            None => Ok(()),
            Some((element, value)) => Err(self.not_finite(name, element, value)),
        }
    }

    fn not_finite(&self, name: &str, element: usize, value: f32) -> WeightsError {
        WeightsError::NotFinite {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            value,
            element,
        }
    }

    fn hint(&self, name: &str) -> String {
        let last = name.rsplit('.').next().unwrap_or(name);
        let alike: Vec<String> = self
            .names()
            .into_iter()
            .filter(|other| {
                other.ends_with(name) || other.ends_with(last) && shared_prefix(other, name) > 0
            })
            .take(3)
            .collect();
        if alike.is_empty() {
            String::new()
        } else {
            format!(" (the file has {})", alike.join(", "))
        }
    }

    fn missing(&self, name: &str) -> WeightsError {
        WeightsError::Missing {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            hint: String::new(),
        }
    }

    fn wrong_type(&self, name: &str, actual: String) -> WeightsError {
        WeightsError::Type {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            actual,
        }
    }

    fn candle(&self, name: &str, source: candle_core::Error) -> WeightsError {
        WeightsError::Tensor {
            origin: self.inner.origin.clone(),
            name: name.to_string(),
            source: Box::new(source),
        }
    }
}

/// A prefix of names: the part of a file that one layer loads from.
#[derive(Clone)]
pub struct Scope {
    weights: Weights,
    path: String,
}

impl Scope {
    /// The scope below, its name after a dot.
    pub fn pp(&self, name: impl AsRef<str>) -> Self {
        Self {
            weights: self.weights.clone(),
            path: self.full(name.as_ref()),
        }
    }

    /// The tensor of that name as contiguous f32; it counts as used from now on.
    ///
    /// # Errors
    /// [`WeightsError`], naming the tensor, when it is missing, of another shape or type, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        self.weights.load(&self.full(name), shape)
    }

    /// The same in 16 bits where they lie in the mapped file: `None` unless the weights are to be kept in the very precision
    /// that the file has, on the CPU. It counts as used from now on.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn mapped(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<MappedHalves>, WeightsError> {
        self.weights.mapped(&self.full(name), shape)
    }

    /// The same in four bits, as it was quantised before. It counts as used from now on.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn four_bit(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<Arc<FourBit>>, WeightsError> {
        self.weights.four_bit(&self.full(name), shape)
    }

    /// What went wrong with a tensor after it was read.
    pub(crate) fn failed(&self, name: &str, source: candle_core::Error) -> WeightsError {
        self.weights.candle(&self.full(name), source)
    }

    /// Counts the tensor of that name, and those of the scope of that name, as used: the model is known not to need them.
    pub fn leave(&self, name: &str) {
        let full = self.full(name);
        let below = format!("{full}.");
        let names = self.weights.names().into_iter();
        let left = names.filter(|name| *name == full || name.starts_with(&below));
        self.weights
            .inner
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(left);
    }

    /// Whether there is such a tensor, or a scope of that name with tensors in it.
    pub fn contains(&self, name: &str) -> bool {
        let full = self.full(name);
        let below = format!("{full}.");
        self.weights.shape(&full).is_some()
            || self
                .weights
                .names()
                .iter()
                .any(|other| other.starts_with(&below))
    }

    /// The shape of a tensor, without loading it.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights.shape(&self.full(name))
    }

    /// The prefix, without a dot at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole that this is a part of.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    fn full(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_string(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }
}

fn shorten(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMES_SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn shared_prefix(left: &str, right: &str) -> usize {
    left.bytes()
        .zip(right.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}
