//! What is learnt about a whole recording while it passes once.
//!
//! Analyses see every stereo block once and share one decoding where they can. A further analysis
//! (beats, key) is a further implementation in this folder.

pub(crate) mod energy;
pub(crate) mod loudness;

/// Looks at a whole recording block by block.
pub(crate) trait Analysis {
    /// What is known at the end.
    type Outcome;

    /// Takes the next frames, left and right.
    fn block(&mut self, stereo: [&[f64]; 2]) -> Result<(), audio::AudioError>;

    /// Ends the recording.
    fn finish(self) -> Self::Outcome;
}
