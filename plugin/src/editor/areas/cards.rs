//! The variations, side by side.

use egui::{
    Align2, CornerRadius, EventFilter, Id, Key, Rect, Response, Role, Sense, Stroke, StrokeKind,
    TextEdit, Ui, WidgetInfo, pos2, vec2,
};

use super::stage::{job_of, title};
use crate::editor::layout::neighbour;
use crate::editor::screen::{Renaming, Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Icon, Look, icon_button, progress, words};
use crate::editor::{drag_out, picture};
use crate::project::{VARIATIONS, Variation};
use crate::session::{Command, SlotState};

const MOST_NAME_LETTERS: usize = 80;
const ICON: f32 = 20.0;

/// All eight.
pub(crate) fn show(
    ui: &mut Ui,
    places: &[Rect; VARIATIONS],
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    for (slot, place) in places.iter().enumerate() {
        ui.push_id(("card", slot), |ui| card(ui, *place, slot, shown, screen));
    }
}

fn card_id(slot: usize) -> Id {
    Id::unique("variation").with(slot)
}

fn card(ui: &mut Ui, rect: Rect, slot: usize, shown: &Shown<'_>, screen: &mut Screen) {
    let response = ui.interact(rect, card_id(slot), Sense::click());
    let variation = shown.view.project.slots[slot].as_ref();
    let is_chosen = shown.variation() == slot;
    ground(ui, rect, &response, is_chosen);
    let inner = rect.shrink2(vec2(8.0, 5.0));
    let top = Rect::from_min_size(inner.min, vec2(inner.width(), ICON));
    let tools = Rect::from_min_max(pos2(inner.left(), inner.bottom() - ICON), inner.max);
    let middle = Rect::from_min_max(
        pos2(inner.left(), top.bottom() + 2.0),
        pos2(inner.right(), tools.top() - 3.0),
    );
    name(ui, top, slot, variation, shown, screen);
    body(ui, middle, slot, variation, shown, screen);
    if let Some(variation) = variation {
        actions(ui, tools, slot, variation, shown, screen);
    }
    choose(ui, &response, slot, shown, screen);
    let title = title(slot, variation);
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, enabled, is_chosen, &title));
    response.on_hover_ui(|ui| tip(ui, slot, variation, &shown.view.slots[slot]));
}

fn ground(ui: &Ui, rect: Rect, response: &Response, is_chosen: bool) {
    let fill = match response.hovered() {
        true => theme::RAISED,
        false => theme::PANEL,
    };
    let edge = match is_chosen {
        true => Stroke::new(1.5, theme::GOLD),
        false => Stroke::new(1.0, theme::EDGE.gamma_multiply(0.55)),
    };
    let round = CornerRadius::same(theme::ROUND);
    ui.painter()
        .rect(rect, round, fill, edge, StrokeKind::Inside);
    crate::editor::widgets::focus_ring(ui, response, rect.shrink(2.0), theme::ROUND - 2);
}

fn name(
    ui: &mut Ui,
    rect: Rect,
    slot: usize,
    variation: Option<&Variation>,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let place = Rect::from_min_max(rect.min, pos2(rect.right() - ICON - 2.0, rect.bottom()));
    let Some(variation) = variation else {
        let text = (slot + 1).to_string();
        words(
            ui,
            place,
            Align2::LEFT_CENTER,
            &text,
            theme::figures(),
            theme::QUIET,
        );
        return;
    };
    if screen
        .renaming
        .as_ref()
        .is_some_and(|renaming| renaming.slot == slot)
    {
        rename(ui, place, shown, screen);
    } else {
        let response = ui.interact(place, ui.make_persistent_id("name"), Sense::click());
        let text = title(slot, Some(variation));
        words(
            ui,
            place,
            Align2::LEFT_CENTER,
            &text,
            theme::body(),
            theme::TEXT,
        );
        if response.clicked() {
            select(slot, shown);
        }
        if response.double_clicked() {
            begin_rename(slot, &text, screen);
        }
        response.on_hover_text(format!("{text}\nDouble-click, or press F2, to rename."));
    }
    let star = Rect::from_min_max(pos2(rect.right() - ICON, rect.top()), rect.max);
    let (icon, look, tip) = match variation.is_kept {
        true => (
            Icon::StarFull,
            Look::On,
            "Kept: new clips take other places, and the sound is saved in the project",
        ),
        false => (
            Icon::Star,
            Look::Flat,
            "Keep it: new clips then take other places, and the sound is saved in the project",
        ),
    };
    if icon_button(ui, star, "keep", icon, look, tip).clicked() {
        let is_kept = !variation.is_kept;
        shown.hands.send(Command::Keep { slot, is_kept });
    }
}

fn begin_rename(slot: usize, name: &str, screen: &mut Screen) {
    screen.renaming = Some(Renaming {
        slot,
        name: name.chars().take(MOST_NAME_LETTERS).collect(),
        is_new: true,
    });
}

fn rename(ui: &mut Ui, place: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    let Some(renaming) = &mut screen.renaming else {
        return;
    };
    let edit = TextEdit::singleline(&mut renaming.name)
        .id(Id::unique("rename"))
        .margin(egui::Margin::symmetric(4, 1))
        .align(egui::Align2::LEFT_CENTER)
        .char_limit(MOST_NAME_LETTERS);
    let response = ui.place(place, edit);
    if std::mem::take(&mut renaming.is_new) {
        response.request_focus();
    } else if response.lost_focus() {
        let name = renaming.name.trim().to_owned();
        let slot = renaming.slot;
        if !name.is_empty() && !ui.input(|input| input.key_pressed(Key::Escape)) {
            shown.hands.send(Command::Rename { slot, name });
        }
        screen.renaming = None;
    }
}

fn body(
    ui: &Ui,
    rect: Rect,
    slot: usize,
    variation: Option<&Variation>,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let state = &shown.view.slots[slot];
    if let Some(job) = job_of(shown, slot) {
        let line = Rect::from_min_size(rect.min, vec2(rect.width(), rect.height() - 8.0));
        let (font, ink) = (theme::small(), theme::QUIET);
        words(ui, line, Align2::LEFT_CENTER, &job.phase, font, ink);
        let bar = Rect::from_min_max(pos2(rect.left(), rect.bottom() - 5.0), rect.max);
        progress(ui, bar, job.share);
        return;
    }
    match state {
        SlotState::Empty => {}
        SlotState::Awaited => {
            let (font, ink) = (theme::small(), theme::QUIET);
            words(ui, rect, Align2::LEFT_CENTER, "on its way", font, ink);
        }
        SlotState::Missing { problem } => {
            let (font, ink) = (theme::small(), theme::PROBLEM);
            words(ui, rect, Align2::LEFT_CENTER, problem, font, ink);
        }
        SlotState::Ready { picture: clip, .. } => {
            let colour = match shown.variation() == slot {
                true => theme::WATER,
                false => theme::WATER_DEEP,
            };
            picture::waveform(ui.painter(), rect, clip, &[0, 1], colour);
            if let Some((_, share)) = shown.playing.filter(|(playing, _)| *playing == slot) {
                let x = rect.left() + rect.width() * share;
                let line = Stroke::new(1.0, theme::CURSOR);
                ui.painter().vline(x, rect.y_range(), line);
            }
            let drag = ui.interact(rect, ui.make_persistent_id("clip"), Sense::click_and_drag());
            if drag.clicked() {
                select(slot, shown);
            }
            drag_out::handle(&drag, slot, shown, screen);
            drag.on_hover_ui(|ui| tip(ui, slot, variation, state));
        }
    }
}

fn actions(
    ui: &Ui,
    rect: Rect,
    slot: usize,
    variation: &Variation,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let is_ready = matches!(shown.view.slots[slot], SlotState::Ready { .. });
    let mut right = rect.right();
    let mut place = || {
        right -= ICON;
        let place = Rect::from_min_size(pos2(right, rect.top()), vec2(ICON, ICON));
        right -= 1.0;
        place
    };
    let tool = |place, salt, icon, tip| icon_button(ui, place, salt, icon, Look::Flat, tip);
    let remove = tool(
        place(),
        "remove",
        Icon::Cross,
        "Remove it; Ctrl-Z brings it back",
    );
    if remove.clicked() {
        shown.hands.send(Command::Remove { slot });
    }
    if is_ready {
        let tip = "Drag from here onto a track or into a folder; a click writes it as a WAV file into your music folder";
        let export = tool(place(), "export", Icon::Export, tip).interact(Sense::drag());
        drag_out::handle(&export, slot, shown, screen);
        if export.clicked() {
            shown.hands.send(Command::Export { slot, path: None });
        }
    }
    let tip = "Make it again with another seed";
    if tool(place(), "reseed", Icon::Dice, tip).clicked() {
        shown.hands.send(Command::Remake { slot, reseed: true });
    }
    let tip = "Make it again with what is set now, and its own seed: hear what an adapter does";
    if tool(place(), "remake", Icon::Again, tip).clicked() {
        let reseed = false;
        shown.hands.send(Command::Remake { slot, reseed });
    }
    marks(
        ui,
        Rect::from_min_max(rect.min, pos2(right - 4.0, rect.bottom())),
        variation,
        shown,
    );
}

// A dot for each adapter of the clip, and its seed where there is room.
fn marks(ui: &Ui, rect: Rect, variation: &Variation, shown: &Shown<'_>) {
    let chosen = &shown.view.project.adapters;
    let mut left = rect.left();
    for (at, used) in variation.recipe.adapters.iter().enumerate() {
        let is_same = |chosen: &Option<crate::project::ChosenAdapter>| {
            chosen
                .as_ref()
                .is_some_and(|chosen| chosen.path == used.path)
        };
        let slot = chosen.iter().position(is_same).unwrap_or(at);
        if left + 8.0 > rect.right() {
            return;
        }
        let colour = theme::ADAPTERS[slot % theme::ADAPTERS.len()];
        ui.painter()
            .circle_filled(pos2(left + 3.0, rect.center().y), 3.0, colour);
        left += 9.0;
    }
    let place = Rect::from_min_max(pos2(left + 2.0, rect.top()), rect.max);
    if place.width() > 44.0 {
        let text = variation.recipe.seed.to_string();
        let (font, ink) = (theme::figures(), theme::QUIET);
        words(ui, place, Align2::LEFT_CENTER, &text, font, ink);
    }
}

fn select(slot: usize, shown: &Shown<'_>) {
    if shown.variation() != slot {
        let value = slot as i32 + 1;
        shown.hands.set_once(&shown.parameters.variation, value);
    }
}

fn choose(ui: &Ui, response: &Response, slot: usize, shown: &Shown<'_>, screen: &mut Screen) {
    if response.clicked() {
        select(slot, shown);
    }
    if !response.has_focus() {
        return;
    }
    let filter = EventFilter {
        horizontal_arrows: true,
        vertical_arrows: true,
        ..EventFilter::default()
    };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    let step = |more, less| i32::from(pressed(more)) - i32::from(pressed(less));
    let next = neighbour(
        slot,
        step(Key::ArrowRight, Key::ArrowLeft),
        step(Key::ArrowDown, Key::ArrowUp),
    );
    if next != slot {
        ui.memory_mut(|memory| memory.request_focus(card_id(next)));
        select(next, shown);
    }
    let variation = shown.view.project.slots[slot].as_ref();
    if variation.is_some() && (pressed(Key::Delete) || pressed(Key::Backspace)) {
        shown.hands.send(Command::Remove { slot });
    }
    if let Some(variation) = variation.filter(|_| pressed(Key::F2)) {
        begin_rename(slot, &title(slot, Some(variation)), screen);
    }
}

fn tip(ui: &mut Ui, slot: usize, variation: Option<&Variation>, state: &SlotState) {
    ui.set_max_width(320.0);
    let Some(variation) = variation else {
        ui.label("Free: a new clip will take it.");
        return;
    };
    ui.label(egui::RichText::new(clipped(&title(slot, Some(variation)))).color(theme::TEXT));
    let recipe = &variation.recipe;
    ui.label(format!(
        "{} bars, {:.1} BPM, seed {}",
        recipe.bars, recipe.tempo_bpm, recipe.seed
    ));
    if !recipe.prompt.is_empty() {
        ui.label(clipped(&recipe.prompt));
    }
    for used in &recipe.adapters {
        ui.label(format!("{} at {:.2}", clipped(&used.name), used.strength));
    }
    match state {
        SlotState::Missing { problem } => {
            ui.label(egui::RichText::new(clipped(problem)).color(theme::PROBLEM));
        }
        SlotState::Ready { picture, .. } => {
            ui.label(format!("{:.2} s long", picture.secs));
        }
        _ => {}
    }
}

fn clipped(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}
