//! Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): a part of a model keeps
//! only its inputs in the forward pass and runs again in the backward pass. Memory grows with one part instead of all,
//! time by one more forward pass; gradients are the same to the last bit.

use crate::known::Known;
use crate::mode::Mode;
use candle_core::backend::BackendStorage;
use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Storage, Tensor,
    Var, bail,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Gradients of the variables inside checkpointed parts, which candle's own backward pass does not see. Make one for
/// each step, and end the step with [`Checkpoints::backward`].
#[derive(Clone, Default)]
pub struct Checkpoints {
    gradients: Arc<Mutex<Option<GradStore>>>,
    /// Inside of a part that runs again; there are no further checkpoints there.
    recomputing: bool,
    /// Blocks from this one on keep all they need.
    blocks: Option<usize>,
}

impl Checkpoints {
    /// Only the first `blocks` blocks of a model run as checkpoints: memory between none and all.
    pub fn of_blocks(blocks: usize) -> Self {
        Self {
            blocks: Some(blocks),
            ..Self::default()
        }
    }

    pub(crate) fn includes(&self, block: usize) -> bool {
        self.blocks.is_none_or(|blocks| block < blocks)
    }

    pub(crate) fn recomputing() -> Self {
        Self {
            recomputing: true,
            ..Self::default()
        }
    }

    pub(crate) fn is_recomputing(&self) -> bool {
        self.recomputing
    }

    /// The gradients of a loss, with those of the checkpointed parts.
    ///
    /// # Errors
    /// When an operation's backward fails.
    pub fn backward(&self, loss: &Tensor) -> Result<GradStore> {
        let mut gradients = gradients_of_variables(loss)?;
        if let Some(inside) = self.lock().take() {
            gradients.extend(inside)?;
        }
        Ok(gradients)
    }

    fn add(&self, gradients: GradStore) -> Result<()> {
        let mut store = self.lock();
        match store.as_mut() {
            Some(store) => store.extend(gradients),
            None => {
                *store = Some(gradients);
                Ok(())
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<GradStore>> {
        self.gradients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Checkpoints")
    }
}

/// Runs a part of a model on one or two inputs, as a checkpoint if the mode asks for it. `work` must compute the same
/// from the same inputs each time it is called, which counted randomness makes easy; only its last layer may save itself
/// the second time, with [`Linear::forward_last`](crate::Linear::forward_last).
///
/// # Errors
/// What `work` returns, or when there are no inputs or more than two.
pub fn checkpointed(
    inputs: &[&Tensor],
    mode: &Mode,
    work: impl Fn(&[Tensor], &Mode) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !matches!(inputs.len(), 1 | 2) {
        bail!(
            "checkpoint: a part takes one or two inputs, not {}",
            inputs.len()
        );
    }
    let plain = mode.without_checkpoints();
    let Some(checkpoints) = mode.checkpoints() else {
        let inputs: Vec<Tensor> = inputs.iter().map(|&input| input.clone()).collect();
        return work(&inputs, &plain);
    };
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let result = work(&detached, &plain)?;
    let inside = result.track_op();
    let part = Part {
        checkpoints: checkpoints.clone(),
        mode: plain,
        work: Box::new(work),
        result: Known::new(&result),
    };
    drop(result);
    let tracked = inputs.iter().any(|input| input.track_op());
    if !tracked && !inside {
        return part.result.take();
    }
    // Candle goes backward only through what depends on a variable; the part's own variables are out of its sight.
    let first = match tracked {
        true => inputs[0].clone(),
        false => Var::from_tensor(&inputs[0].contiguous()?)?.into_inner(),
    };
    match inputs.get(1) {
        None => first.apply_op1(part),
        Some(second) => first.apply_op2(second, part),
    }
}

type Work = dyn Fn(&[Tensor], &Mode) -> Result<Tensor> + Send + Sync;

struct Part {
    checkpoints: Checkpoints,
    mode: Mode,
    work: Box<Work>,
    result: Known,
}

impl Part {
    /// Runs the part again, goes backward through it, and returns the gradients for its inputs.
    fn backward<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let mut leaves = Vec::with_capacity(N);
        for input in inputs {
            leaves.push(match input.track_op() {
                true => Var::from_tensor(&input.contiguous()?.detach())?.into_inner(),
                false => input.clone(),
            });
        }
        let result = (self.work)(&leaves, &self.mode.recomputing())?;
        let mut gradients = gradients_of_variables(&result.apply_op1(Seed(gradient.clone()))?)?;
        let for_inputs = std::array::from_fn(|index| {
            leaves[index]
                .is_variable()
                .then(|| gradients.remove(&leaves[index]))
                .flatten()
        });
        self.checkpoints.add(gradients)?;
        Ok(for_inputs)
    }
}

/// The gradients of variables alone, each by itself. What candle returns holds more: gradients of all constants that the graph was made of,
/// and behind those of variables the graph itself, so that every part of a step, and every checkpointed part that ran again, would stay in
/// memory until the step is done.
///
/// # Errors
/// When an operation's backward fails.
pub fn gradients_of_variables(loss: &Tensor) -> Result<GradStore> {
    let nodes = loss.sorted_nodes();
    let mut all = loss.backward()?;
    let mut own = GradStore::default();
    for variable in nodes.into_iter().filter(|node| node.is_variable()) {
        if let Some(gradient) = all.remove(variable) {
            own.insert(variable, gradient.detach());
        }
    }
    Ok(own)
}

/// A scalar whose gradient for its argument is the given one. A sum of products would do the same, but candle then keeps
/// the argument's whole graph in the store of gradients, as part of one for the constant factor.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn cuda_fwd(&self, argument: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let zero = Tensor::zeros((), self.0.dtype(), &Device::Cuda(argument.device().clone()))?;
        let (storage, layout) = zero.storage_and_layout();
        match storage.try_clone(layout)? {
            Storage::Cuda(storage) => Ok((storage, Shape::from(()))),
            _ => bail!("checkpoint: no scalar on the argument's device"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

impl CustomOp1 for Part {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.result.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.result.on_cuda()
    }

    fn bwd(&self, input: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [for_input] = self.backward([input], gradient)?;
        Ok(for_input)
    }
}

impl CustomOp2 for Part {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.result.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.result.on_cuda()
    }

    fn bwd(
        &self,
        first: &Tensor,
        second: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [for_first, for_second] = self.backward([first, second], gradient)?;
        Ok((for_first, for_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use testing::{device, pseudo_random, pseudo_random_on};

    fn training(checkpoints: Option<Checkpoints>) -> Mode {
        Mode::Training {
            dropout: Stream::new(3),
            checkpoints,
        }
    }

    /// Gradients of a chain of two parts that share a variable and a second input, with checkpoints and without.
    fn gradients(batch: usize, input_is_variable: bool, checkpoint: bool) -> Vec<Vec<f32>> {
        let tensor = |rows, seed| pseudo_random_on((rows, 4), seed, &device());
        let variable = |seed| Var::from_tensor(&tensor(4, seed)).unwrap();
        let (shared, first, second) = (variable(1), variable(2), variable(3));
        let context = Var::from_tensor(&tensor(batch, 4)).unwrap();
        let x = Var::from_tensor(&tensor(batch, 5)).unwrap();
        let input = match input_is_variable {
            true => x.as_tensor().clone(),
            false => x.as_detached_tensor(),
        };
        let checkpoints = Checkpoints::default();
        let mode = training(checkpoint.then(|| checkpoints.clone()));
        let mut y = input;
        for own in [&first, &second] {
            let (shared, own) = (shared.as_tensor().clone(), own.as_tensor().clone());
            y = checkpointed(&[&y, context.as_tensor()], &mode, move |inputs, _| {
                let mixed = (inputs[0].matmul(&shared)? + &inputs[1])?.tanh()?;
                mixed.matmul(&own)? + &inputs[0]
            })
            .unwrap();
        }
        let loss = y.sqr().unwrap().sum_all().unwrap();
        let store = checkpoints.backward(&loss).unwrap();
        let mut vars = vec![&shared, &first, &second, &context];
        vars.extend(input_is_variable.then_some(&x));
        let values = |var: &&Var| {
            let gradient = store.get(var).unwrap();
            gradient.flatten_all().unwrap().to_vec1().unwrap()
        };
        vars.iter().map(values).collect()
    }

    #[test]
    fn gradients_are_those_without_checkpoints() {
        for batch in [1, 2] {
            for input_is_variable in [false, true] {
                let plain = gradients(batch, input_is_variable, false);
                assert_eq!(plain, gradients(batch, input_is_variable, true));
            }
        }
    }

    #[test]
    fn without_variables_there_is_nothing_to_go_back_to() {
        let x = pseudo_random((2, 3), 1);
        let mode = training(Some(Checkpoints::default()));
        let y = checkpointed(&[&x], &mode, |inputs, _| inputs[0].sqr()).unwrap();
        assert!(!y.track_op());
        assert_eq!(
            y.to_vec2::<f32>().unwrap(),
            x.sqr().unwrap().to_vec2::<f32>().unwrap()
        );
    }

    /// A store that held the graph would keep every part of a step in memory.
    #[test]
    fn gradients_hold_no_graph_and_are_those_of_variables_alone() {
        let x = Var::from_tensor(&pseudo_random((2, 3), 1)).unwrap();
        let constant = pseudo_random((2, 3), 2);
        for checkpoints in [None, Some(Checkpoints::default())] {
            let mode = training(checkpoints.clone());
            let hidden = x.sqr().unwrap();
            let factor = constant.clone();
            let product = checkpointed(&[&hidden], &mode, move |inputs, _| &inputs[0] * &factor);
            let loss = product.unwrap().sum_all().unwrap();
            let store = checkpoints.unwrap_or_default().backward(&loss).unwrap();
            assert_eq!(store.get_ids().count(), 1);
            assert!(!store.get(&x).unwrap().track_op());
        }
    }

    #[test]
    fn a_failing_part_is_an_error() {
        let x = pseudo_random((2, 3), 1);
        let mode = training(Some(Checkpoints::default()));
        assert!(checkpointed(&[&x], &mode, |inputs, _| inputs[0].matmul(&inputs[0])).is_err());
        assert!(checkpointed(&[&x, &x, &x], &mode, |inputs, _| Ok(inputs[0].clone())).is_err());
    }
}
