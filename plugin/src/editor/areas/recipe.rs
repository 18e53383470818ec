//! What the next clips are made of: words, adapters, length, key, seed, sound that is brought.

use egui::{
    Align2, Id, Popup, PopupCloseBehavior, Rect, ScrollArea, Sense, TextEdit, Ui, pos2, vec2,
};
use nice_plug::prelude::{Enum, Param};
use protocol::recipe::MOST_PROMPT_BYTES;
use protocol::{SourceRole, TagGroup};

use super::adapters;
use crate::editor::layout::{columns, split_left};
use crate::editor::screen::{Screen, Shown};
use crate::editor::tags;
use crate::editor::theme;
use crate::editor::widgets::{
    Icon, Look, area, button, caption, chip, icon_button, paint_icon, panel, row, segmented, words,
};
use crate::parameters::{Bars, KEYS, MOST_SEED};
use crate::session::Command;

/// How much a source is varied before a musician says so.
const USUAL_AMOUNT: f32 = 0.5;
/// A panel of this height has room for all groups of tags at once.
const HEIGHT_OF_ALL_TAGS: f32 = 760.0;
/// A group of more tags than fit here scrolls.
const MOST_CHIPS_HEIGHT: f32 = 140.0;

/// The panel on the left.
pub(crate) fn show(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, screen: &mut Screen) {
    panel(ui, rect);
    let inner = rect.shrink2(vec2(0.0, 6.0));
    area(ui, inner, "recipe", |ui| {
        ScrollArea::vertical()
            .id_salt("recipe")
            .auto_shrink(false)
            .show(ui, |ui| {
                let margin = egui::Margin::symmetric(theme::PADDING as i8, 4);
                egui::Frame::NONE.inner_margin(margin).show(ui, |ui| {
                    prompt(ui, rect.height(), shown, screen);
                    ui.add_space(6.0);
                    adapters::show(ui, shown, screen);
                    ui.add_space(6.0);
                    shape(ui, shown);
                    ui.add_space(6.0);
                    source(ui, shown, screen);
                });
            });
    });
}

fn prompt(ui: &mut Ui, height: f32, shown: &Shown<'_>, screen: &mut Screen) {
    let chosen = &shown.view.project.base;
    let base = shown.view.bases.iter().find(|base| base.name == *chosen);
    let groups = base.map_or(&[][..], |base| base.groups.as_slice());
    let hint = match base.is_none_or(|base| base.tags.is_empty()) {
        true => "Say in words what you want to hear",
        false => "Pick tags below, or write them here",
    };
    caption(ui, "Sound");
    let field = TextEdit::multiline(&mut screen.prompt.text)
        .id(Id::unique("prompt"))
        .desired_rows(2)
        .desired_width(f32::INFINITY)
        .hint_text(hint)
        .margin(egui::Margin::symmetric(9, 7))
        .char_limit(MOST_PROMPT_BYTES + 1)
        // Enter makes clips; a new line is Shift-Enter.
        .return_key(egui::KeyboardShortcut::new(
            egui::Modifiers::SHIFT,
            egui::Key::Enter,
        ));
    let response = ui
        .add(field)
        .on_hover_text("Enter generates. What you write is saved with the project.");
    if response.changed() {
        screen.prompt.edited(shown.hands);
    }
    let enter =
        |input: &egui::InputState| input.key_pressed(egui::Key::Enter) && !input.modifiers.shift;
    if response.has_focus() && ui.input(enter) {
        screen.generate(shown);
    }
    if response.lost_focus() {
        screen.prompt.commit(shown.hands);
    }
    if screen.prompt.is_cut {
        let text = format!("Cut: {MOST_PROMPT_BYTES} bytes are the most.");
        let rect = row(ui, 15.0);
        words(
            ui,
            rect,
            Align2::LEFT_CENTER,
            &text,
            theme::small(),
            theme::PROBLEM,
        );
    }
    palette(ui, groups, height, shown, screen);
}

fn palette(ui: &mut Ui, groups: &[TagGroup], height: f32, shown: &Shown<'_>, screen: &mut Screen) {
    if height >= HEIGHT_OF_ALL_TAGS {
        for group in groups {
            caption(ui, &group.title);
            chips(ui, group, shown, screen);
        }
        return;
    }
    // Another base may have fewer.
    let at = screen.group.min(groups.len().saturating_sub(1));
    let Some(group) = groups.get(at) else {
        return;
    };
    let place = row(ui, 26.0);
    let titles: Vec<&str> = groups.iter().map(|group| group.title.as_str()).collect();
    let tip = "Which tags to pick from";
    if let Some(pressed) = segmented(ui, place, "groups", &titles, at, tip) {
        screen.group = pressed;
    }
    chips(ui, group, shown, screen);
}

fn chips(ui: &mut Ui, group: &TagGroup, shown: &Shown<'_>, screen: &mut Screen) {
    ScrollArea::vertical()
        .id_salt(&group.title)
        .max_height(MOST_CHIPS_HEIGHT)
        .auto_shrink([false, true])
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(5.0, 5.0);
            ui.spacing_mut().interact_size.y = 0.0;
            ui.horizontal_wrapped(|ui| {
                for tag in &group.tags {
                    let is_on = tags::has(&screen.prompt.text, tag);
                    if chip(ui, tag, is_on).clicked() {
                        screen.prompt.toggle(tag, shown.hands);
                    }
                }
            });
        });
}

fn shape(ui: &mut Ui, shown: &Shown<'_>) {
    let place = row(ui, 15.0);
    let (font, ink) = (theme::small(), theme::QUIET);
    let title = "Bars, key and seed";
    words(ui, place, Align2::LEFT_CENTER, title, font.clone(), ink);
    let (_, tempo) = split_left(place, place.width() - 80.0);
    let text = format!("{:.1} BPM", shown.view.tempo_bpm);
    words(ui, tempo, Align2::RIGHT_CENTER, &text, font, ink);
    ui.interact(tempo, ui.make_persistent_id("tempo"), Sense::hover())
        .on_hover_text("The host's tempo; new clips are made in it.");
    let place = row(ui, theme::ROW);
    bars(ui, place, shown);
    let place = row(ui, theme::ROW);
    let (key, rest) = split_left(place, place.width() * 0.37);
    key_picker(ui, key, shown);
    seed(ui, rest, shown);
}

fn bars(ui: &Ui, place: Rect, shown: &Shown<'_>) {
    let labels = ["1", "2", "4", "8", "16"];
    let at = shown.parameters.bars.value().to_index();
    let tip = "Length of new clips in bars";
    if let Some(pressed) = segmented(ui, place, "bars", &labels, at, tip) {
        let value = Bars::from_index(pressed);
        shown.hands.set_once(&shown.parameters.bars, value);
    }
}

/// `a-minor` as people write it.
pub(super) fn key_title(key: &str) -> String {
    if key == KEYS[0] {
        return "Any key".to_owned();
    }
    // The window's font has no musical signs.
    let mut letters = key.replace("-flat-", "b ").replace("-sharp-", "# ");
    letters = letters.replace('-', " ");
    match letters.get(..1) {
        Some(first) => first.to_uppercase() + &letters[1..],
        None => letters,
    }
}

fn key_picker(ui: &mut Ui, place: Rect, shown: &Shown<'_>) {
    let parameter = &shown.parameters.key;
    let at = usize::try_from(parameter.value()).unwrap_or(0);
    let title = key_title(KEYS.get(at).unwrap_or(&KEYS[0]));
    let response = button(ui, place, "key", "", Look::Plain).on_hover_text("Key of new clips");
    let inner = place.shrink2(vec2(10.0, 0.0));
    words(
        ui,
        inner,
        Align2::LEFT_CENTER,
        &title,
        theme::body(),
        theme::TEXT,
    );
    let sign = Rect::from_center_size(pos2(inner.right() - 5.0, inner.center().y), vec2(9.0, 9.0));
    paint_icon(ui.painter(), sign, Icon::Down, theme::QUIET);
    Popup::menu(&response)
        .close_behavior(PopupCloseBehavior::CloseOnClick)
        .width(250.0)
        .show(|ui| {
            let whole = row(ui, theme::ROW);
            let look = |key: usize| if key == at { Look::On } else { Look::Flat };
            if button(ui, whole, "any", &key_title(KEYS[0]), look(0)).clicked() {
                shown.hands.set_once(parameter, 0);
            }
            for pair in 0..KEYS.len() / 2 {
                let places = columns(row(ui, 24.0), [1.0, 1.0], 6.0);
                for (side, place) in places.into_iter().enumerate() {
                    let key = 1 + pair * 2 + side;
                    let title = key_title(KEYS[key]);
                    if button(ui, place, KEYS[key], &title, look(key)).clicked() {
                        shown.hands.set_once(parameter, key as i32);
                    }
                }
            }
        });
}

fn seed(ui: &mut Ui, place: Rect, shown: &Shown<'_>) {
    let parameters = shown.parameters;
    let (field, rest) = split_left(place, place.width() - 72.0);
    let mut value = parameters.seed.value();
    let drag = egui::DragValue::new(&mut value)
        .range(0..=MOST_SEED)
        .prefix("Seed ")
        .speed(1.0);
    // A free seed counts on with each clip.
    let counted = match parameters.seed_lock.value() {
        true => 0,
        false => shown.view.project.clips_asked,
    };
    let drag = match counted {
        0 => drag,
        counted => drag.suffix(format!(" +{counted}")),
    };
    let response = ui.place(field, drag).on_hover_text(
        "The same seed and settings give the same clip. Drag, or click and type. Where the seed is free, the clips that were asked for are added to it.",
    );
    if response.drag_started() {
        shown.hands.begin(&parameters.seed);
    }
    if response.changed() {
        shown.hands.set_once(&parameters.seed, value);
    }
    if response.drag_stopped() {
        shown.hands.end(&parameters.seed);
    }
    let [lock, dice] = columns(rest, [1.0, 1.0], 4.0);
    let is_locked = parameters.seed_lock.value();
    let (icon, look) = match is_locked {
        true => (Icon::Lock, Look::On),
        false => (Icon::Unlock, Look::Plain),
    };
    let tip = "Locked: every new clip takes this seed, so that you hear what else changes. Free: each takes the next one.";
    if icon_button(ui, lock, "lock", icon, look, tip).clicked() {
        shown.hands.set_once(&parameters.seed_lock, !is_locked);
    }
    if icon_button(ui, dice, "dice", Icon::Dice, Look::Plain, "Another seed").clicked() {
        let next = scatter(parameters.seed.value() as u32, ui.input(|input| input.time));
        shown.hands.set_once(&parameters.seed, next);
    }
}

// Any number will do that a musician did not see just now.
fn scatter(seed: u32, time: f64) -> i32 {
    let mixed = (u64::from(seed) ^ time.to_bits()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) % (MOST_SEED as u64 + 1)) as i32
}

fn source(ui: &mut Ui, shown: &Shown<'_>, screen: &mut Screen) {
    let place = row(ui, 20.0);
    let (title, hear) = split_left(place, place.width() - 92.0);
    let (font, ink) = (theme::small(), theme::QUIET);
    let text = "Sound to start from";
    words(ui, title, Align2::LEFT_CENTER, text, font, ink);
    hear_input(ui, hear, shown);
    let chosen = shown.view.project.source.as_ref();
    let had_source = screen.had_source.replace(chosen.is_some());
    let role = chosen.map_or(SourceRole::Style, |source| source.role);
    let place = row(ui, theme::ROW);
    if let Some(share) = shown.view.listening {
        let (bar, stop) = split_left(place, place.width() - 38.0);
        crate::editor::widgets::progress(ui, bar.shrink2(vec2(0.0, 8.0)), Some(share));
        words(
            ui,
            bar,
            Align2::CENTER_CENTER,
            match share > 0.0 {
                true => "Listening to the input",
                false => "Waiting for the host's next bar",
            },
            theme::small(),
            theme::TEXT,
        );
        if icon_button(
            ui,
            stop,
            "stop",
            Icon::Cross,
            Look::Flat,
            "Listen no longer",
        )
        .clicked()
        {
            shown.hands.send(Command::SetSource { path: None, role });
        }
        return;
    }
    match chosen {
        Some(source) => {
            let (label, clear) = split_left(place, place.width() - 38.0);
            words(
                ui,
                label,
                Align2::LEFT_CENTER,
                &source.name,
                theme::body(),
                theme::TEXT,
            );
            if icon_button(ui, clear, "clear", Icon::Cross, Look::Flat, "Without it").clicked() {
                shown.hands.send(Command::SetSource { path: None, role });
            }
            let roles = source_role(ui, shown, role);
            // In a low window what a new one is for lies below the edge.
            if had_source == Some(false) {
                ui.scroll_to_rect(roles, None);
            }
        }
        None => {
            let (listen, field) = split_left(place, 80.0);
            let tip = "Take what comes in at the input, for as many bars as are set; while the transport rolls, from the next bar on.";
            if button(ui, listen, "listen", "Listen", Look::Plain)
                .on_hover_text(tip)
                .clicked()
            {
                shown.hands.send(Command::Listen { role });
            }
            path_field(ui, field, screen, shown, role);
        }
    }
}

fn hear_input(ui: &Ui, place: Rect, shown: &Shown<'_>) {
    let parameter = &shown.parameters.hear_input;
    let is_on = parameter.value();
    let look = if is_on { Look::On } else { Look::Flat };
    let response = button(ui, place, "hear", "Hear input", look)
        .on_hover_text("Lets what comes in at the input through, beside the clip");
    if response.clicked() {
        shown.hands.set_once(parameter, !is_on);
    }
}

fn path_field(ui: &mut Ui, field: Rect, screen: &mut Screen, shown: &Shown<'_>, role: SourceRole) {
    let edit = TextEdit::singleline(&mut screen.source_path)
        .id(Id::unique("source path"))
        .hint_text("or drop a sound file")
        .margin(egui::Margin::symmetric(8, 6))
        .align(egui::Align2::LEFT_CENTER)
        .char_limit(4096);
    let response = ui
        .place(field, edit)
        .on_hover_text("Drop a sound file on the window, or write its path and press Enter.");
    let is_entered = response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
    let path = screen.source_path.trim();
    if is_entered && !path.is_empty() {
        shown.hands.send(Command::SetSource {
            path: Some(path.into()),
            role,
        });
        screen.source_path.clear();
    }
}

fn source_role(ui: &mut Ui, shown: &Shown<'_>, role: SourceRole) -> Rect {
    let path = shown.view.project.source.as_ref();
    let path = path.map(|source| source.path.clone());
    let set = |role| {
        let path = path.clone();
        shown.hands.send(Command::SetSource { path, role });
    };
    let place = row(ui, theme::ROW);
    let [which, amount] = columns(place, [1.0, 1.0], 8.0);
    let at = usize::from(role != SourceRole::Style);
    let tip = "Style: new clips sound like it. Vary: new clips begin with it.";
    if let Some(pressed) = segmented(ui, which, "role", &["Style", "Vary"], at, tip) {
        set(match pressed {
            0 => SourceRole::Style,
            _ => SourceRole::Vary {
                amount: USUAL_AMOUNT,
            },
        });
    }
    if let SourceRole::Vary { amount: mut share } = role {
        let drag = egui::DragValue::new(&mut share)
            .range(0.0..=1.0)
            .speed(0.005)
            .prefix("by ")
            .custom_formatter(|share, _| format!("{:.0} %", share * 100.0))
            .custom_parser(|text| {
                let number: f64 = text.trim().trim_end_matches('%').trim().parse().ok()?;
                Some(number / 100.0)
            });
        let response = ui
            .place(amount, drag)
            .on_hover_text("0 %: the sound as it is. 100 %: nothing of it is left.");
        if response.changed() {
            set(SourceRole::Vary { amount: share });
        }
    }
    place
}

/// What a parameter says of itself, for tooltips.
pub(super) fn value_of<P: Param>(parameter: &P) -> String {
    parameter.to_string()
}
