//! `cargo xtask examples`: the example recordings that come with the project.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use corpus::{Options, Style, compose, render};
use flacenc::component::BitRepr;
use flacenc::error::Verify;
use rayon::prelude::*;

use crate::corpus::{SAMPLE_RATE_HZ, quantise};

/// Songs to learn from and songs to compare with, by folder: numbers of the songs.
const SETS: [(&str, std::ops::Range<u64>); 2] = [("village", 1..11), ("village-held-out", 11..15)];
/// The seed of song zero.
const FIRST_SEED: u64 = 1000;
const DURATION_SECS: f64 = 16.5;
/// Hosts of source code refuse or slow down at larger files.
const MOST_BYTES: usize = 1_900_000;

/// Renders the example recordings of the held-out village style as FLAC.
#[derive(Debug, clap::Args)]
pub(crate) struct ExamplesArgs {
    /// Folder for `village` and `village-held-out`.
    out_dir: PathBuf,
}

/// Runs `cargo xtask examples`.
pub(crate) fn run(args: &ExamplesArgs) -> Result<()> {
    for (set, songs) in SETS {
        let folder = args.out_dir.join(set);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        songs.into_par_iter().try_for_each(|song| {
            let score = compose(
                Style::Village,
                FIRST_SEED + song,
                &Options {
                    duration_secs: DURATION_SECS,
                },
            );
            let samples = quantise(&render(&score, SAMPLE_RATE_HZ), None);
            write_flac(
                &folder.join(format!("village-song-{song:02}.flac")),
                &samples,
            )
        })?;
    }
    Ok(())
}

/// Interleaved stereo, written aside and renamed.
fn write_flac(path: &Path, samples: &[i16]) -> Result<()> {
    let config = flacenc::config::Encoder::default()
        .into_verified()
        .map_err(|(_, error)| anyhow!("FLAC settings: {error}"))?;
    let wide: Vec<i32> = samples.iter().map(|sample| i32::from(*sample)).collect();
    let source = flacenc::source::MemSource::from_samples(&wide, 2, 16, SAMPLE_RATE_HZ as usize);
    let mut stream = flacenc::encode_with_fixed_block_size(&config, source, config.block_size)
        .map_err(|error| anyhow!("encoding {}: {error}", path.display()))?;
    // The shorter last block does not count in the header; decoders that seek take a stream with
    // two block sizes for one of variable size.
    let block = config.block_size;
    stream
        .stream_info_mut()
        .set_block_sizes(block, block)
        .map_err(|error| anyhow!("encoding {}: {error}", path.display()))?;
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream
        .write(&mut sink)
        .map_err(|error| anyhow!("encoding {}: {error}", path.display()))?;
    let bytes = sink.as_slice();
    ensure!(
        bytes.len() < MOST_BYTES,
        "{}: {} bytes, at most {MOST_BYTES} are allowed",
        path.display(),
        bytes.len()
    );
    let aside = path.with_extension("flac.part");
    fs::write(&aside, bytes).with_context(|| format!("writing {}", aside.display()))?;
    fs::rename(&aside, path).with_context(|| format!("renaming to {}", path.display()))
}
