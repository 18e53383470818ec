//! Levels that move without clicks.

/// Rises from 0 to 1 with level ends, so that two of them, one rising and one falling, add up to 1.
fn smooth(at: u32, length: u32) -> f32 {
    let share = at as f32 / length as f32;
    share * share * (3.0 - 2.0 * share)
}

/// A level on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fade {
    from: f32,
    to: f32,
    at: u32,
    length: u32,
}

impl Fade {
    /// A level that stays.
    pub(super) fn steady(level: f32) -> Self {
        Self {
            from: level,
            to: level,
            at: 0,
            length: 0,
        }
    }

    /// From silence to full level.
    pub(super) fn rising(length: usize) -> Self {
        let mut fade = Self::steady(0.0);
        fade.move_to(1.0, length);
        fade
    }

    /// Goes to another level from where it is.
    pub(super) fn move_to(&mut self, level: f32, length: usize) {
        *self = Self {
            from: self.level(),
            to: level,
            at: 0,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
    }

    /// Of the next sample.
    pub(super) fn level(&self) -> f32 {
        if self.at >= self.length {
            self.to
        } else {
            self.from + (self.to - self.from) * smooth(self.at, self.length)
        }
    }

    /// Whether it is where it goes.
    pub(super) fn is_steady(&self) -> bool {
        self.at >= self.length
    }

    /// Whether nothing more is to come.
    pub(super) fn is_silent(&self) -> bool {
        self.is_steady() && self.to == 0.0
    }

    /// Multiplies both channels, and goes on.
    pub(super) fn apply(&mut self, channels: [&mut [f32]; 2]) {
        let [left, right] = channels;
        if self.is_steady() && self.to == 1.0 {
            return;
        }
        for (left, right) in left.iter_mut().zip(right) {
            let level = self.level();
            *left *= level;
            *right *= level;
            self.at = self.at.saturating_add(1).min(self.length);
        }
    }
}

/// What an abrupt change would have jumped by: it is added to the sound and fades away, so that the change begins where the sound was. Unlike
/// a fade-in it leaves an attack at the change as sharp as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Residue {
    value: [f32; 2],
    at: u32,
    length: u32,
}

impl Residue {
    fn level(&self) -> f32 {
        if self.at >= self.length {
            0.0
        } else {
            1.0 - smooth(self.at, self.length)
        }
    }

    /// One more jump to be evened out.
    pub(super) fn add(&mut self, jump: [f32; 2], length: usize) {
        if jump == [0.0; 2] {
            return;
        }
        let level = self.level();
        self.value = [0, 1].map(|channel| self.value[channel] * level + jump[channel]);
        self.at = 0;
        self.length = u32::try_from(length).unwrap_or(u32::MAX);
    }

    /// Adds it to both channels, and goes on.
    pub(super) fn apply(&mut self, channels: [&mut [f32]; 2]) {
        let [left, right] = channels;
        for (left, right) in left.iter_mut().zip(right) {
            if self.at >= self.length {
                return;
            }
            let level = self.level();
            *left += self.value[0] * level;
            *right += self.value[1] * level;
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossfade_adds_up_to_one() {
        let (mut rising, mut falling) = (Fade::rising(100), Fade::steady(1.0));
        falling.move_to(0.0, 100);
        let (mut up, mut down) = ([1.0; 120], [1.0; 120]);
        rising.apply([&mut up, &mut [1.0; 120]]);
        falling.apply([&mut down, &mut [1.0; 120]]);
        for (up, down) in up.iter().zip(&down) {
            assert!((up + down - 1.0).abs() < 1e-6);
        }
        assert_eq!((up[0], up[100], down[100]), (0.0, 1.0, 0.0));
        assert!(falling.is_silent());
    }

    #[test]
    fn a_residue_begins_whole_and_ends() {
        let mut residue = Residue::default();
        residue.add([0.5, -0.5], 10);
        let (mut left, mut right) = ([0.0; 20], [0.0; 20]);
        residue.apply([&mut left, &mut right]);
        assert_eq!(
            (left[0], right[0], left[10], right[19]),
            (0.5, -0.5, 0.0, 0.0)
        );
    }
}
