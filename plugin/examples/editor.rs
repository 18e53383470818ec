//! Opens the window on its own, with a session that is made up: for looking at it, and for measuring it.
//!
//!     cargo run --release -p plugin --example editor -- [empty|full|busy|missing|learn] [zoom] [seconds]
//!
//! With a number of seconds it ends by itself and says what it measured.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nice_plug::context::gui::GuiContext;
use nice_plug::editor::EditorHandle;
use nice_plug::prelude::*;
use plugin::editor::{EditorLink, EditorWindow, EditorWindowHandle};
use plugin::parameters::Parameters;
use plugin::playback::PlayingPosition;
use plugin::project::{ChosenAdapter, ChosenSource, FIRST_PAD, Project, SLOTS, Variation};
use plugin::session::{
    ClipPicture, Command, EngineStatus, JobKind, JobView, Message, MessageKind, SlotState, View,
};
use protocol::{
    AdapterInfo, AdapterUse, BaseChoice, BaseInfo, Metre, Recipe, RunInfo, SourceRole, TagGroup,
};

/// A host that does what it is told.
struct Host;

#[allow(unsafe_code)]
impl GuiContextInner for Host {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Standalone
    }

    unsafe fn raw_begin_set_parameter(&self, _: ParamPtr) {}

    unsafe fn raw_set_parameter_normalized(&self, parameter: ParamPtr, normalized: f32) {
        // SAFETY: the editor's own parameters, which live as long as the program.
        unsafe { parameter._internal_set_normalized_value(normalized) };
    }

    unsafe fn raw_end_set_parameter(&self, _: ParamPtr) {}

    fn get_state(&self) -> PluginState {
        PluginState {
            version: String::new(),
            params: Default::default(),
            fields: Default::default(),
        }
    }

    fn set_state(&self, _: PluginState) {}

    fn request_restart(&self) {}
}

type Session = Arc<Mutex<Arc<View>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "full".to_owned());
    let zoom: f32 = arguments.next().map_or(Ok(1.0), |zoom| zoom.parse())?;
    let secs: Option<u64> = arguments.next().map(|secs| secs.parse()).transpose()?;
    let parameters = Arc::new(Parameters::new(false));
    if let Ok(side) = std::env::var("EDITOR_SIZE")
        && let Some((width, height)) = side.split_once('x')
    {
        let mut project = parameters.project.lock().map_err(|_| "poisoned")?;
        project.editor_size = (width.parse()?, height.parse()?);
    }
    let session: Session = Arc::new(Mutex::new(Arc::new(made_up(&kind))));
    let (commands, asked) = channel();
    let playing = Arc::new(PlayingPosition::default());
    let seen = Arc::clone(&session);
    let view = move || {
        let guard = seen.lock();
        Arc::clone(&guard.unwrap_or_else(|poisoned| poisoned.into_inner()))
    };
    let link = EditorLink::new(
        Arc::clone(&parameters),
        Arc::new(view),
        commands,
        Arc::clone(&playing),
    );
    let figures = Arc::clone(&link.figures);
    let conductor = Arc::clone(&session);
    std::thread::spawn(move || obey(&asked, &conductor));
    if kind == "busy" {
        std::thread::spawn(move || play(&playing));
    }
    let editor = EditorWindow::new(link).with_zoom(zoom);
    let context = GuiContext::new(Arc::new(Host));
    let window = editor.spawn(None, false, None, context, None)?.window;
    window.show()?;
    if let Some(secs) = secs {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            let before = (figures.frames_drawn.load(Ordering::Relaxed), cpu_ticks());
            std::thread::sleep(Duration::from_secs(secs));
            let frames = figures.frames_drawn.load(Ordering::Relaxed) - before.0;
            // Clock ticks of Linux: a hundred a second.
            let cpu = cpu_ticks().saturating_sub(before.1) as f64 / secs as f64;
            let opened = figures.open_ms.load(Ordering::Relaxed);
            eprintln!("open {opened} ms; then {frames} frames in {secs} s, {cpu:.2} % of a core");
            std::process::exit(0);
        });
    }
    EditorWindowHandle::run_until_closed(window)?;
    Ok(())
}

fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
    field(11).unwrap_or(0) + field(12).unwrap_or(0)
}

fn play(playing: &PlayingPosition) {
    let began = Instant::now();
    loop {
        let share = began.elapsed().as_secs_f32() / 8.0;
        playing.set(Some((0, share.fract())));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Does the simple part of what a conductor does.
fn obey(asked: &Receiver<Command>, session: &Session) {
    while let Ok(command) = asked.recv() {
        eprintln!("{command:?}");
        let Ok(mut session) = session.lock() else {
            return;
        };
        let view = Arc::make_mut(&mut session);
        view.revision += 1;
        match command {
            Command::SetPrompt(prompt) => view.project.prompt = prompt,
            Command::SetBase(base) => view.project.base = base,
            Command::SetAdapter { slot, adapter } => view.project.adapters[slot] = adapter,
            Command::Rename { slot, name } => {
                if let Some(variation) = &mut view.project.slots[slot] {
                    variation.name = name;
                }
            }
            Command::Keep { slot, is_kept } => {
                if let Some(variation) = &mut view.project.slots[slot] {
                    variation.is_kept = is_kept;
                }
            }
            Command::Remove { slot } => {
                view.project.slots[slot] = None;
                view.slots[slot] = SlotState::Empty;
                view.can_undo = true;
            }
            Command::SetSource { path, role } => {
                view.project.source = path.map(|path| ChosenSource {
                    name: path.display().to_string(),
                    path,
                    role,
                });
            }
            Command::Export { slot, .. } => {
                let path = std::env::temp_dir().join("lorelei.wav");
                // Programs look whether there is a file before they take it.
                if std::fs::write(&path, b"").is_ok() {
                    view.exported[slot] = Some(path);
                }
            }
            Command::Dismiss(number) => view.messages.retain(|message| message.number != number),
            Command::Cancel(job) => view.jobs.retain(|at_work| at_work.job != job),
            _ => {}
        }
    }
}

fn made_up(kind: &str) -> View {
    let mut view = View {
        revision: 1,
        tempo_bpm: 120.0,
        bases: bases(),
        adapters: adapters(),
        ..View::default()
    };
    if kind == "empty" {
        return view;
    }
    view.engine = EngineStatus::Ready {
        version: "0.1.0".to_owned(),
    };
    view.project = project();
    view.can_undo = true;
    for slot in [0, 1, 2, 3, 5, FIRST_PAD, FIRST_PAD + 1] {
        view.project.slots[slot] = Some(variation(slot));
        view.slots[slot] = SlotState::Ready {
            picture: Arc::new(picture(slot)),
            path: PathBuf::from("/tmp/clip.flac"),
        };
    }
    match kind {
        "busy" => busy(&mut view),
        "missing" => missing(&mut view),
        "learn" => learning(&mut view),
        _ => {}
    }
    view
}

fn busy(view: &mut View) {
    for (job, slot) in [(7, 4), (8, 6)] {
        view.slots[slot] = SlotState::Awaited;
        view.jobs.push(JobView {
            job,
            kind: JobKind::Clip { slot },
            phase: ["Making sound", "Waits for 1 other"][(job - 7) as usize].to_owned(),
            share: [Some(0.62), None][(job - 7) as usize],
            text: ["step 15 of 24", ""][(job - 7) as usize].to_owned(),
        });
    }
}

fn missing(view: &mut View) {
    for slot in 0..SLOTS {
        view.project.slots[slot] = Some(variation(slot));
        view.slots[slot] = SlotState::Missing {
            problem: "The adapter vinyl-dust.safetensors is not on this machine. Copy it into the folder of adapters, or make the clip again without it.".to_owned(),
        };
    }
    view.engine = EngineStatus::Gone {
        problem: "The engine is not installed: run the installer".to_owned(),
    };
    view.messages.push(Message {
        number: 1,
        kind: MessageKind::Problem,
        text: "The engine stopped while it made a clip. It was started again; press Generate once more.".to_owned(),
    });
    view.messages.push(Message {
        number: 2,
        kind: MessageKind::Problem,
        text: "vinyl-dust.safetensors: made for another base, ACE-Step; choose that base first, or another adapter.".to_owned(),
    });
}

fn learning(view: &mut View) {
    view.jobs.push(JobView {
        job: 3,
        kind: JobKind::Learning,
        phase: "Learning night drives".to_owned(),
        share: Some(0.41),
        text: "step 615 of 1500, loss 0.412".to_owned(),
    });
    view.runs.push(RunInfo {
        run: "harbour-2".to_owned(),
        name: "harbour".to_owned(),
        steps_done: 900,
        steps: 2000,
        is_under_way: false,
    });
    view.messages.push(Message {
        number: 4,
        kind: MessageKind::Note,
        text: "The adapter tape-choir is ready; it is in the list.".to_owned(),
    });
}

fn bases() -> Vec<BaseInfo> {
    let groups = [
        (
            "Styles",
            "house ambient chiptune lofi waltz folkdance rock minimalism chorale solo-piano solo-guitar string-ensemble synthwave blues",
        ),
        (
            "Instruments",
            "piano electric-piano guitar electric-guitar bass drums hand-drum strings fiddle cello organ accordion flute reed choir brass bells marimba vibraphone harp lute banjo synth pad arpeggio lead",
        ),
        (
            "Moods",
            "calm bright dark energetic warm sparse dense solo distorted swung reverberant dry",
        ),
    ];
    let groups = groups.map(|(title, tags)| TagGroup {
        title: title.to_owned(),
        tags: tags.split(' ').map(str::to_owned).collect(),
    });
    vec![
        BaseInfo {
            name: "embedded".to_owned(),
            title: "Lorelei, built in".to_owned(),
            tags: groups.iter().flat_map(|group| group.tags.clone()).collect(),
            groups: groups.to_vec(),
            is_installed: true,
            most_secs: 12.0,
        },
        BaseInfo {
            name: "ace-step".to_owned(),
            title: "ACE-Step 1.5".to_owned(),
            tags: Vec::new(),
            groups: Vec::new(),
            is_installed: false,
            most_secs: 240.0,
        },
    ]
}

fn adapters() -> Vec<AdapterInfo> {
    let adapter = |name: &str, base: &str, problem: Option<&str>| AdapterInfo {
        path: PathBuf::from(format!("/adapters/{name}.safetensors")),
        name: name.to_owned(),
        sha256: name.to_owned(),
        base: base.to_owned(),
        problem: problem.map(str::to_owned),
        trigger_words: vec![name.replace('-', " ")],
    };
    vec![
        adapter("vinyl-dust", "embedded", None),
        adapter("tape-choir", "embedded", None),
        adapter("harbour", "ace-step", None),
        adapter("broken", "embedded", Some("the file ends too soon")),
    ]
}

fn project() -> Project {
    let chosen = |info: &AdapterInfo| ChosenAdapter {
        path: info.path.clone(),
        name: info.name.clone(),
        sha256: Some(info.sha256.clone()),
    };
    let known = adapters();
    let mut project = Project {
        prompt: "lofi, electric-piano, calm, warm".to_owned(),
        source: Some(ChosenSource {
            path: PathBuf::from("/music/rain on the bridge.wav"),
            name: "rain on the bridge.wav".to_owned(),
            role: SourceRole::Vary { amount: 0.4 },
        }),
        ..Project::default()
    };
    project.adapters[0] = Some(chosen(&known[0]));
    project.adapters[1] = Some(chosen(&known[1]));
    project
}

fn variation(slot: usize) -> Variation {
    let names = [
        "night river",
        "slow lamp",
        "",
        "bridge at four, second try with the choir",
        "",
        "late tram",
        "",
        "",
        "pad a",
        "pad b",
    ];
    let adapters = adapters().into_iter().take(slot % 3);
    let adapters = adapters.map(|info| AdapterUse {
        path: info.path,
        name: info.name,
        sha256: Some(info.sha256),
        strength: 0.8,
    });
    Variation {
        name: names[slot].to_owned(),
        recipe: Recipe {
            base: BaseChoice {
                name: "embedded".to_owned(),
                identity: None,
            },
            adapters: adapters.collect(),
            prompt: "lofi, electric-piano, calm, warm".to_owned(),
            bars: 4,
            metre: Metre::default(),
            tempo_bpm: 120.0,
            key: Some("a-minor".to_owned()),
            seed: 4100 + slot as u64,
            steps: None,
            guidance: None,
            source: None,
            engine: "0.1.0".to_owned(),
        },
        key: format!("clip-{slot}"),
        frames: 352_800,
        sample_rate_hz: 44_100,
        is_kept: slot == 1,
        sound: None,
    }
}

/// A beat with chords, as a picture of it might look.
fn picture(slot: usize) -> ClipPicture {
    let (columns, bands) = (1600_usize, 96_usize);
    let noise = |at: usize| {
        let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        mixed as f32 / (1 << 24) as f32
    };
    let beat = |x: f32| (1.0 - (x * (16.0 + slot as f32 % 3.0 * 8.0)).fract()).powi(3);
    let swell = |x: f32| 0.55 + 0.45 * (x * 12.6 + slot as f32).sin();
    let waveform = |at: usize| {
        let x = at as f32 / columns as f32;
        [0, 1].map(|channel| {
            let rough = 0.6 + 0.4 * noise(at * 2 + channel + slot * 7919);
            let height = (0.18 + 0.75 * beat(x) * swell(x)) * rough;
            [-height * 0.93, height]
        })
    };
    let level = |at: usize, band: usize| {
        let (x, y) = (at as f32 / 400.0, band as f32 / bands as f32);
        let chord = [0.12, 0.2, 0.26, 0.38, 0.5].map(|tone: f32| {
            let tone = tone + 0.02 * ((x * 4.0).floor() + slot as f32).sin();
            (1.0 - ((y - tone).abs() * 60.0).min(1.0)) * (1.0 - y)
        });
        let chord = chord.into_iter().fold(0.0, f32::max);
        let drum = beat(x) * (0.75 - 0.45 * y) * swell(x);
        let hiss = 0.1 * noise(at * bands + band);
        -84.0 + 68.0 * (chord * 0.9).max(drum).max(hiss + 0.25 * (1.0 - y))
    };
    ClipPicture {
        waveform: (0..columns).map(waveform).collect(),
        spectrogram: (0..400)
            .map(|at| (0..bands).map(|band| level(at, band)).collect())
            .collect(),
        secs: 8.0,
        peak: 0.93,
    }
}
