//! Counter-based randomness: every number is a function of the seed, a path of names and counters, and its position.
//!
//! Nothing advances behind the caller's back, so a run can be resumed, reordered or spread over threads without
//! changing a number: step 300 draws the same noise whether or not steps 0 to 299 ran before it.
//!
//! ```
//! use nn::Stream;
//! let noise = Stream::new(7).named("noise");
//! assert_eq!(noise.at(3).normal_vec(4), noise.at(3).normal_vec(4));
//! assert_ne!(noise.at(3).normal_vec(4), noise.at(4).normal_vec(4));
//! ```

use candle_core::{Device, Result, Shape, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Elements of a mask that one thread draws at a time; each piece has a counter of its own.
const MASK_PIECE: usize = 1 << 15;
/// Start of each lane of a key: the fractional parts of sqrt(2), sqrt(3), sqrt(5), sqrt(7).
const LANES: [u64; 4] = [
    0x6A09_E667_F3BC_C908,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
    0xA54F_F53A_5F1D_36F1,
];

/// A place in the tree of random numbers. Cheap to copy about; drawing from it does not change it, so the same stream
/// always gives the same numbers. Take [`named`](Self::named) and [`at`](Self::at) to reach others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u64; 4],
}

impl Stream {
    /// The root of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: LANES }.absorb(0, seed)
    }

    /// The stream below of that name.
    pub fn named(&self, name: &str) -> Self {
        let mut stream = self.absorb(1, name.len() as u64);
        for chunk in name.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            stream = stream.absorb(2, u64::from_le_bytes(word));
        }
        stream
    }

    /// The stream below with that number: a step, an item of a batch, a seed of several.
    pub fn at(&self, counter: u64) -> Self {
        self.absorb(3, counter)
    }

    /// Standard normal values, of any shape.
    ///
    /// # Errors
    /// When candle cannot place them on the device.
    pub fn normal(&self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        Tensor::from_vec(self.normal_vec(shape.elem_count()), shape, device)
    }

    /// Values spread evenly over `[0, 1)`, of any shape.
    ///
    /// # Errors
    /// When candle cannot place them on the device.
    pub fn uniform(&self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        Tensor::from_vec(self.uniform_vec(shape.elem_count()), shape, device)
    }

    /// Standard normal values.
    pub fn normal_vec(&self, count: usize) -> Vec<f32> {
        let mut generator = self.generator();
        (0..count)
            .map(|_| StandardNormal.sample(&mut generator))
            .collect()
    }

    /// Values spread evenly over `[0, 1)`, multiples of 2^-24.
    pub fn uniform_vec(&self, count: usize) -> Vec<f32> {
        let mut generator = self.generator();
        (0..count).map(|_| unit(&mut generator)).collect()
    }

    /// A number below `bound`; zero when the bound is zero or one.
    pub fn below(&self, bound: usize) -> usize {
        below(&mut self.generator(), bound)
    }

    /// Whether an event of that probability happens.
    pub fn chance(&self, probability: f64) -> bool {
        f64::from(unit(&mut self.generator())) < probability
    }

    /// Puts the items in a random order (Fisher and Yates).
    pub fn shuffle<T>(&self, items: &mut [T]) {
        let mut generator = self.generator();
        for end in (1..items.len()).rev() {
            items.swap(end, below(&mut generator, end + 1));
        }
    }

    /// For dropout: 1 where an element is kept, 0 where it is dropped. The probability is rounded to 1/65536.
    pub fn keep_mask(&self, count: usize, drop_probability: f64) -> Vec<u8> {
        let threshold = (drop_probability.clamp(0.0, 1.0) * 65536.0).round() as u32;
        let mut mask = vec![0u8; count];
        let pieces = mask.par_chunks_mut(MASK_PIECE).enumerate();
        pieces.for_each_init(Vec::new, |bytes, (number, piece)| {
            bytes.resize(2 * piece.len(), 0);
            self.at(number as u64).generator().fill_bytes(bytes);
            for (keep, &draw) in piece.iter_mut().zip(bytes.as_chunks().0) {
                *keep = u8::from(u32::from(u16::from_le_bytes(draw)) >= threshold);
            }
        });
        mask
    }

    fn generator(&self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        for (bytes, lane) in seed.as_chunks_mut().0.iter_mut().zip(self.key) {
            *bytes = lane.to_le_bytes();
        }
        ChaCha8Rng::from_seed(seed)
    }

    /// Mixes one word into the key; `kind` keeps names, counters and seeds apart.
    fn absorb(&self, kind: u64, word: u64) -> Self {
        let mut key = self.key;
        for (lane, start) in key.iter_mut().zip(LANES) {
            *lane = mix(mix(*lane ^ kind.wrapping_mul(start)) ^ word);
        }
        Self { key }
    }
}

/// The finaliser of SplitMix64, a bijection that spreads every bit.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn unit(generator: &mut ChaCha8Rng) -> f32 {
    (generator.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

/// The high half of a 128-bit product: its bias is below bound / 2^64.
fn below(generator: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(generator.next_u64()) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_of_calls_does_not_matter() {
        let stream = Stream::new(5).named("noise");
        let forward: Vec<_> = (0..4).map(|step| stream.at(step).normal_vec(3)).collect();
        let mut backward: Vec<_> = (0..4)
            .rev()
            .map(|step| stream.at(step).normal_vec(3))
            .collect();
        backward.reverse();
        assert_eq!(forward, backward);
    }

    #[test]
    fn normal_values_have_mean_zero_and_variance_one() {
        let values = Stream::new(1).normal_vec(100_000);
        let moment = |power: i32| {
            values
                .iter()
                .map(|&v| f64::from(v).powi(power))
                .sum::<f64>()
                / values.len() as f64
        };
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.1, "fourth moment {}", moment(4));
    }

    #[test]
    fn uniform_values_fill_the_unit_interval() {
        let values = Stream::new(1).uniform_vec(100_000);
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn masks_drop_the_asked_share_and_pieces_differ() {
        let mask = Stream::new(3).keep_mask(3 * MASK_PIECE + 5, 0.25);
        let kept = mask.iter().map(|&keep| f64::from(keep)).sum::<f64>() / mask.len() as f64;
        assert!((kept - 0.75).abs() < 0.005, "{kept}");
        assert_ne!(mask[..MASK_PIECE], mask[MASK_PIECE..2 * MASK_PIECE]);
        assert!(
            Stream::new(3)
                .keep_mask(100, 0.0)
                .iter()
                .all(|&keep| keep == 1)
        );
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Stream::new(9).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn names_do_not_run_together() {
        let root = Stream::new(1);
        let streams = [
            root.clone(),
            root.named(""),
            root.named("a"),
            root.named("a\0"),
            root.named("ab"),
            root.named("a").named("b"),
            root.named("b").named("a"),
            root.at(0),
            root.at(1),
            root.at(0).at(1),
            root.at(1).at(0),
            root.named("abcdefgh").named("i"),
            root.named("abcdefghi"),
            Stream::new(2),
        ];
        for (number, one) in streams.iter().enumerate() {
            for other in &streams[..number] {
                assert_ne!(one.uniform_vec(4), other.uniform_vec(4));
            }
        }
    }

    proptest! {
        #[test]
        fn different_places_give_different_numbers(seed: u64, name in "[a-z.]{0,20}", one: u64, other: u64) {
            let stream = Stream::new(seed).named(&name);
            prop_assert_eq!(stream.at(one).normal_vec(4), stream.clone().at(one).normal_vec(4));
            prop_assume!(one != other);
            prop_assert_ne!(stream.at(one).normal_vec(4), stream.at(other).normal_vec(4));
            prop_assert_ne!(stream.at(one).normal_vec(4), Stream::new(seed).named(&(name + "x")).at(one).normal_vec(4));
        }

        #[test]
        fn numbers_stay_below_their_bound(seed: u64, bound in 1usize..1000) {
            prop_assert!(Stream::new(seed).below(bound) < bound);
        }
    }
}
