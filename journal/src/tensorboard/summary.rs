//! What TensorBoard shows of a record, and under which tags. `docs/training-record.md` lists them.

use std::path::Path;

use super::event::Value;
use crate::record::{EpochRecord, PreviewRecord, Record, StepRecord, TIME_PARTS, ValidationRecord};

/// The settings as a table in Markdown.
pub(super) fn of_settings(settings: &[(String, String)]) -> Value {
    let cell = |text: &str| text.replace('|', "\\|").replace(['\r', '\n'], " ");
    let mut table = "| setting | value |\n|---|---|\n".to_owned();
    for (name, value) in settings {
        table += &format!("| {} | {} |\n", cell(name), cell(value));
    }
    text("settings", table)
}

/// The record's values; sounds are read from the run's folder, or left out where `folder` is not given.
pub(super) fn of_record(record: &Record, folder: Option<&Path>) -> Vec<Value> {
    match record {
        Record::Step(record) => of_step(record),
        Record::Epoch(record) => of_epoch(record),
        Record::Validation(record) => of_validation(record),
        Record::Preview(record) => of_preview(record, folder),
        Record::Warning(remark) => vec![text("warnings", remark.text.clone())],
        Record::Note(remark) => vec![text("notes", remark.text.clone())],
    }
}

fn of_step(record: &StepRecord) -> Vec<Value> {
    let mut values = vec![
        scalar("loss/training", record.loss),
        scalar("norm/gradient", record.gradient_norm),
        scalar("norm/update", record.update_norm),
        scalar("learning_rate", record.learning_rate),
        scalar("step_secs", record.step_secs),
        scalar("epoch/number", record.epoch as f64),
    ];
    values.extend(unweighted(
        "loss/training_unweighted",
        record.unweighted_loss,
    ));
    for (part, loss) in record.loss_by_time.iter().enumerate() {
        let (from, to) = (part as f64, part as f64 + 1.0);
        let parts = TIME_PARTS as f64;
        let tag = format!("loss_by_time/{:.3}_to_{:.3}", from / parts, to / parts);
        values.extend(loss.map(|loss| scalar(tag, loss)));
    }
    for (block, &norm) in &record.adapter_norms {
        values.push(scalar(format!("adapter_norm/{block}"), norm));
    }
    values
}

/// A loss that is there beside a weighted one.
fn unweighted(tag: &str, loss: Option<f64>) -> Option<Value> {
    loss.map(|loss| scalar(tag, loss))
}

fn of_epoch(record: &EpochRecord) -> Vec<Value> {
    let mut values = vec![
        scalar("epoch/loss", record.loss),
        scalar("epoch/gradient_norm", record.gradient_norm),
        scalar("epoch/learning_rate", record.learning_rate),
    ];
    values.extend(unweighted("epoch/loss_unweighted", record.unweighted_loss));
    values.extend(
        record
            .validation_loss
            .map(|loss| scalar("epoch/validation_loss", loss)),
    );
    values
}

fn of_validation(record: &ValidationRecord) -> Vec<Value> {
    let by_time = record
        .loss_by_time
        .iter()
        .map(|(time, loss)| scalar(format!("validation_by_time/{time:.3}"), *loss));
    std::iter::once(scalar("loss/validation", record.loss))
        .chain(by_time)
        .collect()
}

fn of_preview(record: &PreviewRecord, folder: Option<&Path>) -> Vec<Value> {
    let seed = record.seed;
    let tag = |what: &str| format!("preview/seed_{seed}/{what}");
    let mut values = Vec::new();
    let sounds = [
        ("without_adapter", &record.without_adapter),
        ("with_adapter", &record.with_adapter),
    ];
    for (what, path) in sounds {
        let wav = folder.and_then(|folder| read_sound(&folder.join(path)));
        values.extend(wav.map(|wav| Value::Sound {
            tag: tag(what),
            wav,
        }));
    }
    for (what, number) in [
        ("similarity", record.similarity),
        ("usual_similarity", record.usual_similarity),
    ] {
        values.extend(number.map(|number| scalar(tag(what), number)));
    }
    values.extend(
        record
            .nearest_piece
            .as_ref()
            .map(|piece| text(tag("nearest_piece"), piece.clone())),
    );
    values
}

/// The event file is derived: a sound that was moved away since is no reason to stop a run.
fn read_sound(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path)
        .inspect_err(|error| {
            tracing::warn!("{}: left out of the event file: {error}", path.display());
        })
        .ok()
}

fn scalar(tag: impl Into<String>, number: f64) -> Value {
    Value::Scalar {
        tag: tag.into(),
        number,
    }
}

fn text(tag: impl Into<String>, text: String) -> Value {
    Value::Text {
        tag: tag.into(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_stays_in_its_cell() {
        let settings = [("include".to_owned(), "a|b\nc".to_owned())];
        let Value::Text { text, .. } = of_settings(&settings) else {
            panic!("settings are text")
        };
        assert_eq!(text.lines().last(), Some("| include | a\\|b c |"));
    }

    #[test]
    fn a_part_of_time_without_items_has_no_point() {
        let mut record = StepRecord {
            step: 1,
            epoch: 1,
            loss: 1.0,
            unweighted_loss: None,
            loss_by_time: [None; TIME_PARTS],
            gradient_norm: 1.0,
            update_norm: 1.0,
            learning_rate: 1.0,
            step_secs: 1.0,
            elapsed_secs: 1.0,
            adapter_norms: Default::default(),
        };
        let without = of_step(&record).len();
        record.unweighted_loss = Some(2.0);
        let both = of_step(&record);
        assert_eq!(both.len(), without + 1);
        assert!(both.contains(&scalar("loss/training_unweighted", 2.0)));
        record.unweighted_loss = None;
        record.loss_by_time[7] = Some(0.5);
        let values = of_step(&record);
        assert_eq!(values.len(), without + 1);
        assert_eq!(values[without], scalar("loss_by_time/0.875_to_1.000", 0.5));
    }

    #[test]
    fn a_missing_sound_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let record = PreviewRecord {
            step: 1,
            seed: 3,
            without_adapter: "missing.wav".into(),
            with_adapter: "missing.wav".into(),
            nearest_piece: None,
            similarity: Some(0.5),
            usual_similarity: None,
        };
        let values = of_preview(&record, Some(folder.path()));
        assert_eq!(values, [scalar("preview/seed_3/similarity", 0.5)]);
    }
}
