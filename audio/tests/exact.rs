//! Samples of every WAV depth come back bit for bit, checked against an independent reader.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use audio::{Decoder, SampleFormat, WavFile, WavSpec};

const FORMATS: [SampleFormat; 6] = [
    SampleFormat::U8,
    SampleFormat::I16,
    SampleFormat::I24,
    SampleFormat::I32,
    SampleFormat::F32,
    SampleFormat::F64,
];

/// Values over the whole range, the extremes included, that the format holds exactly.
fn samples(format: SampleFormat, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let scale = 2.0_f64.powi(8 * format.bytes() as i32 - 1);
    let mut values: Vec<f64> = (0..3001)
        .map(|_| match format {
            SampleFormat::F32 => f64::from((next() as f32 / u64::MAX as f32 - 0.5) * 3.0),
            SampleFormat::F64 => (next() as f64 / u64::MAX as f64 - 0.5) * 3.0,
            _ => {
                ((next() as f64 / u64::MAX as f64 * 2.0 - 1.0) * scale)
                    .floor()
                    .clamp(-scale, scale - 1.0)
                    / scale
            }
        })
        .collect();
    if !format.is_float() {
        values[0] = -1.0;
        values[1] = (scale - 1.0) / scale;
    }
    values
}

#[test]
fn every_depth_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("{format:?}.wav"));
        let planes = [samples(format, 1), samples(format, 2)];
        let spec = WavSpec {
            sample_rate_hz: 44_100,
            channels: 2,
            format,
        };
        let mut file = WavFile::create(&path, spec, planes[0].len() as u64).unwrap();
        file.write(&[&planes[0], &planes[1]]).unwrap();
        assert!(
            !path.exists(),
            "nothing under the final name before it is complete"
        );
        assert_eq!(file.commit().unwrap(), 0, "{format:?} clipped");

        let mut decoder = Decoder::open(&path).unwrap();
        assert_eq!(decoder.info().sample_format, Some(format));
        let mut got = [Vec::new(), Vec::new()];
        while let Some(block) = decoder.next_block().unwrap() {
            got[0].extend_from_slice(&block[0]);
            got[1].extend_from_slice(&block[1]);
        }
        assert!(got == planes, "{format:?} differs");
        if format != SampleFormat::F64 {
            compare_with_hound(&path, &planes);
        }
    }
}

fn compare_with_hound(path: &std::path::Path, planes: &[Vec<f64>; 2]) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate), (2, 44_100));
    let scale = 2.0_f64.powi(i32::from(spec.bits_per_sample) - 1);
    let values: Vec<f64> = match spec.sample_format {
        hound::SampleFormat::Float => reader
            .samples::<f32>()
            .map(|s| f64::from(s.unwrap()))
            .collect(),
        hound::SampleFormat::Int => reader
            .samples::<i32>()
            .map(|s| f64::from(s.unwrap()) / scale)
            .collect(),
    };
    let expected: Vec<f64> = planes[0]
        .iter()
        .zip(&planes[1])
        .flat_map(|(l, r)| [*l, *r])
        .collect();
    assert!(values == expected, "{} bits differ", spec.bits_per_sample);
}

#[test]
fn integers_clip_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loud.wav");
    let spec = WavSpec {
        sample_rate_hz: 44_100,
        channels: 1,
        format: SampleFormat::I16,
    };
    let mut file = WavFile::create(&path, spec, 4).unwrap();
    file.write(&[&[1.5, -1.5, 0.0, 1.0]]).unwrap();
    assert_eq!(file.commit().unwrap(), 2);
    let buffer = audio::read(&path).unwrap();
    assert_eq!(
        buffer.channels[0],
        [32767.0 / 32768.0, -1.0, 0.0, 32767.0 / 32768.0]
    );
}
