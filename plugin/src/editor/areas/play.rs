//! How it sounds: loop or notes, level, pads.

use egui::{Rect, Sense, Ui, pos2, vec2};
use nice_plug::prelude::Enum;

use super::recipe::value_of;
use crate::editor::drag_out;
use crate::editor::screen::{Screen, Shown};
use crate::editor::theme;
use crate::editor::widgets::{Icon, Look, button, hold, icon_button, knob, panel, segmented};
use crate::parameters::PlayMode;
use crate::project::{FIRST_PAD, Variation};
use crate::session::{Command, SlotState};

const KNOB_WIDTH: f32 = 42.0;
const PAD_WIDTH: f32 = 40.0;
/// Height of what is below a pad.
const TOOL: f32 = 20.0;

/// The strip at the lower right.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let inner = rect.shrink2(vec2(theme::PADDING, 10.0));
    let gap = if inner.width() > 520.0 { 12.0 } else { 5.0 };
    let pads = pads(ui, inner, shown, screen);
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

fn pads(ui: &Ui, inner: Rect, shown: &Shown<'_>, screen: &mut Screen) -> Rect {
    let make_width = 52.0;
    let gap = 6.0;
    let width = PAD_WIDTH * 2.0 + make_width + gap * 2.0;
    let left = inner.right() - width;
    let parameters = shown.parameters;
    let held = [(&parameters.pad_a, "A"), (&parameters.pad_b, "B")];
    for (at, (parameter, name)) in held.into_iter().enumerate() {
        let corner = pos2(left + at as f32 * (PAD_WIDTH + gap), inner.top());
        let mut place = Rect::from_min_size(corner, vec2(PAD_WIDTH, inner.height()));
        if let Some(variation) = &shown.view.project.slots[FIRST_PAD + at] {
            let top = place.bottom() - TOOL;
            let tools = Rect::from_min_max(pos2(place.left(), top), place.max);
            pad_tools(ui, tools, at, variation, shown, screen);
            place.set_bottom(top - 3.0);
        }
        hold(
            ui,
            place,
            shown.hands,
            parameter,
            name,
            &pad_tip(at, name, shown),
        );
    }
    let make = Rect::from_min_max(pos2(inner.right() - make_width, inner.top()), inner.max);
    let tip = "Make the clips of both pads from one seed: A with the first adapter alone, B with the second";
    let response = button(ui, make, "make pads", "Make", Look::Plain);
    if response.on_hover_text(tip).clicked() {
        shown.hands.send(Command::MakePads);
    }
    Rect::from_min_max(pos2(left, inner.top()), inner.max)
}

fn pad_tip(pad: usize, name: &str, shown: &Shown<'_>) -> String {
    let state = match &shown.view.slots[FIRST_PAD + pad] {
        SlotState::Empty => "It has no clip yet: make the pads first.",
        SlotState::Awaited => "Its clip is being made.",
        SlotState::Ready { .. } => "Sounds while you hold it.",
        SlotState::Missing { problem } => problem.as_str(),
    };
    format!(
        "Pad {name}: the same seed with {} adapter alone. {state}",
        ["the first", "the second"][pad.min(1)]
    )
}

/// What can be done with a pad's clip beside playing it.
fn pad_tools(
    ui: &Ui,
    rect: Rect,
    pad: usize,
    variation: &Variation,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let slot = FIRST_PAD + pad;
    let middle = rect.center().x;
    let keep = Rect::from_min_max(rect.min, pos2(middle, rect.bottom()));
    let export = Rect::from_min_max(pos2(middle, rect.top()), rect.max);
    let (icon, look, tip) = match variation.is_kept {
        true => (
            Icon::StarFull,
            Look::On,
            "Kept: the pad's sound is saved in the project",
        ),
        false => (
            Icon::Star,
            Look::Flat,
            "Keep it: the pad's sound is then saved in the project",
        ),
    };
    if icon_button(ui, keep, &format!("keep pad {pad}"), icon, look, tip).clicked() {
        let is_kept = !variation.is_kept;
        shown.hands.send(Command::Keep { slot, is_kept });
    }
    if !matches!(shown.view.slots[slot], SlotState::Ready { .. }) {
        return;
    }
    let tip = "Drag the pad's clip from here onto a track or into a folder; a click writes it as a WAV file into your music folder";
    let salt = format!("export pad {pad}");
    let export = icon_button(ui, export, &salt, Icon::Export, Look::Flat, tip);
    let export = export.interact(Sense::drag());
    drag_out::handle(&export, slot, shown, screen);
    if export.clicked() {
        shown.hands.send(Command::Export { slot, path: None });
    }
}
