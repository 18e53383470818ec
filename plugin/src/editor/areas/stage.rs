//! The clip that is chosen: its waveform over its spectrogram, bars and beats, the play cursor, what is being made.

use std::sync::Arc;

use egui::{Align2, FontId, Rect, ScrollArea, Stroke, Ui, pos2, vec2};

use super::recipe::key_title;
use crate::editor::layout::split_top;
use crate::editor::screen::{Screen, Shown, StageLook};
use crate::editor::theme;
use crate::editor::widgets::{
    Icon, Look, area, button, paint_icon, panel, progress, segmented, well, words,
};
use crate::editor::{drag_out, picture};
use crate::project::{FIRST_PAD, VARIATIONS, Variation};
use crate::session::{ClipPicture, Command, JobKind, JobView, SlotState};

const RULER_HEIGHT: f32 = 16.0;

/// The stage.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let slot = shown.slot();
    let inner = rect.shrink(theme::PADDING);
    let (top, picture) = split_top(inner, 24.0);
    let picture = Rect::from_min_max(pos2(picture.left(), top.bottom() + 8.0), picture.max);
    let variation = shown.view.project.slots[slot].as_ref();
    heading(ui, top, slot, variation, shown, screen);
    well(ui, picture);
    match &shown.view.slots[slot] {
        SlotState::Empty => empty(ui, picture, shown),
        SlotState::Awaited => {}
        SlotState::Ready { picture: clip, .. } => {
            ready(ui, picture, slot, clip, variation, shown, screen);
        }
        SlotState::Missing { problem } => missing(ui, picture, slot, problem, shown),
    }
    if let Some(job) = job_of(shown, slot) {
        at_work(ui, picture, job, shown);
    } else if shown.view.slots[slot] == SlotState::Awaited {
        let text = "The clip is on its way";
        let (font, ink) = (theme::title(), theme::QUIET);
        words(ui, picture, Align2::CENTER_CENTER, text, font, ink);
    }
}

/// The job that makes this slot's clip.
pub(super) fn job_of<'a>(shown: &Shown<'a>, slot: usize) -> Option<&'a JobView> {
    let kind = JobKind::Clip { slot };
    shown.view.jobs.iter().find(|job| job.kind == kind)
}

/// What people call a slot whose clip has no name.
fn slot_title(slot: usize) -> String {
    match slot < VARIATIONS {
        true => format!("Variation {}", slot + 1),
        false => format!("Pad {}", ["A", "B"][(slot - FIRST_PAD).min(1)]),
    }
}

/// What people call a slot's clip.
pub(super) fn title(slot: usize, variation: Option<&Variation>) -> String {
    let name = variation.map(|variation| variation.name.trim());
    let name = name.filter(|name| !name.is_empty());
    name.map_or_else(|| slot_title(slot), str::to_owned)
}

fn heading(
    ui: &mut Ui,
    rect: Rect,
    slot: usize,
    variation: Option<&Variation>,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let choice = Rect::from_min_max(pos2(rect.right() - 204.0, rect.top()), rect.max);
    let looks = [StageLook::Waveform, StageLook::Both, StageLook::Spectrum];
    let labels = ["Wave", "Both", "Spectrum"];
    let at = looks.iter().position(|look| *look == screen.look);
    let tip = "What to show of the clip";
    if let Some(pressed) = segmented(ui, choice, "look", &labels, at.unwrap_or(1), tip) {
        screen.look = looks[pressed];
    }
    let title = title(slot, variation);
    let place = Rect::from_min_max(rect.min, pos2(choice.left() - 12.0, rect.bottom()));
    let half = Rect::from_min_size(place.min, vec2(place.width() * 0.5, place.height()));
    let name = words(
        ui,
        half,
        Align2::LEFT_CENTER,
        &title,
        theme::title(),
        theme::TEXT,
    );
    let rest = Rect::from_min_max(pos2(name.right() + 12.0, place.top()), place.max);
    let facts = variation.map(|variation| facts(variation, shown));
    let facts = facts.unwrap_or_default();
    words(
        ui,
        rest,
        Align2::LEFT_CENTER,
        &facts,
        theme::small(),
        theme::QUIET,
    );
}

fn facts(variation: &Variation, shown: &Shown<'_>) -> String {
    let recipe = &variation.recipe;
    let bars = match recipe.bars {
        1 => "1 bar".to_owned(),
        bars => format!("{bars} bars"),
    };
    let mut facts = vec![
        bars,
        format!("{:.0} BPM", recipe.tempo_bpm),
        format!("seed {}", recipe.seed),
    ];
    facts.extend(recipe.key.as_deref().map(key_title));
    let differs = (recipe.tempo_bpm - shown.view.tempo_bpm).abs() > 0.05;
    if differs && shown.view.tempo_bpm > 0.0 {
        facts.push(format!("plays at {:.0}", shown.view.tempo_bpm));
    }
    facts.join(" \u{00b7} ")
}

fn empty(ui: &Ui, rect: Rect, shown: &Shown<'_>) {
    ghost(ui, rect);
    let text = match shown.view.jobs.is_empty() {
        true => "Pick a sound and press Generate",
        false => "Free",
    };
    let line = Rect::from_center_size(rect.center(), vec2(rect.width() - 20.0, 26.0));
    let font = FontId::proportional(18.0);
    words(ui, line, Align2::CENTER_CENTER, text, font, theme::TEXT);
    words(
        ui,
        line.translate(vec2(0.0, 24.0)),
        Align2::CENTER_CENTER,
        "or drop a recording on the window to start from it",
        theme::small(),
        theme::QUIET,
    );
}

// A quiet wave where no clip is yet.
fn ghost(ui: &Ui, rect: Rect) {
    for (depth, speed, strength) in [(0.30, 3.0, 0.35), (0.22, 4.0, 0.25), (0.14, 6.0, 0.2)] {
        let point = |step: i32| {
            let share = step as f32 / 90.0;
            let swell = (share * std::f32::consts::PI).sin();
            let swing = (share * std::f32::consts::TAU * speed).sin() * swell;
            pos2(
                rect.left() + share * rect.width(),
                rect.center().y + swing * rect.height() * depth,
            )
        };
        let colour = theme::WATER_DEEP.gamma_multiply(strength);
        let points = (0..=90).map(point).collect();
        let line = egui::Shape::line(points, Stroke::new(1.5, colour));
        ui.painter().add(line);
    }
}

fn ready(
    ui: &mut Ui,
    rect: Rect,
    slot: usize,
    clip: &Arc<ClipPicture>,
    variation: Option<&Variation>,
    shown: &Shown<'_>,
    screen: &mut Screen,
) {
    let ruler = Rect::from_min_size(rect.min, vec2(rect.width(), RULER_HEIGHT));
    let body = Rect::from_min_max(pos2(rect.left(), ruler.bottom()), rect.max);
    let painter = ui.painter_at(rect);
    if screen.look != StageLook::Waveform {
        let brightness = match screen.look {
            StageLook::Both => 0.85,
            _ => 1.0,
        };
        screen.spectrum.paint(&painter, body, clip, brightness);
    }
    if screen.look != StageLook::Spectrum {
        let middle = body.center().y;
        let upper = Rect::from_min_max(body.min, pos2(body.right(), middle)).shrink(2.0);
        let lower = Rect::from_min_max(pos2(body.left(), middle), body.max).shrink(2.0);
        let colour = match screen.look {
            // The spectrogram shines through.
            StageLook::Both => theme::WATER.gamma_multiply(0.72),
            _ => theme::WATER,
        };
        picture::waveform(&painter, upper, clip, &[0], colour);
        picture::waveform(&painter, lower, clip, &[1], colour);
        let line = Stroke::new(1.0, theme::NIGHT.gamma_multiply(0.8));
        painter.hline(body.x_range(), middle, line);
    }
    if let Some(variation) = variation {
        grid(ui, ruler, body, variation);
    }
    if let Some((_, share)) = shown.playing.filter(|(playing, _)| *playing == slot) {
        let x = body.left() + body.width() * share;
        painter.vline(x, rect.y_range(), Stroke::new(1.5, theme::CURSOR));
    }
    if job_of(shown, slot).is_some() {
        return;
    }
    let drag = ui.interact(
        body,
        ui.make_persistent_id("stage clip"),
        // With the click, a drag begins when the pointer moves and not before.
        egui::Sense::click_and_drag(),
    );
    drag_out::handle(&drag, slot, shown, screen);
    drag.on_hover_cursor(egui::CursorIcon::Grab)
        .on_hover_text_at_pointer("Drag the clip from here onto a track or into a folder");
}

fn grid(ui: &Ui, ruler: Rect, body: Rect, variation: &Variation) {
    let recipe = &variation.recipe;
    let (bars, beats) = (recipe.bars.clamp(1, 64), recipe.metre.beats.clamp(1, 32));
    let painter = ui.painter();
    let is_wide = body.width() / (bars * beats) as f32 > 7.0;
    for beat in 0..bars * beats {
        let x = body.left() + body.width() * beat as f32 / (bars * beats) as f32;
        let is_bar = beat % beats == 0;
        if !is_bar && !is_wide {
            continue;
        }
        let strength = if is_bar { 0.45 } else { 0.16 };
        let line = Stroke::new(1.0, theme::QUIET.gamma_multiply(strength));
        if beat > 0 {
            painter.vline(x, body.y_range(), line);
        }
        if is_bar {
            let corner = pos2(x + 4.0, ruler.top());
            let place = Rect::from_min_size(corner, vec2(24.0, ruler.height()));
            let text = (beat / beats + 1).to_string();
            words(
                ui,
                place,
                Align2::LEFT_CENTER,
                &text,
                theme::figures(),
                theme::QUIET,
            );
        }
    }
}

fn missing(ui: &mut Ui, rect: Rect, slot: usize, problem: &str, shown: &Shown<'_>) {
    let inner = rect.shrink(14.0);
    let sign = Rect::from_min_size(inner.min, vec2(22.0, 22.0));
    paint_icon(ui.painter(), sign, Icon::Warning, theme::PROBLEM);
    let (text, below) = crate::editor::layout::split_bottom(inner, theme::ROW);
    let text = Rect::from_min_max(pos2(sign.right() + 12.0, inner.top()), text.max);
    area(ui, text, "missing", |ui| {
        ScrollArea::vertical().id_salt("problem").show(ui, |ui| {
            ui.label(
                egui::RichText::new("This clip cannot be heard")
                    .font(theme::title())
                    .color(theme::PROBLEM),
            );
            ui.add(egui::Label::new(egui::RichText::new(problem).color(theme::TEXT)).wrap());
        });
    });
    let again = Rect::from_min_size(
        pos2(text.left(), below.top()),
        vec2(150.0_f32.min(text.width()), theme::ROW),
    );
    let tip = "Make this clip again with what is set now, and its own seed";
    let response = button(ui, again, "make again", "Make it again", Look::Plain);
    if slot < VARIATIONS && response.on_hover_text(tip).clicked() {
        let reseed = false;
        shown.hands.send(Command::Remake { slot, reseed });
    }
}

fn at_work(ui: &Ui, rect: Rect, job: &JobView, shown: &Shown<'_>) {
    let size = vec2((rect.width() - 40.0).min(440.0), 96.0);
    let sheet = Rect::from_center_size(rect.center(), size);
    ui.painter().rect(
        sheet,
        f32::from(theme::ROUND),
        theme::PANEL,
        Stroke::new(1.0, theme::EDGE),
        egui::StrokeKind::Inside,
    );
    let inner = sheet.shrink(14.0);
    let cancel = Rect::from_min_max(
        pos2(inner.right() - 78.0, inner.top()),
        pos2(inner.right(), inner.top() + theme::ROW),
    );
    let line = Rect::from_min_max(
        inner.min,
        pos2(cancel.left() - 8.0, inner.top() + theme::ROW),
    );
    words(
        ui,
        line,
        Align2::LEFT_CENTER,
        &job.phase,
        theme::body(),
        theme::TEXT,
    );
    let response = button(ui, cancel, "cancel job", "Cancel", Look::Plain);
    if response.on_hover_text("Stop this clip").clicked() {
        shown.hands.send(Command::Cancel(job.job));
    }
    let bar = Rect::from_min_size(
        pos2(inner.left(), line.bottom() + 9.0),
        vec2(inner.width(), 6.0),
    );
    progress(ui, bar, job.share);
    let below = Rect::from_min_max(pos2(inner.left(), bar.bottom() + 4.0), inner.max);
    let share = job.share.filter(|share| share.is_finite());
    let share = share.map(|share| format!("{:.0} %", share.clamp(0.0, 1.0) * 100.0));
    let text = match share {
        Some(share) if !job.text.is_empty() => format!("{share} \u{00b7} {}", job.text),
        Some(share) => share,
        None => job.text.clone(),
    };
    words(
        ui,
        below,
        Align2::LEFT_CENTER,
        &text,
        theme::small(),
        theme::QUIET,
    );
}
