//! What the plugin and its engine say to each other, and where they meet.
//!
//! The plugin lives inside the host's process and must stay small and safe; models, adapters and training live in a process of their own
//! per user, `lorelei-engine`. The two speak JSON messages of bounded size over a local socket that only the user can open.
//!
//! - [`recipe`]: everything that makes a clip again.
//! - [`messages`]: what is said, in both directions.
//! - [`framing`]: a message on the wire.
//! - [`places`]: folders, the socket and the engine's program.
//! - [`socket`]: listening and connecting.
//! - [`client`]: the plugin's end, which starts the engine where none runs.

pub mod client;
mod error;
pub mod framing;
pub mod messages;
pub mod places;
pub mod recipe;
pub mod socket;

pub use client::Client;
pub use error::ProtocolError;
pub use messages::{
    AdapterInfo, BaseInfo, ClipFile, FromEngine, JobId, LearnRequest, Problem, ProblemKind,
    RunInfo, TagGroup, ToEngine,
};
pub use recipe::{AdapterUse, BaseChoice, Metre, Recipe, Source, SourceRole};

/// Version of the messages, and of the embedded base: a plugin must not be served by an engine with another one. Both ends must have the same; its number is part of the socket's name, so that two versions of the plugin in one
/// project each find an engine of their own.
pub const PROTOCOL_VERSION: u32 = 5;
