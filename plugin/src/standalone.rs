//! What the plugin without a DAW is started with, and its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static IS_THIS_PROGRAM: AtomicBool = AtomicBool::new(false);

/// Says that this program is the plugin without a DAW.
pub fn begin() {
    IS_THIS_PROGRAM.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub(crate) fn is_this_program() -> bool {
    IS_THIS_PROGRAM.load(Ordering::Relaxed)
}

/// How long the frame around the plugin may take to end after its window; without anything in its way it takes a tenth of a second.
const ENDING_PATIENCE: Duration = Duration::from_secs(3);

/// The window is closed: the program ends, in time. JACK's library answers one request of a client at a time, and the frame makes two when it ends: its audio
/// thread takes its leave while another thread takes the client from the server. If both ask at once, both wait for ever. Server and engine forget clients
/// that are gone.
pub(crate) fn end_in_time(is_well: bool) {
    if !is_this_program() {
        return;
    }
    std::thread::spawn(move || {
        std::thread::sleep(ENDING_PATIENCE);
        std::process::exit(i32::from(!is_well));
    });
}

/// What a JACK server decides for all its clients.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Frames a second.
    pub sample_rate_hz: u32,
    /// Frames of a block.
    pub period_frames: u32,
}

/// The arguments with the JACK server's rate and period, if one is to be played on: the frame around the plugin would prepare it for 48 kHz and
/// 512 frames, whatever the server has.
#[must_use]
pub fn arguments(mut given: Vec<String>, server: impl Fn() -> Option<Server>) -> Vec<String> {
    let backend = value_of(&given, "--backend", "-b").unwrap_or("auto");
    if !matches!(backend, "auto" | "jack") {
        return given;
    }
    if let Some(server) = server() {
        for (long, short) in [("--sample-rate", "-r"), ("--period-size", "-p")] {
            remove(&mut given, long, short);
        }
        given.push(format!("--sample-rate={}", server.sample_rate_hz));
        given.push(format!("--period-size={}", server.period_frames));
    }
    given
}

/// The value of an option, written `--long VALUE`, `--long=VALUE`, `-s VALUE` or `-sVALUE`.
fn value_of<'a>(given: &'a [String], long: &str, short: &str) -> Option<&'a str> {
    let place = given.iter().position(|word| is_option(word, long, short))?;
    match attached(&given[place], long, short) {
        Some(value) => Some(value),
        None => given.get(place + 1).map(String::as_str),
    }
}

/// Takes an option and its value out.
fn remove(given: &mut Vec<String>, long: &str, short: &str) {
    while let Some(place) = given.iter().position(|word| is_option(word, long, short)) {
        let words = match attached(&given[place], long, short) {
            Some(_) => 1,
            None => 2,
        };
        given.drain(place..(place + words).min(given.len()));
    }
}

fn is_option(word: &str, long: &str, short: &str) -> bool {
    word == long || word == short || attached(word, long, short).is_some()
}

/// The value that is part of an option's own word.
fn attached<'a>(word: &'a str, long: &str, short: &str) -> Option<&'a str> {
    if let Some(rest) = word.strip_prefix(long) {
        return rest.strip_prefix('=');
    }
    let rest = word.strip_prefix(short)?;
    (!rest.is_empty() && !word.starts_with("--")).then(|| rest.strip_prefix('=').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn at_44_100() -> Option<Server> {
        Some(Server {
            sample_rate_hz: 44_100,
            period_frames: 1024,
        })
    }

    #[test]
    fn a_jack_server_decides() {
        let end = "--sample-rate=44100 --period-size=1024";
        for (given, kept) in [
            ("lorelei", "lorelei"),
            ("lorelei --backend jack -r 48000", "lorelei --backend jack"),
            (
                "lorelei -bjack --sample-rate=8 -p64 --tempo 90",
                "lorelei -bjack --tempo 90",
            ),
        ] {
            let expected = words(&format!("{kept} {end}"));
            assert_eq!(arguments(words(given), at_44_100), expected, "{given}");
        }
    }

    #[test]
    fn without_jack_all_stays() {
        for given in ["lorelei -b alsa -r 96000", "lorelei --backend=dummy"] {
            assert_eq!(arguments(words(given), at_44_100), words(given));
        }
        assert_eq!(
            arguments(words("lorelei -r 8000"), || None),
            words("lorelei -r 8000")
        );
    }
}
