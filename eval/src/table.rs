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
        |distances| Some(distances.afd),
        |floor| (floor.afd, "half against half"),
        |change| Some(change.afd),
    ));
    text.push_str(&heading("Mel-spectral distance in dB²"));
    text.push_str(&section(
        report,
        1,
        |distances| Some(distances.spectral_distance),
        |floor| (floor.spectral_distance, "each against the others"),
        |change| Some(change.spectral_distance),
    ));
    text.push_str(&heading(&format!(
        "Kernel Audio Distance (times {:.0}; around 0 for sets of one kind)",
        features::KERNEL_SCALE
    )));
    text.push_str(&section(
        report,
        2,
        |distances| distances.kernel_distance,
        |floor| (floor.kernel_distance, "half against half"),
        |change| change.kernel_distance,
    ));
    if let Some(nearest) = &report.nearest {
        text.push_str(&heading(
            "Similarity to the nearest training stretch (1 is a copy)",
        ));
        text.push_str(&row("", "clips", "mean", &interval, ""));
        let sets = [
            ("reference", &nearest.reference),
            ("baseline", &nearest.baseline),
            ("candidate", &nearest.candidate),
        ];
        for (name, similarities) in sets {
            if let Some(similarities) = similarities {
                text.push_str(&similarity_row(name, similarities));
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

fn similarity_row(name: &str, similarities: &Similarities) -> String {
    let mean = Estimate {
        value: similarities.mean,
        low: similarities.low,
        high: similarities.high,
    };
    row(
        name,
        &similarities.clips.len().to_string(),
        &decimal(mean.value, 2),
        &interval(&mean, 2),
        &format!("highest {:.2}", similarities.highest),
    )
}

fn section(
    report: &Report,
    digits: usize,
    distance: impl Fn(&Distances) -> Option<Estimate>,
    floor: impl Fn(&Floor) -> (Option<f64>, &'static str),
    change: impl Fn(&Difference) -> Option<Change>,
) -> String {
    let of_set = |name: &str, set: &Distances| {
        let estimate = distance(set);
        let value = estimate.map(|estimate| decimal(estimate.value, digits));
        let ends = estimate.map(|estimate| interval(&estimate, digits));
        row(
            name,
            &set.clips.to_string(),
            &value.unwrap_or_else(|| "-".to_owned()),
            &ends.unwrap_or_default(),
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
    let changed = report.difference.as_ref();
    if let Some((difference, change)) = changed.and_then(|whole| Some((whole, change(whole)?))) {
        let Change {
            difference: estimate,
            excludes_zero,
            relative_percent,
        } = change;
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
