//! Colours for series and for heat maps.

/// An opaque sRGB colour: red, green, blue.
pub type Colour = [u8; 3];

pub(crate) const WHITE: Colour = [255, 255, 255];
pub(crate) const INK: Colour = [38, 38, 44];
pub(crate) const FAINT_INK: Colour = [112, 112, 120];
pub(crate) const GRID: Colour = [228, 228, 232];
pub(crate) const MISSING: Colour = [204, 204, 208];

/// Colours that series take before they repeat.
pub(crate) const PALETTE_SIZE: usize = 6;

/// Okabe and Ito, "Color Universal Design" (2008), without yellow (too faint on white) and black (the text's).
const SERIES: [Colour; PALETTE_SIZE] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
];

/// Key colours of matplotlib's "magma" map (CC0) at nine even steps; between them colours are interpolated.
const MAGMA: [Colour; 9] = [
    [0, 0, 4],
    [28, 16, 68],
    [79, 18, 123],
    [129, 37, 129],
    [181, 54, 122],
    [229, 80, 100],
    [251, 135, 97],
    [254, 194, 135],
    [252, 253, 191],
];

/// The colour of the series with this index; the palette repeats after six.
pub fn series_colour(index: usize) -> Colour {
    SERIES[index % SERIES.len()]
}

/// The colour of a value between 0 (dark) and 1 (light); values outside are clamped, NaN is grey.
pub fn magma(value: f64) -> Colour {
    if value.is_nan() {
        return MISSING;
    }
    let position = value.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f64;
    let below = (position as usize).min(MAGMA.len() - 2);
    mix(MAGMA[below], MAGMA[below + 1], position - below as f64)
}

/// `from` at weight 0, `to` at weight 1.
pub(crate) fn mix(from: Colour, to: Colour, weight: f64) -> Colour {
    let weight = weight.clamp(0.0, 1.0);
    std::array::from_fn(|channel| {
        let (a, b) = (f64::from(from[channel]), f64::from(to[channel]));
        (a + (b - a) * weight).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magma_grows_lighter_and_clamps() {
        let lightness = |c: Colour| {
            0.2126 * f64::from(c[0]) + 0.7152 * f64::from(c[1]) + 0.0722 * f64::from(c[2])
        };
        let levels: Vec<f64> = (0..=64)
            .map(|i| lightness(magma(f64::from(i) / 64.0)))
            .collect();
        assert!(
            levels.windows(2).all(|pair| pair[0] < pair[1]),
            "{levels:?}"
        );
        assert_eq!(magma(-3.0), magma(0.0));
        assert_eq!(magma(9.0), magma(1.0));
        assert_eq!(magma(f64::NAN), MISSING);
    }
}
