//! The report for reading.

use std::fmt::Write as _;

use features::comparison::{Change, Difference, Distances, Floor};
use features::{Bootstrap, Estimate};

use crate::memorisation::Similarities;
use crate::report::{Folders, Report};

/// The report as a table of plain text.
pub fn render(report: &Report, folders: &Folders) -> String {
    let mut text = String::new();
    let level = report.level * 100.0;
    let interval = format!("{level:.0} % interval");
    text.push_str(&row("", "clips", "value", &interval, ""));
    text.push_str(&heading(&format!(
        "Audio Feature Distance (statistics v{})",
        report.statistics_version
    )));
    text.push_str(&section(
        report,
        3,
        |distances| distances.afd,
        |floor| (floor.afd, "half against half"),
        |change| change.afd,
    ));
    text.push_str(&heading("Mel-spectral distance in dB²"));
    let spectral = |distances: &Distances| distances.spectral_distance;
    text.push_str(&section(
        report,
        1,
        spectral,
        |floor| (floor.spectral_distance, "each against the others"),
        |change| change.spectral_distance,
    ));
    if let Some(nearest) = &report.nearest {
        text.push_str(&heading(
            "Similarity to the nearest training stretch (1 is a copy)",
        ));
        text.push_str(&row("", "clips", "mean", "highest", ""));
        let sets = [
            ("reference", &nearest.reference),
            ("baseline", &nearest.baseline),
            ("candidate", &nearest.candidate),
        ];
        for (name, similarities) in sets {
            if let Some(Similarities {
                mean,
                highest,
                clips,
            }) = similarities
            {
                text.push_str(&row(
                    name,
                    &clips.len().to_string(),
                    &decimal(*mean, 2),
                    &decimal(*highest, 2),
                    "",
                ));
            }
        }
    }
    text.push('\n');
    let _ = writeln!(text, "reference: {}", folders.reference.display());
    if let Some(baseline) = &folders.baseline {
        let _ = writeln!(text, "baseline:  {}", baseline.display());
    }
    let _ = writeln!(text, "candidate: {}", folders.candidate.display());
    let Bootstrap {
        seed, resamples, ..
    } = Bootstrap {
        seed: report.seed,
        resamples: report.resamples,
        level,
    };
    let _ = writeln!(
        text,
        "intervals: {resamples} bootstrap draws of the clips, seed {seed}, the reference held fixed"
    );
    text
}

fn section(
    report: &Report,
    digits: usize,
    distance: impl Fn(&Distances) -> Estimate,
    floor: impl Fn(&Floor) -> (Option<f64>, &'static str),
    change: impl Fn(&Difference) -> Change,
) -> String {
    let of_set = |name: &str, set: &Distances| {
        let estimate = distance(set);
        row(
            name,
            &set.clips.to_string(),
            &decimal(estimate.value, digits),
            &interval(&estimate, digits),
            "",
        )
    };
    let (among_itself, how) = floor(&report.reference);
    let among_itself = among_itself.map_or_else(|| "-".to_owned(), |value| decimal(value, digits));
    let clips = report.reference.clips.to_string();
    let mut text = row("reference itself", &clips, &among_itself, "", how);
    if let Some(baseline) = &report.baseline {
        text.push_str(&of_set("baseline", baseline));
    }
    text.push_str(&of_set("candidate", &report.candidate));
    if let Some(difference) = &report.difference {
        let Change {
            difference: estimate,
            excludes_zero,
            relative_percent,
        } = change(difference);
        let verdict = if excludes_zero {
            "zero outside"
        } else {
            "zero inside"
        };
        let pairing = if difference.paired {
            "paired"
        } else {
            "not paired"
        };
        let note = format!("{:+.0} %, {verdict}, {pairing}", relative_percent.value);
        let value = format!("{:+.digits$}", estimate.value);
        text.push_str(&row(
            "difference",
            "",
            &value,
            &signed_interval(&estimate, digits),
            &note,
        ));
    }
    text
}

fn heading(text: &str) -> String {
    format!("\n{text}\n")
}

fn row(name: &str, clips: &str, value: &str, interval: &str, note: &str) -> String {
    format!("  {name:<18}{clips:>6}{value:>10}{interval:>20}  {note}")
        .trim_end()
        .to_owned()
        + "\n"
}

fn decimal(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

fn interval(estimate: &Estimate, digits: usize) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{low:.digits$} to {high:.digits$}"),
        _ => "-".to_owned(),
    }
}

fn signed_interval(estimate: &Estimate, digits: usize) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{low:+.digits$} to {high:+.digits$}"),
        _ => "-".to_owned(),
    }
}
