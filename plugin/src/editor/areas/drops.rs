//! A recording was dropped: what for?

use std::path::PathBuf;

use egui::{Align2, Rect, Ui, pos2, vec2};
use protocol::SourceRole;

use crate::editor::layout::columns;
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Look, button, panel, words};
use crate::session::Command;

/// Recordings that wait for an answer.
#[derive(Default)]
pub(crate) struct DropSheet {
    files: Vec<PathBuf>,
}

impl DropSheet {
    /// Asks what these are for.
    pub(crate) fn ask(&mut self, files: Vec<PathBuf>) {
        if !files.is_empty() {
            self.files = files;
        }
    }

    /// Whether there is a question.
    pub(crate) fn is_open(&self) -> bool {
        !self.files.is_empty()
    }

    /// No answer.
    pub(crate) fn put_away(&mut self) {
        self.files.clear();
    }
}

/// The question.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let inner = Rect::from_center_size(
        rect.center(),
        vec2(
            (rect.width() - 24.0).min(520.0),
            150.0_f32.min(rect.height()),
        ),
    );
    let line = |at: f32| Rect::from_min_size(inner.min + vec2(0.0, at), vec2(inner.width(), 24.0));
    let Some(first) = screen.dropped.files.first() else {
        return;
    };
    let name = first.file_name().unwrap_or(first.as_os_str());
    let name = name.to_string_lossy();
    let title = match screen.dropped.files.len() {
        1 => name.into_owned(),
        count => format!("{name} and {} more", count - 1),
    };
    words(
        ui,
        line(0.0),
        Align2::CENTER_CENTER,
        &title,
        theme::title(),
        theme::TEXT,
    );
    words(
        ui,
        line(24.0),
        Align2::CENTER_CENTER,
        "What is it for?",
        theme::body(),
        theme::QUIET,
    );
    answers(ui, line(60.0), shown, screen);
    let cancel = Rect::from_center_size(
        pos2(inner.center().x, line(112.0).center().y),
        vec2(110.0, theme::ROW),
    );
    if button(ui, cancel, "no answer", "Nothing", Look::Flat).clicked() {
        screen.dropped.put_away();
    }
}

fn answers(ui: &Ui, place: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    let place = Rect::from_min_size(place.min, vec2(place.width(), 36.0));
    let [style, vary, learn] = columns(place, [1.0, 1.0, 1.0], 8.0);
    let roles = [
        (
            style,
            "Give its style",
            "New clips sound like it",
            SourceRole::Style,
        ),
        (
            vary,
            "Vary it",
            "New clips begin with it",
            SourceRole::Vary { amount: 0.5 },
        ),
    ];
    for (place, text, tip, role) in roles {
        let response = button(ui, place, text, text, Look::Plain).on_hover_text(tip);
        if response.clicked() {
            let path = screen.dropped.files.first().cloned();
            shown.hands.send(Command::SetSource { path, role });
            screen.dropped.put_away();
        }
    }
    let tip = "Train an adapter on it";
    let response = button(ui, learn, "to learn", "Learn from it", Look::Plain);
    if response.on_hover_text(tip).clicked() {
        let files = std::mem::take(&mut screen.dropped.files);
        screen.learn.add(files);
    }
}
