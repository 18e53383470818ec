//! Errors as a musician reads them, and by kind.

use std::path::Path;

use lora::LoraError;
use protocol::{Problem, ProblemKind};

/// Longest text of a problem in bytes: what a stranger wrote may be a part of it.
const MOST_TEXT_BYTES: usize = 2_000;

/// A problem of this kind.
pub(crate) fn problem(kind: ProblemKind, text: impl Into<String>) -> Problem {
    let mut text = text.into();
    if text.len() > MOST_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MOST_TEXT_BYTES));
        text.push_str(" ...");
    }
    Problem { kind, text }
}

/// What a job came to.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// It was asked to stop.
    Stopped,
    /// It failed.
    Failed(Problem),
}

impl From<Problem> for Ending {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl From<LoraError> for Ending {
    fn from(error: LoraError) -> Self {
        match error {
            LoraError::Stopped => Self::Stopped,
            error => Self::Failed(of_lora(&error)),
        }
    }
}

/// An error of making or training.
pub(crate) fn of_lora(error: &LoraError) -> Problem {
    let kind = match error {
        LoraError::OtherBase { .. } | LoraError::DoesNotFit { .. } => ProblemKind::WrongBase,
        LoraError::UnknownTag { .. }
        | LoraError::Setting { .. }
        | LoraError::NoSound { .. }
        | LoraError::Data { .. }
        | LoraError::Audio(_) => ProblemKind::BadRequest,
        LoraError::NotFetched { .. } => ProblemKind::MissingFile,
        LoraError::File { source, .. } => of_io(source),
        _ => ProblemKind::Internal,
    };
    let text = match error {
        // No flags here.
        LoraError::UnknownTag { tag, nearest, .. } => {
            format!("unknown tag \"{tag}\"; nearest: {nearest}")
        }
        LoraError::NoSound { .. } => {
            "no sound was made, because the numbers grew beyond all bounds; lower the adapters' strengths or the guidance".to_owned()
        }
        LoraError::Setting { setting, value, expected } => format!("{setting} {value}: {expected}"),
        error => chain(error),
    };
    problem(kind, text)
}

/// An error of the file system.
pub(crate) fn of_file(path: &Path, error: &std::io::Error) -> Problem {
    problem(of_io(error), format!("{}: {error}", path.display()))
}

/// A file that cannot be written.
pub(crate) fn of_writing(path: &Path, error: &std::io::Error) -> Problem {
    let text = format!(
        "{} cannot be written: {error}; make room on the disk or check the folder",
        path.display()
    );
    problem(ProblemKind::Disk, text)
}

fn of_io(error: &std::io::Error) -> ProblemKind {
    match error.kind() {
        std::io::ErrorKind::NotFound => ProblemKind::MissingFile,
        _ => ProblemKind::Disk,
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_told_in_part() {
        let told = problem(ProblemKind::BadRequest, "ä".repeat(1 << 20));
        assert_eq!(told.text.len(), MOST_TEXT_BYTES + 4);
        let short = problem(ProblemKind::BadRequest, "lofy is no tag");
        assert_eq!(short.text, "lofy is no tag");
    }
}
