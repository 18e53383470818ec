//! What can go wrong between plugin and engine.

use std::path::PathBuf;

/// A problem in words a musician can act on.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The connection is gone.
    #[error("the connection to the engine is lost: {0}")]
    Connection(#[from] std::io::Error),
    /// A message that is larger than any honest one.
    #[error("a message of {bytes} bytes is larger than the {most} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// Bytes that are no message.
    #[error("a message cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// No engine's program is where one is looked for.
    #[error("lorelei-engine is not installed; it was looked for at {}. Put it beside the plugin, or install Lorelei again", listed(.looked))]
    NoEngine {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The engine's program does not start, or ends at once.
    #[error("{}: the engine did not start: {problem}", path.display())]
    EngineStart {
        /// The program.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
    /// The engine speaks another version.
    #[error("the engine that runs does not fit this plugin: {0}")]
    Refused(String),
    /// No folder of the user's own can be found or made.
    #[error("{}: the folder cannot be used: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The recipe asks for what no engine makes.
    #[error("{0}")]
    Recipe(String),
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}
