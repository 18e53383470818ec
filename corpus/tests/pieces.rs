//! Properties of finished pieces, in every style.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use corpus::{
    CEILING_DBTP, Options, Rendered, Sound, Style, TARGET_LUFS, compose, render, vocabulary,
};
use ebur128::{EbuR128, Mode as Meter};

const RATE_HZ: u32 = 44_100;
const SHORT: Options = Options { duration_secs: 9.0 };

fn all() -> impl Iterator<Item = Style> {
    Style::base().iter().chain(Style::held_out()).copied()
}

fn piece(style: Style, seed: u64) -> Rendered {
    render(&compose(style, seed, &SHORT), RATE_HZ)
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt()
}

#[test]
fn the_same_seed_gives_the_same_samples_and_another_seed_others() {
    for style in [Style::Lofi, Style::Zoo, Style::Village] {
        assert_eq!(piece(style, 3), piece(style, 3), "{style}");
        assert_ne!(piece(style, 3), piece(style, 4), "{style}");
    }
}

/// Integrated loudness by EBU R 128, and the true peak in decibels.
fn measured(piece: &Rendered) -> (f64, f64) {
    let mut meter = EbuR128::new(2, RATE_HZ, Meter::I | Meter::TRUE_PEAK).unwrap();
    meter
        .add_frames_planar_f32(&[&piece.left, &piece.right])
        .unwrap();
    let peak = meter.true_peak(0).unwrap().max(meter.true_peak(1).unwrap());
    (meter.loudness_global().unwrap(), 20.0 * peak.log10())
}

#[test]
fn every_piece_has_the_target_loudness_under_the_ceiling() {
    let mut off_lu = Vec::new();
    for style in all() {
        for seed in 0..2 {
            let (loudness_lufs, peak_dbtp) = measured(&piece(style, seed));
            assert!(
                peak_dbtp <= CEILING_DBTP + 1e-3,
                "{style} {seed}: {peak_dbtp} dBTP"
            );
            off_lu.push((loudness_lufs - TARGET_LUFS).abs());
            assert!(
                off_lu[off_lu.len() - 1] < 1.0,
                "{style} {seed}: {loudness_lufs} LUFS"
            );
        }
    }
    let near = off_lu.iter().filter(|off| **off <= 0.2).count();
    assert!(near * 10 >= off_lu.len() * 9, "{off_lu:.1?}");
}

#[test]
fn both_channels_sound_and_differ_and_neither_is_much_louder() {
    for style in all() {
        for seed in 0..2 {
            let piece = piece(style, seed);
            assert_eq!(piece.left.len(), piece.right.len());
            assert!(piece.left.iter().chain(&piece.right).all(|x| x.is_finite()));
            let balance_db = 20.0 * (rms(&piece.left) / rms(&piece.right)).log10();
            assert!(
                balance_db.abs() < 4.5,
                "{style} {seed}: {balance_db} dB to the left"
            );
            let side: Vec<f32> = piece
                .left
                .iter()
                .zip(&piece.right)
                .map(|(l, r)| l - r)
                .collect();
            assert!(
                rms(&side) > 0.01 * rms(&piece.left),
                "{style} {seed} is mono"
            );
        }
    }
}

#[test]
fn threads_change_nothing() {
    let styles = [Style::Zoo, Style::Ambient, Style::Gamelan];
    let alone = styles.map(|style| piece(style, 9));
    let together = std::thread::scope(|scope| {
        styles
            .map(|style| scope.spawn(move || piece(style, 9)))
            .map(|thread| thread.join().unwrap())
    });
    assert_eq!(alone, together);
}

#[test]
fn scores_keep_to_their_ranges() {
    for style in all() {
        for seed in 0..40 {
            let score = compose(style, seed, &Options::default());
            assert!((60.0..=180.0).contains(&score.tempo_bpm), "{style}");
            assert!([3, 4, 6].contains(&score.beats_per_bar), "{style}");
            assert!(
                (25.0..60.0).contains(&score.duration_secs),
                "{style}: {} s",
                score.duration_secs
            );
            assert!(!score.tracks.is_empty());
            for note in score.tracks.iter().flat_map(|track| &track.notes) {
                assert!(
                    note.start_secs >= 0.0 && note.start_secs < score.duration_secs,
                    "{style} {seed}"
                );
                assert!(note.duration_secs > 0.0 && (0.0..=1.0).contains(&note.velocity));
                if let Sound::Pitch(midi) = note.sound {
                    assert!(
                        (20.0..110.0).contains(&midi),
                        "{style} {seed}: pitch {midi}"
                    );
                }
            }
        }
    }
}

#[test]
fn tags_are_known_and_tell_the_style_only_of_base_styles() {
    for style in all() {
        for seed in 0..20 {
            let score = compose(style, seed, &SHORT);
            assert!(
                score
                    .tags
                    .iter()
                    .all(|tag| vocabulary::index(tag).is_some())
            );
            let named = Style::base().contains(&style) && style != Style::Zoo;
            assert_eq!(score.tags.contains(&style.name()), named, "{style}");
            let with = |prefix: &str| {
                score
                    .tags
                    .iter()
                    .filter(|tag| tag.starts_with(prefix))
                    .count()
            };
            assert_eq!(with("tempo:"), 1);
            assert_eq!(with("metre:"), 1);
            assert_eq!(
                with("key:"),
                usize::from(score.key.mode.is_twelve_tone()),
                "{style}"
            );
        }
    }
    assert!(
        Style::held_out()
            .iter()
            .all(|style| vocabulary::index(style.name()).is_none())
    );
}

#[test]
fn the_beats_of_a_house_piece_are_heard_where_the_grid_says() {
    let score = compose(
        Style::House,
        5,
        &Options {
            duration_secs: 20.0,
        },
    );
    let piece = render(&score, RATE_HZ);
    let hop = 64;
    let energy: Vec<f32> = piece
        .left
        .chunks(hop)
        .zip(piece.right.chunks(hop))
        .map(|(l, r)| rms(l) + rms(r))
        .collect();
    let mut errors_secs: Vec<f64> = Vec::new();
    for beat_secs in score.beat_times_secs().iter().skip(1) {
        let centre = (beat_secs * f64::from(RATE_HZ) / hop as f64) as usize;
        let rise =
            |i: usize| energy[i..i + 6].iter().sum::<f32>() - energy[i - 6..i].iter().sum::<f32>();
        let around = centre - 60..(centre + 60).min(energy.len() - 6);
        let onset = around.max_by(|a, b| rise(*a).total_cmp(&rise(*b))).unwrap();
        errors_secs.push((onset as f64 * hop as f64 / f64::from(RATE_HZ) - beat_secs).abs());
    }
    errors_secs.sort_by(f64::total_cmp);
    assert!(
        errors_secs[errors_secs.len() / 2] < 0.008,
        "median error {} s",
        errors_secs[errors_secs.len() / 2]
    );
    assert!(
        errors_secs[errors_secs.len() * 3 / 4] < 0.02,
        "{errors_secs:?}"
    );
}
