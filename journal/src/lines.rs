//! `metrics.jsonl`: reading and rewinding.
//!
//! Lines are kept as bytes: one cut short by a crash may end within a character, and a line of a later version must survive rewinding
//! with all its fields.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::JournalError;
use crate::record::{EpochRecord, Record};

/// File name inside the run's folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The records of a run, in the order they were written; none if there is no file.
///
/// Lines of kinds that this version does not know are passed over, and so is a line cut short by a crash.
///
/// # Errors
/// When the file cannot be read.
pub fn read_records(folder: &Path) -> Result<Vec<Record>, JournalError> {
    Ok(parse_all(&read(&folder.join(METRICS_FILE))?))
}

/// Drops the lines after `step`, which a resumed run will write again, and whatever is no line. Returns the records that are left.
pub(crate) fn rewind(folder: &Path, step: usize) -> Result<Vec<Record>, JournalError> {
    let path = folder.join(METRICS_FILE);
    let mut kept = Vec::new();
    for line in lines_of(&read(&path)?).filter(|line| is_kept(line, step)) {
        kept.extend_from_slice(line);
        kept.push(b'\n');
    }
    dataset::write_aside(&path, &kept).map_err(JournalError::file(&path))?;
    Ok(parse_all(&kept))
}

fn read(path: &Path) -> Result<Vec<u8>, JournalError> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome.map_err(JournalError::file(path)),
    }
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
}

fn parse_all(bytes: &[u8]) -> Vec<Record> {
    lines_of(bytes).filter_map(parse).collect()
}

fn parse(line: &[u8]) -> Option<Record> {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<IgnoredAny>,
    }
    if let Ok(record) = serde_json::from_slice(line) {
        return Some(record);
    }
    // The first runs wrote epochs alone, and no kind.
    match serde_json::from_slice(line) {
        Ok(Kind { kind: None }) => serde_json::from_slice::<EpochRecord>(line)
            .ok()
            .map(Record::Epoch),
        _ => None,
    }
}

/// Lines without a step are of a later version and say nothing about when they were written.
fn is_kept(line: &[u8], step: usize) -> bool {
    #[derive(Deserialize)]
    struct Position {
        step: Option<usize>,
    }
    serde_json::from_slice::<Position>(line)
        .is_ok_and(|position| position.step.is_none_or(|written_at| written_at <= step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Remark, StepRecord};

    fn epoch(number: usize) -> Record {
        Record::Epoch(EpochRecord {
            epoch: number,
            step: number * 2,
            loss: 1.0 / number as f64,
            unweighted_loss: None,
            validation_loss: number.is_multiple_of(2).then_some(0.5),
            learning_rate: 2e-3,
            gradient_norm: 1.0,
            elapsed_secs: 3.0,
        })
    }

    fn line(record: &Record) -> String {
        serde_json::to_string(record).unwrap() + "\n"
    }

    fn written(text: impl AsRef<[u8]>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(METRICS_FILE), text).unwrap();
        folder
    }

    proptest! {
        #[test]
        fn rewritten_lines_keep_every_bit(bits in prop::array::uniform6(any::<u64>())) {
            let numbers = bits.map(f64::from_bits);
            prop_assume!(numbers.iter().all(|number| number.is_finite()));
            let [loss, validation, rate, norm, elapsed, update] = numbers;
            let records = [
                Record::Epoch(EpochRecord {
                    epoch: 1,
                    step: 2,
                    loss,
                    unweighted_loss: Some(norm),
                    validation_loss: Some(validation),
                    learning_rate: rate,
                    gradient_norm: norm,
                    elapsed_secs: elapsed,
                }),
                Record::Step(StepRecord {
                    step: 2,
                    epoch: 1,
                    loss,
                    unweighted_loss: Some(norm),
                    loss_by_time: [Some(validation), None, None, Some(norm), None, None, None, Some(rate)],
                    gradient_norm: norm,
                    update_norm: update,
                    learning_rate: rate,
                    step_secs: update,
                    elapsed_secs: elapsed,
                    adapter_norms: [("blocks.0".to_owned(), norm)].into(),
                }),
            ];
            let text: String = records.iter().map(line).collect();
            let folder = written(&text);
            // The texts are equal whenever the numbers are: both are the shortest that read back.
            prop_assert_eq!(rewind(folder.path(), 2).unwrap(), records);
            prop_assert_eq!(std::fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap(), text);
        }
    }

    #[test]
    fn a_torn_line_is_passed_over_and_rewinding_keeps_the_rest() {
        let mut text: String = (1..=4).map(|number| line(&epoch(number))).collect();
        text += "{\"kind\":\"epoch\",\"epoch\":5,\"st";
        let folder = written(text);
        assert_eq!(read_records(folder.path()).unwrap().len(), 4);
        assert_eq!(rewind(folder.path(), 5).unwrap(), [epoch(1), epoch(2)]);
        assert_eq!(read_records(folder.path()).unwrap(), [epoch(1), epoch(2)]);
    }

    #[test]
    fn a_line_torn_within_a_character_is_passed_over() {
        let note = Record::Note(Remark {
            step: 1,
            text: "für später".to_owned(),
        });
        let whole = line(&note).into_bytes();
        let cut = whole.iter().position(|&byte| byte > 127).unwrap() + 1;
        let folder = written([&whole[..], &whole[..cut]].concat());
        assert_eq!(read_records(folder.path()).unwrap(), [note]);
    }

    #[test]
    fn kinds_and_fields_of_later_versions_are_passed_over_and_kept() {
        let later = concat!(
            "{\"kind\":\"temperature\",\"step\":1,\"celsius\":71.5}\n",
            "{\"kind\":\"note\",\"step\":1,\"text\":\"a\",\"author\":\"b\"}\n",
            "{\"kind\":\"footer\"}\n",
            "{\"kind\":\"temperature\",\"step\":9,\"celsius\":70.0}\n",
        );
        let folder = written(later);
        let note = Record::Note(Remark {
            step: 1,
            text: "a".to_owned(),
        });
        assert_eq!(read_records(folder.path()).unwrap(), [note]);
        rewind(folder.path(), 4).unwrap();
        let kept = std::fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap();
        assert_eq!(
            kept,
            later
                .lines()
                .take(3)
                .fold(String::new(), |all, line| all + line + "\n")
        );
    }

    #[test]
    fn the_epochs_of_the_first_runs_have_no_kind() {
        let text = line(&epoch(2)).replace("\"kind\":\"epoch\",", "");
        assert!(!text.contains("kind"));
        let folder = written(text);
        assert_eq!(read_records(folder.path()).unwrap(), [epoch(2)]);
    }

    #[test]
    fn a_loss_that_is_no_number_does_not_lose_its_line() {
        let Record::Epoch(mut broken) = epoch(2) else {
            unreachable!()
        };
        broken.loss = f64::INFINITY;
        broken.validation_loss = Some(f64::NAN);
        let folder = written(line(&Record::Epoch(broken)));
        let records = read_records(folder.path()).unwrap();
        let [Record::Epoch(read)] = &records[..] else {
            panic!("{records:?}")
        };
        assert!(read.loss.is_nan());
        assert_eq!((read.validation_loss, read.step), (None, 4));
    }

    #[test]
    fn without_a_file_there_are_no_records() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_records(folder.path()).unwrap(), []);
    }
}
