//! The page about a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::path::Path;

use common::{preview, run, step, write_sounds};
use journal::{REPORT_FILE, Record, Report};

fn page(folder: &Path, records: &[Record]) -> String {
    Report::new("Flute & <drums>", folder, records)
        .outcome("stopped: the held-out loss no longer fell")
        .settings(vec![("include".to_owned(), "<all> & \"more\"".to_owned())])
        .html()
}

#[test]
fn the_page_is_written_whole_and_in_place_of_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    for records in [&run()[..1], &run()] {
        let report = Report::new("style", folder.path(), records);
        let path = report.write().unwrap();
        assert_eq!(path, folder.path().join(REPORT_FILE));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), report.html());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn everything_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), &run());
    for text in ["<drums>", "<all>", "\"more\"", "<nothing>", "Song <1>"] {
        assert!(!html.contains(text), "{text}");
    }
    assert!(html.contains("<h1>Flute &amp; &lt;drums&gt;</h1>"));
    assert!(html.contains("<td>Song &lt;1&gt;/piece 4.wav</td>"));
    assert!(html.contains("für Flöte"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    write_sounds(folder.path(), &run());
    let html = page(folder.path(), &run()).replace("http://www.w3.org/2000/svg", "");
    for outside in ["http", "//", "<script", "<link", "@import", "url("] {
        let found = html.find(outside).filter(|_| outside != "//");
        assert_eq!(found, None, "{outside}");
    }
    assert_eq!(html.matches("src=\"data:audio/wav;base64,UklGR").count(), 2);
    assert_eq!(html.matches("src=").count(), 2);
}

#[test]
fn warnings_stand_before_curves_and_what_is_not_there_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), &run());
    let at = |text: &str| {
        html.find(text)
            .unwrap_or_else(|| panic!("{text} is missing"))
    };
    let headings = [
        "<h2>Warnings",
        "<h2>Curves",
        "<h2>Previews",
        "<h2>Settings",
        "<h2>Notes",
    ];
    assert!(headings.map(at).is_sorted());
    let bare = Report::new("style", folder.path(), &[]).html();
    assert!(!bare.contains("<h2>"), "{bare}");
}

#[test]
fn a_chart_for_everything_measured() {
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), &run());
    let titles = |html: &str| -> Vec<String> {
        html.split("aria-label=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let all = [
        "Loss",
        "Training loss by flow time",
        "Held-out loss by flow time",
        "Gradient and update",
        "Learning rate",
        "Adapter by block",
        "Nearest piece",
        "Time per step",
    ];
    assert_eq!(titles(&html), all);
    // Epochs alone, as the first runs wrote them.
    let epochs: Vec<Record> = run()
        .into_iter()
        .filter(|record| matches!(record, Record::Epoch(_)))
        .collect();
    assert_eq!(
        titles(&page(folder.path(), &epochs)),
        ["Loss", "Gradient and update", "Learning rate"]
    );
}

#[test]
fn a_loss_that_is_no_number_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = vec![step(1), step(2), step(3)];
    let Record::Step(broken) = &mut records[1] else {
        unreachable!()
    };
    broken.loss = f64::NAN;
    broken.elapsed_secs = f64::NAN;
    let html = page(folder.path(), &records);
    assert!(!html.contains("NaN"));
}

#[test]
fn earlier_previews_are_linked_and_the_page_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=5).map(|step| preview(step, 3)).collect();
    write_sounds(folder.path(), &records);
    let report = Report::new("style", folder.path(), &records).embedded_previews(2);
    let html = report.html();
    assert_eq!(html.matches("src=\"data:").count(), 4);
    assert_eq!(html.matches("src=\"previews/").count(), 6);
    assert!(
        html.contains("src=\"previews/3-3-with.wav\""),
        "the third latest"
    );
    assert!(!html.contains("src=\"previews/4-3-with.wav\""));
    assert!(html.contains("The sounds of the latest 2 of 5 previews are within this page"));
    let none = report.embedded_previews(0).html();
    assert!(none.contains("The sounds are not within this page") && !none.contains("data:"));
}

#[test]
fn a_page_does_not_grow_beyond_what_browsers_open() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=3).map(|step| preview(step, 3)).collect();
    write_sounds(folder.path(), &records);
    // The middle preview is of 60 MiB.
    let large = std::fs::File::create(folder.path().join("previews/2-3-with.wav")).unwrap();
    large.set_len(60 << 20).unwrap();
    let html = Report::new("style", folder.path(), &records).html();
    assert!(html.len() < 1 << 20, "{}", html.len());
    assert!(html.contains("The sounds of the latest 1 of 3 previews"));
}

#[test]
fn a_missing_preview_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let html = page(folder.path(), &run());
    assert!(html.contains("previews/4-3-with.wav is missing"));
    assert!(!html.contains("<audio"));
}
