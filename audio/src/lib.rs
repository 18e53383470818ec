//! Sound in and out: decoding, resampling, WAV writing, loudness
