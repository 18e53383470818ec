//! From flags to a request.

use super::args::{Args, Depth};
use crate::{BitDepth, Request, Settings};

/// What the flags ask for; checked by [`fn@crate::cut`].
#[must_use]
pub fn request(args: Args) -> Request {
    Request {
        input: args.input,
        output: args.output,
        settings: Settings {
            sample_rate_hz: args.sample_rate,
            min_secs: args.min_secs,
            max_secs: args.max_secs,
            at_secs: args.at,
            trim_silence: args.trim_silence,
            drop_short: args.drop_short,
            loudness_lufs: args.loudness,
            peak_ceiling_dbfs: args.peak_ceiling,
            bit_depth: match args.bit_depth {
                Depth::Auto => BitDepth::Auto,
                Depth::Integer8 => BitDepth::Integer8,
                Depth::Integer16 => BitDepth::Integer16,
                Depth::Integer24 => BitDepth::Integer24,
                Depth::Integer32 => BitDepth::Integer32,
                Depth::F32 => BitDepth::Float32,
                Depth::F64 => BitDepth::Float64,
            },
            validation_fraction: args.validation,
            seed: args.seed,
        },
        jobs: args.jobs,
        force: args.force,
        dry_run: args.dry_run,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_flags_default_to_the_library_s_defaults() {
        let args = Args::try_parse_from(["cut-music", "in", "out"]).unwrap();
        assert_eq!(request(args).settings, Settings::default());
    }

    #[test]
    fn times_are_a_list_and_exclude_limits() {
        let args = Args::try_parse_from(["cut-music", "in", "out", "--at", "60,120.5"]).unwrap();
        assert_eq!(request(args).settings.at_secs, Some(vec![60.0, 120.5]));
        assert!(
            Args::try_parse_from(["cut-music", "in", "out", "--at", "60", "--min-secs", "3"])
                .is_err()
        );
    }
}
