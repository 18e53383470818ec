//! The engine: one process per user that makes clips and trains adapters for all plugins of that user.
//!
//! ```text
//! server   accepts, ends when idle or asked
//!   client   one reader and one writer thread for each plugin  <-> protocol
//!     hub      what all threads share: clients, queues, jobs at work
//!       queue    whose turn it is
//!   making   one thread: recipe -> clip       (bases, adapters, sources, clips)
//!   learning one thread: recordings -> adapter
//! ```
//!
//! A clip is made by `lora::generate::bars`, by which `lora-infer --bars` makes it too; a run is `lora::train`'s, as `lora-train`'s is. What
//! is here is order: whose job is next, what is kept, what is told to whom. A job that panics is told as failed, and the engine goes on.

mod adapters;
mod bases;
mod client;
mod clips;
mod flac;
mod folder_cache;
mod hub;
mod inputs;
mod learning;
mod log;
mod making;
mod memory;
mod outbox;
mod problem;
mod progress;
mod queue;
mod runs;
mod server;
mod sources;

pub use making::{Asked, make_clip};
pub use server::{Options, run};

/// The engine's version, as recipes have it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
