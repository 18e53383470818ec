//! Every supported format gives the same two tones, both channels, at the right place and level.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, Decoder, SampleFormat, SourceFormat, StereoStream};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Amplitude of one frequency in the middle of a channel, by correlation.
fn amplitude(samples: &[f32], rate_hz: u32, frequency_hz: f64) -> f64 {
    let edge = samples.len() / 5;
    let middle = &samples[edge..samples.len() - edge];
    let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &sample) in middle.iter().enumerate() {
        sine += f64::from(sample) * (step * n as f64).sin();
        cosine += f64::from(sample) * (step * n as f64).cos();
    }
    2.0 * f64::hypot(sine, cosine) / middle.len() as f64
}

fn assert_tones(name: &str, buffer: &AudioBuffer, tolerance: f64) {
    assert_eq!(buffer.channels.len(), 2, "{name}");
    let rate = buffer.sample_rate_hz;
    for (channel, present, absent, level) in [(0, 440.0, 660.0, 0.4), (1, 660.0, 440.0, 0.3)] {
        let found = amplitude(&buffer.channels[channel], rate, present);
        assert!(
            (found - level).abs() < tolerance,
            "{name}, channel {channel}: {found}"
        );
        let other = amplitude(&buffer.channels[channel], rate, absent);
        assert!(
            other < tolerance,
            "{name}, channel {channel}: {other} of the other side's tone"
        );
    }
}

#[test]
fn every_format_decodes_to_the_same_tones() {
    // Lengths: exact where the format tells what the encoder padded, else up to two packets more.
    for (name, format, sample_format, frames, spare) in [
        ("tone.mp3", SourceFormat::Mp3, None, 66_150, 0),
        ("bare.mp3", SourceFormat::Mp3, None, 66_150, 3 * 1152),
        ("tone.ogg", SourceFormat::Vorbis, None, 66_150, 0),
        ("tone.m4a", SourceFormat::Aac, None, 66_150, 3 * 1024),
        ("tone.aac", SourceFormat::Aac, None, 66_150, 3 * 1024),
        (
            "tone.flac",
            SourceFormat::Flac,
            Some(SampleFormat::I16),
            22_050,
            0,
        ),
        (
            "tone24.flac",
            SourceFormat::Flac,
            Some(SampleFormat::I24),
            13_230,
            0,
        ),
    ] {
        let decoder = Decoder::open(&fixture(name)).unwrap();
        assert_eq!(decoder.info().format, format, "{name}");
        assert_eq!(decoder.info().sample_format, sample_format, "{name}");
        let buffer = audio::read(&fixture(name)).unwrap();
        assert_eq!(buffer.sample_rate_hz, 44_100, "{name}");
        let length = buffer.frames();
        assert!(
            (frames..=frames + spare).contains(&length),
            "{name}: {length} frames"
        );
        assert_tones(name, &buffer, 0.02);
    }
}

#[test]
fn the_rate_can_be_chosen() {
    for (name, rate) in [
        ("tone.mp3", 48_000),
        ("tone.flac", 22_050),
        ("lc22050.aac", 44_100),
    ] {
        let buffer = audio::read_at(&fixture(name), rate).unwrap();
        assert_eq!(buffer.sample_rate_hz, rate);
        assert_tones(name, &buffer, 0.02);
        assert!(!StereoStream::open(&fixture(name), rate).unwrap().is_exact());
    }
}

#[test]
fn the_name_does_not_matter_the_bytes_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really.wav");
    std::fs::copy(fixture("tone.mp3"), &path).unwrap();
    assert_eq!(
        Decoder::open(&path).unwrap().info().format,
        SourceFormat::Mp3
    );
}

#[test]
fn tags_around_an_mp3_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tagged.mp3");
    let plain = std::fs::read(fixture("bare.mp3")).unwrap();
    // A picture in the tag may hold what looks like frames.
    let mut bytes = b"ID3\x04\0\0\0\0\x01\0".to_vec();
    bytes.extend([0xff, 0xfb, 0x90, 0x00].repeat(32));
    bytes.extend(&plain);
    bytes.extend(b"TAGTitle");
    bytes.extend([0xff, 0xfb, 0x90, 0x00].repeat(30));
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(
        audio::read(&path).unwrap(),
        audio::read(&fixture("bare.mp3")).unwrap()
    );
}

#[test]
fn mono_is_doubled_and_six_channels_are_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let mono = AudioBuffer::new(44_100, vec![vec![0.5, -0.25, 0.125]]).unwrap();
    audio::write_wav(&path, &mono, SampleFormat::I16).unwrap();
    let stereo = audio::read_at(&path, 44_100).unwrap();
    assert_eq!(
        stereo.channels,
        [mono.channels[0].clone(), mono.channels[0].clone()]
    );

    let channels: Vec<Vec<f32>> = (0..6)
        .map(|n| vec![if n == 0 { 0.5 } else { 0.0 }; 100])
        .collect();
    audio::write_wav(
        &path,
        &AudioBuffer::new(44_100, channels).unwrap(),
        SampleFormat::F32,
    )
    .unwrap();
    let stereo = audio::read_at(&path, 44_100).unwrap();
    assert!(
        stereo.channels[0][50] > 0.1,
        "front left is heard on the left"
    );
    assert_eq!(stereo.channels[1][50], 0.0, "and not on the right");
}
