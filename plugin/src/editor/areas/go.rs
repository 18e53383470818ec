//! The button that makes clips.

use egui::{Align2, Rect, Ui, vec2};

use crate::editor::layout::{columns, split_left, split_top};
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Look, button, panel, progress, segmented, words};
use crate::session::{Command, JobKind, JobView};

/// The panel at the lower left.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let inner = rect.shrink2(vec2(theme::PADDING, 10.0));
    let (upper, lower) = split_top(inner, 26.0);
    let lower = Rect::from_min_max(egui::pos2(lower.left(), upper.bottom() + 8.0), lower.max);
    let clip = |job: &&JobView| matches!(job.kind, JobKind::Clip { .. });
    let jobs: Vec<&JobView> = shown.view.jobs.iter().filter(clip).collect();
    match jobs.first() {
        Some(job) => at_work(ui, upper, job, jobs.len()),
        None => count(ui, upper, screen),
    }
    match jobs.is_empty() {
        true => {
            if go(ui, lower, "Generate") {
                screen.generate(shown);
            }
        }
        false => {
            let [more, cancel] = columns(lower, [1.4, 1.0], 8.0);
            if go(ui, more, "Generate more") {
                screen.generate(shown);
            }
            let tip = "Stop all clips that are being made or wait";
            let response = button(ui, cancel, "cancel", "Cancel", Look::Plain);
            if response.on_hover_text(tip).clicked() {
                for job in jobs {
                    shown.hands.send(Command::Cancel(job.job));
                }
            }
        }
    }
}

fn go(ui: &Ui, rect: Rect, text: &str) -> bool {
    button(ui, rect, "generate", text, Look::Gold)
        .on_hover_text("Make clips with what is set here (Ctrl-G, or Enter in the text)")
        .clicked()
}

fn count(ui: &Ui, rect: Rect, screen: &mut Screen) {
    let (label, choice) = split_left(rect, 44.0);
    words(
        ui,
        label,
        Align2::LEFT_CENTER,
        "Clips",
        theme::small(),
        theme::QUIET,
    );
    let labels = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let tip = "How many clips to make at once, with seeds one after the other";
    if let Some(pressed) = segmented(ui, choice, "count", &labels, screen.count - 1, tip) {
        screen.count = pressed + 1;
    }
}

fn at_work(ui: &Ui, rect: Rect, job: &JobView, count: usize) {
    let bar = Rect::from_min_size(rect.left_bottom() - vec2(0.0, 7.0), vec2(rect.width(), 6.0));
    progress(ui, bar, job.share);
    let text = match count {
        1 => job.phase.clone(),
        _ => format!("{} \u{00b7} {} more wait", job.phase, count - 1),
    };
    let line = Rect::from_min_max(rect.min, egui::pos2(rect.right(), bar.top() - 2.0));
    words(
        ui,
        line,
        Align2::LEFT_CENTER,
        &text,
        theme::small(),
        theme::TEXT,
    );
}
