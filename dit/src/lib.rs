//! The DiffRhythm diffusion transformer and its flow
