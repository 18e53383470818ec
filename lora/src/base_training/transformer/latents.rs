//! The latents of a corpus, encoded once and kept beside it.

use candle_core::{Device, Tensor};
use dataset::{CachedLatents, LatentCache};
use rayon::prelude::*;
use vae::{Autoencoder, Tiling};

use super::TransformerRun;
use crate::base_training::corpus::CorpusPiece;
use crate::error::LoraError;
use crate::progress::Progress;

/// The folder of the cache, in the run's.
const CACHE_FOLDER: &str = "latents";
/// Pieces that are encoded side by side, between two looks at whether to stop.
const AT_ONCE: usize = 8;

/// Latents of every piece, `[frames, channels]` row by row.
pub(super) fn encode(
    run: &TransformerRun<'_>,
    pieces: &[CorpusPiece],
    progress: &mut dyn Progress,
) -> Result<Vec<(CorpusPiece, Vec<f32>)>, LoraError> {
    let cache = LatentCache::open(&run.course.folder.join(CACHE_FOLDER))?;
    let mut all = Vec::with_capacity(pieces.len());
    progress.begin("encoding", pieces.len());
    for some in pieces.chunks(AT_ONCE) {
        if progress.stop_requested() {
            return Err(LoraError::Stopped);
        }
        let encoded: Vec<_> = some
            .par_iter()
            .map(|piece| Ok((piece.clone(), of_piece(run, piece, &cache)?)))
            .collect::<Result<_, LoraError>>()?;
        all.extend(encoded);
        some.iter().for_each(|_| progress.advance());
    }
    progress.end();
    Ok(all)
}

fn of_piece(
    run: &TransformerRun<'_>,
    piece: &CorpusPiece,
    cache: &LatentCache,
) -> Result<Vec<f32>, LoraError> {
    let path = run.corpus.path(piece);
    let bytes = std::fs::read(&path).map_err(LoraError::file(&path))?;
    let key = LatentCache::key(&crate::hexadecimal::sha256(&bytes), run.autoencoder.id());
    let latents = match cache.get(&key) {
        Some(latents) => latents,
        None => {
            let latents = computed(run, piece)?;
            cache.put(&key, &latents)?;
            latents
        }
    };
    let (channels, frames) = (latents.channels, latents.frames);
    Ok((0..frames * channels)
        .map(|index| latents.mean[(index % channels) * frames + index / channels])
        .collect())
}

fn computed(run: &TransformerRun<'_>, piece: &CorpusPiece) -> Result<CachedLatents, LoraError> {
    let sound = run.corpus.sound(piece, run.autoencoder.sample_rate_hz())?;
    let samples = sound.frames();
    let planar = sound.channels.concat();
    let sound = Tensor::from_vec(planar, (1, 2, samples), &Device::Cpu)?;
    let posterior = run.autoencoder.encode_tiled(&sound, Tiling::EXACT)?;
    let (_, channels, frames) = posterior.mean.dims3()?;
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    Ok(CachedLatents {
        mean: values(&posterior.mean)?,
        std: values(&posterior.std)?,
        channels,
        frames,
    })
}
