//! What areas are made of: panels, words, buttons. All are drawn by hand in the theme's colours.

mod icons;
mod turn;

use std::sync::Arc;

use egui::text::{LayoutJob, TextFormat, TextWrapping};
use egui::{
    Align2, Color32, CornerRadius, FontId, Galley, Rect, Response, Role, Sense, Stroke, StrokeKind,
    Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

pub(crate) use icons::{Icon, paint as paint_icon};
pub(crate) use turn::{hold, knob, strength};

use super::theme;

/// Most letters of a name that are ever laid out.
const MOST_LETTERS: usize = 240;

/// How a button looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Can be pressed.
    Plain,
    /// The one thing to press.
    Gold,
    /// Lies flat until the pointer comes.
    Flat,
    /// Stands for something that is on.
    On,
}

/// A panel's ground.
pub(crate) fn panel(ui: &Ui, rect: Rect) {
    ui.painter().rect(
        rect,
        CornerRadius::same(theme::ROUND),
        theme::PANEL,
        Stroke::new(1.0, theme::EDGE.gamma_multiply(0.55)),
        StrokeKind::Inside,
    );
}

/// The ground of what lies in a panel.
pub(crate) fn well(ui: &Ui, rect: Rect) {
    let round = CornerRadius::same(theme::ROUND_SMALL);
    ui.painter().rect_filled(rect, round, theme::WELL);
}

/// A part of the window with a layout of its own, from its top downwards.
pub(crate) fn area<R>(
    ui: &mut Ui,
    rect: Rect,
    name: &str,
    contents: impl FnOnce(&mut Ui) -> R,
) -> R {
    let builder = UiBuilder::new().max_rect(rect).id_salt(name);
    let mut child = ui.new_child(builder);
    child.shrink_clip_rect(rect.expand(1.0));
    contents(&mut child)
}

/// A line of words that fits this width; the rest is cut with an ellipsis.
pub(crate) fn fit(ui: &Ui, text: &str, font: FontId, colour: Color32, width: f32) -> Arc<Galley> {
    let end = text.char_indices().nth(MOST_LETTERS);
    let text = end.map_or(text, |(end, _)| &text[..end]);
    let mut job = LayoutJob::single_section(
        text.replace(['\n', '\r'], " "),
        TextFormat::simple(font, colour),
    );
    job.wrap = TextWrapping::truncate_at_width(width.max(0.0));
    ui.painter().layout_job(job)
}

/// Words at the anchor of a rectangle, cut where it ends.
pub(crate) fn words(
    ui: &Ui,
    rect: Rect,
    anchor: Align2,
    text: &str,
    font: FontId,
    colour: Color32,
) -> Rect {
    let galley = fit(ui, text, font, colour, rect.width());
    let place = anchor.align_size_within_rect(galley.size(), rect);
    ui.painter().galley(place.min, galley, colour);
    place
}

/// A line of quiet words above a group of controls.
pub(crate) fn caption(ui: &mut Ui, text: &str) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 15.0), Sense::hover());
    words(
        ui,
        rect,
        Align2::LEFT_CENTER,
        text,
        theme::small(),
        theme::QUIET,
    );
}

/// A place for one row of controls.
pub(crate) fn row(ui: &mut Ui, height: f32) -> Rect {
    let size = vec2(ui.available_width(), height);
    ui.allocate_exact_size(size, Sense::hover()).0
}

/// Gold around what has the keyboard's focus.
pub(crate) fn focus_ring(ui: &Ui, response: &Response, rect: Rect, round: u8) {
    if response.has_focus() {
        let ring = Stroke::new(1.5, theme::GOLD);
        let round = CornerRadius::same(round);
        ui.painter()
            .rect_stroke(rect, round, ring, StrokeKind::Inside);
    }
}

/// A button with words.
pub(crate) fn button(ui: &Ui, rect: Rect, salt: &str, text: &str, look: Look) -> Response {
    let response = ui.interact(rect, ui.make_persistent_id(salt), Sense::click());
    let ink = ground(ui, rect, &response, look);
    let font = match look {
        Look::Gold => FontId::proportional(15.0),
        _ => theme::body(),
    };
    let inside = rect.shrink2(vec2(3.0, 0.0));
    words(ui, inside, Align2::CENTER_CENTER, text, font, ink);
    let is_on = look == Look::On;
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::selected(Role::Button, enabled, is_on, text));
    response
}

/// A button with a sign; what it does is said in its tooltip.
pub(crate) fn icon_button(
    ui: &Ui,
    rect: Rect,
    salt: &str,
    icon: Icon,
    look: Look,
    tip: &str,
) -> Response {
    let response = ui.interact(rect, ui.make_persistent_id(salt), Sense::click());
    let ink = ground(ui, rect, &response, look);
    let side = rect.width().min(rect.height()) * 0.58;
    let sign = Rect::from_center_size(rect.center(), vec2(side, side));
    paint_icon(ui.painter(), sign, icon, ink);
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, tip));
    response.on_hover_text(tip).on_disabled_hover_text(tip)
}

fn ground(ui: &Ui, rect: Rect, response: &Response, look: Look) -> Color32 {
    let is_lifted = response.hovered() && !response.is_pointer_button_down_on();
    let (fill, ink) = match look {
        Look::Plain if is_lifted => (theme::LIFTED, theme::TEXT),
        Look::Plain => (theme::RAISED, theme::TEXT),
        Look::Gold if is_lifted => (theme::GOLD_LIFTED, theme::ON_GOLD),
        Look::Gold => (theme::GOLD, theme::ON_GOLD),
        Look::Flat if is_lifted => (theme::LIFTED, theme::TEXT),
        Look::Flat => (Color32::TRANSPARENT, theme::QUIET),
        Look::On => (theme::GOLD_DEEP, theme::GOLD),
    };
    let round = CornerRadius::same(theme::ROUND_SMALL);
    let (fill, ink) = match ui.is_enabled() {
        true => (fill, ink),
        false => (fill.gamma_multiply(0.5), ink.gamma_multiply(0.45)),
    };
    ui.painter().rect_filled(rect, round, fill);
    if look == Look::On {
        let edge = Stroke::new(1.0, theme::GOLD.gamma_multiply(0.5));
        ui.painter()
            .rect_stroke(rect, round, edge, StrokeKind::Inside);
    }
    focus_ring(ui, response, rect, theme::ROUND_SMALL);
    ink
}

/// One of a few; gives the one that was just chosen.
pub(crate) fn segmented(
    ui: &Ui,
    rect: Rect,
    salt: &str,
    labels: &[&str],
    chosen: usize,
    tip: &str,
) -> Option<usize> {
    well(ui, rect);
    let width = rect.width() / labels.len().max(1) as f32;
    let mut pressed = None;
    for (at, label) in labels.iter().enumerate() {
        let corner = pos2(rect.left() + width * at as f32, rect.top());
        let part = Rect::from_min_size(corner, vec2(width, rect.height())).shrink(2.0);
        let look = match at == chosen {
            true => Look::On,
            false => Look::Flat,
        };
        let response = button(ui, part, &format!("{salt}-{at}"), label, look);
        if response.on_hover_text(tip).clicked() {
            pressed = Some(at);
        }
    }
    pressed.filter(|at| *at != chosen)
}

/// A small button that stands for a tag.
pub(crate) fn chip(ui: &mut Ui, tag: &str, is_on: bool) -> Response {
    let text = tag.replace('-', " ");
    let galley = fit(ui, &text, theme::small(), theme::TEXT, 150.0);
    let size = galley.size() + vec2(16.0, 8.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let (fill, ink, edge) = match (is_on, response.hovered()) {
        (true, _) => (
            theme::GOLD_DEEP,
            theme::GOLD,
            theme::GOLD.gamma_multiply(0.6),
        ),
        (false, true) => (theme::LIFTED, theme::TEXT, theme::LIFTED),
        (false, false) => (theme::RAISED, theme::TEXT, theme::RAISED),
    };
    let round = CornerRadius::same((size.y / 2.0) as u8);
    ui.painter().rect(
        rect,
        round,
        fill,
        Stroke::new(1.0, edge),
        StrokeKind::Inside,
    );
    let place = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect);
    ui.painter()
        .galley_with_override_text_color(place.min, galley, ink);
    focus_ring(ui, &response, rect, (size.y / 2.0) as u8);
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::selected(Role::Button, enabled, is_on, &text));
    response
}

/// How far something is, from 0 to 1; a stripe in the middle where it is not known.
pub(crate) fn progress(ui: &Ui, rect: Rect, share: Option<f32>) {
    let round = CornerRadius::same((rect.height() / 2.0) as u8);
    ui.painter().rect_filled(rect, round, theme::RAISED);
    let filled = match share.filter(|share| share.is_finite()) {
        Some(share) => {
            let width = rect.width() * share.clamp(0.0, 1.0);
            Rect::from_min_size(rect.min, vec2(width.max(rect.height()), rect.height()))
        }
        None => Rect::from_center_size(rect.center(), vec2(rect.width() * 0.3, rect.height())),
    };
    ui.painter().rect_filled(filled, round, theme::WATER);
}
