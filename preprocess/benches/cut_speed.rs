//! How many times faster than real time recordings are cut: `cargo bench -p preprocess`.
//!
//! Makes two minutes of synthetic music as files of each format (FLAC and MP3 with `ffmpeg`,
//! where it is installed) and prints length over time for runs on two threads.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement, not a library"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use audio::{AudioBuffer, SampleFormat};
use preprocess::{Request, Settings, Silent, cut};

const FILES: usize = 4;
const SECS_PER_FILE: usize = 120;
const RUNS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("wav");
    std::fs::create_dir(&wav).unwrap();
    for number in 0..FILES {
        let path = wav.join(format!("song{number}.wav"));
        audio::write_wav(&path, &music(number), SampleFormat::I16).unwrap();
    }
    println!("{FILES} files of {SECS_PER_FILE} s, 44.1 kHz stereo, 2 threads, best of {RUNS}:");
    report("WAV", &wav, None);
    report("WAV", &wav, Some(-16.0));
    for (name, codec) in [
        ("FLAC", "flac"),
        ("MP3", "libmp3lame"),
        ("OGG", "libvorbis"),
        ("M4A", "aac"),
    ] {
        match convert(&wav, &folder.path().join(name), &name.to_lowercase(), codec) {
            Some(input) => {
                report(name, &input, None);
                report(name, &input, Some(-16.0));
            }
            None => println!("{name}: not measured (no ffmpeg with {codec})"),
        }
    }
}

/// Noise and tones with pauses: neither silent nor trivially packed.
fn music(seed: usize) -> AudioBuffer {
    let mut state = 1 + seed as u64;
    let mut channel = |frequency: f32| {
        (0..SECS_PER_FILE * 44_100)
            .map(|n| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let noise = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                let secs = n as f32 / 44_100.0;
                let loudness = if secs % 4.0 > 3.8 { 0.01 } else { 0.4 };
                loudness * ((secs * frequency * std::f32::consts::TAU).sin() + 0.2 * noise)
            })
            .collect()
    };
    AudioBuffer::new(44_100, vec![channel(220.0), channel(277.0)]).unwrap()
}

fn convert(input: &Path, output: &Path, extension: &str, codec: &str) -> Option<PathBuf> {
    std::fs::create_dir(output).unwrap();
    for number in 0..FILES {
        let status = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-i"])
            .arg(input.join(format!("song{number}.wav")))
            .args(["-c:a", codec])
            .arg(output.join(format!("song{number}.{extension}")))
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    Some(output.to_owned())
}

fn report(name: &str, input: &Path, loudness_lufs: Option<f64>) {
    let best = (0..RUNS)
        .map(|_| {
            let output = tempfile::tempdir().unwrap();
            let mut request = Request::new(input.to_owned(), output.path().join("pieces"));
            request.jobs = 2;
            request.settings = Settings {
                loudness_lufs,
                ..Settings::default()
            };
            let start = Instant::now();
            let report = cut(&request, &Silent, &AtomicBool::new(false)).unwrap();
            assert!(report.skipped.is_empty() && report.songs_cut == FILES);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    let what = loudness_lufs.map_or("loudness measured".to_owned(), |lufs| {
        format!("brought to {lufs} LUFS")
    });
    let times = (FILES * SECS_PER_FILE) as f64 / best;
    println!("{name}, {what}: {times:.0} times real time");
}
