//! Loops compiled for the vector instructions the machine has, chosen when the program runs.

/// Runs `work` compiled for the widest vector instructions that the machine has.
///
/// The closure's loops are vectorised by the compiler; everything it calls must be `#[inline(always)]`, else the
/// callee is compiled for the baseline instructions.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Elements of a row that one thread takes at least: below, handing work over costs more than it saves.
pub(crate) const PARALLEL_MIN: usize = 16 * 1024;

/// e^x to 2 units in the last place, in a form that vectorises.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, a degree-6 polynomial for `e^r` (Cephes `expf`), and `n` added to the
/// exponent bits. Inputs beyond ±87 saturate, so the result is never infinite nor subnormal.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first exact in few bits, so that n * LN2_HIGH has no rounding error.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let whole = (x * LOG2_E + ROUND) - ROUND;
    let rest = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let mut series = 1.987_569_2e-4;
    series = series * rest + 1.398_2e-3;
    series = series * rest + 8.333_452e-3;
    series = series * rest + 4.166_579_6e-2;
    series = series * rest + 1.666_666_5e-1;
    series = series * rest + 5e-1;
    let fraction = series * rest * rest + rest + 1.0;
    let power = f32::from_bits(((whole as i32 + 127) as u32) << 23);
    fraction * power
}

/// The logistic function.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function to about 4 units in the last place: an odd rational function on `[-4, 4]`, where it reaches ±1.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = -2.726_142e-10;
    above = above * square + 2.770_681_4e-8;
    above = above * square - 2.101_024e-6;
    above = above * square - 5.692_506_5e-5;
    above = above * square - 7.349_906_3e-4;
    above = above * square - 2.954_6e-3;
    above = above * square - 1.609_603_3e-2;
    let mut below = -1.456_607_2e-5;
    below = below * square - 2.133_740_6e-4;
    below = below * square - 1.682_827e-3;
    below = below * square - 7.373_329_2e-3;
    below = below * square - 1.426_473_9e-2;
    x * above / below
}

/// Sum of a slice in eight lanes: vectorises, and is more exact than one running sum.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    sum_by(values, |value| value)
}

/// Sum of `map(value)` in lanes.
#[inline(always)]
pub(crate) fn sum_by(values: &[f32], map: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&value| map(value)).sum();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += map(value);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Sum of products in lanes; the slices have equal lengths.
#[inline(always)]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left_chunks
        .remainder()
        .iter()
        .zip(right_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in left_chunks.zip(right_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Largest value in lanes; negative infinity for an empty slice.
#[inline(always)]
pub(crate) fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let rest = chunks
        .remainder()
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

/// Two 256-bit registers: enough independent sums to hide an addition's latency.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_matches_the_standard_library() {
        for step in -8700..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(relative < 3e-7, "exp({x}) off by {relative:.1e}");
        }
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
    }

    #[test]
    fn erf_matches_its_series() {
        for step in -500..=500 {
            let x = f64::from(step) / 100.0;
            let (mut term, mut series) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                series += term / f64::from(2 * n + 1);
            }
            let exact = series * 2.0 / std::f64::consts::PI.sqrt();
            let difference = (f64::from(erf(x as f32)) - exact).abs();
            assert!(difference < 5e-7, "erf({x}) off by {difference:.1e}");
        }
    }

    #[test]
    fn lanes_and_remainder_add_up() {
        for length in [0, 1, 15, 16, 17, 50] {
            let values: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let total = (0..length).sum::<usize>() as f32;
            assert_eq!(sum(&values), total);
            assert_eq!(dot(&values, &vec![2.0; length]), 2.0 * total);
            assert_eq!(
                maximum(&values),
                if length == 0 {
                    f32::NEG_INFINITY
                } else {
                    (length - 1) as f32
                }
            );
        }
    }
}
