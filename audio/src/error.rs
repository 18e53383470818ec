//! Everything that can go wrong with a sound file, said with the file's name and what to do.

use std::io;
use std::path::PathBuf;

use crate::Stretch;

/// Why a sound could not be read, converted or written.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The file cannot be opened (missing, no permission, a folder, a dangling link).
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading stopped with a system error part way.
    #[error("{}: cannot be read: {source}; copy it again from where it came from", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{}: is empty (0 bytes); copy it again or delete it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The bytes are no sound format known here, whatever the file's name says.
    #[error(
        "{}: is not a sound file ({found}); supported are WAV, FLAC, MP3, Ogg/Vorbis and M4A/AAC",
        path.display()
    )]
    NotAudio {
        /// The file.
        path: PathBuf,
        /// What the bytes look like.
        found: &'static str,
    },
    /// A known format that cannot be decoded here.
    #[error(
        "{}: {codec} is not supported; convert it first, for instance with `ffmpeg -i INPUT OUTPUT.flac`",
        path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The format's usual name.
        codec: String,
    },
    /// The file ends before the sound does.
    #[error("{}: is cut short: {promised}, but {found}; copy or download it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What the header says.
        promised: String,
        /// What is there.
        found: String,
    },
    /// The header and the file's length contradict each other.
    #[error(
        "{}: its header lies about its size: {promised}, but {found}; \
         repair it, for instance with `ffmpeg -i INPUT -c copy OUTPUT.wav`",
        path.display()
    )]
    LyingHeader {
        /// The file.
        path: PathBuf,
        /// What the header says.
        promised: String,
        /// What is there.
        found: String,
    },
    /// The format is right, the content is damaged.
    #[error("{}: is damaged: {detail}; copy it again or re-encode it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was met, and where.
        detail: String,
    },
    /// A sound of no length.
    #[error("{}: holds no sound (0 frames)", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },
    /// A sample rate no recording has.
    #[error(
        "sample rate {sample_rate_hz} Hz is outside {} to {} Hz",
        AudioError::MIN_SAMPLE_RATE_HZ,
        AudioError::MAX_SAMPLE_RATE_HZ
    )]
    SampleRate {
        /// The rate asked for.
        sample_rate_hz: u32,
    },
    /// The resampler refused.
    #[error("cannot resample from {from_hz} Hz to {to_hz} Hz: {reason}")]
    Resample {
        /// Rate of the input.
        from_hz: u32,
        /// Rate of the output.
        to_hz: u32,
        /// The resampler's own words.
        reason: String,
    },
    /// A stretch nobody should be asked to listen to.
    #[error(
        "cannot stretch a sound to {ratio} of its length and shift it by {semitones} semitones; \
         the length must be {} to {} times what it was, the shift at most {} semitones up or down",
        Stretch::MIN_RATIO,
        Stretch::MAX_RATIO,
        Stretch::MAX_SEMITONES
    )]
    StretchRange {
        /// Length after by length before.
        ratio: f64,
        /// Shift of pitch.
        semitones: f64,
    },
    /// The stretcher refused.
    #[error(
        "cannot stretch {channels} channels at {sample_rate_hz} Hz: {reason}; \
         give one or two channels of finite samples"
    )]
    Stretch {
        /// Number of channels.
        channels: usize,
        /// Rate the stretcher worked at.
        sample_rate_hz: u32,
        /// The stretcher's own words.
        reason: String,
    },
    /// The loudness meter refused.
    #[error("cannot measure the loudness of {channels} channels at {sample_rate_hz} Hz: {reason}")]
    Loudness {
        /// Number of channels.
        channels: usize,
        /// Rate of the sound.
        sample_rate_hz: u32,
        /// The meter's own words.
        reason: String,
    },
    /// Channels of one buffer differ in length, or there is none.
    #[error("a sound needs one or more channels of equal length, got lengths {lengths:?}")]
    Shape {
        /// Frames of each channel.
        lengths: Vec<usize>,
    },
    /// More frames than a WAV file's 32-bit sizes can say.
    #[error("{frames} frames are too many for one WAV file (4 GiB); cut shorter pieces")]
    TooLong {
        /// Frames asked for.
        frames: u64,
    },
    /// A WAV writer got another number of frames than it was opened for.
    #[error("expected {expected} frames to write, got {actual}")]
    FrameCount {
        /// Frames announced.
        expected: u64,
        /// Frames given.
        actual: u64,
    },
    /// Writing failed: disk full, no permission, name taken by a folder.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AudioError {
    /// Lowest sample rate accepted, in Hz.
    pub const MIN_SAMPLE_RATE_HZ: u32 = 1_000;
    /// Highest sample rate accepted, in Hz.
    pub const MAX_SAMPLE_RATE_HZ: u32 = 768_000;

    /// `Ok` when a sample rate is one that recordings have.
    pub(crate) fn check_rate(sample_rate_hz: u32) -> Result<(), Self> {
        if (Self::MIN_SAMPLE_RATE_HZ..=Self::MAX_SAMPLE_RATE_HZ).contains(&sample_rate_hz) {
            Ok(())
        } else {
            Err(Self::SampleRate { sample_rate_hz })
        }
    }
}
