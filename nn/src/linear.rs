//! A linear layer that low-rank adapters attach to (Hu et al. 2021, "LoRA"): `y = x W^T + b + scale dropout(x) A^T B^T`.
//!
//! | weight | adapters | one op, with gradients for |
//! |---|---|---|
//! | frozen | none | x |
//! | frozen | some | x, A, B (the weight is captured by the op, so none is ever computed for it) |
//! | variable | any | x, weight, bias, and A, B of the adapters |
//!
//! Beside them there are other changes of the weight (DoRA, LoKr): [`WeightChange`] for finished adapters, and
//! [`TrainedChange`] while they are trained.

mod change;
mod composed;
mod four_bit;
mod gain;
mod kronecker;
mod op;
mod stored;
mod trained;

pub use change::{Delta, Magnitude, WeightChange};
pub use four_bit::{BlockScales, DoubleScales, FourBit, FourBitCode, NF4_BLOCK};
pub use stored::WeightPrecision;
pub use trained::{TrainedChange, TrainedMethod, TrainedOptions};

use crate::interval::TimeInterval;
use crate::mode::Mode;
use crate::weights::{Scope, WeightsError};
use candle_core::{D, Device, Result, Tensor, bail};
use std::sync::Arc;
use stored::Stored;

/// One adapter of a linear layer.
#[derive(Clone, Debug)]
pub struct LoraWeights {
    /// `[rank, in_features]`, PEFT's `lora_A.weight`.
    pub a: Tensor,
    /// `[out_features, rank]`, PEFT's `lora_B.weight`.
    pub b: Tensor,
    /// `alpha / rank * strength`.
    pub scale: f64,
    /// Share of the adapter's input that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

/// An adapter and the times it acts at.
#[derive(Clone)]
struct Limited {
    adapter: LoraWeights,
    times: TimeInterval,
}

/// `y = x W^T + b`, with any number of adapters.
#[derive(Clone)]
pub struct Linear {
    name: String,
    weight: Stored,
    bias: Option<Tensor>,
    adapters: Vec<Limited>,
    changes: Vec<change::Attached>,
    trained: Vec<TrainedChange>,
}

impl Linear {
    /// Loads `weight` `[out_features, in_features]`, and `bias` `[out_features]` if there is to be one. The weight is kept
    /// in the precision that the weights ask for.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn load(
        scope: &Scope,
        in_features: usize,
        out_features: usize,
        bias: bool,
    ) -> std::result::Result<Self, WeightsError> {
        Ok(Self {
            name: scope.path().to_string(),
            weight: Self::load_weight(scope, out_features, in_features)?,
            bias: match bias {
                true => Some(scope.get("bias", &[out_features])?),
                false => None,
            },
            adapters: Vec::new(),
            changes: Vec::new(),
            trained: Vec::new(),
        })
    }

    fn load_weight(
        scope: &Scope,
        out_features: usize,
        in_features: usize,
    ) -> std::result::Result<Stored, WeightsError> {
        let (precision, shape) = (scope.weights().precision(), [out_features, in_features]);
        let failed = |error| scope.failed("weight", error);
        if let Some(weight) = scope.four_bit("weight", &shape)? {
            let device = scope.weights().device();
            return Stored::four_bit(weight, shape.into(), device).map_err(failed);
        }
        match scope.mapped("weight", &shape)? {
            Some(halves) => Ok(Stored::mapped(halves, out_features, in_features, precision)),
            None => Stored::new(scope.get("weight", &shape)?, precision).map_err(failed),
        }
    }

    /// A layer of given tensors, for tests and for layers that are computed rather than loaded.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn new(name: &str, weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (out_features, _) = weight.dims2()?;
        if let Some(bias) = &bias
            && bias.dims() != [out_features]
        {
            bail!(
                "{name}: bias {:?} for weight {:?}",
                bias.shape(),
                weight.shape()
            );
        }
        Ok(Self {
            name: name.to_string(),
            weight: Stored::Whole(weight),
            bias,
            adapters: Vec::new(),
            changes: Vec::new(),
            trained: Vec::new(),
        })
    }

    /// Applies the layer to the last dimension.
    ///
    /// # Shapes
    /// `x`: `[.., in_features]`; result: `[.., out_features]`.
    ///
    /// # Errors
    /// When the last dimension of `x` is not `in_features`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        self.apply(x, mode, true)
    }

    /// [`forward`](Self::forward) for the last layer of a checkpointed part, after which only sums follow: when the part
    /// runs again for its gradients, nothing depends on this layer's values, and they are left at zero.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_last(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        self.apply(x, mode, !mode.is_recomputing())
    }

    /// The layer, with zeros for its values unless they are needed.
    fn apply(&self, x: &Tensor, mode: &Mode, needed: bool) -> Result<Tensor> {
        if x.dim(D::Minus1)? != self.in_features() {
            bail!(
                "{}: input {:?} for {} features",
                self.name,
                x.shape(),
                self.in_features()
            );
        }
        let y = match self.trained.is_empty() {
            true => self.adapted(x, mode, needed)?,
            false => self.with_trained(x, mode, needed)?,
        };
        self.changed(x, y, mode)
    }

    /// The layer with its low-rank adapters.
    fn adapted(&self, x: &Tensor, mode: &Mode, needed: bool) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => self.low_rank(&x.contiguous()?, mode, needed),
            false => composed::forward(self, x, mode),
        }
    }

    /// The layer with its low-rank adapters and with what is trained on it.
    fn with_trained(&self, x: &Tensor, mode: &Mode, needed: bool) -> Result<Tensor> {
        let rows = x.reshape(((), self.in_features()))?.contiguous()?;
        let whole = match (self.trained.as_slice(), self.adapters.is_empty()) {
            ([only], true) => only.whole(self, &rows, mode)?,
            _ => None,
        };
        let y = match whole {
            Some(y) => y,
            None => {
                let mut y = self.adapted(&rows, mode, needed)?;
                for (number, trained) in self.trained.iter().enumerate() {
                    let number = self.adapters.len() + number;
                    y = (y + trained.added(self, &rows, number, mode, needed)?)?;
                }
                y
            }
        };
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.out_features();
        }
        y.reshape(shape)
    }

    /// The layer with its low-rank adapters, on the CPU.
    fn low_rank(&self, x: &Tensor, mode: &Mode, needed: bool) -> Result<Tensor> {
        let trained = self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op);
        let mut acting = self.acting(mode);
        let mut y = match trained {
            true => op::trainable(x, &self.weight.widened()?, self.bias.as_ref())?,
            false => match acting.next() {
                None => return op::frozen(x, &self.weight, self.bias.as_ref(), needed),
                Some((number, first)) => {
                    let base = Some((&self.weight, self.bias.as_ref()));
                    let mask = self.keep_mask(number, first.dropout, x, mode);
                    op::adapted(x, base, first, mask, needed)?
                }
            },
        };
        for (number, adapter) in acting {
            let mask = self.keep_mask(number, adapter.dropout, x, mode);
            y = (y + op::adapted(x, None, adapter, mask, needed)?)?;
        }
        Ok(y)
    }

    /// The low-rank adapters that act in this mode, with their numbers among all.
    fn acting(&self, mode: &Mode) -> impl Iterator<Item = (usize, &LoraWeights)> {
        let adapters = self.adapters.iter().enumerate();
        adapters
            .filter(|(_, limited)| mode.is_within(&limited.times))
            .map(|(number, limited)| (number, &limited.adapter))
    }

    /// `y` and what the changes add to it; those at strength 0 leave every bit as it is.
    fn changed(&self, x: &Tensor, y: Tensor, mode: &Mode) -> Result<Tensor> {
        let mut at_work = self
            .changes
            .iter()
            .filter(|attached| attached.change.strength != 0.0 && mode.is_within(&attached.times))
            .peekable();
        if at_work.peek().is_none() {
            return Ok(y);
        }
        let rows = x.reshape(((), self.in_features()))?.contiguous()?;
        let mut sum = y.reshape(((), self.out_features()))?;
        for attached in at_work {
            sum = (sum + attached.apply(&rows, |x| self.bare_product(x))?)?;
        }
        sum.reshape(y.shape())
    }

    /// Rows of `x W^T`, without bias and adapters.
    fn bare_product(&self, x: &Tensor) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => op::frozen(x, &self.weight, None, true),
            false => composed::frozen(x, &self.weight),
        }
    }

    /// Where the weight lies.
    fn device(&self) -> Device {
        self.weight.device()
    }

    /// Full name of the layer's tensors without `.weight`: what adapter files call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the input's last dimension.
    pub fn in_features(&self) -> usize {
        self.weight.in_features()
    }

    /// Size of the output's last dimension.
    pub fn out_features(&self) -> usize {
        self.weight.out_features()
    }

    /// The base weight in f32, `[out_features, in_features]`; a copy if it is kept in another precision.
    ///
    /// # Errors
    /// When candle fails.
    pub fn weight(&self) -> Result<Tensor> {
        self.weight.widened()
    }

    /// The base weight in four bits, if it is kept so on the CPU.
    pub fn four_bit(&self) -> Option<&Arc<FourBit>> {
        self.weight.as_four_bit()
    }

    /// Keeps the base weight in another precision from now on. Rounding it is not undone by going back.
    ///
    /// # Errors
    /// When the weight is a variable, or a value does not fit the precision.
    pub fn store(&mut self, precision: WeightPrecision) -> Result<()> {
        if self.weight.track_op() {
            bail!("{}: a weight that is trained stays in f32", self.name);
        }
        self.weight = Stored::new(self.weight.widened()?, precision)?;
        Ok(())
    }

    /// The base bias, `[out_features]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The adapters attached now.
    pub fn adapters(&self) -> impl ExactSizeIterator<Item = &LoraWeights> {
        self.adapters.iter().map(|limited| &limited.adapter)
    }

    /// Adds an adapter; several add up.
    ///
    /// # Errors
    /// When its shapes do not fit the layer, or its dropout is not in `[0, 1)`.
    pub fn attach(&mut self, adapter: LoraWeights) -> Result<()> {
        self.attach_during(adapter, TimeInterval::ALL)
    }

    /// The same for an adapter that acts at some times of a flow's way alone ([`Mode::Sampling`]).
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_during(&mut self, adapter: LoraWeights, times: TimeInterval) -> Result<()> {
        let (rank, in_features) = adapter.a.dims2()?;
        let (out_features, b_rank) = adapter.b.dims2()?;
        if (in_features, out_features, b_rank) != (self.in_features(), self.out_features(), rank) {
            bail!(
                "{}: adapter A {:?} and B {:?} for a layer of {} to {} features",
                self.name,
                adapter.a.shape(),
                adapter.b.shape(),
                self.in_features(),
                self.out_features()
            );
        }
        if !(0.0..1.0).contains(&adapter.dropout) || !adapter.scale.is_finite() {
            bail!(
                "{}: adapter with dropout {} and scale {}",
                self.name,
                adapter.dropout,
                adapter.scale
            );
        }
        self.adapters.push(Limited { adapter, times });
        Ok(())
    }

    /// Adds a change of the weight; low-rank adapters that are trained go to [`attach`](Self::attach). All changes are taken
    /// from the weight that the layer has now.
    ///
    /// # Errors
    /// When its shapes do not fit the layer.
    pub fn attach_change(&mut self, change: WeightChange) -> Result<()> {
        self.attach_change_during(change, TimeInterval::ALL)
    }

    /// The same for a change that acts at some times of a flow's way alone ([`Mode::Sampling`]).
    ///
    /// # Errors
    /// As [`attach_change`](Self::attach_change).
    pub fn attach_change_during(
        &mut self,
        change: WeightChange,
        times: TimeInterval,
    ) -> Result<()> {
        let dims = (self.out_features(), self.in_features());
        let attached = change::Attached::new(change, times, || self.weight.widened(), dims);
        match attached {
            Ok(attached) => self.changes.push(attached),
            Err(error) => bail!("{}: {error}", self.name),
        }
        Ok(())
    }

    /// The changes attached now.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = &WeightChange> {
        self.changes.iter().map(|attached| &attached.change)
    }

    /// Whether some of what is attached acts at one of these times of a flow's way and not at the other one.
    pub fn differs_between(&self, one: f32, other: f32) -> bool {
        // The same factors may be attached twice, for times that meet.
        let acting = |time: f32| -> Vec<_> {
            let acting = self
                .adapters
                .iter()
                .filter(|limited| limited.times.contains(time));
            let known_by = |limited: &Limited| {
                let LoraWeights { a, b, scale, .. } = &limited.adapter;
                (a.id(), b.id(), scale.to_bits())
            };
            acting.map(known_by).collect()
        };
        let changed = |attached: &change::Attached| {
            attached.times.contains(one) != attached.times.contains(other)
        };
        acting(one) != acting(other) || self.changes.iter().any(changed)
    }

    /// The times of everything finished that is attached.
    fn times(&self) -> impl Iterator<Item = &TimeInterval> {
        let adapters = self.adapters.iter().map(|limited| &limited.times);
        adapters.chain(self.changes.iter().map(|attached| &attached.times))
    }

    /// Adds a change that is trained: steps of the optimizer on its variables are seen by the next forward. As all changes
    /// it is taken from the weight that the layer had when the change was made, so keep that.
    ///
    /// # Errors
    /// When it was made for a layer of other sizes.
    pub fn attach_trained(&mut self, change: &TrainedChange) -> Result<()> {
        let (outputs, inputs) = change.dims()?;
        if (outputs, inputs) != (self.out_features(), self.in_features()) {
            bail!(
                "{}: a change for a layer of {inputs} to {outputs} features on one of {} to {}",
                self.name,
                self.in_features(),
                self.out_features()
            );
        }
        self.trained.push(change.clone());
        Ok(())
    }

    /// Removes every adapter; the layer is the base again.
    pub fn detach_all(&mut self) {
        self.trained.clear();
        self.adapters.clear();
        self.changes.clear();
    }

    /// Folds every adapter into the weight, which is then `W + sum of scale B A` and of the other changes, in f32. A new
    /// tensor: copies of this layer keep theirs.
    ///
    /// # Errors
    /// When an adapter acts at some times alone, which a weight cannot, or candle fails.
    pub fn merge(&mut self) -> Result<()> {
        if let Some(times) = self.times().find(|times| **times != TimeInterval::ALL) {
            bail!(
                "{}: an adapter that acts at the times {times} alone cannot be folded into a weight, which acts at all",
                self.name
            );
        }
        for trained in std::mem::take(&mut self.trained) {
            self.attach_change(trained.change()?)?;
        }
        if let Some(difference) = self.changes_difference()? {
            // What the changes add is taken from the weight before the adapters are folded into it.
            self.merge_low_rank()?;
            self.weight = Stored::Whole((self.weight.widened()? + difference)?);
            self.changes.clear();
            return Ok(());
        }
        self.merge_low_rank()
    }

    /// The sum of what the changes add to the weight.
    fn changes_difference(&self) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for change in self.changes() {
            let difference =
                (change.difference(&self.weight.widened()?.detach())? * change.strength)?;
            sum = Some(match sum {
                None => difference,
                Some(sum) => (sum + difference)?,
            });
        }
        Ok(sum)
    }

    fn merge_low_rank(&mut self) -> Result<()> {
        for Limited { adapter, .. } in self.adapters.drain(..) {
            let product = adapter.b.detach().matmul(&adapter.a.detach())?;
            let sum = (self.weight.widened()?.detach() + (product * adapter.scale)?)?;
            self.weight = Stored::Whole(sum);
        }
        Ok(())
    }

    fn keep_mask(&self, number: usize, dropout: f64, x: &Tensor, mode: &Mode) -> Option<Vec<u8>> {
        let stream = mode.dropout(&self.name)?;
        (dropout > 0.0).then(|| stream.at(number as u64).keep_mask(x.elem_count(), dropout))
    }
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Linear")
            .field("name", &self.name)
            .field("in_features", &self.in_features())
            .field("out_features", &self.out_features())
            .field("adapters", &self.adapters.len())
            .field("changes", &self.changes.len())
            .field("trained", &self.trained.len())
            .finish_non_exhaustive()
    }
}

/// A model whose linear layers can be listed, to attach adapters to them, merge or count them.
pub trait VisitLinears {
    /// Calls `visit` with every linear layer, always in the same order.
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut Linear));
}
