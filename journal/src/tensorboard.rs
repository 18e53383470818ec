//! Event files as TensorBoard reads them, derived from the records.
//!
//! A file is a sequence of framed protobuf messages (`Event`, `Summary` and what they hold, from TensorFlow's `event.proto` and
//! `summary.proto`). The crates that write such files have not been kept for years and know no sound; what is needed here is little.

mod event;
mod framing;
mod log;
mod protobuf;
mod summary;

pub(crate) use log::EventLog;
