//! Sound as Ogg Opus (RFC 7845), which browsers play.

use anyhow::{Result, ensure};
use audio::AudioBuffer;
use opus_pure::{Application, MAX_PACKET_BYTES, OggOpusWriter, OpusEncoder, OpusHead};

/// The codec's own rate.
pub(super) const SAMPLE_RATE_HZ: u32 = 48_000;
const BITS_PER_SECOND: i32 = 112_000;
const CHANNELS: usize = 2;
/// 20 ms.
const FRAME: usize = SAMPLE_RATE_HZ as usize / 50;

/// A whole file of a stereo sound at [`SAMPLE_RATE_HZ`]; a decoder gives back as many samples as went in.
///
/// # Errors
/// For other rates and numbers of channels, and when the encoder fails.
pub(super) fn encode(sound: &AudioBuffer) -> Result<Vec<u8>> {
    ensure!(
        sound.sample_rate_hz == SAMPLE_RATE_HZ && sound.channels.len() == CHANNELS,
        "{} channels at {} Hz, expected {CHANNELS} at {SAMPLE_RATE_HZ}",
        sound.channels.len(),
        sound.sample_rate_hz
    );
    let rate = SAMPLE_RATE_HZ as i32;
    let mut encoder = OpusEncoder::new(rate, CHANNELS, Application::Audio)?;
    encoder.bitrate_bps = BITS_PER_SECOND;
    let head = OpusHead::for_encoder(&encoder, SAMPLE_RATE_HZ);
    // Silence behind the sound brings out what the encoder still holds; the last position says where the sound ends.
    let delay = usize::from(head.pre_skip);
    let length = sound.frames();
    let blocks = (length + delay).div_ceil(FRAME);
    let mut bytes = Vec::new();
    let mut writer = OggOpusWriter::new(&mut bytes, head)?;
    let mut packet = vec![0; MAX_PACKET_BYTES];
    for block in 0..blocks {
        let size = encoder.encode(&interleaved(sound, block), FRAME, &mut packet)?;
        let start = block * FRAME;
        if block + 1 == blocks {
            let duration = length + delay - start;
            writer.write_packet_with_duration(&packet[..size], duration as u32)?;
        } else {
            writer.write_packet(&packet[..size])?;
        }
    }
    writer.finish()?;
    Ok(bytes)
}

/// Frames of a block of 20 ms, zeros behind the end.
fn interleaved(sound: &AudioBuffer, block: usize) -> Vec<f32> {
    let frames = block * FRAME..(block + 1) * FRAME;
    let frame = |frame: usize| {
        let channels = sound.channels.iter();
        channels.map(move |samples| samples.get(frame).copied().unwrap_or(0.0))
    };
    frames.flat_map(frame).collect()
}

#[cfg(test)]
mod tests {
    use opus_pure::{MAX_PACKET_SAMPLES, OggOpusReader, Trim};

    use super::*;

    fn decode(bytes: &[u8]) -> Vec<f32> {
        let mut reader = OggOpusReader::new(bytes).unwrap();
        let mut decoder = reader.head().decoder(SAMPLE_RATE_HZ as i32).unwrap();
        let mut trim = Trim::new(reader.head(), SAMPLE_RATE_HZ as i32, CHANNELS).unwrap();
        let mut block = vec![0.0; MAX_PACKET_SAMPLES * CHANNELS];
        let mut samples = Vec::new();
        for packet in reader.packets() {
            let packet = packet.unwrap();
            let frames = decoder
                .decode(&packet.data, MAX_PACKET_SAMPLES, &mut block)
                .unwrap();
            samples.extend_from_slice(trim.keep(&packet, &block[..frames * CHANNELS]));
        }
        samples
    }

    #[test]
    fn what_is_decoded_is_what_went_in_on_both_sides() {
        let tone = |hertz: f32| -> Vec<f32> {
            let phase = |frame: usize| std::f32::consts::TAU * hertz * frame as f32 / 48_000.0;
            (0..100_001).map(|frame| 0.4 * phase(frame).sin()).collect()
        };
        let sound = AudioBuffer::new(SAMPLE_RATE_HZ, vec![tone(440.0), tone(1000.0)]).unwrap();
        let bytes = encode(&sound).unwrap();
        assert!(
            bytes.starts_with(b"OggS") && bytes.len() < 60_000,
            "{}",
            bytes.len()
        );
        let samples = decode(&bytes);
        assert_eq!(samples.len(), 2 * 100_001);
        for (channel, expected) in sound.channels.iter().enumerate() {
            let actual = samples.iter().skip(channel).step_by(2);
            // The first and last milliseconds ring.
            let pairs = actual.zip(expected).skip(4800).take(90_000);
            let error: f32 = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 90_000.0;
            assert!(error.sqrt() < 0.03, "channel {channel}: {}", error.sqrt());
        }
        let mono = AudioBuffer::new(SAMPLE_RATE_HZ, vec![tone(440.0)]).unwrap();
        assert!(encode(&mono).is_err());
    }
}
