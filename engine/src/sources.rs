//! Sound that a recipe brings.

use std::path::Path;

use audio::AudioBuffer;
use protocol::{Problem, ProblemKind, Source};

use crate::adapters::Shelf;
use crate::problem::problem;

/// Longest source in seconds; a clip takes no more of it.
const MOST_SECS: f64 = 1_200.0;

/// The source's hash.
///
/// # Errors
/// When the file is gone or is another one.
pub(crate) fn resolve(source: &Source, shelf: &Shelf) -> Result<String, Problem> {
    let path = source.path.display();
    let found = shelf.sha256(&source.path).map_err(|error| {
        let text = format!(
            "the sound to begin with is missing ({}); bring it again",
            error.text
        );
        problem(ProblemKind::MissingFile, text)
    })?;
    match &source.sha256 {
        Some(expected) if *expected != found => Err(problem(
            ProblemKind::MissingFile,
            format!(
                "{path}: this sound has changed since the clip was made; bring the earlier one"
            ),
        )),
        _ => Ok(found),
    }
}

/// Its sound, stereo at this rate.
///
/// # Errors
/// When it is none, or too long.
pub(crate) fn read(path: &Path, sample_rate_hz: u32) -> Result<AudioBuffer, Problem> {
    let bad = |text: String| problem(ProblemKind::BadRequest, text);
    let mut stream =
        audio::StereoStream::open(path, sample_rate_hz).map_err(|error| bad(error.to_string()))?;
    let most = (MOST_SECS * f64::from(sample_rate_hz)) as usize;
    let mut channels = vec![Vec::new(); 2];
    while let Some(block) = stream
        .next_block()
        .map_err(|error| bad(error.to_string()))?
    {
        for (channel, plane) in channels.iter_mut().zip(block) {
            channel.extend(plane.iter().map(|&sample| sample as f32));
        }
        if channels[0].len() > most {
            return Err(bad(format!(
                "{}: a sound to begin with has at most {MOST_SECS} s",
                path.display()
            )));
        }
    }
    AudioBuffer::new(sample_rate_hz, channels).map_err(|error| bad(error.to_string()))
}
