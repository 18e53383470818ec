//! A source as the models want it: two channels at one rate.

use std::path::Path;

use crate::{AudioError, Decoder, Resampler, SourceInfo};

/// Stereo blocks at a chosen rate from any source.
pub struct StereoStream {
    decoder: Decoder,
    resampler: Option<Resampler>,
    mixed: [Vec<f64>; 2],
    out: [Vec<f64>; 2],
    is_finished: bool,
}

impl StereoStream {
    /// Opens a file.
    pub fn open(path: &Path, sample_rate_hz: u32) -> Result<Self, AudioError> {
        Self::new(Decoder::open(path)?, sample_rate_hz)
    }

    /// Wraps a decoder that has not been read from yet.
    pub fn new(decoder: Decoder, sample_rate_hz: u32) -> Result<Self, AudioError> {
        let source_hz = decoder.info().sample_rate_hz;
        let resampler = (source_hz != sample_rate_hz)
            .then(|| Resampler::new(source_hz, sample_rate_hz, 2))
            .transpose()?;
        Ok(Self {
            decoder,
            resampler,
            mixed: Default::default(),
            out: Default::default(),
            is_finished: false,
        })
    }

    /// What the source is.
    #[must_use]
    pub fn info(&self) -> &SourceInfo {
        self.decoder.info()
    }

    /// Whether every sample is the source's own: no resampling, no downmix of many channels.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.resampler.is_none() && self.info().stereo_gains.is_exact()
    }

    /// The next frames, left and right, or `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<[&[f64]; 2]>, AudioError> {
        while !self.is_finished {
            let gains = self.decoder.info().stereo_gains.clone();
            match self.decoder.next_block()? {
                Some(planes) => gains.mix(planes, &mut self.mixed),
                None => {
                    self.is_finished = true;
                    self.mixed.iter_mut().for_each(Vec::clear);
                }
            }
            let Some(resampler) = &mut self.resampler else {
                std::mem::swap(&mut self.mixed, &mut self.out);
                if self.is_finished {
                    break;
                }
                return Ok(Some([&self.out[0], &self.out[1]]));
            };
            self.out.iter_mut().for_each(Vec::clear);
            resampler.push(&self.mixed, &mut self.out)?;
            if self.is_finished {
                resampler.finish(&mut self.out)?;
            }
            if !self.out[0].is_empty() {
                return Ok(Some([&self.out[0], &self.out[1]]));
            }
        }
        Ok(None)
    }
}
