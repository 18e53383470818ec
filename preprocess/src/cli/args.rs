//! The flags as they are typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Cut recordings into pieces to train on.
///
/// Reads WAV, FLAC, MP3, OGG/Vorbis and M4A/AAC; writes stereo WAV pieces and manifest.jsonl.
/// Cuts fall on pauses and quiet moments. Recordings are never changed; a second run cuts only
/// what is new.
///
/// Exit codes: 0 all done, 1 failed, 2 done but files were skipped, 130 stopped by Ctrl-C.
#[derive(Debug, Clone, Parser)]
#[command(name = "cut-music", version, max_term_width = 100)]
pub struct Args {
    /// Folder of recordings (walked recursively), or one file
    pub input: PathBuf,
    /// Folder for the pieces, beside the input, made where needed
    pub output: PathBuf,

    /// Least length of a piece; only a rest may be shorter
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    pub min_secs: f64,
    /// Greatest length of a piece
    #[arg(long, value_name = "SECONDS", default_value_t = 12.0)]
    pub max_secs: f64,
    /// Cut exactly at these times, and keep every piece
    #[arg(long, value_name = "SECONDS,...", value_delimiter = ',', conflicts_with_all = ["min_secs", "max_secs", "trim_silence", "drop_short"])]
    pub at: Option<Vec<f64>>,
    /// Leave out leading, trailing and long silence (1 s below -60 dBFS)
    #[arg(long)]
    pub trim_silence: bool,
    /// Leave out pieces shorter than --min-secs
    #[arg(long)]
    pub drop_short: bool,

    /// Bring each piece to this integrated loudness (EBU R 128), as far as its peaks allow
    #[arg(long, value_name = "LUFS", allow_negative_numbers = true)]
    pub loudness: Option<f64>,
    /// Highest true peak that --loudness may lead to
    #[arg(long, value_name = "DBFS", allow_negative_numbers = true, default_value_t = -1.0)]
    pub peak_ceiling: f64,
    /// Sample rate of the pieces
    #[arg(long, value_name = "HZ", default_value_t = 44_100)]
    pub sample_rate: u32,
    /// Depth of the pieces; auto: the source's own, or f32 where samples are computed
    #[arg(long, value_enum, default_value_t = Depth::Auto)]
    pub bit_depth: Depth,

    /// Part of the songs to hold out for validation
    #[arg(long, value_name = "FRACTION", default_value_t = 0.2)]
    pub validation: f64,
    /// Decides which songs are held out
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Files at a time; 0 is one per core [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub jobs: usize,
    /// Decode and decide, but write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Cut everything again, replacing the pieces of earlier runs
    #[arg(long)]
    pub force: bool,
    /// No progress and no summary, only what went wrong
    #[arg(long, short)]
    pub quiet: bool,
}

/// Values of `--bit-depth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Depth {
    /// The source's own, or f32 where samples are computed
    Auto,
    /// 8-bit integer
    #[value(name = "8")]
    Integer8,
    /// 16-bit integer
    #[value(name = "16")]
    Integer16,
    /// 24-bit integer
    #[value(name = "24")]
    Integer24,
    /// 32-bit integer
    #[value(name = "32")]
    Integer32,
    /// 32-bit float
    F32,
    /// 64-bit float
    F64,
}
