//! What values settings may have.

use audio::Stretch;

use super::{AdapterMethod, LossWeighting, TrainConfig, TrainSettings};
use crate::error::LoraError;

/// Optimizer steps, and what is counted in them or in epochs: years of training, and far from where products of counts wrap.
pub(in crate::train) const MOST_STEPS: u64 = 1_000_000_000;
/// Crops in one step; more do not fit a machine's memory.
const MOST_CROPS: u64 = 4096;
/// Above the width of any layer, where a low-rank change would be none.
const HIGHEST_RANK: u64 = 4096;
/// Changed forms of a kind; each costs as much time and disk as the pieces themselves.
const MOST_FORMS: u64 = 16;
/// Slowest a piece may be played, as a multiple of its tempo.
const MIN_TEMPO: f64 = 1.0 / Stretch::MAX_RATIO;
/// Fastest.
const MAX_TEMPO: f64 = 1.0 / Stretch::MIN_RATIO;
/// Visits of a piece in an epoch.
const MOST_REPEATS: u64 = 1000;

/// Threads; more than any machine has cores.
const MOST_THREADS: u64 = 1024;

impl TrainSettings {
    /// # Errors
    /// [`LoraError::Setting`] for what belongs to the machine and is out of its range.
    pub(super) fn validate_machine(&self) -> Result<(), LoraError> {
        let threads = self.threads.unwrap_or(1) as u64;
        count_within("threads", threads, 1, MOST_THREADS)
    }
}

impl TrainConfig {
    /// # Errors
    /// [`LoraError::Setting`] for the first value out of its range.
    pub(super) fn validate(&self) -> Result<(), LoraError> {
        for (setting, value) in [
            ("steps", self.steps),
            ("epochs", self.epochs.unwrap_or(1)),
            ("patience_epochs", self.patience_epochs),
            ("checkpoint_steps", self.checkpoint_steps),
            ("keep", self.keep),
            ("log_steps", self.log_steps),
        ] {
            count_within(setting, value as u64, 1, MOST_STEPS)?;
        }
        for (setting, value) in [
            ("warm_up_steps", self.warm_up_steps),
            ("preview_steps", self.preview_steps),
        ] {
            count_within(setting, value as u64, 0, MOST_STEPS)?;
        }
        count_within("batch_size", self.batch_size as u64, 1, MOST_CROPS)?;
        count_within("accumulate", self.accumulate as u64, 1, MOST_CROPS)?;
        count_within("preview_clips", self.preview_clips as u64, 0, 16)?;
        count_within("rank", self.rank as u64, 1, HIGHEST_RANK)?;
        for pattern in &self.rank_pattern {
            count_within("rank_pattern", pattern.value as u64, 1, HIGHEST_RANK)?;
        }
        for pattern in &self.repeats {
            count_within("repeats", pattern.value as u64, 0, MOST_REPEATS)?;
        }
        self.check_forms()?;
        count_within("prior_clips", self.prior_clips as u64, 0, MOST_CROPS)?;
        within("prior_weight", self.prior_weight, 0.0, 100.0)?;
        count_within("seed", self.seed, 0, i64::MAX as u64)?;
        within("alpha", self.alpha, 1e-6, 1e6)?;
        for pattern in &self.alpha_pattern {
            within("alpha_pattern", pattern.value, 1e-6, 1e6)?;
        }
        within("dropout", self.dropout, 0.0, 0.99)?;
        within("learning_rate", self.learning_rate, 1e-9, 1.0)?;
        within("output_rate_ratio", self.output_rate_ratio, 1e-3, 1e3)?;
        within("weight_decay", self.weight_decay, 0.0, 1.0)?;
        within("final_rate_ratio", self.final_rate_ratio, 0.0, 1.0)?;
        within("gradient_clip", self.gradient_clip, 0.0, 1e6)?;
        within("ema_decay", self.ema_decay, 0.0, 0.999_999)?;
        within("time_mean", self.time_mean.unwrap_or(0.0), -10.0, 10.0)?;
        let deviation = self.time_deviation.unwrap_or(1.0);
        within("time_deviation", deviation, 1e-3, 10.0)?;
        within(
            "min_snr_gamma",
            self.min_snr_gamma.unwrap_or(1.0),
            0.01,
            1e4,
        )?;
        within("crop_secs", self.crop_secs, 0.1, 600.0)?;
        within("preview_secs", self.preview_secs, 0.5, 600.0)?;
        within("style_drop", self.style_drop, 0.0, 1.0)?;
        within("text_drop", self.text_drop, 0.0, 1.0)?;
        within("tag_drop", self.tag_drop, 0.0, 1.0)?;
        within("minimum_improvement", self.minimum_improvement, 0.0, 1.0)?;
        count_within(
            "lokr_factor",
            self.lokr_factor.unwrap_or(2) as u64,
            2,
            HIGHEST_RANK,
        )?;
        if self.method == AdapterMethod::Lokr && self.dropout > 0.0 {
            return Err(LoraError::Setting {
                setting: "dropout",
                value: self.dropout.to_string(),
                expected: "LoKr has no dropout, here as in LyCORIS and PEFT; leave it out"
                    .to_owned(),
            });
        }
        if self.include.is_empty() {
            let expected = "at least one pattern, such as self_attn.q_proj".to_owned();
            return Err(LoraError::Setting {
                setting: "include",
                value: "nothing".to_owned(),
                expected,
            });
        }
        self.check_time_sampling()
    }

    /// A form is as audible as a stretch allows, and another than the piece and the other forms.
    fn check_forms(&self) -> Result<(), LoraError> {
        let tempos: Vec<f64> = self.augment_tempo.clone();
        let shifts: Vec<f64> = self.augment_pitch.iter().copied().map(f64::from).collect();
        for (setting, values, own, low, high) in [
            ("augment_tempo", tempos, 1.0, MIN_TEMPO, MAX_TEMPO),
            (
                "augment_pitch",
                shifts,
                0.0,
                -Stretch::MAX_SEMITONES,
                Stretch::MAX_SEMITONES,
            ),
        ] {
            for (number, &value) in values.iter().enumerate() {
                within(setting, value, low, high)?;
                if value == own || values[..number].contains(&value) {
                    return Err(LoraError::Setting {
                        setting,
                        value: value.to_string(),
                        expected: format!(
                            "each value once, and not {own}, which is the piece as it is"
                        ),
                    });
                }
            }
            count_within(setting, values.len() as u64, 0, MOST_FORMS)?;
        }
        Ok(())
    }

    /// Mean and deviation belong to one kind of sampling, gamma to one of weighting; with another they would be passed over in silence.
    fn check_time_sampling(&self) -> Result<(), LoraError> {
        if let (Some(gamma), LossWeighting::None) = (self.min_snr_gamma, self.loss_weighting) {
            return Err(LoraError::Setting {
                setting: "min_snr_gamma",
                value: gamma.to_string(),
                expected: "is for --loss-weighting min-snr only".to_owned(),
            });
        }
        if self.time_sampling == super::TimeSampling::LogitNormal {
            return Ok(());
        }
        for (setting, value) in [
            ("time_mean", self.time_mean),
            ("time_deviation", self.time_deviation),
        ] {
            if let Some(value) = value {
                return Err(LoraError::Setting {
                    setting,
                    value: value.to_string(),
                    expected: "is for --time-sampling logit-normal only".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn count_within(setting: &'static str, value: u64, low: u64, high: u64) -> Result<(), LoraError> {
    if !(low..=high).contains(&value) {
        return Err(LoraError::Setting {
            setting,
            value: value.to_string(),
            expected: format!("must be from {low} to {high}"),
        });
    }
    Ok(())
}

fn within(setting: &'static str, value: f64, low: f64, high: f64) -> Result<(), LoraError> {
    if !(low..=high).contains(&value) {
        return Err(LoraError::Setting {
            setting,
            value: value.to_string(),
            expected: format!("must be from {low} to {high}"),
        });
    }
    Ok(())
}
