//! `report.html`: a run on one page that needs no network, no script and no other file, but for the previews that are too many to be
//! within it.

mod charts;
mod html;
mod previews;

use std::path::{Path, PathBuf};

use crate::error::JournalError;
use crate::record::{Record, Remark};
use html::escaped;

/// File name inside the run's folder.
pub const REPORT_FILE: &str = "report.html";

/// Previews that are within the page unless the caller says otherwise.
const EMBEDDED_PREVIEWS: usize = 8;

/// A page about a run, as far as it has come.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    title: String,
    folder: PathBuf,
    records: &'a [Record],
    outcome: String,
    settings: Vec<(String, String)>,
    embedded_previews: usize,
}

impl<'a> Report<'a> {
    /// A report for the run in `folder`, from its records.
    pub fn new(title: impl Into<String>, folder: &Path, records: &'a [Record]) -> Self {
        Self {
            title: title.into(),
            folder: folder.to_owned(),
            records,
            outcome: String::new(),
            settings: Vec::new(),
            embedded_previews: EMBEDDED_PREVIEWS,
        }
    }

    /// What the run came to, in a sentence.
    #[must_use]
    pub fn outcome(mut self, text: impl Into<String>) -> Self {
        self.outcome = text.into();
        self
    }

    /// Names and values of the run's settings, in the order they are shown.
    #[must_use]
    pub fn settings(mut self, settings: Vec<(String, String)>) -> Self {
        self.settings = settings;
        self
    }

    /// How many of the latest previews are within the page (8 unless told, and 48 MiB of sound at most); earlier ones are played from
    /// their files.
    #[must_use]
    pub fn embedded_previews(mut self, count: usize) -> Self {
        self.embedded_previews = count;
        self
    }

    /// Writes the page to `report.html` in the run's folder, in place of an earlier one, and returns its path.
    ///
    /// # Errors
    /// When the page cannot be written. A preview that is missing is no error; the page says so.
    pub fn write(&self) -> Result<PathBuf, JournalError> {
        let path = self.folder.join(REPORT_FILE);
        dataset::write_aside(&path, self.html().as_bytes()).map_err(JournalError::file(&path))?;
        Ok(path)
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let body = [
            format!("<h1>{title}</h1>"),
            self.head(),
            self.warnings(),
            charts::section(self.records),
            previews::section(self.records, &self.folder, self.embedded_previews),
            self.settings_table(),
            self.notes(),
        ];
        format!(
            concat!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n",
                "<style>\n{}</style>\n</head>\n<body>\n<main>\n{}\n</main>\n</body>\n</html>\n"
            ),
            title,
            include_str!("report/page.css"),
            body.join("\n")
        )
    }

    fn head(&self) -> String {
        let mut html = String::new();
        if !self.outcome.is_empty() {
            html += &format!("<p class=\"outcome\">{}</p>", escaped(&self.outcome));
        }
        html += "<dl class=\"facts\">";
        for (name, value) in facts(self.records) {
            html += &format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
        html + "</dl>"
    }

    fn warnings(&self) -> String {
        let warnings = self.records.iter().filter_map(|record| match record {
            Record::Warning(remark) => Some(remark),
            _ => None,
        });
        remarks("Warnings", "warnings", warnings)
    }

    fn notes(&self) -> String {
        let notes = self.records.iter().filter_map(|record| match record {
            Record::Note(remark) => Some(remark),
            _ => None,
        });
        remarks("Notes", "notes", notes)
    }

    fn settings_table(&self) -> String {
        if self.settings.is_empty() {
            return String::new();
        }
        let rows: String = self
            .settings
            .iter()
            .map(|(name, value)| {
                format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
                    escaped(name),
                    escaped(value)
                )
            })
            .collect();
        format!("<h2>Settings</h2>\n<table class=\"settings\">\n{rows}</table>")
    }
}

fn remarks<'r>(heading: &str, class: &str, remarks: impl Iterator<Item = &'r Remark>) -> String {
    let items: String = remarks
        .map(|remark| {
            let (step, text) = (remark.step, escaped(&remark.text));
            format!("<li><span class=\"step\">step {step}</span> {text}</li>\n")
        })
        .collect();
    if items.is_empty() {
        return items;
    }
    format!("<section class=\"{class}\">\n<h2>{heading}</h2>\n<ul>\n{items}</ul>\n</section>")
}

/// What can be said in a word: how far, how long, how good.
fn facts(records: &[Record]) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let last_step = records.iter().map(Record::step).max();
    facts.extend(last_step.map(|step| ("Steps", step.to_string())));
    let elapsed = records.iter().filter_map(Record::elapsed_secs).next_back();
    facts.extend(elapsed.map(|secs| ("Training time", duration(secs))));
    let best = charts::validation_points(records)
        .into_iter()
        .filter(|(_, loss)| loss.is_finite())
        .min_by(|a, b| a.1.total_cmp(&b.1));
    facts.extend(best.map(|(step, loss)| {
        let text = format!("{loss:.4} at step {step}");
        ("Lowest held-out loss", text)
    }));
    facts
}

fn duration(secs: f64) -> String {
    let whole = secs.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units() {
        assert_eq!(duration(12.4), "12 s");
        assert_eq!(duration(754.0), "12 min 34 s");
        assert_eq!(duration(7_384.0), "2 h 3 min");
        assert_eq!(duration(f64::NAN), "0 s");
    }
}
