//! A batch in shares that are computed side by side: one share on each core needs no waiting between layers, which small
//! models otherwise spend a third of their time on.

use candle_core::Device;
use candle_core::backprop::GradStore;
use rayon::prelude::*;
use std::ops::Range;

/// Items of a share at most. A constant, not the number of cores: a batch draws the same dropout masks on any machine.
const ITEMS_MAX: usize = 4;

/// Cuts a batch into shares of nearly equal size, none above `most` items.
fn shares(items: usize, most: usize) -> Vec<Range<usize>> {
    let count = items.div_ceil(most);
    (0..count)
        .map(|share| share * items / count..(share + 1) * items / count)
        .collect()
}

/// Losses and gradients of all shares, added up in their order; on other devices than the CPU the batch is one share. `work` is given a share's number and its items, and
/// returns its part of the batch's loss: weigh it by what the share holds of the batch.
///
/// # Errors
/// What `work` returns, or when gradients cannot be added.
pub fn gradients_in_shares<E: From<candle_core::Error> + Send>(
    items: usize,
    device: &Device,
    work: impl Fn(usize, Range<usize>) -> Result<(f64, GradStore), E> + Sync,
) -> Result<(f64, Option<GradStore>), E> {
    let most = if device.is_cpu() {
        ITEMS_MAX
    } else {
        items.max(1)
    };
    let results: Vec<_> = shares(items, most)
        .into_par_iter()
        .enumerate()
        .map(|(number, share)| work(number, share))
        .collect();
    let mut sum: (f64, Option<GradStore>) = (0.0, None);
    for result in results {
        let (loss, gradients) = result?;
        sum.0 += loss;
        match &mut sum.1 {
            None => sum.1 = Some(gradients),
            Some(all) => all.extend(gradients)?,
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Result, Var};
    use testing::{assert_close, pseudo_random};

    #[test]
    fn shares_cover_a_batch_once() {
        for items in 0..40 {
            let shares = shares(items, ITEMS_MAX);
            let joined: Vec<usize> = shares.iter().cloned().flatten().collect();
            assert_eq!(joined, (0..items).collect::<Vec<_>>());
            assert!(
                shares
                    .iter()
                    .all(|share| (1..=ITEMS_MAX).contains(&share.len()))
            );
        }
    }

    #[test]
    fn gradients_are_those_of_the_whole_batch() {
        let weight = Var::from_tensor(&pseudo_random((3, 3), 1)).unwrap();
        let x = pseudo_random((10, 3), 2);
        let loss_of = |items: Range<usize>| {
            let x = x.narrow(0, items.start, items.len())?;
            x.matmul(&weight)?.sqr()?.sum_all()
        };
        let whole = loss_of(0..10).unwrap();
        let expected = whole.backward().unwrap();
        let (loss, gradients) = gradients_in_shares(10, &Device::Cpu, |_, items| -> Result<_> {
            let loss = loss_of(items)?;
            Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
        })
        .unwrap();
        assert!((loss - f64::from(whole.to_scalar::<f32>().unwrap())).abs() < 1e-5);
        let found = gradients.unwrap();
        assert_close(
            "gradient",
            found.get(&weight).unwrap(),
            expected.get(&weight).unwrap(),
            1e-6,
        );
    }

    #[test]
    fn a_failing_share_fails_the_batch() {
        let result = gradients_in_shares(10, &Device::Cpu, |number, _| match number {
            1 => candle_core::bail!("broken"),
            _ => Ok((1.0, pseudo_random(1, 1).sum_all()?.backward()?)),
        });
        assert!(result.is_err());
    }
}
