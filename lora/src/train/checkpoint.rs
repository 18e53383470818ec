//! The state of an unfinished run: every variable, both moments of the optimizer, the step, and what early stopping knows.
//!
//! All randomness is drawn by step number, so that these are enough to go on as if nothing had happened. The state before the last step
//! is kept beside the newest: a step that turns out to have broken the numbers is undone by a resumed run as by one that never stopped.

mod folder;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use nn::AdamW;
use serde::{Deserialize, Serialize};

use super::blow_up::FirstLosses;
use super::config::TrainConfig;
use super::early_stopping::EarlyStopping;
use super::running_mean::RunningMean;
use super::sums::Sums;
use crate::error::LoraError;
use crate::tensor_file;

pub(super) use folder::{CHECKPOINT_FOLDER, newest, steps};
pub(super) use writer::Writer;

const STATE: &str = "lorelei_run";
/// What the names of the earlier state's tensors begin with.
const BEFORE: &str = "before/";

/// The scalars of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunState {
    /// Optimizer steps done.
    pub step: usize,
    /// Early stopping.
    pub early_stopping: EarlyStopping,
    /// Of the unfinished epoch.
    pub epoch_sums: Sums,
    /// Since the last line of figures.
    pub log_sums: Sums,
    /// Whether previews are still to be made at this step.
    pub preview_is_due: bool,
    /// Training loss of the epoch in which the held-out loss was lowest.
    pub training_loss_at_best: Option<f64>,
    /// Whether it was told that training and held-out songs part.
    pub warned_of_parting: bool,
    /// Seconds of training so far.
    pub elapsed_secs: f64,
    /// Loss on the held-out songs before the first step.
    pub first_validation_loss: Option<f64>,
    /// The configuration, to be compared on resuming.
    pub config_toml: String,
    /// The training pieces.
    pub data_hash: String,
    /// The base's file.
    pub base_sha256: String,
    /// Whether the run was started to replace an adapter of its name.
    pub replaces_adapter: bool,
    /// Whether early stopping ended the training.
    pub stopped_early: bool,
    /// Whether the run came to its end.
    pub finished: bool,
    /// How often the rate was halved, because a step had broken the numbers.
    pub halvings: u32,
    /// What later losses are measured against.
    #[serde(default)]
    pub first_losses: FirstLosses,
    /// What was changed between a stop and a forced resuming.
    pub changes: Vec<String>,
}

impl RunState {
    /// Before the first step.
    pub(super) fn fresh(
        config: &TrainConfig,
        data_hash: String,
        base_sha256: String,
    ) -> Result<Self, LoraError> {
        Ok(Self {
            step: 0,
            early_stopping: EarlyStopping::new(config.patience_epochs, config.minimum_improvement),
            epoch_sums: Sums::default(),
            log_sums: Sums::default(),
            preview_is_due: false,
            training_loss_at_best: None,
            warned_of_parting: false,
            elapsed_secs: 0.0,
            config_toml: config.to_toml()?,
            first_validation_loss: None,
            data_hash,
            base_sha256,
            replaces_adapter: false,
            stopped_early: false,
            finished: false,
            halvings: 0,
            first_losses: FirstLosses::default(),
            changes: Vec::new(),
        })
    }
}

/// A moment of a run.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Scalars.
    pub state: RunState,
    /// Variables, moments of the optimizer and running means by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Moment {
    /// From a copy of the variables; the optimizer's numbers are copied here.
    pub(super) fn of(
        state: RunState,
        values: BTreeMap<String, Tensor>,
        optimizer: &AdamW,
        running_mean: Option<&RunningMean>,
    ) -> candle_core::Result<Self> {
        let mut tensors = values;
        tensors.extend(optimizer.state()?);
        tensors.extend(running_mean.into_iter().flat_map(RunningMean::state));
        Ok(Self { state, tensors })
    }
}

/// A run that can go on.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    /// As it is.
    pub now: Moment,
    /// As it was before the last step, if there was one.
    pub before: Option<Moment>,
}

/// What is in the header of a checkpoint's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    now: RunState,
    before: Option<RunState>,
    /// Of the tensors, name by name: a flipped bit in them leaves the file well-formed.
    crc32: u32,
}

impl Checkpoint {
    /// The file's contents.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors = self.now.tensors.clone();
        if let Some(moment) = &self.before {
            let named =
                |(name, tensor): (&String, &Tensor)| (format!("{BEFORE}{name}"), tensor.clone());
            tensors.extend(moment.tensors.iter().map(named));
        }
        let header = Header {
            now: self.now.state.clone(),
            before: self.before.as_ref().map(|moment| moment.state.clone()),
            crc32: crc32(&tensors)?,
        };
        let header = serde_json::to_string(&header).map_err(|error| error.to_string())?;
        tensor_file::to_bytes(&tensors, STATE, header)
    }

    /// Reads a file.
    fn from_file(path: &Path, device: &Device) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        Self::from_bytes(&bytes, device)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    pub(super) fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, String> {
        let (header, tensors) = tensor_file::from_bytes(bytes, STATE, device)?;
        let header: Header = serde_json::from_str(&header).map_err(|error| {
            format!("the run's state in it is damaged or of another version: {error}")
        })?;
        if crc32(&tensors)? != header.crc32 {
            return Err("its numbers do not match their checksum".to_owned());
        }
        let (mut now, mut earlier) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in tensors {
            match name.strip_prefix(BEFORE) {
                Some(name) => earlier.insert(name.to_owned(), tensor),
                None => now.insert(name, tensor),
            };
        }
        let before = header.before.map(|state| Moment {
            state,
            tensors: earlier,
        });
        Ok(Self {
            now: Moment {
                state: header.now,
                tensors: now,
            },
            before,
        })
    }
}

fn crc32(tensors: &BTreeMap<String, Tensor>) -> Result<u32, String> {
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        let (_, bytes) = tensor_file::little_endian(tensor)?;
        hasher.update(&bytes);
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sums::StepFigures;
    use super::*;

    fn sums(loss: f64, gradient_norm: f64) -> Sums {
        let mut sums = Sums::default();
        sums.add(&StepFigures {
            loss,
            unweighted_loss: loss,
            items: vec![(0.3, loss)],
            gradient_norm,
            update_norm: 0.1,
            secs: 0.2,
        });
        sums
    }

    pub(super) fn state(step: usize) -> RunState {
        RunState {
            step,
            early_stopping: EarlyStopping::new(3, 0.01),
            epoch_sums: sums(0.1 + 0.2, 1.0 / 3.0),
            log_sums: Sums::default(),
            preview_is_due: true,
            training_loss_at_best: Some(0.7),
            warned_of_parting: false,
            elapsed_secs: 1.5,
            first_validation_loss: Some(2.0),
            config_toml: "a = 1".into(),
            data_hash: "d".into(),
            base_sha256: "b".into(),
            replaces_adapter: true,
            stopped_early: false,
            finished: false,
            halvings: 1,
            first_losses: FirstLosses::default(),
            changes: vec!["seed = 2 (was 1)".into()],
        }
    }

    pub(super) fn checkpoint(step: usize) -> Checkpoint {
        let values = |values: &[f32]| Tensor::from_slice(values, 3, &Device::Cpu).unwrap();
        let moment = |step, tensor| Moment {
            state: state(step),
            tensors: BTreeMap::from([("x.lora_A".to_owned(), tensor)]),
        };
        Checkpoint {
            now: moment(step, values(&[0.1, -0.0, 3e-40])),
            before: Some(moment(step.saturating_sub(1), values(&[1.0, 2.0, 3.0]))),
        }
    }

    fn bits(moment: &Moment) -> Vec<u32> {
        let values = moment.tensors["x.lora_A"].to_vec1::<f32>().unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn every_finite_number_of_the_state_survives(
            bits in prop::array::uniform6(any::<u64>()),
        ) {
            let numbers = bits.map(f64::from_bits);
            prop_assume!(numbers.iter().all(|number| number.is_finite()));
            let mut early_stopping = EarlyStopping::new(3, numbers[0]);
            early_stopping.observe(1, numbers[1]);
            let state = RunState {
                early_stopping,
                epoch_sums: sums(numbers[2], numbers[3]),
                elapsed_secs: numbers[4],
                first_validation_loss: Some(numbers[5]),
                ..state(7)
            };
            let now = Moment { state, tensors: BTreeMap::new() };
            let checkpoint = Checkpoint { now, before: None };
            let loaded = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap(), &Device::Cpu).unwrap();
            // Debug tells -0 from 0 and writes every other float so that it reads back, so equal texts are equal bits.
            prop_assert_eq!(format!("{:?}", loaded.now.state), format!("{:?}", checkpoint.now.state));
        }
    }

    #[test]
    fn both_moments_keep_every_bit() {
        let checkpoint = checkpoint(7);
        let loaded = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap(), &Device::Cpu).unwrap();
        let (before, loaded_before) = (checkpoint.before.unwrap(), loaded.before.unwrap());
        for (kept, read) in [(&checkpoint.now, &loaded.now), (&before, &loaded_before)] {
            assert_eq!(kept.state, read.state);
            assert_eq!(bits(kept), bits(read));
        }
    }

    #[test]
    fn damage_anywhere_is_seen() {
        let good = checkpoint(7).to_bytes().unwrap();
        let read = |bytes: &[u8]| Checkpoint::from_bytes(bytes, &Device::Cpu);
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "cut to {length} bytes");
        }
        // The tensors are the last bytes.
        for at in good.len() - 24..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(read(&bad).is_err(), "byte {at}");
        }
    }
}
