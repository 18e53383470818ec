//! Building blocks shared by voices and effects.

pub(crate) mod envelope;
pub(crate) mod filter;
pub(crate) mod noise;
pub(crate) mod sine;
pub(crate) mod wavetable;
