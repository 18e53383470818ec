//! One line an epoch in `metrics.jsonl`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::LoraError;

/// File name inside the run folder.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";

/// What one epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Optimizer steps so far.
    pub step: usize,
    /// Mean training loss of the epoch.
    pub loss: f64,
    /// Loss on the held-out songs, where it was measured after this epoch.
    pub validation_loss: Option<f64>,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Seconds of training so far, interruptions left out.
    pub elapsed_secs: f64,
}

/// Adds a line; earlier ones stay.
pub(super) fn append(run_dir: &Path, metrics: &EpochMetrics) -> Result<(), LoraError> {
    let path = run_dir.join(METRICS_FILE);
    let write = || {
        let line = serde_json::to_string(metrics)?;
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(format!("{line}\n").as_bytes())
    };
    write().map_err(LoraError::file(&path))
}

/// Reads all lines; one cut short by a crash is passed over.
pub(super) fn read(run_dir: &Path) -> Result<Vec<EpochMetrics>, LoraError> {
    let path = run_dir.join(METRICS_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(LoraError::File { path, source }),
    }
}

/// Drops the lines after `step`, which a resumed run will write again.
pub(super) fn rewind(run_dir: &Path, step: usize) -> Result<(), LoraError> {
    let path = run_dir.join(METRICS_FILE);
    let mut text = String::new();
    for metrics in read(run_dir)?.iter().filter(|metrics| metrics.step <= step) {
        let line =
            serde_json::to_string(metrics).map_err(|error| LoraError::file(&path)(error.into()))?;
        text.push_str(&line);
        text.push('\n');
    }
    dataset::write_aside(&path, text.as_bytes()).map_err(LoraError::file(&path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rewritten_lines_keep_every_bit(bits in prop::array::uniform5(any::<u64>())) {
            let [loss, validation, rate, norm, elapsed] = bits.map(f64::from_bits);
            prop_assume!(bits.map(f64::from_bits).iter().all(|number| number.is_finite()));
            let folder = tempfile::tempdir().unwrap();
            let metrics = EpochMetrics {
                epoch: 1,
                step: 2,
                loss,
                validation_loss: Some(validation),
                learning_rate: rate,
                gradient_norm: norm,
                elapsed_secs: elapsed,
            };
            append(folder.path(), &metrics).unwrap();
            let written = std::fs::read(folder.path().join(METRICS_FILE)).unwrap();
            rewind(folder.path(), 2).unwrap();
            prop_assert_eq!(std::fs::read(folder.path().join(METRICS_FILE)).unwrap(), written);
            // The texts are equal whenever the numbers are: both are the shortest that read back.
            prop_assert_eq!(read(folder.path()).unwrap(), vec![metrics]);
        }
    }

    #[test]
    fn a_torn_line_is_passed_over_and_rewinding_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = |epoch| EpochMetrics {
            epoch,
            step: epoch * 2,
            loss: 1.0 / epoch as f64,
            validation_loss: (epoch % 2 == 0).then_some(0.5),
            learning_rate: 2e-3,
            gradient_norm: 1.0,
            elapsed_secs: 3.0,
        };
        for epoch in 1..=4 {
            append(folder.path(), &metrics(epoch)).unwrap();
        }
        let path = folder.path().join(METRICS_FILE);
        let torn = std::fs::read_to_string(&path).unwrap() + "{\"epoch\": 5, \"st";
        std::fs::write(&path, torn).unwrap();
        assert_eq!(read(folder.path()).unwrap().len(), 4);
        rewind(folder.path(), 5).unwrap();
        assert_eq!(read(folder.path()).unwrap(), vec![metrics(1), metrics(2)]);
    }
}
