//! A run with one record of every kind, and its sounds.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::Path;

use journal::{
    EpochRecord, PreviewRecord, Record, Remark, StepRecord, TIME_PARTS, ValidationRecord,
};

/// A stereo WAV of 300 frames at 44,100 Hz.
pub(crate) fn write_wav(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in 0..600_i16 {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

pub(crate) fn step(step: usize) -> Record {
    let mut loss_by_time = [None; TIME_PARTS];
    loss_by_time[0] = Some(1.5);
    loss_by_time[7] = Some(0.25);
    let norm = step as f64 / 8.0;
    Record::Step(StepRecord {
        step,
        epoch: 1,
        loss: 1.0 / (step as f64 + 1.0),
        unweighted_loss: None,
        loss_by_time,
        gradient_norm: 0.5,
        update_norm: 0.125,
        learning_rate: 2e-3,
        step_secs: 0.25,
        elapsed_secs: step as f64 * 0.25,
        adapter_norms: [
            ("blocks.0".to_owned(), norm),
            ("blocks.1".to_owned(), 2.0 * norm),
        ]
        .into(),
    })
}

pub(crate) fn preview(step: usize, seed: u64) -> Record {
    Record::Preview(PreviewRecord {
        step,
        seed,
        without_adapter: format!("previews/{step}-{seed}-without.wav").into(),
        with_adapter: format!("previews/{step}-{seed}-with.wav").into(),
        nearest_piece: Some("Song <1>/piece 4.wav".to_owned()),
        similarity: Some(0.5),
        usual_similarity: Some(0.25),
    })
}

/// Steps 0 to 4, and everything else at step 4.
pub(crate) fn run() -> Vec<Record> {
    let mut records: Vec<Record> = (0..=4).map(step).collect();
    records.extend([
        Record::Epoch(EpochRecord {
            epoch: 1,
            step: 4,
            loss: 0.75,
            unweighted_loss: None,
            validation_loss: Some(0.5),
            learning_rate: 2e-3,
            gradient_norm: 0.5,
            elapsed_secs: 1.0,
        }),
        Record::Validation(ValidationRecord {
            step: 4,
            epoch: 1,
            loss: 0.5,
            loss_by_time: vec![(0.125, 0.75), (0.875, 0.25)],
        }),
        preview(4, 3),
        Record::Warning(Remark {
            step: 4,
            text: "the adapter has no effect & <nothing> changed".to_owned(),
        }),
        Record::Note(Remark {
            step: 4,
            text: "für Flöte".to_owned(),
        }),
    ]);
    records
}

/// Writes the sounds of the run's previews.
pub(crate) fn write_sounds(folder: &Path, records: &[Record]) {
    for record in records {
        if let Record::Preview(preview) = record {
            write_wav(&folder.join(&preview.without_adapter));
            write_wav(&folder.join(&preview.with_adapter));
        }
    }
}
