//! Name, base, engine, and the ways to learning and back.

use egui::{
    Align2, Color32, FontId, Popup, PopupCloseBehavior, Rect, Sense, Shape, Stroke, Ui, pos2, vec2,
};

use crate::editor::layout::split_left;
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Icon, Look, button, fit, icon_button, paint_icon, panel, words};
use crate::session::{Command, EngineStatus};

const NAME_WIDTH: f32 = 122.0;
const BASE_WIDTH: f32 = 190.0;
const LEARN_WIDTH: f32 = 124.0;

/// The header.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let inner = rect.shrink2(vec2(theme::PADDING, 8.0));
    let (name, rest) = split_left(inner, NAME_WIDTH);
    wordmark(ui, name);
    let (base, rest) = split_left(rest, BASE_WIDTH);
    base_picker(ui, base, shown);
    let ends = rest.right();
    let learn_from = ends - LEARN_WIDTH;
    let learn = Rect::from_min_max(pos2(learn_from, rest.top()), rest.max);
    learn_button(ui, learn, screen);
    let redo = Rect::from_min_size(
        pos2(learn_from - 8.0 - 30.0, rest.top()),
        vec2(30.0, rest.height()),
    );
    let undo = redo.translate(vec2(-34.0, 0.0));
    history(ui, undo, redo, shown);
    let status = Rect::from_min_max(rest.min, pos2(undo.left() - 8.0, rest.bottom()));
    engine(ui, status, &shown.view.engine);
}

// A lock of hair that is a wave, and the name.
fn wordmark(ui: &Ui, rect: Rect) {
    let wave = |phase: f32, depth: f32| -> Vec<egui::Pos2> {
        let point = |step: i32| {
            let share = step as f32 / 24.0;
            let swing = (share * std::f32::consts::TAU + phase).sin() * depth;
            pos2(rect.left() + share * 24.0, rect.center().y + swing)
        };
        (0..=24).map(point).collect()
    };
    for (phase, depth, colour) in [
        (0.0, 8.0, theme::GOLD),
        (0.7, 6.0, theme::GOLD.gamma_multiply(0.65)),
        (1.4, 4.0, theme::WATER),
    ] {
        let stroke = Stroke::new(1.8, colour);
        ui.painter().add(Shape::line(wave(phase, depth), stroke));
    }
    let place = Rect::from_min_max(pos2(rect.left() + 34.0, rect.top()), rect.max);
    let font = FontId::proportional(20.0);
    words(ui, place, Align2::LEFT_CENTER, "Lorelei", font, theme::TEXT);
}

fn base_picker(ui: &mut Ui, rect: Rect, shown: &Shown<'_>) {
    let chosen = &shown.view.project.base;
    let known = shown.view.bases.iter().find(|base| base.name == *chosen);
    let title = known.map_or(chosen.as_str(), |base| base.title.as_str());
    let response = button(ui, rect, "base", "", Look::Plain);
    let inner = rect.shrink2(vec2(10.0, 0.0));
    let ink = match known.is_none_or(|base| base.is_installed) {
        true => theme::TEXT,
        false => theme::PROBLEM,
    };
    let label = Rect::from_min_max(inner.min, pos2(inner.right() - 18.0, inner.bottom()));
    words(ui, label, Align2::LEFT_CENTER, title, theme::body(), ink);
    let sign = Rect::from_center_size(pos2(inner.right() - 5.0, inner.center().y), vec2(9.0, 9.0));
    paint_icon(ui.painter(), sign, Icon::Down, theme::QUIET);
    let response = response.on_hover_text("The model that makes the sound.");
    Popup::menu(&response)
        .close_behavior(PopupCloseBehavior::CloseOnClick)
        .width(260.0)
        .show(|ui| {
            if shown.view.bases.is_empty() {
                ui.label("The engine has not said yet which models there are.");
            }
            for base in &shown.view.bases {
                let note = match base.is_installed {
                    true => format!("clips of up to {:.0} s", base.most_secs),
                    false => "not on this machine yet".to_owned(),
                };
                let is_chosen = base.name == *chosen;
                let response = entry(ui, &base.title, &note, base.is_installed, is_chosen);
                if response.clicked() && base.is_installed && !is_chosen {
                    shown.hands.send(Command::SetBase(base.name.clone()));
                }
            }
            if entry(
                ui,
                "Look again",
                "ask for models and adapters anew",
                true,
                false,
            )
            .clicked()
            {
                shown.hands.send(Command::Refresh);
            }
        });
}

/// A line of a list, with a quieter line below it.
pub(super) fn entry(
    ui: &mut Ui,
    text: &str,
    note: &str,
    is_usable: bool,
    is_chosen: bool,
) -> egui::Response {
    let sense = match is_usable {
        true => Sense::click(),
        false => Sense::hover(),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 38.0), sense);
    let fill = match (is_usable && response.hovered(), is_chosen) {
        (true, _) => theme::LIFTED,
        (false, true) => theme::GOLD_DEEP,
        (false, false) => Color32::TRANSPARENT,
    };
    ui.painter()
        .rect_filled(rect, f32::from(theme::ROUND_SMALL), fill);
    let (ink, below) = match is_usable {
        true => (theme::TEXT, theme::QUIET),
        false => (theme::QUIET, theme::PROBLEM),
    };
    let inner = rect.shrink2(vec2(8.0, 3.0));
    words(ui, inner, Align2::LEFT_TOP, text, theme::body(), ink);
    words(ui, inner, Align2::LEFT_BOTTOM, note, theme::small(), below);
    crate::editor::widgets::focus_ring(ui, &response, rect, theme::ROUND_SMALL);
    let enabled = is_usable;
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, enabled, text));
    response.on_hover_text(note)
}

fn learn_button(ui: &Ui, rect: Rect, screen: &mut Screen) {
    let look = match screen.learn.is_open {
        true => Look::On,
        false => Look::Plain,
    };
    let response = button(ui, rect, "learn", "Learn a style", look)
        .on_hover_text("Train an adapter on recordings of yours, in the background.");
    if response.clicked() {
        screen.learn.is_open = !screen.learn.is_open;
    }
}

fn history(ui: &mut Ui, undo: Rect, redo: Rect, shown: &Shown<'_>) {
    let view = shown.view;
    let parts = [
        (
            undo,
            "undo",
            Icon::Undo,
            view.can_undo,
            "Take back the last change to the clips (Ctrl-Z)",
            Command::Undo,
        ),
        (
            redo,
            "redo",
            Icon::Redo,
            view.can_redo,
            "Make it again (Ctrl-Shift-Z)",
            Command::Redo,
        ),
    ];
    for (rect, salt, icon, is_there, tip, command) in parts {
        ui.add_enabled_ui(is_there, |ui| {
            if icon_button(ui, rect, salt, icon, Look::Flat, tip).clicked() {
                shown.hands.send(command);
            }
        });
    }
}

fn engine(ui: &Ui, rect: Rect, status: &EngineStatus) {
    let (colour, text, whole) = match status {
        EngineStatus::NotAsked => (
            theme::QUIET,
            "Engine rests",
            "It starts with the first clip.".to_owned(),
        ),
        EngineStatus::Starting => (theme::GOLD, "Engine starts", "A moment, please.".to_owned()),
        EngineStatus::Ready { version } => (
            theme::WATER,
            "Engine ready",
            format!("The engine that makes clips answers; its version is {version}."),
        ),
        EngineStatus::Gone { problem } => (theme::PROBLEM, "No engine", problem.clone()),
    };
    let response = ui.interact(rect, ui.make_persistent_id("engine"), Sense::hover());
    let dot = pos2(rect.left() + 6.0, rect.center().y);
    ui.painter().circle_filled(dot, 4.0, colour);
    let place = Rect::from_min_max(pos2(rect.left() + 17.0, rect.top()), rect.max);
    let ink = match status {
        EngineStatus::Gone { .. } => theme::PROBLEM,
        _ => theme::QUIET,
    };
    let galley = fit(ui, text, theme::small(), ink, place.width());
    let at = Align2::LEFT_CENTER.align_size_within_rect(galley.size(), place);
    ui.painter().galley(at.min, galley, ink);
    response.on_hover_text(whole);
}
