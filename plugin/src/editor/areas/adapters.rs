//! The chosen adapters and how strongly each acts.

use egui::{Align2, Id, Popup, PopupCloseBehavior, Rect, ScrollArea, TextEdit, Ui, pos2, vec2};
use protocol::AdapterInfo;

use super::header::entry;
use crate::editor::layout::columns;
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Look, button, caption, row, strength, words};
use crate::project::ChosenAdapter;
use crate::session::Command;

/// Four rows.
pub(crate) fn show(ui: &mut Ui, shown: &Shown<'_>, screen: &mut Screen) {
    caption(ui, "Adapters and their strength");
    for slot in 0..shown.view.project.adapters.len() {
        let place = row(ui, theme::ROW);
        one(ui, place, slot, shown, screen);
    }
}

fn one(ui: &mut Ui, place: Rect, slot: usize, shown: &Shown<'_>, screen: &mut Screen) {
    let chosen = shown.view.project.adapters[slot].as_ref();
    let salt = format!("adapter-{slot}");
    let Some(adapter) = chosen else {
        let response = button(ui, place, &salt, "", Look::Flat).on_hover_text(
            "Choose an adapter: a style that was learnt. You can drop its file here.",
        );
        let edge = egui::Stroke::new(1.0, theme::EDGE);
        ui.painter().rect_stroke(
            place,
            f32::from(theme::ROUND_SMALL),
            edge,
            egui::StrokeKind::Inside,
        );
        let inner = place.shrink2(vec2(10.0, 0.0));
        words(
            ui,
            inner,
            Align2::LEFT_CENTER,
            "+ choose",
            theme::body(),
            theme::QUIET,
        );
        list(&response, slot, shown, screen);
        return;
    };
    let [name, slider] = columns(place, [1.0, 1.25], 8.0);
    let problem = problem(slot, adapter, shown);
    let tip = format!("{}\n{}", adapter.name, adapter.path.display());
    let tip = match problem {
        Some(problem) => format!("{tip}\n{problem}"),
        None => tip,
    };
    let response = button(ui, name, &salt, "", Look::Plain).on_hover_text(tip);
    let colour = theme::ADAPTERS[slot % theme::ADAPTERS.len()];
    let dot = pos2(name.left() + 11.0, name.center().y);
    ui.painter().circle_filled(dot, 3.5, colour);
    let label = Rect::from_min_max(
        pos2(name.left() + 21.0, name.top()),
        pos2(name.right() - 6.0, name.bottom()),
    );
    let ink = match problem.is_some() {
        true => theme::PROBLEM,
        false => theme::TEXT,
    };
    words(
        ui,
        label,
        Align2::LEFT_CENTER,
        &adapter.name,
        theme::body(),
        ink,
    );
    list(&response, slot, shown, screen);
    let parameter = &shown.parameters.adapters[slot].strength;
    let title = format!("Strength of adapter {}", slot + 1);
    strength(ui, slider, shown.hands, parameter, &title, colour);
}

fn problem<'a>(slot: usize, adapter: &ChosenAdapter, shown: &Shown<'a>) -> Option<&'a str> {
    if shown.view.missing_adapters[slot] {
        return Some("not on this machine: drop its file on the window");
    }
    let mut known = shown.view.adapters.iter();
    let known = known.find(|known| known.path == adapter.path)?;
    known.problem.as_deref()
}

fn list(response: &egui::Response, slot: usize, shown: &Shown<'_>, screen: &mut Screen) {
    if response.clicked() {
        // Files may have come since.
        shown.hands.send(Command::Refresh);
    }
    Popup::menu(response)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .width(300.0)
        .show(|ui| {
            let chosen = shown.view.project.adapters[slot].as_ref();
            let choose = |adapter| shown.hands.send(Command::SetAdapter { slot, adapter });
            if chosen.is_some() && entry(ui, "None", "leave this place free", true, false).clicked()
            {
                choose(None);
                ui.close();
            }
            if shown.view.adapters.is_empty() {
                ui.label("No adapters yet. Learn a style, or bring a file.");
            }
            ScrollArea::vertical().max_height(230.0).show(ui, |ui| {
                for info in &shown.view.adapters {
                    let is_chosen = chosen.is_some_and(|chosen| chosen.path == info.path);
                    let reason = info.unfit_for(&shown.view.project.base);
                    let note = reason.clone().unwrap_or_else(|| words_of(info));
                    let response = entry(ui, &info.name, &note, reason.is_none(), is_chosen);
                    if response.clicked() && reason.is_none() {
                        choose(Some(of_info(info)));
                        ui.close();
                    }
                }
            });
            file(ui, shown, screen);
        });
}

fn file(ui: &mut Ui, shown: &Shown<'_>, screen: &mut Screen) {
    let edit = TextEdit::singleline(&mut screen.adapter_path)
        .id(Id::unique("adapter path"))
        .hint_text("Open a file: its path, then Enter")
        .margin(egui::Margin::symmetric(8, 6))
        .desired_width(f32::INFINITY)
        .char_limit(4096);
    let response = ui.add(edit);
    let is_entered = response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
    let path = screen.adapter_path.trim();
    if is_entered && !path.is_empty() {
        shown.hands.send(Command::AddAdapterFile(path.into()));
        screen.adapter_path.clear();
        ui.close();
    }
}

fn words_of(info: &AdapterInfo) -> String {
    match info.trigger_words.is_empty() {
        true => "fits this base".to_owned(),
        false => format!(
            "learnt as {}; need not be named",
            info.trigger_words.join(", ")
        ),
    }
}

fn of_info(info: &AdapterInfo) -> ChosenAdapter {
    ChosenAdapter {
        path: info.path.clone(),
        name: info.name.clone(),
        sha256: Some(info.sha256.clone()),
    }
}
