//! Where the loop is, for the editor.

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by the audio thread, read by anyone.
#[derive(Debug)]
pub struct PlayingPosition(AtomicU64);

impl Default for PlayingPosition {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NOTHING))
    }
}

impl PlayingPosition {
    const NOTHING: u64 = u64::MAX;

    /// The slot that sounds, and the share of its loop that is behind, from 0 to 1; nothing while no loop plays.
    pub fn get(&self) -> Option<(usize, f32)> {
        let packed = self.0.load(Ordering::Relaxed);
        let share = f32::from_bits(packed as u32);
        (packed != Self::NOTHING && share.is_finite())
            .then(|| ((packed >> 32) as usize, share.clamp(0.0, 1.0)))
    }

    /// This slot's loop sounds, with this share behind, or nothing does.
    pub fn set(&self, playing: Option<(usize, f32)>) {
        let packed = playing.map_or(Self::NOTHING, |(slot, share)| {
            (slot as u64) << 32 | u64::from(share.to_bits())
        });
        self.0.store(packed, Ordering::Relaxed);
    }
}
