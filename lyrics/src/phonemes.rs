//! From letters to phonemes: English by espeak-ng, Chinese by a lexicon and a model of polyphones.

pub mod chinese;
pub mod english;
