//! espeak-ng as a program beside this one: found at run time, never linked.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use super::Voice;
use crate::LyricsError;

/// The version that DiffRhythm's lyrics were spoken with.
pub const ESPEAK_VERSION: &str = "1.51";

const PROGRAM: &str = "espeak-ng";
/// Where the installer for Windows puts it, without touching PATH.
const WINDOWS_PROGRAM: &str = r"C:\Program Files\eSpeak NG\espeak-ng.exe";
/// American English in IPA from UTF-8, `_` between phonemes, silently.
const ARGUMENTS: [&str; 7] = ["-q", "-b", "1", "-v", "en-us", "--ipa", "--sep=_"];
/// A word that is put behind every chunk, so that lines too many for one and too few for another are not taken for each other's.
const SENTINEL: &str = "zebra";
/// The program reads lines from its input 1000 bytes at a time.
const MAX_LINE_BYTES: usize = 990;

/// The program espeak-ng.
#[derive(Debug)]
pub struct EspeakNg {
    program: PathBuf,
}

impl EspeakNg {
    /// Looks for the program: `program` if given, else what the variable `ESPEAK_NG` names, else `espeak-ng` on PATH.
    ///
    /// Another version than [`ESPEAK_VERSION`] gets a warning, since its phonemes may differ.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn find(program: Option<&Path>) -> Result<Self, LyricsError> {
        let named = program
            .map(PathBuf::from)
            .or_else(|| env::var_os("ESPEAK_NG").map(PathBuf::from));
        let mut program = named.clone().unwrap_or_else(|| PathBuf::from(PROGRAM));
        let mut answer = ask_version(&program);
        if answer.is_err() && named.is_none() && cfg!(windows) {
            program = PathBuf::from(WINDOWS_PROGRAM);
            answer = ask_version(&program);
        }
        let answer = answer.map_err(|source| LyricsError::EspeakMissing {
            program: program.clone(),
            source,
        })?;
        match version(&String::from_utf8_lossy(&answer.stdout)) {
            Some(ESPEAK_VERSION) => {}
            other => tracing::warn!(
                "{} is version {}, and DiffRhythm's lyrics were spoken by {ESPEAK_VERSION}; some words may get other phonemes",
                program.display(),
                other.unwrap_or("unknown")
            ),
        }
        Ok(Self { program })
    }

    /// What the program writes for one chunk, given as an argument: without a limit on its length.
    fn speak_one(&self, chunk: &str) -> Result<String, LyricsError> {
        let output = self.command().arg(chunk).stdin(Stdio::null()).output();
        self.text(output)
    }

    /// What the program writes for chunks, given as lines of its input, each with [`SENTINEL`] behind it.
    fn speak_lines(&self, chunks: &[&str]) -> Result<String, LyricsError> {
        // Words are read otherwise before a line's end than before a space and it.
        let input: String = chunks
            .iter()
            .flat_map(|chunk| [chunk, " \n", SENTINEL, " \n"])
            .collect();
        let output = self
            .command()
            .stdin(Stdio::piped())
            .spawn()
            .and_then(|child| feed(child, input.as_bytes()));
        self.text(output)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(ARGUMENTS)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn text(&self, output: io::Result<Output>) -> Result<String, LyricsError> {
        let failed = |detail| LyricsError::EspeakFailed {
            program: self.program.clone(),
            detail,
        };
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(
                format!("{} {}", output.status, said.trim())
                    .trim_end()
                    .to_owned(),
            ));
        }
        String::from_utf8(output.stdout).map_err(|_| failed("its output is not UTF-8".to_owned()))
    }
}

impl Voice for EspeakNg {
    fn speak(&mut self, chunks: &[String]) -> Result<Vec<String>, LyricsError> {
        let fits = |chunk: &&str| chunk.len() <= MAX_LINE_BYTES;
        let short: Vec<&str> = chunks.iter().map(String::as_str).filter(fits).collect();
        let output = if short.is_empty() {
            String::new()
        } else {
            self.speak_lines(&short)?
        };
        let Some(lines) = between_sentinels(&output, short.len()) else {
            return chunks.iter().map(|chunk| self.speak_one(chunk)).collect();
        };
        let mut lines = lines.into_iter();
        chunks
            .iter()
            .map(
                |chunk| match fits(&chunk.as_str()).then(|| lines.next()).flatten() {
                    Some(line) => Ok(line.to_owned()),
                    None => self.speak_one(chunk),
                },
            )
            .collect()
    }
}

/// The line of each chunk, if every one gave just one, which the sentinel's lines between them show. Where the program sees several
/// clauses in a chunk it writes more.
fn between_sentinels(output: &str, chunks: usize) -> Option<Vec<&str>> {
    let lines: Vec<&str> = output.lines().collect();
    let (pairs, rest) = lines.as_chunks::<2>();
    let sentinel = pairs.first()?[1];
    let holds = pairs.len() == chunks
        && rest.is_empty()
        && !sentinel.trim().is_empty()
        && pairs.iter().all(|pair| pair[1] == sentinel);
    holds.then(|| pairs.iter().map(|pair| pair[0]).collect())
}

fn ask_version(program: &Path) -> io::Result<Output> {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
}

/// `1.51` of `eSpeak NG text-to-speech: 1.51  Data at: /usr/lib/..`.
fn version(answer: &str) -> Option<&str> {
    answer
        .split_once("text-to-speech:")?
        .1
        .split_whitespace()
        .next()
}

/// Writes from a thread of its own, so that neither side waits for the other's full pipe.
fn feed(mut child: Child, input: &[u8]) -> io::Result<Output> {
    let Some(mut stdin) = child.stdin.take() else {
        return child.wait_with_output();
    };
    thread::scope(|scope| {
        // A program that ends early is judged by its status, not by the pipe it closed.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_says_how_to_install() {
        let error = EspeakNg::find(Some(Path::new("no-such-espeak")))
            .unwrap_err()
            .to_string();
        for part in [
            "no-such-espeak",
            "apt install espeak-ng",
            "brew install",
            "winget install",
            "ESPEAK_NG",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn lines_are_told_apart_by_what_is_between_them() {
        assert_eq!(
            between_sentinels("a\nz\n\nz\nb\nz\n", 3),
            Some(vec!["a", "", "b"])
        );
        // One chunk of two lines and one of none: as many lines as there should be.
        assert_eq!(between_sentinels("a\nb\nz\nz\n", 2), None);
        assert_eq!(between_sentinels("a\nz\nb\n", 2), None);
        assert_eq!(between_sentinels("", 1), None);
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            version("eSpeak NG text-to-speech: 1.51  Data at: /usr"),
            Some("1.51")
        );
        assert_eq!(version("something else"), None);
    }
}
