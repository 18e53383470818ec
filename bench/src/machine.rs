//! What the machine itself can do: the floor under every other job.

use anyhow::Result;
use candle_core::Tensor;
use rayon::prelude::*;
use testing::pseudo_random;

use crate::Run;

const SIZE: usize = 2048;
/// Far more than any cache holds.
const COPIED_VALUES: usize = 64 << 20;

/// Of square matrices, by the same library that every layer uses.
pub(crate) fn matrix_product() -> Result<Run> {
    let (left, right): (Tensor, Tensor) = (
        pseudo_random((SIZE, SIZE), 1),
        pseudo_random((SIZE, SIZE), 2),
    );
    let run = Run::new(move || {
        left.matmul(&right)?;
        Ok(())
    });
    Ok(run.costing(2.0 * (SIZE as f64).powi(3)))
}

/// Counts what is read and what is written.
pub(crate) fn memory_copy() -> Result<Run> {
    let source = vec![1f32; COPIED_VALUES];
    let mut target = vec![0f32; COPIED_VALUES];
    let run = Run::new(move || {
        let pieces = target
            .par_chunks_mut(1 << 20)
            .zip(source.par_chunks(1 << 20));
        pieces.for_each(|(target, source)| target.copy_from_slice(source));
        Ok(())
    });
    Ok(Run {
        bytes: (2 * COPIED_VALUES * size_of::<f32>()) as f64,
        ..run
    })
}
