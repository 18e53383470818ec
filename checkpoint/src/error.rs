//! Everything that can go wrong with a weight file, said with the file's name and what to do.

use std::io;
use std::path::PathBuf;

/// Why a weight file could not be read or converted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be opened or mapped (missing, no permission, a folder).
    #[error("{}: cannot be opened: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{origin}: is empty (0 bytes); download it again")]
    Empty {
        /// The file.
        origin: String,
    },
    /// The bytes are none of the formats known here, whatever the file's name says.
    #[error(
        "{origin}: holds no weights ({found}); expected safetensors, its index, or a file of torch.save or torch.jit.save; name such a file, or download it again"
    )]
    NotWeights {
        /// The file.
        origin: String,
        /// What the bytes look like.
        found: String,
    },
    /// The file ends before its contents do.
    #[error("{origin}: is cut short: {detail}; download or copy it again")]
    Truncated {
        /// The file.
        origin: String,
        /// What was expected and what is there.
        detail: String,
    },
    /// The format is right, the contents contradict themselves.
    #[error("{origin}: is damaged or forged: {detail}; download it again from a source you trust")]
    Damaged {
        /// The file.
        origin: String,
        /// What was met, and where.
        detail: String,
    },
    /// The file asks for code to be run.
    #[error(
        "{origin}: wants to call `{global}`, which no weights need; nothing was run. If you trust the file, \
         load it in Python and save its state dict alone"
    )]
    Refused {
        /// The file.
        origin: String,
        /// Module and name, as the pickle says them.
        global: String,
    },
    /// Legal in Python, not read here.
    #[error("{origin}: {what} is not supported; {remedy}")]
    Unsupported {
        /// The file.
        origin: String,
        /// What was met.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// More of something than any model has: the file is there to exhaust its reader.
    #[error(
        "{origin}: has more than {limit} {what}; such a file is not opened, get it from a source you trust"
    )]
    Excess {
        /// The file.
        origin: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// Two tensors have one name.
    #[error("{origin}: two tensors are named `{name}`; rename one of them where the file was made")]
    Duplicate {
        /// The file.
        origin: String,
        /// The name.
        name: String,
    },
    /// A tensor was asked for that the file does not hold.
    #[error("{origin}: has no tensor `{name}`{hint}; check that the file belongs to this model")]
    Missing {
        /// The file.
        origin: String,
        /// The name asked for.
        name: String,
        /// Names that are alike.
        hint: String,
    },
    /// The names are not those of the model.
    #[error("{origin}: holds no weights of {model}: {detail}; choose a checkpoint of that model")]
    OtherModel {
        /// The file.
        origin: String,
        /// The model looked for.
        model: &'static str,
        /// What was looked for and what is there.
        detail: String,
    },
    /// The bytes are not those that were expected.
    #[error("{origin}: its SHA-256 is {actual}, expected {expected}; download it again")]
    Hash {
        /// The file.
        origin: String,
        /// The hash asked for.
        expected: String,
        /// The hash of the bytes.
        actual: String,
    },
    /// A hash that was asked for is none.
    #[error(
        "`{text}` is no SHA-256: 64 hexadecimal digits are, with or without `sha256:` before them"
    )]
    NoHash {
        /// What was given.
        text: String,
    },
    /// The name is taken.
    #[error("{}: exists already; choose another name or ask for it to be overwritten", path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// The output would replace its own source.
    #[error("{}: is the file that is read; choose another name for the output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A value is too large for the wanted precision.
    #[error(
        "{origin}: `{name}` holds {value} at element {element}, which {precision} cannot hold; convert to {remedy} instead"
    )]
    Overflow {
        /// The file.
        origin: String,
        /// The tensor.
        name: String,
        /// The value.
        value: f64,
        /// Its place, row by row.
        element: u64,
        /// The precision asked for.
        precision: &'static str,
        /// One that holds it.
        remedy: &'static str,
    },
    /// A changed tensor holds a value that is no number or infinite.
    #[error(
        "{origin}: `{name}` would become {value} at element {element}, with which no model runs; make the change smaller, or choose another file"
    )]
    NotFinite {
        /// The file.
        origin: String,
        /// The tensor.
        name: String,
        /// The value.
        value: f64,
        /// Its place, row by row.
        element: u64,
    },
    /// [`Progress`](crate::Progress) asked for a stop; nothing was kept.
    #[error("stopped")]
    Stopped,
    /// Writing failed: disk full, no permission, a folder of that name.
    #[error("{}: cannot be written: {source}; check the folder, its permissions and the space left", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{}: reads back differently from what was written ({detail}); the disk may be failing, nothing was kept", path.display())]
    Unfaithful {
        /// The file that was to be written.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
}

/// What a parser met, before the file's name is put to it.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    Truncated(String),
    Damaged(String),
    Refused(String),
    Unsupported { what: String, remedy: String },
    Excess { what: &'static str, limit: u64 },
    Duplicate(String),
    NotWeights(String),
}

pub(crate) type Parsed<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn in_file(self, origin: &str) -> CheckpointError {
        let origin = origin.to_string();
        match self {
            Self::Truncated(detail) => CheckpointError::Truncated { origin, detail },
            Self::Damaged(detail) => CheckpointError::Damaged { origin, detail },
            Self::Refused(global) => CheckpointError::Refused { origin, global },
            Self::Unsupported { what, remedy } => CheckpointError::Unsupported {
                origin,
                what,
                remedy,
            },
            Self::Excess { what, limit } => CheckpointError::Excess {
                origin,
                what,
                limit,
            },
            Self::Duplicate(name) => CheckpointError::Duplicate { origin, name },
            Self::NotWeights(found) => CheckpointError::NotWeights { origin, found },
        }
    }

    /// Something that torch writes today when asked to save again.
    pub(crate) fn save_again(what: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            remedy: "load the file in Python and save its state dict with a current torch"
                .to_string(),
        }
    }
}

/// A [`Fault::Damaged`], for `ok_or_else` and `return Err`.
pub(crate) fn damaged(detail: impl Into<String>) -> Fault {
    Fault::Damaged(detail.into())
}

/// At most the first characters of a text from a file, without what a terminal would obey, so that no message is as long as its file.
#[must_use]
pub fn shorten(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 120;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}
