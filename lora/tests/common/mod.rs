//! A small prepared folder: three songs of noise, two pieces each, one song held out.

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, SampleFormat};
use dataset::{MANIFEST_VERSION, Piece, Split};
use nn::Stream;

/// A base file with tiny random weights.
pub(crate) const TINY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/tiny-base.safetensors"
);

/// Writes the pieces and the manifest into `folder`.
pub(crate) fn segments(folder: &Path, samples: usize) -> PathBuf {
    let folder = folder.join("segments");
    std::fs::create_dir_all(&folder).unwrap();
    let pieces: Vec<Piece> = (0..6).map(|index| piece(&folder, index, samples)).collect();
    dataset::write_manifest(&folder, &pieces).unwrap();
    folder
}

fn piece(folder: &Path, index: usize, samples: usize) -> Piece {
    let name = format!("piece-{index}.wav");
    let path = folder.join(&name);
    let channel = |side: u64| -> Vec<f32> {
        let noise = Stream::new(index as u64).at(side).normal_vec(samples);
        noise
            .into_iter()
            .map(|value| (value * 0.1).clamp(-0.9, 0.9))
            .collect()
    };
    let sound = AudioBuffer {
        sample_rate_hz: 44_100,
        channels: vec![channel(0), channel(1)],
    };
    audio::write_wav(&path, &sound, SampleFormat::I16).unwrap();
    Piece {
        version: MANIFEST_VERSION,
        path: name,
        source: format!("song-{}.wav", index / 2),
        source_hash: format!("sha256:{:064}", index / 2),
        start_secs: 0.0,
        end_secs: samples as f64 / 44_100.0,
        start_frame: 0,
        end_frame: samples as u64,
        sample_rate_hz: 44_100,
        channels: 2,
        loudness_lufs: None,
        gain_db: 0.0,
        peak: 0.5,
        split: if index < 4 {
            Split::Train
        } else {
            Split::Validation
        },
        content_hash: dataset::hash_file(&path).unwrap(),
        tags: vec!["lofi".to_owned()],
    }
}
