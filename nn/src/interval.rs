//! Stretches of a flow's time, from 0 (noise) to 1 (data), in which a finished adapter acts.

use candle_core::{Result, bail};

/// From one time up to another one. The end does not belong to it, so that what is cut in two acts once everywhere; 1 does,
/// as nothing follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeInterval {
    from: f32,
    to: f32,
}

impl TimeInterval {
    /// All the way.
    pub const ALL: Self = Self { from: 0.0, to: 1.0 };

    /// From `from` up to `to`; none of the way if they are equal.
    ///
    /// # Errors
    /// When they are not in order between 0 and 1.
    pub fn new(from: f32, to: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&from) || !(from..=1.0).contains(&to) {
            bail!(
                "times {from} to {to}: they go from 0 (noise) to 1 (data), the smaller one first"
            );
        }
        Ok(Self { from, to })
    }

    /// Where it begins.
    #[must_use]
    pub fn from(&self) -> f32 {
        self.from
    }

    /// Where it ends.
    #[must_use]
    pub fn to(&self) -> f32 {
        self.to
    }

    /// Whether a time belongs to it.
    #[must_use]
    pub fn contains(&self, time: f32) -> bool {
        let is_last = self.to == 1.0 && time >= 1.0 && self.from < 1.0;
        *self == Self::ALL || time >= self.from && (time < self.to || is_last)
    }
}

impl Default for TimeInterval {
    fn default() -> Self {
        Self::ALL
    }
}

impl std::fmt::Display for TimeInterval {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_way_once_and_an_empty_one_nothing() {
        let interval = |from, to| TimeInterval::new(from, to).unwrap();
        for step in 0..=20u8 {
            let time = f32::from(step) / 20.0;
            for middle in [0.0, 0.3, 0.35, 1.0] {
                let first = interval(0.0, middle).contains(time);
                let second = interval(middle, 1.0).contains(time);
                assert!(first != second, "{time} {middle}");
                assert!(!interval(middle, middle).contains(time), "{time} {middle}");
            }
            assert!(TimeInterval::ALL.contains(time));
        }
    }

    #[test]
    fn times_out_of_order_are_errors() {
        for (from, to) in [
            (0.5, 0.4),
            (-0.1, 1.0),
            (0.0, 1.1),
            (f32::NAN, 1.0),
            (0.0, f32::NAN),
        ] {
            assert!(TimeInterval::new(from, to).is_err(), "{from} {to}");
        }
    }
}
