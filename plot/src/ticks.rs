//! Round numbers for axes.

/// Round values (1, 2 or 5 times a power of ten) within `low..=high`, about `count` of them.
///
/// An empty or infinite range gives no ticks.
pub fn linear(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || count == 0 {
        return Vec::new();
    }
    let step = round_step(span / count as f64);
    let (first, last) = (
        (low / step - 1e-9).ceil() as i64,
        (high / step + 1e-9).floor() as i64,
    );
    (first..=last).map(|index| index as f64 * step).collect()
}

/// Powers of ten within `low..=high`, filled with 2 and 5 times them where fewer than three would be left.
pub fn logarithmic(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high > low && high.is_finite()) {
        return Vec::new();
    }
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let within = |factors: &[f64]| -> Vec<f64> {
        let all = decades
            .clone()
            .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        all.filter(|value| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(value))
            .collect()
    };
    let powers = within(&[1.0]);
    if powers.len() >= 3 {
        powers
    } else {
        within(&[1.0, 2.0, 5.0])
    }
}

/// A tick's label: as few digits as tell it from its neighbours `step` away, thousands as `k`.
pub fn label(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= 10_000.0 {
        let decimals = decimals_of(step / 1000.0);
        return format!("{:.decimals$}k", value / 1000.0);
    }
    if value.abs() < 1e-4 {
        let digits = value.abs().log10().floor() - step.abs().log10().floor();
        let digits = digits.clamp(0.0, 4.0) as usize;
        return format!("{value:.digits$e}");
    }
    let decimals = decimals_of(step);
    format!("{value:.decimals$}")
}

fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        ratio if ratio < 1.5 => 1.0,
        ratio if ratio < 3.5 => 2.0,
        ratio if ratio < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn decimals_of(step: f64) -> usize {
    (-step.abs().max(1e-12).log10() - 1e-6)
        .ceil()
        .clamp(0.0, 8.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_inside() {
        assert_eq!(linear(0.0, 6.0, 6), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(linear(0.03, 0.31, 3), [0.1, 0.2, 0.30000000000000004]);
        assert!(linear(1.0, 1.0, 4).is_empty());
        assert!(linear(f64::NAN, 1.0, 4).is_empty());
    }

    #[test]
    fn logarithmic_ticks() {
        assert_eq!(
            logarithmic(10.0, 600.0),
            [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
        );
        assert_eq!(logarithmic(10.0, 20_000.0), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!(logarithmic(0.0, 1.0).is_empty());
    }

    #[test]
    fn labels_carry_enough_digits() {
        assert_eq!(label(0.25, 0.05), "0.25");
        assert_eq!(label(20_000.0, 5000.0), "20k");
        assert_eq!(label(12_500.0, 500.0), "12.5k");
        assert_eq!(label(3.0, 1.0), "3");
        assert_eq!(label(0.0, 0.1), "0");
        assert_eq!(label(2e-5, 2e-5), "2e-5");
        assert_eq!(label(1.2e-5, 2e-6), "1.2e-5");
    }
}
