//! The screen without a system: drawn for sessions that are made up, and worked with keys and pointer.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use egui::{Event, FullOutput, Key, Modifiers, PointerButton, RawInput, Rect, Shape, Vec2};
use egui::{pos2, vec2};
use nice_plug::context::gui::GuiContext;
use nice_plug::prelude::*;
use protocol::{AdapterInfo, BaseChoice, BaseInfo, Metre, Recipe, RunInfo, SourceRole, TagGroup};

use super::hands::Hands;
use super::screen::{Screen, Shown};
use super::theme;
use crate::parameters::Parameters;
use crate::project::{ChosenAdapter, ChosenSource, FIRST_PAD, SLOTS, Variation};
use crate::session::{
    ClipPicture, Command, EngineStatus, JobKind, JobView, Message, MessageKind, SlotState, View,
};

/// What a host was told, in a word each.
#[derive(Default)]
struct Host {
    heard: Mutex<Vec<String>>,
}

#[allow(unsafe_code)]
impl GuiContextInner for Host {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Standalone
    }

    unsafe fn raw_begin_set_parameter(&self, parameter: ParamPtr) {
        // SAFETY: the test keeps its parameters until its end.
        let name = unsafe { parameter.name().to_owned() };
        self.heard.lock().unwrap().push(format!("begin {name}"));
    }

    unsafe fn raw_set_parameter_normalized(&self, parameter: ParamPtr, normalized: f32) {
        // SAFETY: as above.
        unsafe { parameter._internal_set_normalized_value(normalized) };
    }

    unsafe fn raw_end_set_parameter(&self, parameter: ParamPtr) {
        // SAFETY: as above.
        let name = unsafe { parameter.name().to_owned() };
        self.heard.lock().unwrap().push(format!("end {name}"));
    }

    fn get_state(&self) -> PluginState {
        unimplemented!("the editor takes no states")
    }

    fn set_state(&self, _: PluginState) {}

    fn request_restart(&self) {}
}

/// A screen on a bench.
struct Bench {
    context: egui::Context,
    screen: Screen,
    hands: Hands,
    parameters: Arc<Parameters>,
    host: Arc<Host>,
    commands: Receiver<Command>,
    view: View,
    size: Vec2,
    time: f64,
    /// The slot that is heard, and where in it.
    playing: Option<(usize, f32)>,
}

impl Bench {
    fn new(view: View, size: Vec2) -> Self {
        let context = egui::Context::default();
        theme::apply(&context);
        let parameters = Arc::new(Parameters::new(false));
        let host = Arc::new(Host::default());
        let (sender, commands) = channel();
        let inner: Arc<dyn GuiContextInner> = Arc::clone(&host) as _;
        let hands = Hands::new(GuiContext::new(inner), sender, Arc::clone(&parameters));
        Self {
            context,
            screen: Screen::default(),
            hands,
            parameters,
            host,
            commands,
            view,
            size,
            time: 0.0,
            playing: Some((0, 0.3)),
        }
    }

    fn frame(&mut self, events: Vec<Event>) -> FullOutput {
        self.time += 0.02;
        let modifiers = events.iter().rev().find_map(|event| match event {
            Event::Key { modifiers, .. } => Some(*modifiers),
            _ => None,
        });
        let mut input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), self.size)),
            time: Some(self.time),
            events,
            ..RawInput::default()
        };
        if let Some(modifiers) = modifiers {
            input.events.insert(0, Event::ModifiersChanged(modifiers));
        }
        let shown = Shown {
            view: &self.view,
            parameters: &self.parameters,
            hands: &self.hands,
            playing: self.playing,
        };
        let screen = &mut self.screen;
        self.context.run_ui(input, |ui| screen.show(ui, &shown))
    }

    fn rest(&mut self) -> FullOutput {
        self.frame(Vec::new());
        self.frame(Vec::new())
    }

    fn key(&mut self, key: Key, modifiers: Modifiers) {
        for pressed in [true, false] {
            let event = Event::Key {
                key,
                physical_key: None,
                pressed,
                repeat: false,
                modifiers,
            };
            self.frame(vec![event]);
        }
        self.frame(vec![Event::ModifiersChanged(Modifiers::NONE)]);
    }

    fn press(&mut self, pos: egui::Pos2, pressed: bool) {
        let button = Event::PointerButton {
            pos,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        self.frame(vec![Event::PointerMoved(pos), button]);
    }

    fn asked(&self) -> Vec<Command> {
        self.commands.try_iter().collect()
    }

    /// Where these words are on the screen.
    fn find(&mut self, words: &str) -> Rect {
        let texts = texts(&self.rest());
        let found = texts.iter().find(|(text, _)| text == words);
        found
            .unwrap_or_else(|| panic!("{words} is not there: {texts:?}"))
            .1
    }
}

fn texts(output: &FullOutput) -> Vec<(String, Rect)> {
    let mut texts = Vec::new();
    for clipped in &output.shapes {
        gather(&clipped.shape, clipped.clip_rect, &mut texts);
    }
    texts
}

fn gather(shape: &Shape, clip: Rect, texts: &mut Vec<(String, Rect)>) {
    match shape {
        Shape::Vec(shapes) => shapes.iter().for_each(|shape| gather(shape, clip, texts)),
        Shape::Text(text) => {
            let rect = text.galley.rect.translate(text.pos.to_vec2());
            let seen = rect.intersect(clip);
            if seen.is_positive() && !text.galley.text().trim().is_empty() {
                texts.push((text.galley.text().to_owned(), seen));
            }
        }
        _ => {}
    }
}

/// No words over others, no control half over another, nothing beyond the window's edge.
fn check(bench: &mut Bench, what: &str) {
    let output = bench.rest();
    let window = Rect::from_min_size(pos2(0.0, 0.0), bench.size);
    let overlap = |one: Rect, other: Rect| {
        let both = one.shrink(1.0).intersect(other.shrink(1.0));
        both.is_positive() && both.area() > 6.0
    };
    let texts = texts(&output);
    assert!(texts.len() > 20, "{what}: {texts:?}");
    for (at, (text, rect)) in texts.iter().enumerate() {
        assert!(
            window.expand(0.5).contains_rect(*rect),
            "{what}: {text} {rect:?}"
        );
        for (other, place) in &texts[at + 1..] {
            let short = |text: &str| text.chars().take(40).collect::<String>();
            assert!(
                !overlap(*rect, *place),
                "{what} at {:?}: '{}' {rect:?} and '{}' {place:?}",
                bench.size,
                short(text),
                short(other)
            );
        }
    }
    let controls: Vec<Rect> = bench.context.viewport(|viewport| {
        let layers = viewport.prev_pass.widgets.layers();
        let rects = layers.flat_map(|(_, rects)| rects.iter());
        let rects =
            rects.filter(|rect| rect.sense.senses_click() && rect.interact_rect.is_positive());
        rects.map(|rect| rect.interact_rect).collect()
    });
    assert!(controls.len() > 30, "{what}: {} controls", controls.len());
    for (at, one) in controls.iter().enumerate() {
        for other in &controls[at + 1..] {
            let is_within =
                one.expand(0.5).contains_rect(*other) || other.expand(0.5).contains_rect(*one);
            assert!(
                is_within || !overlap(*one, *other),
                "{what} at {:?}: {one:?} and {other:?}",
                bench.size
            );
        }
    }
}

fn variation(slot: usize, name: &str) -> Variation {
    Variation {
        name: name.to_owned(),
        recipe: Recipe {
            base: BaseChoice {
                name: "embedded".to_owned(),
                identity: None,
            },
            adapters: Vec::new(),
            prompt: "lofi".to_owned(),
            bars: [1, 2, 4, 8, 16][slot % 5],
            metre: Metre { beats: 7, unit: 8 },
            tempo_bpm: 97.3,
            key: Some("c-sharp-minor".to_owned()),
            seed: 999_999,
            steps: None,
            guidance: None,
            source: None,
            engine: String::new(),
        },
        key: String::new(),
        frames: 1,
        sample_rate_hz: 44_100,
        is_kept: slot.is_multiple_of(2),
        sound: None,
    }
}

fn base() -> BaseInfo {
    let styles = ["house", "ambient", "lofi", "waltz", "rock", "blues"].map(str::to_owned);
    let group = |title: &str, tags: &[String]| TagGroup {
        title: title.to_owned(),
        tags: tags.to_vec(),
    };
    let groups = vec![
        group("Styles", &styles),
        group("Instruments", &["piano".to_owned()]),
        group("Moods", &["calm".to_owned()]),
    ];
    let own = groups.iter().flat_map(|group| &group.tags).cloned();
    BaseInfo {
        name: "embedded".to_owned(),
        title: "Built in".to_owned(),
        tags: own.chain(["key:any".to_owned()]).collect(),
        groups,
        is_installed: true,
        most_secs: 12.0,
    }
}

/// A session with everything in it, and names of this many letters.
fn full(letters: usize) -> View {
    let name = |name: &str| {
        name.chars()
            .cycle()
            .take(letters.max(name.len()))
            .collect::<String>()
    };
    let mut view = View {
        revision: 1,
        tempo_bpm: 120.0,
        bases: vec![base()],
        can_undo: true,
        can_redo: true,
        engine: EngineStatus::Ready {
            version: "1".to_owned(),
        },
        ..View::default()
    };
    view.project.prompt = name("lofi, piano");
    for slot in 0..4 {
        view.project.adapters[slot] = Some(ChosenAdapter {
            path: PathBuf::from(format!("/a/{slot}.safetensors")),
            name: name("vinyl"),
            sha256: None,
        });
        view.adapters.push(AdapterInfo {
            path: PathBuf::from(format!("/a/{slot}.safetensors")),
            name: name("vinyl"),
            sha256: String::new(),
            base: "embedded".to_owned(),
            problem: (slot == 1).then(|| name("torn")),
            trigger_words: Vec::new(),
        });
    }
    view.project.source = Some(ChosenSource {
        path: PathBuf::from("/s.wav"),
        name: name("rain.wav"),
        role: SourceRole::Vary { amount: 0.25 },
    });
    for slot in 0..SLOTS {
        view.project.slots[slot] = Some(variation(slot, &name("night")));
        view.slots[slot] = SlotState::Ready {
            picture: Arc::new(ClipPicture {
                waveform: vec![[[-0.5, f32::NAN], [-2.0, 0.7]]; 300],
                spectrogram: vec![vec![-30.0, f32::NAN, 12.0]; 50],
                secs: 8.0,
                peak: 1.0,
            }),
            path: PathBuf::new(),
        };
    }
    view.messages.push(Message {
        number: 1,
        kind: MessageKind::Problem,
        text: name("The disk is full."),
    });
    view.runs.push(RunInfo {
        run: "one".to_owned(),
        name: name("harbour"),
        steps_done: 1,
        steps: 2,
        is_under_way: false,
    });
    view.jobs.push(JobView {
        job: 5,
        kind: JobKind::Clip { slot: 0 },
        phase: name("Making"),
        share: Some(f32::NAN),
        text: name("step"),
    });
    view.jobs.push(JobView {
        job: 6,
        kind: JobKind::Learning,
        phase: name("Learning"),
        share: Some(7.0),
        text: name("loss"),
    });
    view
}

fn missing() -> View {
    let mut view = full(0);
    view.jobs.clear();
    for slot in &mut view.slots {
        *slot = SlotState::Missing {
            problem: "The adapter vinyl is not on this machine. ".repeat(40),
        };
    }
    view.engine = EngineStatus::Gone {
        problem: "not installed".to_owned(),
    };
    view
}

fn sizes() -> [(Vec2, f32); 4] {
    [
        (vec2(760.0, 520.0), 1.0),
        (vec2(1080.0, 720.0), 1.0),
        (vec2(1600.0, 1000.0), 1.0),
        (vec2(760.0, 520.0), 2.0),
    ]
}

#[test]
fn nothing_lies_over_anything_in_any_session() {
    for (size, scale) in sizes() {
        let sessions = [
            ("empty", View::default()),
            ("full", full(0)),
            ("long names", full(3_000)),
            ("missing", missing()),
        ];
        for (what, view) in sessions {
            let mut bench = Bench::new(view, size);
            bench.context.set_pixels_per_point(scale);
            check(&mut bench, what);
            bench.screen.learn.is_open = true;
            check(&mut bench, &format!("{what}, learning"));
            bench.screen.learn.is_open = false;
            bench
                .screen
                .drop_files(vec!["/a/b.wav".into()], &bench.hands);
            check(&mut bench, &format!("{what}, dropped"));
        }
    }
}

#[test]
fn a_window_smaller_than_the_least_still_draws() {
    for size in [vec2(1.0, 1.0), vec2(300.0, 200.0), vec2(0.0, 0.0)] {
        Bench::new(full(500), size).rest();
    }
}

#[test]
fn a_prompt_of_a_megabyte_is_cut_and_says_so() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    bench.rest();
    let prompt = egui::Id::unique("prompt");
    bench
        .context
        .memory_mut(|memory| memory.request_focus(prompt));
    bench.rest();
    bench.frame(vec![Event::Paste("ab, ".repeat(250_000))]);
    bench.rest();
    assert_eq!(bench.screen.prompt.text.len(), 2_000);
    assert!(bench.screen.prompt.is_cut);
    let asked = bench.asked();
    let is_cut =
        |command: &Command| matches!(command, Command::SetPrompt(text) if text.len() == 2_000);
    assert!(asked.iter().any(is_cut), "{} commands", asked.len());
    // One that comes from a project stays as long as it is, until it is written on.
    let mut bench = Bench::new(full(1_000_000), vec2(1080.0, 720.0));
    bench.rest();
}

#[test]
fn keys_take_back_make_again_and_generate() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    bench.rest();
    bench.key(Key::Z, Modifiers::COMMAND);
    bench.key(Key::Z, Modifiers::COMMAND | Modifiers::SHIFT);
    bench.key(Key::G, Modifiers::COMMAND);
    assert_eq!(
        bench.asked(),
        [Command::Undo, Command::Redo, Command::Generate { count: 1 }]
    );
    bench.view.can_undo = false;
    bench.key(Key::Z, Modifiers::COMMAND);
    bench.key(Key::Space, Modifiers::NONE);
    bench.key(Key::Enter, Modifiers::NONE);
    assert_eq!(bench.asked(), []);
}

#[test]
fn enter_in_the_text_generates_and_tells_the_host_of_the_change() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    bench.rest();
    let prompt = egui::Id::unique("prompt");
    bench
        .context
        .memory_mut(|memory| memory.request_focus(prompt));
    bench.rest();
    bench.frame(vec![Event::Text("!".to_owned())]);
    bench.frame(vec![Event::Text("?".to_owned())]);
    // From the first letter on, so that closing window or project loses nothing; not at each, for a host may keep them all for its own undo.
    assert_eq!(bench.parameters.revision.value(), 1);
    bench.key(Key::Z, Modifiers::COMMAND);
    bench.key(Key::Enter, Modifiers::NONE);
    let asked = bench.asked();
    assert!(!asked.contains(&Command::Undo));
    assert_eq!(asked.last(), Some(&Command::Generate { count: 1 }));
    // Once more for the words, once for the clips to come.
    assert_eq!(bench.parameters.revision.value(), 3);
    let heard = bench.host.heard.lock().unwrap().clone();
    assert_eq!(heard[..2], ["begin Revision", "end Revision"]);
}

#[test]
fn tab_reaches_a_strength_and_arrows_turn_it() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    bench.rest();
    let strength = |bench: &Bench| bench.parameters.adapters[0].strength.value();
    let mut tabs = 0;
    while strength(&bench) == 1.0 {
        assert!(tabs < 60, "no way to the strength by keys");
        bench.key(Key::Tab, Modifiers::NONE);
        // Arrows lead to the next control where they turn nothing.
        bench.key(Key::PageUp, Modifiers::NONE);
        tabs += 1;
    }
    assert!((strength(&bench) - 1.2).abs() < 0.011);
    bench.key(Key::ArrowRight, Modifiers::NONE);
    bench.key(Key::ArrowDown, Modifiers::SHIFT);
    assert!((strength(&bench) - 1.22).abs() < 0.011);
    let heard = bench.host.heard.lock().unwrap().clone();
    let name = "Adapter 1 strength";
    assert!(heard.contains(&format!("begin {name}")) && heard.contains(&format!("end {name}")));
    bench.key(Key::End, Modifiers::NONE);
    assert_eq!(strength(&bench), 2.0);
}

#[test]
fn a_strength_is_dragged_in_one_gesture_and_double_clicked_back() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    let place = bench.find("1.00").center();
    bench.press(place, true);
    for step in 1..=6 {
        let to = place + vec2(-12.0 * step as f32, 0.0);
        bench.frame(vec![Event::PointerMoved(to)]);
    }
    bench.press(place - vec2(72.0, 0.0), false);
    let strength = bench.parameters.adapters[0].strength.value();
    assert!((0.0..0.9).contains(&strength), "{strength}");
    let heard = bench.host.heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        ["begin Adapter 1 strength", "end Adapter 1 strength"]
    );
    for pressed in [true, false, true, false] {
        bench.press(place, pressed);
    }
    assert_eq!(bench.parameters.adapters[0].strength.value(), 1.0);
    // A pad is held as long as the pointer is down.
    let pad = bench.find("A").center();
    bench.press(pad, true);
    bench.rest();
    assert!(bench.parameters.pad_a.value());
    bench.press(pad, false);
    bench.rest();
    assert!(!bench.parameters.pad_a.value());
}

#[test]
fn a_chip_writes_into_the_text_while_the_view_is_late() {
    let mut view = full(0);
    view.project.prompt = "lofi".to_owned();
    view.jobs.clear();
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    for tag in ["house", "waltz", "lofi"] {
        let chips = texts(&bench.rest());
        // The text field has the same words in it.
        let chip = chips.iter().rev().find(|(text, _)| text == tag).unwrap().1;
        bench.press(chip.center(), true);
        bench.press(chip.center(), false);
    }
    assert_eq!(bench.screen.prompt.text, "house, waltz");
    // The first of the three comes back, late: what was written since stays.
    bench.view.project.prompt = "lofi, house".to_owned();
    bench.rest();
    assert_eq!(bench.screen.prompt.text, "house, waltz");
    bench.view.project.prompt = "house, waltz".to_owned();
    bench.rest();
    // Another project.
    bench.view.project.prompt = "chorale".to_owned();
    bench.rest();
    assert_eq!(bench.screen.prompt.text, "chorale");
}

#[test]
fn dropped_adapters_are_added_and_recordings_are_asked_about() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    let files = vec!["/a/choir.SafeTensors".into(), "/r/rain.wav".into()];
    bench.screen.drop_files(files, &bench.hands);
    assert_eq!(
        bench.asked(),
        [Command::AddAdapterFile("/a/choir.SafeTensors".into())]
    );
    let place = bench.find("Vary it").center();
    bench.press(place, true);
    bench.press(place, false);
    let asked = bench.asked();
    let [Command::SetSource { path, role }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(path.as_deref(), Some(std::path::Path::new("/r/rain.wav")));
    assert!(matches!(role, SourceRole::Vary { .. }));
}

#[test]
fn an_idle_screen_asks_for_no_more_frames() {
    for view in [View::default(), full(0), missing()] {
        let mut bench = Bench::new(view, vec2(1080.0, 720.0));
        // Not even while a text field waits for letters.
        let prompt = egui::Id::unique("prompt");
        bench.rest();
        bench
            .context
            .memory_mut(|memory| memory.request_focus(prompt));
        for _ in 0..10 {
            bench.rest();
        }
        assert!(bench.context.text_edit_focused());
        let output = bench.rest();
        let viewport = &output.viewport_output[&egui::ViewportId::ROOT];
        assert!(
            viewport.repaint_delay > std::time::Duration::from_secs(3600),
            "{:?}",
            viewport.repaint_delay
        );
    }
}

#[test]
fn drawing_a_clip_away_asks_for_its_file_once() {
    let mut view = full(0);
    view.jobs.clear();
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    bench.rest();
    let stage = pos2(700.0, 260.0);
    bench.press(stage, true);
    bench.rest();
    bench.press(stage, false);
    assert_eq!(bench.asked(), []);
    bench.press(stage, true);
    for step in 1..5 {
        let to = stage + vec2(10.0 * step as f32, 0.0);
        bench.frame(vec![Event::PointerMoved(to)]);
    }
    let slot = 0;
    let export = Command::Export { slot, path: None };
    assert_eq!(bench.asked(), [export]);
    // Let go before it is written: nothing is dragged when it comes.
    bench.press(stage + vec2(50.0, 0.0), false);
    bench.view.exported[0] = Some(std::env::temp_dir());
    bench.rest();
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.parameters.revision.value(), 0);
}

#[test]
fn a_training_is_deleted_by_a_second_click_elsewhere() {
    let mut view = full(0);
    view.jobs.clear();
    view.messages.clear();
    view.runs = [("harbour-1", false), ("dawn-1", true)]
        .map(|(run, is_under_way)| RunInfo {
            run: run.to_owned(),
            name: run.to_owned(),
            steps_done: 9,
            steps: 20,
            is_under_way,
        })
        .to_vec();
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    bench.screen.learn.is_open = true;
    bench.rest();
    bench.find("Follow");
    bench.find("Go on");
    let delete = bench.find("Delete").center();
    for pressed in [true, false, true, false] {
        bench.press(delete, pressed);
        bench.rest();
    }
    assert_eq!(bench.asked(), [], "a double click");
    bench.press(delete, true);
    bench.press(delete, false);
    bench.rest();
    let really = bench.find("Delete it").center();
    bench.press(really, true);
    bench.press(really, false);
    bench.rest();
    assert_eq!(bench.asked(), [Command::DiscardRun("harbour-1".to_owned())]);
    assert_eq!(
        bench.parameters.revision.value(),
        0,
        "it is no change of the project"
    );
}

#[test]
fn a_card_is_chosen_kept_renamed_and_removed() {
    let mut view = full(0);
    view.jobs.clear();
    view.project.slots[5] = Some(variation(5, "late tram"));
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    let name = bench.find("late tram").center();
    for pressed in [true, false, true, false] {
        bench.press(name, pressed);
    }
    assert_eq!(bench.parameters.variation.value(), 6);
    bench.rest();
    bench.frame(vec![Event::Text("dawn".to_owned())]);
    bench.key(Key::Enter, Modifiers::NONE);
    bench.rest();
    let asked = bench.asked();
    let renamed = |command: &Command| matches!(command, Command::Rename { slot: 5, name } if name.contains("dawn"));
    assert!(asked.iter().any(renamed), "{asked:?}");
    // A window that closes before Enter keeps what is written.
    let card = egui::Id::unique("variation").with(5_usize);
    bench
        .context
        .memory_mut(|memory| memory.request_focus(card));
    bench.rest();
    bench.key(Key::F2, Modifiers::NONE);
    bench.rest();
    bench.frame(vec![Event::Text("dusk".to_owned())]);
    let closing = bench.screen.take_name();
    let renamed = |command: &Command| matches!(command, Command::Rename { slot: 5, name } if name.contains("dusk"));
    assert!(closing.as_ref().is_some_and(renamed), "{closing:?}");
    assert_eq!(bench.screen.take_name(), None);
    bench.rest();
    bench
        .context
        .memory_mut(|memory| memory.request_focus(card));
    bench.rest();
    bench.key(Key::ArrowLeft, Modifiers::NONE);
    assert_eq!(bench.parameters.variation.value(), 5);
    bench.key(Key::Delete, Modifiers::NONE);
    assert_eq!(bench.asked(), [Command::Remove { slot: 4 }]);
}

#[test]
fn a_pads_clip_is_kept_and_exported_below_the_pad() {
    let mut view = full(0);
    view.jobs.clear();
    view.project.slots[FIRST_PAD + 1] = None;
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    let pad = bench.find("A").center();
    let height = bench.find("Make").center().y + 19.0;
    for (beside, expected) in [
        (
            -10.0,
            Command::Keep {
                slot: FIRST_PAD,
                is_kept: false,
            },
        ),
        (
            10.0,
            Command::Export {
                slot: FIRST_PAD,
                path: None,
            },
        ),
    ] {
        let place = pos2(pad.x + beside, height);
        bench.press(place, true);
        bench.press(place, false);
        assert_eq!(bench.asked(), [expected]);
    }
    // One without a clip is a pad alone.
    let pad = bench.find("B").center();
    assert!((pad.y - bench.find("Make").center().y).abs() < 2.0);
}

#[test]
fn a_new_clip_does_not_break_into_one_that_is_heard() {
    let mut view = full(0);
    view.made = (3, 2);
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    bench.rest();
    bench.view.made = (4, 6);
    bench.rest();
    assert_eq!(bench.parameters.variation.value(), 1);
    let heard = bench.host.heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        ["begin Revision", "end Revision"],
        "the project has changed"
    );
}

#[test]
fn what_escape_closes_is_known_before_it_is_pressed() {
    let mut bench = Bench::new(full(0), vec2(1080.0, 720.0));
    bench.rest();
    let is_open = |bench: &Bench| bench.screen.is_something_open(&bench.context);
    assert!(!is_open(&bench));
    bench.screen.learn.is_open = true;
    assert!(is_open(&bench));
    bench.key(Key::Escape, Modifiers::NONE);
    assert!(!is_open(&bench));
    let any = bench.find("Any key").center();
    bench.press(any, true);
    bench.press(any, false);
    bench.rest();
    assert!(is_open(&bench));
    // All that is written can be shown by the window's font.
    bench.find("Db major");
    bench.find("C# minor");
    bench.key(Key::Escape, Modifiers::NONE);
    bench.rest();
    assert!(!is_open(&bench));
}

#[test]
fn the_newest_clip_is_chosen_once() {
    let mut view = full(0);
    view.made = (3, 2);
    let mut bench = Bench::new(view, vec2(1080.0, 720.0));
    bench.playing = None;
    bench.rest();
    assert_eq!(bench.parameters.variation.value(), 1);
    bench.view.made = (4, 6);
    bench.rest();
    assert_eq!(bench.parameters.variation.value(), 7);
    let name = "Hear input";
    let place = bench.find(name).center();
    bench.press(place, true);
    bench.press(place, false);
    assert!(bench.parameters.hear_input.value());
    let heard = bench.host.heard.lock().unwrap().clone();
    // The clip came after the host was told of what was asked for: the project has changed once more.
    let gestures = [
        "begin Revision",
        "end Revision",
        "begin Variation",
        "end Variation",
        "begin Hear input",
        "end Hear input",
    ];
    assert_eq!(heard, gestures);
}
