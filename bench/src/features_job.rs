//! Everything that `lora-eval` measures of a clip.

use anyhow::Result;
use audio::AudioBuffer;
use features::{SAMPLE_RATE_HZ, measure};
use testing::pseudo_random;

use crate::Run;

const SECONDS: usize = 60;

pub(crate) fn set_up() -> Result<Run> {
    let channel = |seed| -> Result<Vec<f32>> {
        Ok((pseudo_random(SECONDS * SAMPLE_RATE_HZ as usize, seed) * 0.2)?.to_vec1()?)
    };
    let clip = AudioBuffer {
        sample_rate_hz: SAMPLE_RATE_HZ,
        channels: vec![channel(1)?, channel(2)?],
    };
    Ok(Run::new(move || {
        measure(&clip)?;
        Ok(())
    }))
}
