//! A session as a musician has it, with an engine that makes clips out of nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::fake_engine::FakeEngine;
use common::{home, wait_for};
use nice_plug::prelude::{Param, Params};
use plugin::parameters::Parameters;
use plugin::project::{ChosenAdapter, Project};
use plugin::session::{AudioEnds, Command, EngineStatus, MessageKind, Session, SlotState, View};
use protocol::{Problem, ProblemKind, RunInfo, SourceRole};

/// All tests have one home, and so one socket.
static TURN: Mutex<()> = Mutex::new(());

struct Instance {
    parameters: Arc<Parameters>,
    session: Session,
    commands: Sender<Command>,
    audio: AudioEnds,
}

fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    home();
    turn
}

impl Instance {
    fn new() -> Self {
        Self::with_project(Project::default())
    }

    fn with_project(project: Project) -> Self {
        let parameters = Arc::new(Parameters::new(false));
        *parameters.project.lock().unwrap() = project;
        let (mut session, audio) = Session::new(Arc::clone(&parameters), None);
        session.start();
        Self {
            commands: session.commands(),
            parameters,
            session,
            audio,
        }
    }

    /// As a host does it.
    fn lock_seed(&self) {
        let lock = self.parameters.seed_lock.as_ptr();
        // SAFETY: the parameters live as long as this instance.
        #[allow(unsafe_code)]
        unsafe {
            lock._internal_set_normalized_value(1.0);
        }
    }

    fn say(&self, command: Command) {
        self.commands.send(command).unwrap();
    }

    fn view(&self) -> Arc<View> {
        self.session.shared().view()
    }

    fn wait(&self, what: &str, is_so: impl Fn(&View) -> bool) -> Arc<View> {
        wait_for(
            what,
            || Some(self.view()).filter(|view| is_so(view)),
            || {
                let view = self.view();
                format!(
                    "{:?} {:?} {:?} {:?}",
                    view.engine,
                    view.jobs,
                    view.messages,
                    view.slots.each_ref().map(std::mem::discriminant)
                )
            },
        )
    }

    fn saved(&self) -> Project {
        let text = serde_json::to_string(&*self.parameters.project.lock().unwrap()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn wait_for_problem(&self, words: &str) -> Arc<View> {
        self.wait(words, |view| {
            let problems = view.messages.iter();
            let mut problems = problems.filter(|message| message.kind == MessageKind::Problem);
            problems.any(|message| message.text.contains(words))
        })
    }
}

fn is_ready(view: &View, slot: usize) -> bool {
    matches!(view.slots[slot], SlotState::Ready { .. })
}

#[test]
fn clips_are_made_taken_back_and_made_again() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::SetPrompt("lofi, piano".to_owned()));
    instance.say(Command::Generate { count: 3 });
    let view = instance.wait("three clips", |view| {
        (0..3).all(|slot| is_ready(view, slot))
    });
    assert_eq!(view.made.0, 3);
    assert!(view.can_undo && !view.can_redo && view.jobs.is_empty());
    let first = view.project.slots[0].clone().unwrap();
    assert_eq!(first.recipe.prompt, "lofi, piano");
    assert_eq!(first.name, "lofi 1");
    let seeds: Vec<u64> = (0..3)
        .map(|slot| view.project.slots[slot].as_ref().unwrap().recipe.seed)
        .collect();
    assert_eq!(seeds, [1, 2, 3]);
    instance.say(Command::Undo);
    instance.wait("the third is gone", |view| {
        view.slots[2] == SlotState::Empty
    });
    instance.say(Command::Redo);
    instance.wait("the third is back", |view| is_ready(view, 2));
    // It came from the cache.
    assert_eq!(engine.asked(), 3);
}

#[test]
fn what_is_taken_back_and_made_again_is_called_and_kept_as_before() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::Generate { count: 1 });
    instance.wait("a clip", |view| is_ready(view, 0));
    let name = "the good one".to_owned();
    instance.say(Command::Rename { slot: 0, name });
    instance.say(Command::Keep {
        slot: 0,
        is_kept: true,
    });
    let is_as_before = |view: &View| {
        let variation = view.project.slots[0].as_ref();
        variation.is_some_and(|clip| clip.is_kept && clip.name == "the good one")
    };
    instance.wait("named and kept", is_as_before);
    instance.say(Command::Undo);
    instance.wait("gone", |view| view.slots[0] == SlotState::Empty);
    instance.say(Command::Redo);
    instance.wait("as before", |view| is_ready(view, 0) && is_as_before(view));
}

/// What a session costs while nobody asks for anything.
#[test]
fn an_idle_session_sleeps_and_ends_at_once() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let instances: Vec<Instance> = (0..20).map(|_| Instance::new()).collect();
    for instance in &instances {
        instance.say(Command::Refresh);
        instance.wait("the engine", |view| !view.bases.is_empty());
    }
    std::thread::sleep(Duration::from_millis(300));
    let looks = || -> u64 {
        let looks = instances.iter().map(|one| one.session.shared().looks());
        looks.sum()
    };
    let before = looks();
    std::thread::sleep(Duration::from_secs(2));
    let times = looks() - before;
    assert!(times <= 20, "{times} looks of 20 sessions in two seconds");
    // Whatever happens wakes them.
    let asked = Instant::now();
    let saved = BTreeMap::from([("project".to_owned(), r#"{"prompt": "jazz"}"#.to_owned())]);
    instances[7].parameters.deserialize_fields(&saved);
    instances[7].wait("the project", |view| view.project.prompt == "jazz");
    let ticket = instances[3].session.shared().ask_to_settle();
    let settling = &instances[3].session.shared().settling;
    assert!(settling.wait(ticket, Duration::from_secs(2)));
    assert!(asked.elapsed() < Duration::from_secs(2));
    let begun = Instant::now();
    drop(instances);
    let secs = begun.elapsed().as_secs_f64();
    assert!(secs < 0.5, "twenty sessions took {secs} s to end");
}

#[test]
fn a_project_opens_with_its_clips_wherever_they_are() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::Generate { count: 2 });
    instance.wait("two clips", |view| is_ready(view, 0) && is_ready(view, 1));
    instance.say(Command::Keep {
        slot: 0,
        is_kept: true,
    });
    instance.say(Command::Rename {
        slot: 1,
        name: "the other one".to_owned(),
    });
    instance.wait("a kept one", |view| {
        view.project.slots[0].as_ref().unwrap().is_kept
            && view.project.slots[1].as_ref().unwrap().name == "the other one"
    });
    let project = instance.saved();
    assert!(project.slots[0].as_ref().unwrap().sound.is_some());
    assert!(project.slots[1].as_ref().unwrap().sound.is_none());
    drop(instance);

    // Another machine: no cache.
    std::fs::remove_dir_all(home().clips()).unwrap();
    let opened = Instance::with_project(project.clone());
    let view = opened.wait("both clips", |view| is_ready(view, 0) && is_ready(view, 1));
    // The kept one came with the project, the other was made again as it was.
    assert_eq!(engine.asked(), 3);
    let before = project.slots[1].as_ref().unwrap();
    let after = view.project.slots[1].as_ref().unwrap();
    assert_eq!((&after.key, &after.name), (&before.key, &before.name));
    assert!(!view.can_undo, "opening is no change");
}

#[test]
fn a_part_that_cannot_be_read_is_told_and_saved_again() {
    let _turn = turn();
    let instance = Instance::new();
    let text = r#"{"prompt": ["lofi"], "base": "embedded", "clips_asked": 3}"#;
    let saved = BTreeMap::from([("project".to_owned(), text.to_owned())]);
    instance.parameters.deserialize_fields(&saved);
    let view = instance.wait_for_problem("could not be read: the prompt");
    assert_eq!(view.project.clips_asked, 3);
    instance.say(Command::SetPrompt("jazz".to_owned()));
    instance.wait("a prompt", |view| view.project.prompt == "jazz");
    let saved = &instance.parameters.serialize_fields()["project"];
    assert!(
        saved.contains(r#"["lofi"]"#) && saved.contains("jazz"),
        "{saved}"
    );
}

#[test]
fn an_adapter_that_is_nowhere_is_named_when_the_project_opens() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut project = Project::default();
    // A file that is there, and not in the engine's folder.
    let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let chosen = |name: &str, path: PathBuf| ChosenAdapter {
        path,
        name: name.to_owned(),
        sha256: Some("0".repeat(64)),
    };
    project.adapters[0] = Some(chosen("here", here));
    project.adapters[2] = Some(chosen("opera", "/nowhere/opera.safetensors".into()));
    let instance = Instance::with_project(project);
    // As a window does that opens.
    instance.say(Command::Refresh);
    let view = instance.wait_for_problem("“opera” is not on this machine");
    assert_eq!(view.missing_adapters, [false, false, true, false]);
    assert_eq!(view.messages.len(), 1, "{:?}", view.messages);
    assert!(view.project.adapters[2].is_some(), "it is kept");
}

#[test]
fn without_an_engine_all_is_said_and_nothing_lost() {
    let _turn = turn();
    let project = {
        let _engine = FakeEngine::start(home());
        let instance = Instance::new();
        instance.say(Command::Generate { count: 1 });
        instance.wait("a clip", |view| is_ready(view, 0));
        instance.saved()
    };
    std::fs::remove_dir_all(home().clips()).unwrap();
    let instance = Instance::with_project(project.clone());
    let view = instance.wait_for_problem("lorelei-engine is not installed");
    assert!(matches!(view.engine, EngineStatus::Gone { .. }));
    let view = instance.wait("a missing clip", |view| {
        matches!(view.slots[0], SlotState::Missing { .. })
    });
    assert_eq!(view.project.slots, project.slots);
    assert_eq!(instance.saved().slots, project.slots);
}

#[test]
fn an_engine_that_dies_is_asked_once_more() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    engine.manner.deaths.store(1, Ordering::Relaxed);
    instance.say(Command::Generate { count: 1 });
    instance.wait("a clip after a death", |view| is_ready(view, 0));
    assert_eq!(engine.asked(), 2);
    engine.manner.deaths.store(2, Ordering::Relaxed);
    instance.say(Command::Remake {
        slot: 0,
        reseed: true,
    });
    let view = instance.wait_for_problem("ended twice");
    assert!(is_ready(&view, 0), "what was there before is there again");
    assert!(view.jobs.is_empty());
    assert_eq!(engine.asked(), 4);
}

#[test]
fn jobs_asked_for_while_an_engine_dies_are_all_done_by_the_next() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    engine.manner.deaths.store(1, Ordering::Relaxed);
    for _ in 0..8 {
        instance.say(Command::Generate { count: 1 });
        std::thread::sleep(Duration::from_millis(1));
    }
    let view = instance.wait("eight clips", |view| {
        view.jobs.is_empty() && (0..8).all(|slot| is_ready(view, slot))
    });
    assert_eq!(view.made.0, 8);
}

#[test]
fn a_kept_clip_is_heard_though_its_file_is_damaged() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::Generate { count: 2 });
    let view = instance.wait("two clips", |view| is_ready(view, 0) && is_ready(view, 1));
    instance.say(Command::Keep {
        slot: 0,
        is_kept: true,
    });
    instance.wait("a kept one", |view| {
        view.project.slots[0].as_ref().unwrap().is_kept
    });
    let project = instance.saved();
    for slot in 0..2 {
        let SlotState::Ready { path, .. } = &view.slots[slot] else {
            panic!("no clip");
        };
        let whole = std::fs::read(path).unwrap();
        std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    }
    drop(instance);
    let opened = Instance::with_project(project);
    opened.wait("both clips", |view| is_ready(view, 0) && is_ready(view, 1));
    assert_eq!(
        engine.asked(),
        3,
        "only the one without sound is made again"
    );
}

#[test]
fn a_locked_seed_stays() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    engine.manner.delay_ms.store(30, Ordering::Relaxed);
    let instance = Instance::new();
    instance.lock_seed();
    for _ in 0..3 {
        instance.say(Command::Generate { count: 1 });
    }
    instance.say(Command::Generate { count: 2 });
    wait_for(
        "five clips",
        || (engine.asked() == 5).then_some(()),
        String::new,
    );
    let asked = engine.manner.asked.lock().unwrap();
    let seeds: Vec<u64> = asked.iter().map(|recipe| recipe.seed).collect();
    assert_eq!(seeds, [1, 1, 1, 1, 2]);
    drop(asked);
    // A clip that is made anew counts on from its own seed, each time.
    instance.wait("the clips", |view| view.jobs.is_empty());
    for expected in [2, 3, 4] {
        let slot = 0;
        instance.say(Command::Remake { slot, reseed: true });
        instance.wait("the next seed", |view| {
            view.jobs.is_empty() && view.project.slots[0].as_ref().unwrap().recipe.seed == expected
        });
    }
}

#[test]
fn what_fails_is_said_in_words() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    *engine.manner.failure.lock().unwrap() = Some(Problem {
        kind: ProblemKind::WrongBase,
        text: "harbour.safetensors was trained on another base".to_owned(),
    });
    instance.say(Command::Generate { count: 1 });
    let view = instance.wait_for_problem("another base");
    assert_eq!(view.slots[0], SlotState::Empty);
    assert!(!view.can_undo);
    instance.say(Command::SetPrompt("x".repeat(1 << 20)));
    instance.wait_for_problem("1048576 bytes is too long");
    assert_eq!(instance.view().project.prompt, "");
    instance.say(Command::AddAdapterFile("/no/such/file.safetensors".into()));
    instance.wait_for_problem("no such file");
    instance.say(Command::Listen {
        role: SourceRole::Style,
    });
    instance.wait_for_problem("until the host processes sound");
    instance.say(Command::Export {
        slot: 5,
        path: None,
    });
    instance.wait_for_problem("no clip in this slot");
}

#[test]
fn what_comes_in_for_as_long_as_the_bars_becomes_the_source() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut instance = Instance::new();
    let host = &instance.session.shared().host;
    host.set_sample_rate_hz(8_000.0);
    host.set_tempo_bpm(240.0);
    instance.say(Command::Listen {
        role: SourceRole::Style,
    });
    instance.wait("listening", |view| view.listening.is_some());
    // Four bars of one second each, as the audio thread hears them.
    let heard = |channel: f32| -> Vec<f32> {
        (0..32_000)
            .map(|n| channel * (n as f32 * 0.01).sin())
            .collect()
    };
    let (left, right) = (heard(0.5), heard(-0.25));
    // The bar that is under way is waited for.
    let before = [0.9; 1000];
    instance.audio.capture.push(&before, &before, Some(1000));
    for block in 0..32 {
        let part = block * 1000..(block + 1) * 1000;
        let (left, right) = (&left[part.clone()], &right[part]);
        instance.audio.capture.push(left, right, Some(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let view = instance.wait("a source", |view| view.project.source.is_some());
    assert_eq!(view.listening, None);
    let source = view.project.source.as_ref().unwrap();
    assert_eq!(source.role, SourceRole::Style);
    let sound = audio::read(&source.path).unwrap();
    assert_eq!((sound.sample_rate_hz, sound.frames()), (8_000, 32_000));
    for (channel, heard) in sound.channels.iter().zip([&left, &right]) {
        let mut pairs = channel.iter().zip(heard);
        assert!(pairs.all(|(written, heard)| (written - heard).abs() < 1e-6));
    }
}

#[test]
fn kept_clips_are_never_replaced() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::Generate { count: 8 });
    instance.wait("eight clips", |view| {
        (0..8).all(|slot| is_ready(view, slot))
    });
    for slot in 0..8 {
        instance.say(Command::Keep {
            slot,
            is_kept: slot != 4,
        });
    }
    instance.say(Command::Generate { count: 1 });
    instance.wait("the ninth", |view| view.made == (9, 4));
    instance.say(Command::Keep {
        slot: 4,
        is_kept: true,
    });
    instance.say(Command::Generate { count: 1 });
    instance.wait_for_problem("All eight clips are kept");
    assert_eq!(engine.asked(), 9);
}

#[test]
fn exported_clips_get_free_names_and_the_same_samples() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::Generate { count: 1 });
    instance.wait("a clip", |view| is_ready(view, 0));
    instance.say(Command::Rename {
        slot: 0,
        name: "../a / b".to_owned(),
    });
    let export = Command::Export {
        slot: 0,
        path: None,
    };
    instance.say(export.clone());
    let first = instance.wait("an export", |view| view.exported[0].is_some());
    let first = first.exported[0].clone().unwrap();
    assert_eq!(first, home().music().join("___a _ b.wav"));
    instance.say(export.clone());
    let second = instance.wait("another", |view| view.exported[0].as_ref() != Some(&first));
    let second = second.exported[0].clone().unwrap();
    assert_eq!(second, home().music().join("___a _ b 2.wav"));
    let view = instance.view();
    let SlotState::Ready { path, .. } = &view.slots[0] else {
        panic!("no clip");
    };
    let clip = audio::read(path).unwrap();
    let exported = audio::read(&second).unwrap();
    assert_eq!(clip.channels, exported.channels);
    assert_eq!(clip.sample_rate_hz, exported.sample_rate_hz);
    // Another clip in its place was not written: a drag must not bring the one before.
    instance.say(Command::Remake {
        slot: 0,
        reseed: true,
    });
    let again = instance.wait(
        "another clip",
        |view| matches!(&view.slots[0], SlotState::Ready { path: other, .. } if other != path),
    );
    assert_eq!(again.exported[0], None);
    instance.say(Command::Undo);
    let before = instance.wait(
        "the first clip",
        |view| matches!(&view.slots[0], SlotState::Ready { path: other, .. } if other == path),
    );
    assert_eq!(before.exported[0], Some(second));
    // Nor at another tempo: what is written fits the timeline as it is now.
    instance.session.shared().host.set_tempo_bpm(100.0);
    instance.wait("no export at this tempo", |view| view.exported[0].is_none());
    instance.say(export);
    let slower = instance.wait("a slower one", |view| view.exported[0].is_some());
    let slower = audio::read(slower.exported[0].as_ref().unwrap()).unwrap();
    let own_bpm = before.project.slots[0].as_ref().unwrap().recipe.tempo_bpm;
    let wanted = clip.frames() as f64 * own_bpm / 100.0;
    assert!((slower.frames() as f64 - wanted).abs() <= 1.0);
}

#[test]
fn a_render_that_waited_in_vain_is_told() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.session.shared().host.wait_in_vain();
    instance.session.shared().wake();
    instance.wait_for_problem("An offline render waited 10 minutes");
}

#[test]
fn an_unfinished_training_is_deleted() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    engine.manner.runs.lock().unwrap().push(RunInfo {
        run: "harbour-1".to_owned(),
        name: "harbour".to_owned(),
        steps_done: 900,
        steps: 2000,
        is_under_way: false,
    });
    let instance = Instance::new();
    instance.say(Command::Refresh);
    instance.wait("the run", |view| view.runs.len() == 1);
    instance.say(Command::DiscardRun("harbour-1".to_owned()));
    instance.wait("no run", |view| view.runs.is_empty());
    instance.say(Command::DiscardRun("harbour-1".to_owned()));
    instance.wait_for_problem("Deleting run harbour-1: there is no training run");
}

#[test]
fn pads_have_one_adapter_each_and_one_seed() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let instance = Instance::new();
    instance.say(Command::MakePads);
    instance.wait_for_problem("choose one or two first");
    for name in ["one", "two"] {
        let path = home().music().join(format!("{name}.safetensors"));
        std::fs::create_dir_all(home().music()).unwrap();
        std::fs::write(&path, "").unwrap();
        instance.say(Command::AddAdapterFile(path));
        instance.wait("chosen", |view| {
            let chosen = view.project.adapters.iter().flatten();
            chosen.clone().any(|adapter| adapter.name == name)
        });
    }
    instance.say(Command::MakePads);
    instance.wait("pads", |view| is_ready(view, 8) && is_ready(view, 9));
    let asked = engine.manner.asked.lock().unwrap().clone();
    let names: Vec<Vec<&str>> = asked
        .iter()
        .map(|recipe| {
            recipe
                .adapters
                .iter()
                .map(|adapter| adapter.name.as_str())
                .collect()
        })
        .collect();
    assert_eq!(names, [["one"], ["two"]]);
    assert_eq!(asked[0].seed, asked[1].seed);
}

#[test]
fn without_a_daw_an_audio_server_that_is_gone_is_told() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let instance = Instance::new();
    let host = &instance.session.shared().host;
    host.count_block(false);
    instance.say(Command::Look);
    std::thread::sleep(Duration::from_secs(4));
    instance.say(Command::Look);
    assert!(
        instance.view().messages.is_empty(),
        "a DAW lets plugins rest"
    );
    host.expect_blocks();
    instance.say(Command::Look);
    instance.wait_for_problem("audio server");
}
