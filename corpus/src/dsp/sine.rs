//! A sine by table, for oscillators that cannot use a recurrence.

use std::sync::LazyLock;

const SIZE: usize = 4096;

static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=SIZE)
        .map(|i| (std::f64::consts::TAU * i as f64 / SIZE as f64).sin() as f32)
        .collect()
});

/// The sine table, borrowed once per note.
#[derive(Clone, Copy)]
pub(crate) struct Sine(&'static [f32]);

impl Sine {
    pub(crate) fn new() -> Self {
        Self(&TABLE)
    }

    /// `sin(2 pi turns)`.
    #[inline]
    pub(crate) fn at(self, turns: f32) -> f32 {
        let position = (turns - turns.floor()) * SIZE as f32;
        let index = (position as usize).min(SIZE - 1);
        let fraction = position - index as f32;
        self.0[index] + fraction * (self.0[index + 1] - self.0[index])
    }
}
