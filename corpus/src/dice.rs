//! The one source of chance: every choice of a composer comes from a seeded stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded stream of choices.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `seed` for the purpose called `name`; different names give unrelated streams.
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        // FNV-1a keeps the mapping from names to streams stable across platforms and releases.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(ChaCha8Rng::seed_from_u64(
            hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ))
    }

    /// An independent stream seeded from this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::seed_from_u64(self.0.next_u64()))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// As [`Dice::range`], in single precision for patch parameters.
    pub(crate) fn range_f32(&mut self, low: f32, high: f32) -> f32 {
        self.range(f64::from(low), f64::from(high)) as f32
    }

    /// Uniform in the logarithm, for frequencies and times.
    pub(crate) fn log_range(&mut self, low: f32, high: f32) -> f32 {
        self.range(f64::from(low).ln(), f64::from(high).ln()).exp() as f32
    }

    /// Uniform in `0..count` (`0` for an empty range).
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// One of `items` with probabilities in proportion to the weights.
    pub(crate) fn weighted<T: Clone>(&mut self, items: &[(T, f64)]) -> T {
        let total: f64 = items.iter().map(|item| item.1).sum();
        let mut at = self.unit() * total;
        for (item, weight) in items {
            at -= weight;
            if at < 0.0 {
                return item.clone();
            }
        }
        items[items.len() - 1].0.clone()
    }

    /// Roughly normal with unit variance, never beyond 3.5.
    pub(crate) fn normal(&mut self) -> f64 {
        // Twelve uniforms would be exact to the fourth moment; four are enough for timing jitter.
        let sum: f64 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 3.0_f64.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_name() {
        assert_eq!(Dice::new("a", 1).bits(), Dice::new("a", 1).bits());
        assert_ne!(Dice::new("a", 1).bits(), Dice::new("b", 1).bits());
        assert_ne!(Dice::new("a", 1).bits(), Dice::new("a", 2).bits());
    }
}
