//! The loss curves of a finished run as a picture.

use std::path::Path;

use super::metrics::EpochMetrics;
use crate::error::LoraError;

/// File name inside the run folder.
pub(super) const CURVES_FILE: &str = "curves.png";

/// Draws training and validation loss over the steps.
pub(super) fn draw(run_dir: &Path, metrics: &[EpochMetrics]) -> Result<(), LoraError> {
    let training = metrics
        .iter()
        .map(|epoch| (epoch.step as f64, epoch.loss))
        .collect();
    let validation = metrics
        .iter()
        .filter_map(|epoch| Some((epoch.step as f64, epoch.validation_loss?)))
        .collect();
    plot::LineChart::new("Training of the adapter")
        .x_label("optimizer steps")
        .y_label("flow-matching loss")
        .series(plot::Series::new("training", training))
        .series(plot::Series::new("held-out songs", validation))
        .write(&run_dir.join(CURVES_FILE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_picture_that_cannot_be_written_says_which_and_why() {
        let error = draw(Path::new("/nowhere/run"), &[]).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(
            error.to_string().contains("/nowhere/run/curves.png"),
            "{error}"
        );
        assert!(cause.contains("No such file"), "{cause}");
    }
}
