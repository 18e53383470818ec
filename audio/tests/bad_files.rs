//! Broken and foreign files are errors that name the file and what to do; none panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use audio::{AudioBuffer, AudioError, Decoder, SampleFormat};
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name),
    )
    .unwrap()
}

/// Decodes bytes to the end.
fn decode(bytes: Vec<u8>) -> Result<usize, AudioError> {
    let mut decoder =
        Decoder::from_source(Box::new(io::Cursor::new(bytes)), Path::new("songs/a.wav"))?;
    let mut frames = 0;
    while let Some(block) = decoder.next_block()? {
        frames += block[0].len();
    }
    Ok(frames)
}

fn message(bytes: Vec<u8>) -> String {
    decode(bytes).unwrap_err().to_string()
}

fn wav_bytes(format: SampleFormat) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let channels = vec![(0..4000).map(|n| (n as f32 * 0.05).sin() * 0.5).collect(); 2];
    audio::write_wav(&path, &AudioBuffer::new(44_100, channels).unwrap(), format).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn unsupported_codecs_are_named_with_advice() {
    for (name, codec) in [
        ("tone.opus", "Opus"),
        ("opus.mp4", "Opus"),
        ("alac.m4a", "Apple Lossless"),
        ("tone.mp2", "layer 2"),
        ("adpcm.wav", "ADPCM"),
        ("tone.wma", "Windows Media"),
    ] {
        let message = message(fixture(name));
        assert!(
            message.contains(codec) && message.contains("not supported"),
            "{name}: {message}"
        );
        assert!(
            message.contains("ffmpeg") && message.contains("songs/a.wav"),
            "{name}: {message}"
        );
    }
}

/// The fixture with another AudioSpecificConfig in place of its own five bytes.
fn with_config(config: [u8; 5]) -> Vec<u8> {
    let mut bytes = fixture("tone.m4a");
    let own = [0x12, 0x10, 0x56, 0xe5, 0x00];
    let at = bytes.windows(5).position(|window| window == own).unwrap();
    bytes[at..at + 5].copy_from_slice(&config);
    bytes
}

#[test]
fn high_efficiency_aac_is_named_however_it_is_signalled() {
    // Object type 5, then the backward-compatible extension of type 2, then object type 29.
    for config in [
        [0x2b, 0x92, 0x08, 0x00, 0x00],
        [0x12, 0x10, 0x56, 0xe5, 0xa0],
        [0xeb, 0x8a, 0x08, 0x00, 0x00],
    ] {
        let message = message(with_config(config));
        assert!(
            message.contains("HE-AAC is not supported")
                || message.contains("HE-AAC v2 is not supported"),
            "{message}"
        );
    }
    // Not announced at all: only in the packets.
    let message = message(with_band_replication(&fixture("lc22050.aac")));
    assert!(message.contains("HE-AAC is not supported"), "{message}");
    assert!(
        decode(fixture("lc22050.aac")).is_ok(),
        "plain AAC at the same rate passes"
    );
}

/// Adds a fill element of band replication data before the end mark of every ADTS frame.
fn with_band_replication(adts: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at + 7 <= adts.len() {
        let header = &adts[at..at + 7];
        let length = (usize::from(header[3] & 3) << 11)
            | (usize::from(header[4]) << 3)
            | usize::from(header[5] >> 5);
        let body = &adts[at + 7..at + length];
        let mut bits: Vec<u8> = body
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1))
            .collect();
        while bits.last() == Some(&0) {
            bits.pop();
        }
        bits.truncate(bits.len() - 3);
        bits.extend([1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1]); // fill, 3 bytes, type 13
        bits.extend((0..20).map(|n| (n / 3) as u8 & 1));
        bits.extend([1, 1, 1]);
        let packed: Vec<u8> = bits
            .chunks(8)
            .map(|chunk| {
                chunk
                    .iter()
                    .enumerate()
                    .fold(0, |byte, (n, bit)| byte | (bit << (7 - n)))
            })
            .collect();
        let new_length = packed.len() + 7;
        let mut header = header.to_vec();
        header[3] = (header[3] & !3) | (new_length >> 11) as u8;
        header[4] = (new_length >> 3) as u8;
        header[5] = (header[5] & 0x1f) | ((new_length & 7) << 5) as u8;
        out.extend(header);
        out.extend(packed);
        at += length;
    }
    out
}

#[test]
fn cut_short_files_are_told() {
    for name in [
        "tone.mp3",
        "bare.mp3",
        "tone.ogg",
        "tone.m4a",
        "tone.flac",
        "tone24.flac",
    ] {
        let whole = fixture(name);
        let cut = whole.len() * 6 / 10 + 1;
        let error = decode(whole[..cut].to_vec()).unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(
                error,
                AudioError::Truncated { .. } | AudioError::Damaged { .. }
            ),
            "{name}: {message}"
        );
        assert!(message.contains("songs/a.wav"), "{name}: {message}");
    }
    // Reserved in full, and not downloaded to the end: with a count of frames, and by length.
    let mut reserved = fixture("tone.mp3");
    let from = reserved.len() * 6 / 10;
    reserved[from..].fill(0);
    assert!(message(reserved).contains("cut short"));
    let mut reserved = fixture("bare.mp3");
    reserved.resize(reserved.len() + 100_000, 0);
    assert!(message(reserved).contains("cut short"));
    let wav = wav_bytes(SampleFormat::I16);
    let message = message(wav[..wav.len() / 2].to_vec());
    assert!(
        message.contains("cut short") && message.contains("copy or download"),
        "{message}"
    );
}

#[test]
fn a_size_that_lies_is_told() {
    let mut wav = wav_bytes(SampleFormat::I16);
    wav[40..44].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    assert!(message(wav.clone()).contains("lies about its size"));
    wav[40..44].copy_from_slice(&400_u32.to_le_bytes());
    assert!(message(wav).contains("lies about its size"));
}

/// A file as `ffmpeg -f wav -` streams it: neither size was known when the header was written.
fn streamed(mut wav: Vec<u8>) -> Vec<u8> {
    let data = wav.windows(4).position(|four| four == b"data").unwrap();
    wav[4..8].fill(0xff);
    wav[data + 4..data + 8].fill(0xff);
    wav
}

#[test]
fn a_streamed_wav_ends_where_its_file_does() {
    for format in [SampleFormat::I16, SampleFormat::I24, SampleFormat::F32] {
        assert_eq!(
            decode(streamed(wav_bytes(format))).unwrap(),
            4000,
            "{format:?}"
        );
    }
    let mut without_sound = streamed(wav_bytes(SampleFormat::I16));
    without_sound.truncate(44);
    assert!(message(without_sound).contains("holds no sound"));
}

#[test]
fn a_streamed_wav_that_ends_inside_a_frame_is_cut_short() {
    let mut wav = streamed(wav_bytes(SampleFormat::I16));
    wav.truncate(wav.len() - 3);
    assert!(message(wav).contains("cut short"));
}

#[test]
fn a_streamed_mono_wav_may_end_with_padding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let mono = AudioBuffer::new(44_100, vec![vec![0.25; 4001]]).unwrap();
    audio::write_wav(&path, &mono, SampleFormat::I24).unwrap();
    let mut wav = streamed(std::fs::read(path).unwrap());
    assert_eq!(wav.pop(), Some(0), "an odd number of bytes is padded");
    assert_eq!(decode(wav.clone()).unwrap(), 4001);
    wav.push(0);
    assert_eq!(decode(wav).unwrap(), 4001);
}

#[test]
fn empty_text_and_silence_of_no_length() {
    assert!(message(Vec::new()).contains("empty (0 bytes)"));
    let text = message(b"just some words, no sound at all".to_vec());
    assert!(
        text.contains("looks like text") && text.contains("songs/a.wav"),
        "{text}"
    );
    let mut header_only = wav_bytes(SampleFormat::I16);
    header_only.truncate(44);
    header_only[40..44].copy_from_slice(&0_u32.to_le_bytes());
    assert!(message(header_only).contains("holds no sound"));
}

#[test]
fn damaged_flac_fails_its_checksum() {
    let mut bytes = fixture("tone.flac");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    assert!(matches!(
        decode(bytes),
        Err(AudioError::Damaged { .. } | AudioError::Truncated { .. })
    ));
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mut wav = wav_bytes(SampleFormat::F32);
    let at = wav.len() - 400;
    wav[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let message = message(wav);
    assert!(message.contains("NaN"), "{message}");
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: PathBuf| {
        let message = Decoder::open(&path).err().unwrap().to_string();
        assert!(
            message.contains("cannot be opened") && message.contains(path.to_str().unwrap()),
            "{message}"
        );
    };
    check(folder.path().to_owned());
    check(folder.path().join("missing.wav"));
    #[cfg(unix)]
    {
        let link = folder.path().join("dangling.wav");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        check(link);
    }
}

/// A disk that fails after some bytes.
struct FailingDisk {
    inner: io::Cursor<Vec<u8>>,
    good_bytes: u64,
}

impl Read for FailingDisk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.inner.position() >= self.good_bytes {
            return Err(io::Error::from_raw_os_error(5)); // EIO
        }
        let room = (self.good_bytes - self.inner.position()).min(buffer.len() as u64) as usize;
        self.inner.read(&mut buffer[..room])
    }
}

impl Seek for FailingDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_failing_disk_is_no_short_song() {
    for (bytes, name) in [
        (wav_bytes(SampleFormat::I16), "a.wav"),
        (fixture("tone.m4a"), "a.m4a"),
    ] {
        for good_bytes in [0, 20, 9_000] {
            let disk = FailingDisk {
                inner: io::Cursor::new(bytes.clone()),
                good_bytes,
            };
            let outcome =
                Decoder::from_source(Box::new(disk), Path::new(name)).and_then(|mut decoder| {
                    while decoder.next_block()?.is_some() {}
                    Ok(())
                });
            assert!(outcome.is_err(), "{name} with {good_bytes} good bytes");
        }
    }
}

fn mutated(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let whole = if name == "i16" {
        wav_bytes(SampleFormat::I16)
    } else {
        fixture(name)
    };
    let length = whole.len();
    let edits = prop::collection::vec((0..length.min(600), any::<u8>()), 0..6);
    let late = prop::collection::vec((0..length, any::<u8>()), 0..4);
    (edits, late, 0..=length, any::<bool>()).prop_map(move |(edits, late, cut, is_cut)| {
        let mut bytes = whole.clone();
        for (at, value) in edits.into_iter().chain(late) {
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(cut);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a file, reading it ends, with sound or an error.
    #[test]
    fn mutated_files_never_panic(bytes in prop_oneof![
        mutated("i16"), mutated("tone.mp3"), mutated("bare.mp3"), mutated("tone.ogg"), mutated("tone.m4a"),
        mutated("tone.aac"), mutated("tone.flac"), mutated("adpcm.wav"), mutated("tone.opus"),
    ]) {
        if let Err(error) = decode(bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
