//! All that is in the window, apart from any system.

use std::collections::VecDeque;
use std::path::PathBuf;

use egui::{Key, KeyboardShortcut, Modifiers, Rect, Ui};

use nice_plug::prelude::ParamPtr;

use super::areas;
use super::areas::{DropSheet, LearnSheet};
use super::drag_out::DragOut;
use super::hands::Hands;
use super::layout::{Areas, split_top};
use super::picture::Spectrum;
use super::tags;
use super::theme;
use crate::parameters::Parameters;
use crate::project::{FIRST_PAD, VARIATIONS};
use crate::session::{Command, View};

const GENERATE: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::G);
const UNDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Z);
const REDO: KeyboardShortcut =
    KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);

/// What a frame shows.
pub(crate) struct Shown<'a> {
    pub(crate) view: &'a View,
    pub(crate) parameters: &'a Parameters,
    pub(crate) hands: &'a Hands,
    /// The slot that sounds, and how far it is.
    pub(crate) playing: Option<(usize, f32)>,
}

impl Shown<'_> {
    /// The slot on the stage: a pad that is held, or the chosen variation.
    pub(crate) fn slot(&self) -> usize {
        let pads = [&self.parameters.pad_a, &self.parameters.pad_b];
        match pads.iter().position(|pad| pad.value()) {
            Some(pad) => FIRST_PAD + pad,
            None => self.variation(),
        }
    }

    /// The chosen variation.
    pub(crate) fn variation(&self) -> usize {
        let chosen = self.parameters.variation.value() - 1;
        usize::try_from(chosen).unwrap_or(0).min(FIRST_PAD - 1)
    }
}

/// What the stage shows of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum StageLook {
    Waveform,
    #[default]
    Both,
    Spectrum,
}

/// What the editor remembers between frames and no project keeps.
pub(crate) struct Screen {
    pub(crate) prompt: PromptField,
    /// The group of tags that is shown where there is room for one.
    pub(crate) group: usize,
    pub(crate) count: usize,
    pub(crate) look: StageLook,
    pub(crate) spectrum: Spectrum,
    pub(crate) renaming: Option<Renaming>,
    pub(crate) adapter_path: String,
    pub(crate) source_path: String,
    /// Whether there was a sound to start from when the last frame was drawn.
    pub(crate) had_source: Option<bool>,
    pub(crate) learn: LearnSheet,
    pub(crate) dropped: DropSheet,
    pub(crate) drag: DragOut,
    /// Clips that were made when the last frame was drawn.
    made: Option<u64>,
}

/// A name that is being written.
pub(crate) struct Renaming {
    pub(crate) slot: usize,
    pub(crate) name: String,
    pub(crate) is_new: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            prompt: PromptField::default(),
            group: 0,
            count: 1,
            look: StageLook::default(),
            spectrum: Spectrum::default(),
            renaming: None,
            adapter_path: String::new(),
            source_path: String::new(),
            had_source: None,
            learn: LearnSheet::default(),
            dropped: DropSheet::default(),
            drag: DragOut::default(),
            made: None,
        }
    }
}

impl Screen {
    /// Files that were dropped on the window.
    pub(crate) fn drop_files(&mut self, files: Vec<PathBuf>, hands: &Hands) {
        let (adapters, recordings): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| is_adapter(file));
        for adapter in adapters {
            hands.send(Command::AddAdapterFile(adapter));
        }
        match self.learn.is_open {
            true => self.learn.add(recordings),
            false => self.dropped.ask(recordings),
        }
    }

    /// One frame.
    pub(crate) fn show(&mut self, ui: &mut Ui, shown: &Shown<'_>) {
        // A list takes the Escape that closes it.
        let has_list = egui::Popup::is_any_open(ui.ctx());
        self.prompt.follow(&shown.view.project.prompt);
        self.drag.follow(ui, shown.view);
        self.choose_newest(shown);
        let window = ui.max_rect();
        ui.painter().rect_filled(window, 0.0, theme::NIGHT);
        let places = Areas::of(window);
        areas::header(ui, places.header, shown, self);
        areas::recipe(ui, places.recipe, shown, self);
        areas::go(ui, places.go, shown, self);
        let stage = self.messages(ui, places.stage, shown);
        match (self.dropped.is_open(), self.learn.is_open) {
            (true, _) => areas::drops(ui, stage, shown, self),
            (false, true) => areas::learn(ui, stage, shown, self),
            (false, false) => areas::stage(ui, stage, shown, self),
        }
        areas::cards(ui, &places.cards, shown, self);
        areas::play(ui, places.play, shown, self);
        self.keys(ui, shown, has_list);
        rest_focus(ui);
    }

    fn messages(&mut self, ui: &mut Ui, stage: Rect, shown: &Shown<'_>) -> Rect {
        if shown.view.messages.is_empty() {
            return stage;
        }
        let (banner, rest) = split_top(stage, areas::BANNER_HEIGHT);
        areas::messages(ui, banner, shown);
        rest
    }

    fn keys(&mut self, ui: &Ui, shown: &Shown<'_>, has_list: bool) {
        let pressed = |shortcut| ui.input_mut(|input| input.consume_shortcut(shortcut));
        if pressed(&GENERATE) {
            self.generate(shown);
        }
        // In a text field these take back letters.
        if !ui.ctx().text_edit_focused() {
            // Redo first: its keys hold those of undo.
            if pressed(&REDO) && shown.view.can_redo {
                shown.hands.send(Command::Redo);
            }
            if pressed(&UNDO) && shown.view.can_undo {
                shown.hands.send(Command::Undo);
            }
        }
        let escaped = ui.input(|input| input.key_pressed(Key::Escape));
        if escaped && !has_list && ui.memory(|memory| memory.focused().is_none()) {
            self.learn.close();
            self.dropped.put_away();
        }
    }

    /// Whether there is a list or a sheet that Escape closes.
    pub(crate) fn is_something_open(&self, context: &egui::Context) -> bool {
        self.learn.is_open || self.dropped.is_open() || egui::Popup::is_any_open(context)
    }

    /// What a name asks for that is still being written when the window closes.
    pub(crate) fn take_name(&mut self) -> Option<Command> {
        let Renaming { slot, name, .. } = self.renaming.take()?;
        let name = name.trim().to_owned();
        (!name.is_empty()).then_some(Command::Rename { slot, name })
    }

    /// The window is about to close; what was gathered stays for the next one.
    pub(crate) fn close(&mut self) {
        self.spectrum.clear();
        self.drag.close();
        self.renaming = None;
        self.made = None;
        self.had_source = None;
    }

    /// A clip that was just made is the one a musician wants to hear, but not in the middle of listening to another one.
    fn choose_newest(&mut self, shown: &Shown<'_>) {
        let (count, slot) = shown.view.made;
        let is_news = self.made.is_some_and(|made| made < count);
        self.made = Some(count);
        if is_news {
            // It came after the host was told of what was asked for.
            shown.hands.mark_changed();
        }
        let listens = shown.playing.is_some_and(|(playing, _)| playing != slot);
        if is_news && slot < VARIATIONS && slot != shown.variation() && !listens {
            let value = slot as i32 + 1;
            shown.hands.set_once(&shown.parameters.variation, value);
        }
    }

    /// Asks for clips.
    pub(crate) fn generate(&mut self, shown: &Shown<'_>) {
        self.prompt.commit(shown.hands);
        shown.hands.send(Command::Generate { count: self.count });
    }
}

fn is_adapter(file: &std::path::Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

// A click means that the pointer is at work: the keyboard's focus would only keep Space and the arrows from the host.
fn rest_focus(ui: &Ui) {
    let is_clicked = ui.input(|input| input.pointer.any_pressed());
    if is_clicked
        && !ui.ctx().text_edit_focused()
        && let Some(focused) = ui.memory(|memory| memory.focused())
    {
        ui.memory_mut(|memory| memory.surrender_focus(focused));
    }
}

/// The prompt as it is written; the project has it a moment later.
#[derive(Default)]
pub(crate) struct PromptField {
    pub(crate) text: String,
    /// It was longer than an engine takes.
    pub(crate) is_cut: bool,
    seen: String,
    sent: VecDeque<String>,
    is_unmarked: bool,
}

impl PromptField {
    /// Takes over what changed elsewhere: an undo, another project. What comes back of the field's own words is no change.
    fn follow(&mut self, prompt: &str) {
        if self.seen == prompt {
            return;
        }
        prompt.clone_into(&mut self.seen);
        if let Some(own) = self.sent.iter().position(|sent| sent == prompt) {
            self.sent.drain(..=own);
            return;
        }
        self.sent.clear();
        self.is_cut = false;
        prompt.clone_into(&mut self.text);
    }

    /// The text was written on; the conductor has it at once, the host hears of it at the first letter and when the musician is done.
    pub(crate) fn edited(&mut self, hands: &Hands) {
        self.is_cut = tags::cut(&mut self.text);
        self.sent.push_back(self.text.clone());
        // The host saves or asks to save from the first letter on, whatever becomes of the window.
        if !std::mem::replace(&mut self.is_unmarked, true) {
            hands.mark_changed();
        }
        hands.send_unmarked(Command::SetPrompt(self.text.clone()));
    }

    /// A chip was pressed.
    pub(crate) fn toggle(&mut self, tag: &str, hands: &Hands) {
        self.text = tags::toggle(&self.text, tag);
        self.edited(hands);
        self.commit(hands);
    }

    /// The musician is done with it for now.
    pub(crate) fn commit(&mut self, hands: &Hands) {
        if std::mem::take(&mut self.is_unmarked) {
            hands.mark_changed();
        }
    }
}

/// What a frame showed, so that the window can rest until it would show something else.
#[derive(PartialEq)]
pub(crate) struct Drawn {
    revision: u64,
    tempo_bpm: f64,
    values: Vec<f32>,
    playing: Option<(usize, u32)>,
}

impl Drawn {
    /// What a frame would show now. The play cursor counts in steps that can be seen.
    pub(crate) fn of(view: &View, parameters: &[ParamPtr], playing: Option<(usize, f32)>) -> Self {
        const CURSOR_STEPS: f32 = 2048.0;
        let value = |parameter: &ParamPtr| {
            // SAFETY: the window keeps the parameters alive that it took these pointers from.
            #[allow(unsafe_code)]
            unsafe {
                parameter.unmodulated_normalized_value()
            }
        };
        Self {
            revision: view.revision,
            tempo_bpm: view.tempo_bpm,
            values: parameters.iter().map(value).collect(),
            playing: playing.map(|(slot, share)| (slot, (share * CURSOR_STEPS) as u32)),
        }
    }
}
