//! Controls that are turned or held, bound to the host's parameters by gestures, so that hosts can record them.

use egui::{
    Align2, Color32, CornerRadius, EventFilter, Key, PointerButton, Rect, Response, Role, Sense,
    Shape, Stroke, Ui, WidgetInfo, pos2, vec2,
};
use nice_plug::prelude::*;

use super::{focus_ring, well, words};
use crate::editor::hands::Hands;
use crate::editor::theme;

/// Pixels of pointer movement from a knob's least to its most.
const KNOB_TRAVEL: f32 = 160.0;
/// With Shift, a drag and an arrow move a tenth as far.
const FINE: f32 = 0.1;
/// What an arrow moves.
const ARROW_STEP: f32 = 0.01;
/// What a page key moves.
const PAGE_STEP: f32 = 0.1;
/// A strength that is this near to 1 in a drag without Shift is 1.
const NOTCH: f32 = 0.012;

/// A knob with its name below and its value while it is touched.
pub(crate) fn knob<P: Param>(
    ui: &Ui,
    rect: Rect,
    hands: &Hands,
    parameter: &P,
    name: &str,
    tip: &str,
) {
    let response = ui.interact(rect, ui.make_persistent_id(name), Sense::click_and_drag());
    let vertical = |response: &Response| -response.drag_delta().y + response.drag_delta().x;
    turn(ui, &response, hands, parameter, KNOB_TRAVEL, None, vertical);
    let is_touched = response.hovered() || response.dragged() || response.has_focus();
    let dial = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 15.0));
    paint_dial(
        ui,
        dial,
        parameter.unmodulated_normalized_value(),
        is_touched,
    );
    let value = parameter.to_string();
    let below = Rect::from_min_max(pos2(rect.left() - 4.0, rect.bottom() - 15.0), rect.max)
        .expand2(vec2(4.0, 0.0));
    let (text, ink) = match is_touched {
        true => (value.as_str(), theme::TEXT),
        false => (name, theme::QUIET),
    };
    words(ui, below, Align2::CENTER_CENTER, text, theme::small(), ink);
    focus_ring(ui, &response, rect.expand(2.0), theme::ROUND_SMALL);
    describe(
        ui,
        &response,
        name,
        parameter.unmodulated_normalized_value(),
    );
    response.on_hover_text(format!(
        "{tip}\n{value}. Drag, or use the arrow keys; Shift for fine steps, double-click for the usual value."
    ));
}

/// An adapter's strength: a wide slider from 0 to 2 with its middle marked.
pub(crate) fn strength(
    ui: &Ui,
    rect: Rect,
    hands: &Hands,
    parameter: &FloatParam,
    name: &str,
    colour: Color32,
) {
    let response = ui.interact(rect, ui.make_persistent_id(name), Sense::click_and_drag());
    let along = |response: &Response| response.drag_delta().x;
    turn(
        ui,
        &response,
        hands,
        parameter,
        rect.width(),
        Some(0.5),
        along,
    );
    let share = parameter.unmodulated_normalized_value().clamp(0.0, 1.0);
    let is_touched = response.hovered() || response.dragged() || response.has_focus();
    paint_strength(ui, rect, share, colour, is_touched);
    let value = format!("{:.2}", parameter.unmodulated_plain_value());
    words(
        ui,
        rect.shrink2(vec2(8.0, 0.0)),
        Align2::RIGHT_CENTER,
        &value,
        theme::figures(),
        theme::TEXT,
    );
    focus_ring(ui, &response, rect, theme::ROUND_SMALL);
    describe(ui, &response, name, share * 2.0);
    response.on_hover_text(
        "How strongly this adapter acts on new clips: 0 not at all, 1 as trained, 2 twice as strongly.\n\
         Drag, or use the arrow keys; Shift for fine steps, double-click for 1.",
    );
}

fn paint_strength(ui: &Ui, rect: Rect, share: f32, colour: Color32, is_touched: bool) {
    well(ui, rect);
    let painter = ui.painter();
    let round = CornerRadius::same(theme::ROUND_SMALL);
    let end = rect.left() + rect.width() * share;
    let filled = Rect::from_min_max(rect.min, pos2(end, rect.bottom()));
    let depth = if is_touched { 0.42 } else { 0.30 };
    painter
        .with_clip_rect(filled.intersect(painter.clip_rect()))
        .rect_filled(rect, round, colour.gamma_multiply(depth));
    let notch = Stroke::new(1.0, theme::QUIET.gamma_multiply(0.7));
    let middle = rect.center().x;
    painter.vline(middle, rect.top()..=rect.top() + 4.0, notch);
    painter.vline(middle, rect.bottom() - 4.0..=rect.bottom(), notch);
    let handle = end.clamp(rect.left() + 2.0, rect.right() - 2.0);
    let handle = Rect::from_center_size(
        pos2(handle, rect.center().y),
        vec2(if is_touched { 4.0 } else { 3.0 }, rect.height() - 6.0),
    );
    painter.rect_filled(handle, 2.0, colour);
}

fn paint_dial(ui: &Ui, rect: Rect, share: f32, is_touched: bool) {
    let radius = (rect.height().min(rect.width()) / 2.0 - 3.0).max(6.0);
    let centre = rect.center() + vec2(0.0, 2.0);
    let (least, most) = (135.0_f32, 405.0_f32);
    let arc = |from: f32, to: f32| -> Vec<egui::Pos2> {
        let point = |step: i32| {
            let angle = (from + (to - from) * step as f32 / 28.0).to_radians();
            centre + radius * vec2(angle.cos(), angle.sin())
        };
        (0..=28).map(point).collect()
    };
    let value = least + (most - least) * share.clamp(0.0, 1.0);
    let painter = ui.painter();
    let face = if is_touched {
        theme::LIFTED
    } else {
        theme::RAISED
    };
    painter.circle_filled(centre, radius - 4.0, face);
    painter.add(Shape::line(
        arc(least, most),
        Stroke::new(2.5, theme::RAISED),
    ));
    painter.add(Shape::line(
        arc(least, value),
        Stroke::new(2.5, theme::GOLD),
    ));
    let angle = value.to_radians();
    let direction = vec2(angle.cos(), angle.sin());
    painter.line_segment(
        [
            centre + direction * (radius * 0.2),
            centre + direction * (radius - 6.0),
        ],
        Stroke::new(2.0, theme::TEXT),
    );
}

/// A parameter that is on while it is pressed, by the pointer or with Enter.
pub(crate) fn hold(
    ui: &Ui,
    rect: Rect,
    hands: &Hands,
    parameter: &BoolParam,
    text: &str,
    tip: &str,
) {
    let response = ui.interact(rect, ui.make_persistent_id(text), Sense::click_and_drag());
    let keys = |keys: &egui::InputState| keys.key_down(Key::Enter) || keys.key_down(Key::Space);
    let is_down = response.is_pointer_button_down_on() || (response.has_focus() && ui.input(keys));
    let was_down = hands.is_open(parameter);
    if is_down && !was_down {
        hands.begin(parameter);
        hands.set(parameter, true);
    }
    if !is_down && was_down {
        hands.set(parameter, false);
        hands.end(parameter);
    }
    let round = CornerRadius::same(theme::ROUND);
    let (fill, ink) = match (is_down || parameter.value(), response.hovered()) {
        (true, _) => (theme::GOLD, theme::ON_GOLD),
        (false, true) => (theme::LIFTED, theme::TEXT),
        (false, false) => (theme::RAISED, theme::TEXT),
    };
    ui.painter().rect_filled(rect, round, fill);
    words(ui, rect, Align2::CENTER_CENTER, text, theme::title(), ink);
    focus_ring(ui, &response, rect, theme::ROUND);
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::selected(Role::Button, enabled, is_down, text));
    response.on_hover_text(tip);
}

/// Moves a parameter by drag, keys and double-click.
fn turn<P: Param>(
    ui: &Ui,
    response: &Response,
    hands: &Hands,
    parameter: &P,
    travel: f32,
    notch: Option<f32>,
    moved: impl Fn(&Response) -> f32,
) {
    let is_fine = ui.input(|input| input.modifiers.shift);
    let set = |share: f32| hands.set(parameter, parameter.preview_plain(share));
    let now = parameter.unmodulated_normalized_value();
    // The pointer's own place, apart from steps and the notch, so that slow drags get anywhere.
    let place = response.id.with("place");
    if response.drag_started_by(PointerButton::Primary) {
        hands.begin(parameter);
        ui.data_mut(|data| data.insert_temp(place, now));
    }
    if response.dragged_by(PointerButton::Primary) {
        let speed = if is_fine { FINE } else { 1.0 };
        let share = ui.data(|data| data.get_temp::<f32>(place)).unwrap_or(now);
        let share = share + moved(response) / travel * speed;
        ui.data_mut(|data| data.insert_temp(place, share));
        let share = share.clamp(0.0, 1.0);
        let near = notch.filter(|notch| !is_fine && (share - notch).abs() < NOTCH);
        set(near.unwrap_or(share));
    }
    if response.drag_stopped() {
        hands.end(parameter);
    }
    if response.double_clicked() {
        hands.set_once(
            parameter,
            parameter.preview_plain(parameter.default_normalized_value()),
        );
    }
    if let Some(share) = keys(ui, response, parameter, is_fine) {
        hands.set_once(parameter, parameter.preview_plain(share));
    }
}

fn keys<P: Param>(ui: &Ui, response: &Response, parameter: &P, is_fine: bool) -> Option<f32> {
    if !response.has_focus() {
        return None;
    }
    let filter = EventFilter {
        horizontal_arrows: true,
        vertical_arrows: true,
        ..EventFilter::default()
    };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let step = match parameter.step_count() {
        Some(steps) if steps <= 1000 => 1.0 / steps.max(1) as f32,
        _ => ARROW_STEP * if is_fine { FINE } else { 1.0 },
    };
    let now = parameter.unmodulated_normalized_value();
    let pressed = |key| ui.input(|input| input.num_presses(key)) as f32;
    let mut share = now;
    share += step * (pressed(Key::ArrowUp) + pressed(Key::ArrowRight));
    share -= step * (pressed(Key::ArrowDown) + pressed(Key::ArrowLeft));
    share += PAGE_STEP * (pressed(Key::PageUp) - pressed(Key::PageDown));
    if pressed(Key::Home) > 0.0 {
        share = 0.0;
    }
    if pressed(Key::End) > 0.0 {
        share = 1.0;
    }
    let share = share.clamp(0.0, 1.0);
    (share != now).then_some(share)
}

fn describe(ui: &Ui, response: &Response, name: &str, value: f32) {
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::slider(enabled, f64::from(value), name));
}
