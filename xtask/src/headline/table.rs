//! The headline as Markdown.

use std::fmt::Write as _;

use eval::study::{Cell, Measure};
use features::Estimate;

use super::{ADAPTER, BASE, Headline, PROMPTED, REAL};

/// Digits of a base's hash that are shown.
pub(crate) const SHOWN_DIGITS: usize = 12;

/// What a measure is called, and its digits.
pub(crate) fn described(measure: Measure) -> (&'static str, usize) {
    match measure {
        Measure::Afd => ("Audio Feature Distance", 3),
        Measure::SpectralDistance => ("Mel-spectral distance, dB²", 1),
        Measure::KernelDistance => ("Kernel Audio Distance, times 100", 1),
        Measure::NearestSimilarity => ("Similarity to the nearest training stretch", 2),
    }
}

/// The table, what it is made of, and the marks.
pub(super) fn render(headline: &Headline) -> String {
    let mut text = String::new();
    let line = |text: &mut String, cells: &[String]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let arms = [REAL, BASE, PROMPTED, ADAPTER];
    let mut head = vec![String::new()];
    head.extend(arms.map(str::to_owned));
    head.extend(["change from the base", "from nearest tags"].map(str::to_owned));
    line(&mut text, &head);
    line(&mut text, &vec!["---".to_owned(); head.len()]);
    for measure in Measure::ALL {
        let (name, digits) = described(measure);
        let mut title = vec![String::new(); head.len()];
        title[0] = format!("*{name}*");
        line(&mut text, &title);
        let names = headline.report.families.iter();
        for family in names.map(|name| Some(name.as_str())).chain([None]) {
            let mut row = vec![family.map_or_else(|| "**mean**".to_owned(), str::to_owned)];
            let value = |arm| headline.report.value(measure, arm, family);
            row.extend(
                arms.map(|arm| of_cell(value(arm), |cell| with_interval(&cell.estimate, digits))),
            );
            let change = |less| headline.report.difference(measure, ADAPTER, less, family);
            row.extend([BASE, PROMPTED].map(|less| {
                of_cell(change(less), |cell| {
                    cell.relative_percent
                        .as_ref()
                        .map(percent)
                        .unwrap_or_default()
                })
            }));
            line(&mut text, &row);
        }
    }
    text.push('\n');
    for mark in &headline.marks {
        let verdict = if mark.is_met { "met" } else { "missed" };
        let _ = writeln!(text, "- Mark: {} ({verdict})", mark.text);
    }
    text.push('\n');
    text.push_str(&method(headline));
    text
}

fn method(headline: &Headline) -> String {
    let scale = &headline.scale;
    let longest = headline
        .families
        .iter()
        .map(|family| family.longest_training_secs);
    let prompts = headline
        .families
        .iter()
        .map(|family| format!("{} \"{}\"", family.name, family.prompt));
    let prompts: Vec<String> = prompts.collect();
    format!(
        "Families that the base never heard; for each {} adapters, trained on {} recordings for {} steps (at most {:.0} s), and {} clips of \
         {} s from the same seeds with and without an adapter, both without a prompt. \"Nearest tags\" is the base asked for {}. Distances are \
         to {} real clips that were not trained on; \"real clips\" are as many others, what a perfect adapter would score. 95 % intervals over \
         clips and training seeds, paired. Base {}; `cargo xtask headline` makes it again ([how it is measured](docs/evaluation.md)).\n",
        headline.adapter_seeds.len(),
        headline.training.songs,
        headline.training.steps,
        longest.fold(0.0, f64::max).ceil(),
        scale.clips,
        scale.clip_secs,
        prompts.join(", "),
        scale.real_clips,
        &headline.base_sha256[..SHOWN_DIGITS.min(headline.base_sha256.len())],
    )
}

fn of_cell(cell: Option<&Cell>, show: impl Fn(&Cell) -> String) -> String {
    cell.map_or_else(|| "-".to_owned(), show)
}

/// A value and its interval.
pub(crate) fn with_interval(estimate: &Estimate, digits: usize) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            format!(
                "{:.digits$} [{low:.digits$}, {high:.digits$}]",
                estimate.value
            )
        }
        _ => format!("{:.digits$}", estimate.value),
    }
}

/// A difference and its interval.
pub(crate) fn signed(estimate: &Estimate, digits: usize) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            format!(
                "{:+.digits$} [{low:+.digits$}, {high:+.digits$}]",
                estimate.value
            )
        }
        _ => format!("{:+.digits$}", estimate.value),
    }
}

/// A difference in per cent and its interval.
pub(crate) fn percent(estimate: &Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{:+.0} % [{low:+.0}, {high:+.0}]", estimate.value),
        _ => format!("{:+.0} %", estimate.value),
    }
}
