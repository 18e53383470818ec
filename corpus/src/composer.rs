//! From a style and a seed to a score: keys, harmony, form, parts.

pub(crate) mod accompaniment;
pub(crate) mod bass;
pub(crate) mod drums;
pub(crate) mod form;
pub(crate) mod harmony;
pub(crate) mod key;
pub(crate) mod melody;
pub(crate) mod sketch;
