//! The parts of the screen.

mod adapters;
mod cards;
mod drops;
mod go;
mod header;
mod learn;
mod messages;
mod play;
mod recipe;
mod stage;

pub(crate) use cards::show as cards;
pub(crate) use drops::{DropSheet, show as drops};
pub(crate) use go::show as go;
pub(crate) use header::show as header;
pub(crate) use learn::{LearnSheet, show as learn};
pub(crate) use messages::{HEIGHT as BANNER_HEIGHT, show as messages};
pub(crate) use play::show as play;
pub(crate) use recipe::show as recipe;
pub(crate) use stage::show as stage;
