//! Long inputs in tiles that overlap.

use std::ops::Range;

use candle_core::{D, Tensor};

use crate::VaeError;

/// How a long input is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiling {
    /// Every tile sees as much beyond its ends as its values depend on: equals the whole.
    Exact {
        /// Latent frames that a tile contributes.
        chunk_frames: usize,
    },
    /// The tiling of diffusers' `AutoencoderOobleck`: tiles overlap by a fixed amount, which is cut off again. Faster
    /// and smaller where the overlap is short, with slight steps between tiles. An input of one tile is not cut.
    Reference {
        /// Length of a tile: samples where sound is encoded, latent frames where latents are decoded.
        chunk: usize,
        /// Overlap on each side, in the same unit.
        overlap: usize,
    },
    /// The chunks of DiffRhythm (`infer_utils.py`, `decode_audio` and `encode_audio`, taken from stable-audio-tools): see
    /// [`pasted_tiles`].
    Pasted {
        /// Latent frames of a chunk.
        chunk: usize,
        /// Latent frames that neighbours share.
        overlap: usize,
    },
}

impl Tiling {
    /// Exact tiles of a length that suits most machines.
    pub const EXACT: Self = Self::Exact { chunk_frames: 256 };
}

/// One tile, in latent frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// What is computed.
    pub window: Range<usize>,
    /// What of it is kept.
    pub core: Range<usize>,
}

/// DiffRhythm's chunks: one begins every `chunk - overlap` frames, the last is moved so that it ends where all does, and
/// each replaces what lies before it from the middle of the overlap on. An input of one chunk or less is not cut.
///
/// # Errors
/// When the overlap leaves nothing of a chunk.
pub fn pasted_tiles(total: usize, chunk: usize, overlap: usize) -> Result<Vec<Tile>, VaeError> {
    let step = chunk.checked_sub(overlap).filter(|&step| step > 0);
    let step = step.ok_or(VaeError::Tiling { chunk, overlap })?;
    let Some(last) = total.checked_sub(chunk) else {
        let whole = 0..total;
        return Ok(vec![Tile {
            window: whole.clone(),
            core: whole,
        }]);
    };
    let mut starts: Vec<usize> = (0..=last).step_by(step).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    let owned = |place: usize| match place {
        0 => 0,
        _ => starts.get(place).map_or(total, |start| start + overlap / 2),
    };
    let tile = |(place, &start): (usize, &usize)| Tile {
        window: start..start + chunk,
        core: owned(place)..owned(place + 1),
    };
    Ok(starts.iter().enumerate().map(tile).collect())
}

/// Cuts `0..total` into cores of `core` (the last may be shorter) with windows that reach `context` further.
pub(crate) fn tiles(total: usize, core: usize, context: usize) -> impl Iterator<Item = Tile> {
    let core = core.max(1);
    (0..total).step_by(core).map(move |start| {
        let end = (start + core).min(total);
        Tile {
            window: start.saturating_sub(context)..(end + context).min(total),
            core: start..end,
        }
    })
}

/// Runs what makes `hop` samples of a frame in tiles of `core` frames that see `context` frames more at each end, the
/// most that a sample depends on: equals the whole.
pub(crate) fn run_exact_up(
    frames: &Tensor,
    core: usize,
    context: usize,
    hop: usize,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let total = frames.dim(D::Minus1)?;
    if total <= core {
        return run(frames);
    }
    run_tiles_up(frames, tiles(total, core, context), hop, run)
}

/// Runs what makes `hop` samples of a frame in given tiles.
pub(crate) fn run_tiles_up(
    frames: &Tensor,
    tiles: impl IntoIterator<Item = Tile>,
    hop: usize,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let total = frames.dim(D::Minus1)?;
    let mut parts = Vec::new();
    for tile in tiles {
        let window = frames.narrow(D::Minus1, tile.window.start, tile.window.len())?;
        let output = run(&window.contiguous()?)?;
        let skip = (tile.core.start - tile.window.start) * hop;
        let rest = output.dim(D::Minus1)? - skip;
        let length = match tile.core.end == total {
            true => rest,
            false => tile.core.len() * hop,
        };
        // A copy, so that the rest of the tile is free.
        parts.push(output.narrow(D::Minus1, skip, length)?.contiguous()?);
    }
    Ok(Tensor::cat(&parts, D::Minus1)?)
}

/// Runs what makes a frame of `hop` samples in tiles of `core` frames that see `context` frames more at each end, the
/// most that a frame depends on: equals the whole.
pub(crate) fn run_exact_down(
    samples: &Tensor,
    core: usize,
    context: usize,
    hop: usize,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let total = samples.dim(D::Minus1)? / hop;
    if total <= core {
        return run(samples);
    }
    run_tiles_down(samples, tiles(total, core, context), hop, run)
}

/// Runs what makes a frame of `hop` samples in given tiles.
pub(crate) fn run_tiles_down(
    samples: &Tensor,
    tiles: impl IntoIterator<Item = Tile>,
    hop: usize,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let length = samples.dim(D::Minus1)?;
    let total = length / hop;
    let mut parts = Vec::new();
    for tile in tiles {
        // Samples past the last whole frame belong to the tiles that reach it.
        let end = match tile.window.end == total {
            true => length,
            false => tile.window.end * hop,
        };
        let start = tile.window.start * hop;
        let window = samples.narrow(D::Minus1, start, end - start)?;
        let output = run(&window.contiguous()?)?;
        let skip = tile.core.start - tile.window.start;
        let rest = output.dim(D::Minus1)? - skip;
        let kept = match tile.core.end == total {
            true => rest,
            false => tile.core.len(),
        };
        parts.push(output.narrow(D::Minus1, skip, kept)?.contiguous()?);
    }
    Ok(Tensor::cat(&parts, D::Minus1)?)
}

/// The reference's tiling of the last dimension: `run` on each window, its ends cut off in proportion, joined again.
pub(crate) fn run_reference(
    input: &Tensor,
    chunk: usize,
    overlap: usize,
    run: impl Fn(&Tensor) -> Result<Tensor, VaeError>,
) -> Result<Tensor, VaeError> {
    let total = input.dim(D::Minus1)?;
    if total <= chunk {
        return run(input);
    }
    let core = chunk.checked_sub(2 * overlap).filter(|&core| core > 0);
    let core = core.ok_or(VaeError::Tiling { chunk, overlap })?;
    let mut parts = Vec::new();
    let mut ratio = None;
    for Tile { window, core } in tiles(total, core, overlap) {
        let output = run(&input.narrow(D::Minus1, window.start, window.len())?)?;
        let length = output.dim(D::Minus1)?;
        // The first tile decides for all how many outputs an input is worth.
        let (outputs, inputs) = *ratio.get_or_insert((length as f64, window.len() as f64));
        let worth = |inside: usize| (inside as f64 * outputs / inputs).round_ties_even() as usize;
        let left = worth(core.start - window.start).min(length);
        let right = worth(window.end - core.end).min(length - left);
        parts.push(output.narrow(D::Minus1, left, length - left - right)?);
    }
    Ok(Tensor::cat(&parts, D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_cover_everything_once() {
        for (total, core, context) in [(10, 4, 2), (1, 4, 2), (8, 4, 0), (9, 100, 3)] {
            let mut next = 0;
            for tile in tiles(total, core, context) {
                assert_eq!(tile.core.start, next);
                assert_eq!(tile.window.start, tile.core.start.saturating_sub(context));
                assert_eq!(tile.window.end, (tile.core.end + context).min(total));
                next = tile.core.end;
            }
            assert_eq!(next, total);
        }
    }

    #[test]
    fn pasted_chunks_are_owned_once_and_the_last_ends_where_all_does() {
        for (chunk, overlap) in [(128, 32), (7, 3), (4, 0), (5, 4)] {
            for total in 1..400 {
                let tiles = pasted_tiles(total, chunk, overlap).unwrap();
                let mut next = 0;
                for Tile { window, core } in &tiles {
                    assert_eq!(core.start, next);
                    assert!(window.start <= core.start && core.end <= window.end);
                    assert_eq!(window.len(), chunk.min(total));
                    next = core.end;
                }
                assert_eq!(next, total);
            }
        }
        assert!(pasted_tiles(10, 4, 4).is_err());
    }

    #[test]
    fn an_overlap_that_eats_the_tile_is_refused() {
        let input = Tensor::zeros(
            (1, 1, 100),
            candle_core::DType::F32,
            &candle_core::Device::Cpu,
        )
        .unwrap();
        let result = run_reference(&input, 16, 8, |tile| Ok(tile.clone()));
        assert!(matches!(
            result,
            Err(VaeError::Tiling {
                chunk: 16,
                overlap: 8
            })
        ));
        let whole = run_reference(&input, 16, 3, |tile| Ok(tile.clone())).unwrap();
        assert_eq!(whole.dims(), [1, 1, 100]);
    }
}
