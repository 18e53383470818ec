//! Whether what a score says of tempo, beats and key can be heard in its piece: a base model learns them from sound.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stdout,
    reason = "figures for docs/base.md, by --nocapture"
)]

use std::f32::consts::TAU;

use corpus::{Options, Score, Sound, Style, compose, render};

const RATE_HZ: u32 = 44_100;
const SHORT: Options = Options {
    duration_secs: 12.0,
};
const HOP: usize = 441;
const HOP_SECS: f64 = HOP as f64 / RATE_HZ as f64;

fn all() -> impl Iterator<Item = Style> {
    Style::base().iter().chain(Style::held_out()).copied()
}

fn mono(score: &Score) -> Vec<f32> {
    let piece = render(score, RATE_HZ);
    piece
        .left
        .iter()
        .zip(&piece.right)
        .map(|(l, r)| f32::midpoint(*l, *r))
        .collect()
}

/// Magnitudes at some frequencies in Hann windows, `[windows][frequencies]`.
fn magnitudes(samples: &[f32], frequencies_hz: &[f32], window: usize, hop: usize) -> Vec<Vec<f32>> {
    let tables: Vec<Vec<(f32, f32)>> = frequencies_hz
        .iter()
        .map(|hz| {
            (0..window)
                .map(|i| {
                    let hann = 0.5 - 0.5 * (TAU * i as f32 / window as f32).cos();
                    let angle = TAU * hz * i as f32 / RATE_HZ as f32;
                    (hann * angle.cos(), hann * angle.sin())
                })
                .collect()
        })
        .collect();
    samples
        .windows(window)
        .step_by(hop)
        .map(|part| {
            let magnitude = |table: &Vec<(f32, f32)>| {
                let (mut re, mut im) = (0.0_f32, 0.0_f32);
                for (sample, (cos, sin)) in part.iter().zip(table) {
                    re += sample * cos;
                    im += sample * sin;
                }
                re.hypot(im) * 4.0 / window as f32
            };
            tables.iter().map(magnitude).collect()
        })
        .collect()
}

/// How much the spectrum rises, once for each hop; the first is the window that ends at zero.
fn onsets(samples: &[f32]) -> Vec<f32> {
    const WINDOW: usize = 882;
    let frequencies_hz: Vec<f32> = (0..32).map(|band| 60.0 * 1.19_f32.powi(band)).collect();
    let mut padded = vec![0.0; WINDOW];
    padded.extend(samples);
    let frames = magnitudes(&padded, &frequencies_hz, WINDOW, HOP);
    let loud = |magnitude: f32| (1.0 + 300.0 * magnitude).ln();
    let rise = |pair: &[Vec<f32>]| {
        pair[0]
            .iter()
            .zip(&pair[1])
            .map(|(before, after)| (loud(*after) - loud(*before)).max(0.0))
            .sum()
    };
    frames.windows(2).map(rise).collect()
}

/// What the onsets say of a grid: strength on it over the mean, and the shift of the best grid in parts of a beat.
fn grid(onsets: &[f32], beat_secs: f64) -> (f64, f64) {
    let mean = f64::from(onsets.iter().sum::<f32>()) / onsets.len() as f64;
    let at = |shift: f64| {
        let beats = (onsets.len() as f64 * HOP_SECS / beat_secs) as usize - 2;
        let sum: f64 = (1..beats)
            .map(|beat| {
                // A window's onset is seen half a window late.
                let centre = ((beat as f64 + shift) * beat_secs / HOP_SECS + 0.5) as usize;
                f64::from(
                    onsets[centre - 2..=centre + 2]
                        .iter()
                        .fold(0.0_f32, |a, b| a.max(*b)),
                )
            })
            .sum();
        sum / beats as f64 / mean
    };
    let best = (-24..24)
        .map(|step| f64::from(step) / 48.0)
        .max_by(|a, b| at(*a).total_cmp(&at(*b)))
        .unwrap();
    (at(0.0), best)
}

#[test]
fn beats_are_heard_where_the_grid_says_in_every_style() {
    for style in all() {
        let heard: Vec<(f64, f64)> = (20..24)
            .map(|seed| {
                let score = compose(style, seed, &SHORT);
                grid(&onsets(&mono(&score)), 60.0 / score.tempo_bpm)
            })
            .collect();
        println!("{style}: {heard:.2?}");
        let clear = heard.iter().filter(|(clear, _)| *clear > 1.4).count();
        assert!(clear >= 3, "{style}: {heard:.2?}");
        let placed = heard.iter().filter(|(_, best)| best.abs() < 0.1).count();
        assert!(placed >= 3, "{style}: {heard:.2?}");
    }
}

/// Parts of the sound on the twelve pitch classes.
fn chroma(samples: &[f32]) -> [f32; 12] {
    let pitches: Vec<i32> = (40..88).collect();
    let frequencies_hz: Vec<f32> = pitches
        .iter()
        .map(|midi| 440.0 * ((*midi as f32 - 69.0) / 12.0).exp2())
        .collect();
    let mut classes = [0.0; 12];
    for frame in magnitudes(samples, &frequencies_hz, 8192, 8192) {
        for (midi, magnitude) in pitches.iter().zip(frame) {
            classes[*midi as usize % 12] += magnitude;
        }
    }
    let sum: f32 = classes.iter().sum();
    classes.map(|part| part / sum)
}

#[test]
fn the_sound_lies_on_the_scale_of_the_key() {
    for style in all() {
        for seed in [20, 23] {
            let score = compose(style, seed, &SHORT);
            let steps = score.key.mode.steps();
            if !score.key.mode.is_twelve_tone() {
                continue;
            }
            let chroma = chroma(&mono(&score));
            let shares: Vec<f32> = (0..12)
                .map(|tonic| {
                    let class = |step: &f32| chroma[(tonic + *step as usize) % 12];
                    steps.iter().map(class).sum()
                })
                .collect();
            let own = shares[usize::from(score.key.tonic)];
            let best = shares.iter().fold(0.0_f32, |a, b| a.max(*b));
            // A key a fifth away differs by one note: drums and a flat seventh may tip the scales.
            assert!(
                own > 0.66 && own > best - 0.08,
                "{style} {seed} in {:?}: {own:.2} of the sound, {best:.2} on the best scale",
                score.key
            );
        }
    }
}

#[test]
fn notes_lie_on_the_scale() {
    for style in all() {
        let (mut inside_secs, mut total_secs) = (0.0, 0.0);
        for seed in 0..30 {
            let score = compose(style, seed, &Options::default());
            let key = score.key;
            for note in score.tracks.iter().flat_map(|track| &track.notes) {
                let Sound::Pitch(midi) = note.sound else {
                    continue;
                };
                if key.mode.is_twelve_tone() {
                    let class = (midi - f32::from(key.tonic)).rem_euclid(12.0);
                    let is_inside = key.mode.steps().iter().any(|s| (s - class).abs() < 0.01);
                    inside_secs += if is_inside { note.duration_secs } else { 0.0 };
                    total_secs += note.duration_secs;
                }
            }
        }
        // Blue notes, leading notes and steps between are welcome in their measure.
        assert!(
            inside_secs >= 0.9 * total_secs,
            "{style}: {inside_secs:.0} of {total_secs:.0} s"
        );
    }
}

#[test]
fn base_tempi_cover_sixty_to_one_hundred_and_eighty_evenly() {
    let base = Style::base();
    let pieces = 800;
    let mut bins = [0_usize; 12];
    for index in 0..pieces {
        let seed = 1_000_003 + (index / base.len()) as u64;
        let score = compose(base[index % base.len()], seed, &SHORT);
        bins[(((score.tempo_bpm - 60.0) / 10.0) as usize).min(11)] += 1;
    }
    println!("pieces from 60 bpm on, each ten: {bins:?}");
    let even = pieces / bins.len();
    assert!(
        bins.iter()
            .all(|count| *count >= even * 2 / 3 && *count <= even * 3 / 2),
        "{bins:?}"
    );
}
