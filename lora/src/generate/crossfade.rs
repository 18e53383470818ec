//! One form of a sound that goes over into another.

use std::f64::consts::FRAC_PI_2;

/// Gains of the form that ends and of the one that begins, at a share from 0 to 1 of the way: of equal power for sounds of that likeness.
pub(super) fn gains(share: f64, likeness: f64) -> (f64, f64) {
    let angle = share * FRAC_PI_2;
    let power = (1.0 + likeness * (2.0 * angle).sin()).sqrt();
    (angle.cos() / power, angle.sin() / power)
}

/// Correlation of two forms of a stretch, sample by sample, not below -0.5.
pub(super) fn likeness(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (mut product, mut first, mut second) = (0.0, 0.0, 0.0);
    for (one, other) in pairs {
        let (one, other) = (f64::from(one), f64::from(other));
        product += one * other;
        first += one * one;
        second += other * other;
    }
    let scale = (first * second).sqrt();
    match scale > 0.0 {
        true => (product / scale).clamp(-0.5, 1.0),
        false => 0.0,
    }
}
