//! The state of an unfinished run: every variable, both moments of the optimizer, the step, and what early stopping knows.
//!
//! All randomness is drawn by step number, so that these are enough to go on as if nothing had happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::early_stopping::EarlyStopping;
use crate::error::LoraError;
use crate::tensor_file;

/// File name inside the run folder.
pub(super) const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
const STATE: &str = "lorelei_run";

/// The scalars of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunState {
    /// Optimizer steps done.
    pub step: usize,
    /// Early stopping.
    pub early_stopping: EarlyStopping,
    /// Sum of the losses and of the gradient norms in the unfinished epoch, and how many they are.
    pub epoch_sums: (f64, f64, usize),
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
    #[serde(default)]
    pub replaces_adapter: bool,
    /// Whether early stopping ended the training.
    #[serde(default)]
    pub stopped_early: bool,
    /// Whether the run came to its end.
    pub finished: bool,
}

/// A run that can go on.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Scalars.
    pub state: RunState,
    /// Variables and moments by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Where the checkpoint of a run lies.
pub(super) fn path(run_dir: &Path) -> PathBuf {
    run_dir.join(CHECKPOINT_FILE)
}

impl Checkpoint {
    /// Writes the checkpoint aside, then over the last one.
    pub(super) fn save(&self, run_dir: &Path) -> Result<(), LoraError> {
        let path = path(run_dir);
        let bytes = self.to_bytes().map_err(|problem| LoraError::BadFile {
            path: path.clone(),
            problem,
        })?;
        dataset::write_aside(&path, &bytes).map_err(LoraError::file(&path))
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let state = serde_json::to_string(&self.state).map_err(|error| error.to_string())?;
        tensor_file::to_bytes(&self.tensors, STATE, state)
    }

    /// Reads the checkpoint of a run.
    pub(super) fn load(run_dir: &Path, device: &Device) -> Result<Self, LoraError> {
        let path = path(run_dir);
        let bytes = std::fs::read(&path).map_err(|source| LoraError::BadFile {
            path: path.clone(),
            problem: format!("{source}; there is no run to resume here (--run-dir names another)"),
        })?;
        Self::from_bytes(&bytes, device).map_err(|problem| LoraError::BadFile { path, problem })
    }

    fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, String> {
        let (state, tensors) = tensor_file::from_bytes(bytes, STATE, device)?;
        let state = serde_json::from_str(&state)
            .map_err(|error| format!("the run state in the checkpoint is damaged: {error}"))?;
        Ok(Self { state, tensors })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> RunState {
        RunState {
            step: 7,
            early_stopping: EarlyStopping::new(3, 0.01),
            epoch_sums: (0.1 + 0.2, 1.0 / 3.0, 2),
            elapsed_secs: 1.5,
            first_validation_loss: Some(2.0),
            config_toml: "a = 1".into(),
            data_hash: "d".into(),
            base_sha256: "b".into(),
            replaces_adapter: true,
            stopped_early: false,
            finished: false,
        }
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
                epoch_sums: (numbers[2], numbers[3], 2),
                elapsed_secs: numbers[4],
                first_validation_loss: Some(numbers[5]),
                ..state()
            };
            let checkpoint = Checkpoint { state, tensors: BTreeMap::new() };
            let loaded = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap(), &Device::Cpu).unwrap();
            // Debug tells -0 from 0 and writes every other float so that it reads back, so equal texts are equal bits.
            prop_assert_eq!(format!("{:?}", loaded.state), format!("{:?}", checkpoint.state));
        }
    }

    #[test]
    fn round_trip_keeps_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let values = Tensor::from_slice(&[0.1f32, -0.0, 3e-40], 3, &Device::Cpu).unwrap();
        let checkpoint = Checkpoint {
            state: state(),
            tensors: BTreeMap::from([("x.lora_A".to_owned(), values)]),
        };
        checkpoint.save(folder.path()).unwrap();
        let loaded = Checkpoint::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.state, checkpoint.state);
        let bits = |checkpoint: &Checkpoint| -> Vec<u32> {
            checkpoint.tensors["x.lora_A"]
                .to_vec1::<f32>()
                .unwrap()
                .iter()
                .map(|value| value.to_bits())
                .collect()
        };
        assert_eq!(bits(&loaded), bits(&checkpoint));
    }

    #[test]
    fn nothing_to_resume_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = Checkpoint::load(folder.path(), &Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("checkpoint.safetensors") && error.contains("no run to resume"),
            "{error}"
        );
    }
}
