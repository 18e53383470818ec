//! How it sounds: loop or notes, level, pads.

use egui::{Rect, Ui, pos2, vec2};
use nice_plug::prelude::Enum;

use super::recipe::value_of;
use crate::editor::screen::Shown;
use crate::editor::theme;
use crate::editor::widgets::{Look, button, hold, knob, panel, segmented};
use crate::parameters::PlayMode;
use crate::project::FIRST_PAD;
use crate::session::{Command, SlotState};

const KNOB_WIDTH: f32 = 42.0;
const PAD_WIDTH: f32 = 32.0;

/// The strip at the lower right.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>) {
    panel(ui, rect);
    let inner = rect.shrink2(vec2(theme::PADDING, 10.0));
    let gap = if inner.width() > 520.0 { 12.0 } else { 5.0 };
    let pads = pads(ui, inner, shown);
    let switches = Rect::from_min_size(inner.min, vec2(104.0, inner.height()));
    mode(ui, switches, shown);
    let parameters = shown.parameters;
    let mut left = switches.right() + gap;
    let mut place = || {
        let rect = Rect::from_min_size(
            pos2(left, inner.top() - 2.0),
            vec2(KNOB_WIDTH, inner.height() + 4.0),
        );
        left += KNOB_WIDTH + gap;
        rect.intersect(Rect::everything_left_of(pads.left() - 4.0))
    };
    let hands = shown.hands;
    knob(
        ui,
        place(),
        hands,
        &parameters.gain,
        "Gain",
        "How loud it plays.",
    );
    let is_notes = parameters.mode.value() == PlayMode::Notes;
    ui.add_enabled_ui(is_notes, |ui| {
        knob(
            ui,
            place(),
            hands,
            &parameters.root_note,
            "Root",
            "The note at which the clip has its own pitch.",
        );
        knob(
            ui,
            place(),
            hands,
            &parameters.attack_ms,
            "Attack",
            "How slowly a note comes.",
        );
        knob(
            ui,
            place(),
            hands,
            &parameters.release_ms,
            "Release",
            "How slowly a note goes.",
        );
    });
}

fn mode(ui: &Ui, rect: Rect, shown: &Shown<'_>) {
    let parameters = shown.parameters;
    let height = (rect.height() - 6.0) / 2.0;
    let upper = Rect::from_min_size(rect.min, vec2(rect.width(), height));
    let lower = upper.translate(vec2(0.0, height + 6.0));
    let at = parameters.mode.value().to_index();
    let tip =
        "Loop: plays with the host's transport. Notes: MIDI notes play the clip at their pitch.";
    if let Some(pressed) = segmented(ui, upper, "mode", &["Loop", "Notes"], at, tip) {
        let mode = PlayMode::from_index(pressed);
        shown.hands.set_once(&parameters.mode, mode);
    }
    let is_on = parameters.audition.value();
    let look = if is_on { Look::On } else { Look::Plain };
    let tip = "Plays the clip also while the host's transport stands";
    let response = button(ui, lower, "audition", "Audition", look);
    let tip = format!("{tip} ({})", value_of(&parameters.audition));
    if response.on_hover_text(tip).clicked() {
        shown.hands.set_once(&parameters.audition, !is_on);
    }
}

fn pads(ui: &Ui, inner: Rect, shown: &Shown<'_>) -> Rect {
    let make_width = 52.0;
    let gap = 6.0;
    let width = PAD_WIDTH * 2.0 + make_width + gap * 2.0;
    let left = inner.right() - width;
    let pad = |at: f32| {
        let corner = pos2(left + at * (PAD_WIDTH + gap), inner.top());
        Rect::from_min_size(corner, vec2(PAD_WIDTH, inner.height()))
    };
    let parameters = shown.parameters;
    let state = |pad: usize| match &shown.view.slots[FIRST_PAD + pad] {
        SlotState::Empty => "It has no clip yet: make the pads first.".to_owned(),
        SlotState::Awaited => "Its clip is being made.".to_owned(),
        SlotState::Ready { .. } => "Sounds while you hold it.".to_owned(),
        SlotState::Missing { problem } => problem.clone(),
    };
    let tip = |name: &str, pad: usize| {
        format!(
            "Pad {name}: the same seed with {} adapter alone. {}",
            ["the first", "the second"][pad],
            state(pad)
        )
    };
    hold(
        ui,
        pad(0.0),
        shown.hands,
        &parameters.pad_a,
        "A",
        &tip("A", 0),
    );
    hold(
        ui,
        pad(1.0),
        shown.hands,
        &parameters.pad_b,
        "B",
        &tip("B", 1),
    );
    let make = Rect::from_min_max(pos2(inner.right() - make_width, inner.top()), inner.max);
    let tip = "Make the clips of both pads from one seed: A with the first adapter alone, B with the second";
    let response = button(ui, make, "make pads", "Make", Look::Plain);
    if response.on_hover_text(tip).clicked() {
        shown.hands.send(Command::MakePads);
    }
    Rect::from_min_max(pos2(left, inner.top()), inner.max)
}
