//! Draws one picture of each kind into a folder: `cargo run --release -p plot --example gallery FOLDER`.

use std::path::PathBuf;

use plot::{HeatMap, HeatMapGrid, LineChart, PlotError, Series, Stroke};

fn main() -> Result<(), PlotError> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    loss_curves().write(&folder.join("line-chart.png"))?;
    loss_curves()
        .logarithmic()
        .write(&folder.join("line-chart-log.png"))?;
    heat_maps().write(&folder.join("heat-maps.png"))
}

fn loss_curves() -> LineChart {
    let falling = |step: f64| 0.7 + 0.9 * (-step / 120.0).exp();
    let raw = |step: f64| (step, falling(step) + 0.12 * (step * 12.9898).sin());
    let training = (0..400).map(f64::from);
    LineChart::new("Flow-matching loss")
        .x_label("step")
        .y_label("loss")
        .series(Series::new("", training.clone().map(raw).collect()).stroke(Stroke::Faint))
        .series(Series::new(
            "training (smoothed)",
            training.map(|step| (step, falling(step))).collect(),
        ))
        .series(
            Series::new(
                "validation",
                (0..10)
                    .map(|i| f64::from(i) * 40.0)
                    .map(|x| (x, falling(x) * 1.05))
                    .collect(),
            )
            .stroke(Stroke::Dotted),
        )
        .marker(320.0, "best")
}

fn heat_maps() -> HeatMapGrid {
    let ridge = |column: i32, row: i32, phase: f32| {
        let centre = 40.0 + 25.0 * (column as f32 / 18.0 + phase).sin();
        -3.0 * (row as f32 - centre).abs()
    };
    let map = |name: &str, frames: i32, phase: f32| {
        let values = (0..frames)
            .flat_map(|column| (0..96).map(move |row| ridge(column, row, phase)))
            .collect();
        HeatMap::new(name, values, 96, f64::from(frames) / 43.0)
    };
    let column = |phase: f32| {
        vec![
            map("song-0001.wav", 258, phase),
            map("a-rather-long-name-of-a-file-0002.wav", 200, phase + 1.0),
        ]
    };
    HeatMapGrid::new("Mel spectrograms", (-80.0, 0.0))
        .x_label("time in s")
        .y_label("frequency in Hz")
        .value_label("level in dB")
        .y_mark(0.2, "500")
        .y_mark(0.4, "1k")
        .y_mark(0.9, "10k")
        .column("Reference", column(0.0))
        .column("Baseline", column(1.0))
        .column("Candidate", column(2.0))
}
