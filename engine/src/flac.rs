//! Clips as FLAC of 24 bits.

use flacenc::component::BitRepr;
use flacenc::error::Verify;

const BITS: usize = 24;
const FULL_SCALE: f32 = 8_388_607.0;

/// Stereo samples, full scale is one, as the bytes of a FLAC file.
///
/// # Errors
/// In words.
pub(crate) fn encode(clip: &[Vec<f32>; 2], sample_rate_hz: u32) -> Result<Vec<u8>, String> {
    let config = flacenc::config::Encoder::default()
        .into_verified()
        .map_err(|(_, error)| error.to_string())?;
    let [left, right] = clip;
    let quantised = |sample: &f32| (sample.clamp(-1.0, 1.0) * FULL_SCALE).round() as i32;
    let interleaved: Vec<i32> = left
        .iter()
        .zip(right)
        .flat_map(|(left, right)| [quantised(left), quantised(right)])
        .collect();
    let rate = sample_rate_hz as usize;
    let source = flacenc::source::MemSource::from_samples(&interleaved, 2, BITS, rate);
    let block = config.block_size;
    let mut stream = flacenc::encode_with_fixed_block_size(&config, source, block)
        .map_err(|error| error.to_string())?;
    // The shorter last block does not count in the header; decoders that seek take a stream with two block sizes for one of variable size.
    stream
        .stream_info_mut()
        .set_block_sizes(block, block)
        .map_err(|error| error.to_string())?;
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream.write(&mut sink).map_err(|error| error.to_string())?;
    Ok(sink.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_channels_come_back_to_24_bits() {
        let wave = |step: f32| -> Vec<f32> {
            (0..10_001)
                .map(|index| (index as f32 * step).sin() * 0.89)
                .collect()
        };
        let clip = [wave(0.03), wave(0.11)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.flac");
        std::fs::write(&path, encode(&clip, 44_100).unwrap()).unwrap();
        let read = audio::read(&path).unwrap();
        assert_eq!(read.frames(), 10_001);
        for (read, made) in read.channels.iter().zip(&clip) {
            let pairs = read.iter().zip(made);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-7, "{worst}");
        }
    }
}
