//! Clips of bars: exact lengths, loops without a seam, joins without a seam, variations. On the embedded base.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use audio::AudioBuffer;
use candle_core::Device;
use features::{LogMel, MelParameters};
use lora::base::BaseModel;
use lora::generate::Clip;
use lora::generate::bars::{self, CEILING, Length, Request, Variation};
use lora::progress::Silent;
use lora::style;

fn base() -> BaseModel {
    BaseModel::embedded(&Device::Cpu).unwrap()
}

fn length(bars: u32, tempo_bpm: f64) -> Length {
    Length {
        bars,
        beats: 4,
        unit: 4,
        tempo_bpm,
    }
}

fn request(base: &BaseModel, prompt: &str, length: Length, steps: usize) -> Request {
    let tags = bars::tags(base, prompt, &length, None).unwrap();
    Request {
        length,
        steps,
        guidance: base.default_guidance(),
        style: style::of_tags(base, &tags, &[]).unwrap(),
        negative_style: None,
        variation: None,
    }
}

fn make(base: &BaseModel, request: &Request, seed: u64) -> Clip {
    bars::make(base, request, &[], seed, &mut Silent).unwrap()
}

/// Change of the log-mel spectrum from 50 ms before each place to 50 ms behind it in a channel that is a loop, in dB.
fn flux(channel: &[f32], places: &[usize], reach: usize) -> Vec<f64> {
    let mel = LogMel::new(MelParameters {
        fft_size: 1024,
        hop: 256,
        bands: 40,
        ..MelParameters::measuring()
    })
    .unwrap();
    let around = |place: usize, behind: bool| -> Vec<f32> {
        let from = place + channel.len() - if behind { 0 } else { reach };
        let part: Vec<f32> = (0..reach)
            .map(|at| channel[(from + at) % channel.len()])
            .collect();
        let levels = mel.of_signal(&part).unwrap();
        let frames = levels.values.len() / levels.bands;
        let mean = |band: usize| {
            (0..frames)
                .map(|at| levels.values[at * levels.bands + band])
                .sum::<f32>()
                / frames as f32
        };
        (0..levels.bands).map(mean).collect()
    };
    let change = |place: &usize| {
        let pairs = around(*place, false).into_iter().zip(around(*place, true));
        let squares: Vec<f64> = pairs.map(|(a, b)| f64::from((a - b) * (a - b))).collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    };
    places.iter().map(change).collect()
}

/// The largest change from a sample to the next within 32 of a place in a channel that is a loop.
fn jump(channel: &[f32], place: usize) -> f32 {
    let samples = channel.len();
    let at = |offset: usize| channel[(place + samples - 32 + offset) % samples];
    (0..64)
        .map(|offset| (at(offset + 1) - at(offset)).abs())
        .fold(0.0, f32::max)
}

/// As long as the tempo says, below the ceiling, the same each time, and at its wrap with no larger jumps than inside: in both channels. A downbeat
/// may be loud there; docs/log.md tells what was tried.
#[test]
fn clips_are_exact_and_loop_without_a_click() {
    let base = base();
    for (bars_count, tempo) in [(1, 120.0), (4, 97.3), (8, 140.0)] {
        let length = length(bars_count, tempo);
        let request = request(&base, "lofi, piano", length, 6);
        let clip = make(&base, &request, 3);
        let samples = length.samples(44_100);
        assert_eq!(clip[0].len(), samples);
        assert_eq!(clip[1].len(), samples);
        assert_ne!(clip[0], clip[1]);
        for channel in &clip {
            let peak = channel
                .iter()
                .fold(0f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.01..=CEILING).contains(&peak), "{peak}");
            let loudest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
            let inside =
                loudest(&mut (0..samples / 16).map(|place| f64::from(jump(channel, 16 * place))));
            assert!(f64::from(jump(channel, 0)) <= inside);
        }
        assert_eq!(make(&base, &request, 3), clip);
    }
}

/// A clip of several windows goes on in the style and at the level that it began with.
#[test]
fn windows_join() {
    let base = base();
    let length = length(16, 140.0);
    let clip = make(&base, &request(&base, "house", length, 8), 1);
    let samples = clip[0].len();
    let bar = samples / 16;
    for channel in &clip {
        let level = |bar_number: usize| {
            let part = &channel[bar_number * bar..(bar_number + 1) * bar];
            let power: f64 = part.iter().map(|sample| f64::from(sample * sample)).sum();
            10.0 * (power / bar as f64).log10()
        };
        for number in 0..16 {
            let step = (level(number) - level((number + 1) % 16)).abs();
            assert!(step < 9.0, "bar {number}: {step} dB");
        }
    }
}

#[test]
fn a_variation_of_nothing_is_the_source_and_of_all_a_new_clip() {
    let base = base();
    let tone = |step: f32| -> Vec<f32> {
        (0..60_000)
            .map(|index| (index as f32 * step).sin() * 0.3)
            .collect()
    };
    let sound = AudioBuffer {
        sample_rate_hz: 44_100,
        channels: vec![tone(0.05), tone(0.05)],
    };
    let length = length(1, 120.0);
    let plain = request(&base, "lofi", length, 4);
    let vary = |amount| {
        let variation = Some(Variation {
            sound: sound.clone(),
            amount,
        });
        make(
            &base,
            &Request {
                variation,
                ..plain.clone()
            },
            9,
        )
    };
    assert_eq!(vary(1.0), make(&base, &plain, 9));
    // The tone at 351 Hz, and hardly anything else. The phases are reconstructed, so that it may be a hertz off: all within 20 Hz counts, in steps of the
    // 2.2 Hz that 20,000 samples tell apart.
    let source = vary(0.0);
    let share = |channel: &[f32]| {
        let part = &channel[20_000..40_000];
        let near: f64 = (150..=168)
            .map(|turns| {
                let step = std::f64::consts::TAU * f64::from(turns) / part.len() as f64;
                let (mut sine, mut cosine) = (0.0f64, 0.0f64);
                for (index, sample) in part.iter().enumerate() {
                    let angle = index as f64 * step;
                    sine += angle.sin() * f64::from(*sample);
                    cosine += angle.cos() * f64::from(*sample);
                }
                sine * sine + cosine * cosine
            })
            .sum();
        let power: f64 = part.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        near * 2.0 / part.len() as f64 / power
    };
    for (channel, made) in source.iter().zip(make(&base, &plain, 9)) {
        let (share, made) = (share(channel), share(&made));
        assert!(share > 0.9 && share > 3.0 * made, "{share}, {made}");
    }
    assert_ne!(vary(0.5), source);
}

#[test]
#[ignore = "figures for docs/log.md"]
fn figures_of_seams() {
    let base = base();
    let prompts = [
        "lofi",
        "house",
        "solo-piano",
        "strings, calm",
        "rock",
        "ambient",
        "chiptune",
        "waltz, harp",
    ];
    for (bars_count, tempo) in [(4, 120.0), (4, 97.0), (8, 110.0)] {
        let mut rows: Vec<[f64; 4]> = Vec::new();
        for (seed, prompt) in prompts.iter().enumerate() {
            let length = length(bars_count, tempo);
            let request = request(&base, prompt, length, 24);
            let looped = make(&base, &request, seed as u64);
            let samples = looped[0].len();
            let bar = samples / bars_count as usize;
            let lines: Vec<usize> = (1..bars_count as usize).map(|line| line * bar).collect();
            let jumps = |place: usize| {
                (0..64)
                    .map(|at| {
                        let one = (place + samples + at - 32) % samples;
                        let other = (place + samples + at - 31) % samples;
                        f64::from((looped[0][one] - looped[0][other]).abs())
                    })
                    .fold(0.0, f64::max)
            };
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let short = flux(&looped[0], &[0], 2_205)[0] / mean(&flux(&looped[0], &lines, 2_205));
            let long = flux(&looped[0], &[0], 22_050)[0] / mean(&flux(&looped[0], &lines, 22_050));
            let jump = jumps(0) / mean(&lines.iter().map(|line| jumps(*line)).collect::<Vec<_>>());
            let level = |from: usize| {
                (0..22_050)
                    .map(|at| f64::from(looped[0][(from + samples + at) % samples]).powi(2))
                    .sum::<f64>()
                    .log10()
                    * 10.0
            };
            let step = level(0) - level(samples - 22_050);
            eprintln!(
                "{bars_count} bars {tempo} {prompt}: flux 50 ms {short:.2} 500 ms {long:.2} jump {jump:.2} level {step:.1} dB"
            );
            rows.push([short, long, jump, step.abs()]);
        }
        let mean =
            |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
        eprintln!(
            "MEAN {bars_count} bars {tempo}: {:?}",
            (0..4)
                .map(|column| (mean(column) * 100.0).round() / 100.0)
                .collect::<Vec<_>>()
        );
    }
}

/// The style tags that pieces of a corpus are heard to have, and how much better each predicts them; `LORELEI_CORPUS` is a folder that
/// `cargo xtask corpus` made.
#[test]
#[ignore = "figures for docs/log.md"]
fn figures_of_styles() {
    let Ok(folder) = std::env::var("LORELEI_CORPUS") else {
        return;
    };
    let base = base();
    let index = std::fs::read_to_string(format!("{folder}/corpus.jsonl")).unwrap();
    for line in index.lines() {
        let piece: serde_json::Value = serde_json::from_str(line).unwrap();
        let sound = audio::read_at(
            format!("{folder}/{}", piece["path"].as_str().unwrap()).as_ref(),
            44_100,
        )
        .unwrap();
        let mut weights = style::weights_of_sound(&base, &sound, &mut Silent).unwrap();
        weights.sort_by(|left, right| right.1.total_cmp(&left.1));
        let name = |row: usize| base.tags().names()[row].as_str();
        let tags: Vec<&str> = piece["tags"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|tag| tag.as_str())
            .filter(|tag| !tag.contains(':'))
            .collect();
        let shown: Vec<String> = weights
            .iter()
            .take(8)
            .map(|(row, weight)| {
                let mark = if tags.contains(&name(*row)) { "*" } else { "" };
                format!(
                    "{mark}{} {:.5}",
                    name(*row),
                    -(weight / weights[0].1).ln() * 0.002
                )
            })
            .collect();
        let all = weights
            .iter()
            .map(|(_, weight)| -(weight / weights[0].1).ln() * 0.002)
            .filter(|loss| loss.is_finite())
            .fold(0.0, f32::max);
        eprintln!("{} | {} | worst {all:.5}", piece["style"], shown.join(", "));
    }
}

/// What it helps the base to know the sound before and behind what it makes: the loss there with known latents and without.
#[test]
#[ignore = "figures for docs/log.md"]
fn figures_of_known_latents() {
    use candle_core::Tensor;
    use dit::diffrhythm::{Drops, Inputs};
    let Ok(folder) = std::env::var("LORELEI_CORPUS") else {
        return;
    };
    const FRAMES: usize = 173;
    const MADE: std::ops::Range<usize> = 60..120;
    let base = base();
    let device = Device::Cpu;
    let times = [0.2f32, 0.5, 0.8];
    let mut sums = [[0.0f64; 3]; 2];
    let mut pieces = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "wav") {
            continue;
        }
        let sound = audio::read_at(&path, 44_100).unwrap();
        let samples = FRAMES * base.hop();
        if sound.frames() < samples {
            continue;
        }
        pieces += 1;
        let planar: Vec<f32> = sound
            .channels
            .iter()
            .flat_map(|channel| &channel[..samples])
            .copied()
            .collect();
        let planar = Tensor::from_vec(planar, (1, 2, samples), &device).unwrap();
        let data = base
            .encode(&planar, vae::Tiling::EXACT)
            .unwrap()
            .mean
            .transpose(1, 2)
            .unwrap();
        let data = data.contiguous().unwrap();
        let noise = nn::Stream::new(1).normal(data.dims(), &device).unwrap();
        let zeros = |from: usize, to: usize| {
            data.narrow(1, from, to - from)
                .unwrap()
                .zeros_like()
                .unwrap()
        };
        let known = Tensor::cat(
            &[
                &data.narrow(1, 0, MADE.start).unwrap(),
                &zeros(MADE.start, MADE.end),
                &data.narrow(1, MADE.end, FRAMES - MADE.end).unwrap(),
            ],
            1,
        )
        .unwrap();
        let target = dit::flow::velocity(&noise, &data).unwrap();
        for (column, time) in times.into_iter().enumerate() {
            let time = Tensor::new(&[time], &device).unwrap();
            let x = dit::flow::interpolate(&noise, &data, &time).unwrap();
            for (row, condition) in [&known, &zeros(0, FRAMES)].into_iter().enumerate() {
                let inputs = Inputs {
                    x: &x,
                    audio_condition: condition,
                    text: &Tensor::zeros((1, FRAMES), candle_core::DType::U32, &device).unwrap(),
                    style: &Tensor::zeros(
                        (1, base.transformer_config().cond_dim),
                        candle_core::DType::F32,
                        &device,
                    )
                    .unwrap(),
                    time: &time,
                    start_time: &Tensor::new(&[0.33f32], &device).unwrap(),
                    duration: None,
                    drops: Drops::default(),
                };
                let velocity = base
                    .transformer
                    .forward(&inputs, &nn::Mode::Sampling { time: 0.5 })
                    .unwrap();
                let made = |tensor: &Tensor| tensor.narrow(1, MADE.start, MADE.len()).unwrap();
                let loss = dit::flow::masked_loss(&made(&velocity), &made(&target), None).unwrap();
                sums[row][column] += f64::from(loss.to_scalar::<f32>().unwrap());
            }
        }
    }
    let means = sums.map(|row| row.map(|sum| sum / f64::from(pieces)));
    eprintln!(
        "{pieces} pieces, times {times:?}: known {:.3?}, not known {:.3?}",
        means[0], means[1]
    );
}
