//! What was said to the musician.

use egui::{Align2, Popup, PopupCloseBehavior, Rect, ScrollArea, Ui, pos2, vec2};

use crate::editor::screen::Shown;
use crate::editor::theme;
use crate::editor::widgets::{Icon, Look, button, icon_button, paint_icon, words};
use crate::session::{Command, Message, MessageKind};

/// Of the banner.
pub(crate) const HEIGHT: f32 = 40.0;

/// The newest message, and the way to all of them.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>) {
    let Some(newest) = shown.view.messages.last() else {
        return;
    };
    let (fill, ink) = colours(newest);
    ui.painter()
        .rect_filled(rect, f32::from(theme::ROUND), fill);
    let inner = rect.shrink2(vec2(theme::PADDING, 6.0));
    let sign = Rect::from_center_size(pos2(inner.left() + 8.0, inner.center().y), vec2(16.0, 16.0));
    paint_icon(ui.painter(), sign, icon(newest), ink);
    let away = Rect::from_min_max(pos2(inner.right() - 28.0, inner.top()), inner.max);
    let all = Rect::from_min_max(
        pos2(away.left() - 74.0, inner.top()),
        pos2(away.left() - 6.0, inner.bottom()),
    );
    let place = Rect::from_min_max(
        pos2(sign.right() + 10.0, inner.top()),
        pos2(all.left() - 8.0, inner.bottom()),
    );
    words(
        ui,
        place,
        Align2::LEFT_CENTER,
        &newest.text,
        theme::body(),
        theme::TEXT,
    );
    let text = match shown.view.messages.len() {
        1 => "Read".to_owned(),
        count => format!("All {count}"),
    };
    let response = button(ui, all, "all messages", &text, Look::Flat)
        .on_hover_text("Read everything that was said");
    if icon_button(ui, away, "dismiss", Icon::Cross, Look::Flat, "Put it away").clicked() {
        shown.hands.send(Command::Dismiss(newest.number));
    }
    Popup::menu(&response)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .width(420.0)
        .show(|ui| list(ui, shown));
}

fn list(ui: &mut Ui, shown: &Shown<'_>) {
    ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
        for message in shown.view.messages.iter().rev() {
            let (_, ink) = colours(message);
            ui.push_id(message.number, |ui| {
                ui.horizontal_top(|ui| {
                    let (away, _) = ui.allocate_exact_size(vec2(22.0, 22.0), egui::Sense::hover());
                    if icon_button(ui, away, "dismiss", Icon::Cross, Look::Flat, "Put it away")
                        .clicked()
                    {
                        shown.hands.send(Command::Dismiss(message.number));
                    }
                    let text = egui::RichText::new(&message.text).color(ink);
                    // Words that can be copied into a search or a report.
                    ui.add(egui::Label::new(text).wrap().selectable(true));
                });
            });
        }
    });
    if ui.button("Put all away").clicked() {
        for message in &shown.view.messages {
            shown.hands.send(Command::Dismiss(message.number));
        }
        ui.close();
    }
}

fn colours(message: &Message) -> (egui::Color32, egui::Color32) {
    match message.kind {
        MessageKind::Note => (theme::RAISED, theme::TEXT),
        MessageKind::Problem => (theme::PROBLEM_DEEP, theme::PROBLEM),
    }
}

fn icon(message: &Message) -> Icon {
    match message.kind {
        MessageKind::Note => Icon::Play,
        MessageKind::Problem => Icon::Warning,
    }
}
