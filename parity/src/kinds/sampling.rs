//! `dr_cfm_sample`: whole samplings, both releases, with guidance, sway, edits, continuations and batches; time grids; the
//! chunks in which long latents are decoded.

use super::diffrhythm;
use crate::case::Case;
use crate::error::ParityError;
use crate::report::Report;
use crate::weights;
use candle_core::{DType, Tensor};
use dit::flow::{Request, Sampling, Solver, half_precision_grid, sample, time_grid};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Some ten passes of the model, one after the other.
const SAMPLED: f64 = 1e-4;
/// Cosines in f64 on this side, in f32 on the reference's.
const GRID: f64 = 1e-6;

pub(super) const TOLERANCES: &[(&str, f64)] = &[
    ("samples and their ways", SAMPLED),
    ("swayed time grids", GRID),
    ("half-precision time grids, chunks", 0.0),
];

/// What the notes say about a sampling.
#[derive(Deserialize)]
struct Run {
    /// The release, its last word `causal` or `noncausal`.
    code: String,
    steps: usize,
    model_calls: usize,
    cfg: f64,
    segments: Vec<[usize; 2]>,
    song_duration: Option<f64>,
    sway: Option<f64>,
    start_time: f64,
    /// A folder or a file beside the case.
    weights: String,
}

pub(super) fn run(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let runs: BTreeMap<String, Run> = case.note("/runs")?;
    for (name, run) in &runs {
        sampled(case, report, name, run)?;
    }
    grids(case, report, &runs)?;
    if !case.notes()["chunked_codec"].is_null() {
        chunks(case, report)?;
    }
    Ok(())
}

fn sampled(case: &Case, report: &mut Report<'_>, name: &str, run: &Run) -> Result<(), ParityError> {
    let causal = match run.code.split_whitespace().last() {
        Some("causal") => true,
        Some("noncausal") => false,
        _ => return Err(case.unknown(format!("the code {:?} of {name}", run.code))),
    };
    let file = weights::named_transformer(case, &run.weights)?;
    let model = diffrhythm::load(&file, causal, case.device())?;
    let input = |part: &str| case.input(&format!("{name}.{part}"));
    let single = |value: f64| Tensor::new(&[value as f32], case.device());
    let noise = input("y0")?;
    let spans: Vec<_> = run
        .segments
        .iter()
        .map(|&[start, end]| start..end)
        .collect();
    let duration = run.song_duration.map(single).transpose()?;
    let request = Request {
        noise: &noise,
        audio_condition: &input("cond")?,
        spans: &spans,
        text: &case.input_as(&format!("{name}.text"), DType::U32)?,
        style: &input("style")?,
        later_styles: &[],
        negative_style: &input("neg_style")?,
        start_time: &single(run.start_time)?,
        duration: duration.as_ref(),
    };
    let sampling = Sampling {
        points: run.steps,
        solver: Solver::Euler,
        sway: run.sway,
        guidance: run.cfg,
        half_precision_times: false,
    };
    let mut way = Vec::new();
    let sampled = sample(&model, &request, &sampling, &mut |_, _, x| {
        way.push(x.clone());
        Ok(())
    })?;
    report.compare(&format!("{name}.last"), &sampled.end, SAMPLED)?;
    report.compare(&format!("{name}.out"), &sampled.latents, SAMPLED)?;
    let branches = if run.cfg < 1e-5 { 1 } else { 2 };
    let calls = (branches * (way.len() - 1)) as f64;
    let label = format!("{name} model calls");
    report.figures(&label, &[calls], &[run.model_calls as f64], 0.0);
    let stored = format!("{name}.traj");
    if case.has(&stored) {
        report.compare(&stored, &Tensor::stack(&way, 0)?, SAMPLED)?;
    }
    Ok(())
}

/// `time_grid.{run}` is the grid of that run, `time_grid.{points}_f16` one in half precision.
fn grids(
    case: &Case,
    report: &mut Report<'_>,
    runs: &BTreeMap<String, Run>,
) -> Result<(), ParityError> {
    for end in case.names_after("time_grid.") {
        let half = end
            .strip_suffix("_f16")
            .and_then(|points| points.parse().ok());
        let (grid, allowed) = match (half, runs.get(end)) {
            (Some(points), _) => (half_precision_grid(points), 0.0),
            (None, Some(run)) => (time_grid(run.steps, run.sway), GRID),
            (None, None) => continue,
        };
        let grid = Tensor::new(grid, case.device())?;
        report.compare(&format!("time_grid.{end}"), &grid, allowed)?;
    }
    Ok(())
}

/// Where each chunk begins and ends, and which frames it owns, for totals of frames.
fn chunks(case: &Case, report: &mut Report<'_>) -> Result<(), ParityError> {
    let (chunk, overlap) = (
        case.note("/chunked_codec/chunk")?,
        case.note("/chunked_codec/overlap")?,
    );
    let totals: BTreeMap<String, Value> = case.note("/chunked_codec/by_total_frames")?;
    for (frames, table) in &totals {
        let total = frames
            .parse()
            .map_err(|_| case.unknown(format!("the total {frames} of frames")))?;
        let tiles = vae::pasted_tiles(total, chunk, overlap)?;
        let windows: Vec<f64> = tiles
            .iter()
            .flat_map(|tile| [tile.window.start as f64, tile.window.end as f64])
            .collect();
        let starts: Vec<f64> = tiles.iter().map(|tile| tile.window.start as f64).collect();
        let owned: Vec<f64> = tiles
            .iter()
            .enumerate()
            .flat_map(|(place, tile)| [tile.core.start as f64, tile.core.end as f64, place as f64])
            .collect();
        for (key, found) in [
            ("chunks_in", &windows),
            ("paste", &owned),
            ("encode_paste", &owned),
            ("encode_chunk_starts", &starts),
        ] {
            if let Some(expected) = table.get(key) {
                let label = format!("chunked_codec {frames} {key}");
                report.figures(&label, found, &flat(expected), 0.0);
            }
        }
    }
    Ok(())
}

/// The numbers of nested lists, one after another.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        one => one.as_f64().into_iter().collect(),
    }
}
