//! From recordings to an adapter: `cut-music`'s cutting and `lora-train`'s training, with the base's own settings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candle_core::Device;
use lora::base::{BaseModel, Outline};
use lora::progress::Progress;
use lora::style::StyleEncoder;
use lora::train::{
    BaseDefaults, ConditionSource, MemorySize, Preset, TrainConfig, TrainSettings, Trainer,
    TrainingSet, fit, plan,
};
use protocol::{AdapterInfo, FromEngine, LearnRequest, Problem, ProblemKind};

use crate::bases;
use crate::client::{tell_adapters, tell_all_runs};
use crate::hub::{Hub, Learn, Turn};
use crate::problem::{Ending, chain, of_writing, problem};
use crate::progress::Told;
use crate::runs::{Run, stem};

/// How often a thread without work looks whether the engine ends.
const LOOK: Duration = Duration::from_secs(5);
/// Recordings that are named when they cannot be used; the others are counted.
const MOST_NAMED: usize = 5;

/// The thread that trains.
pub(crate) fn run(hub: &Arc<Hub>, is_over: impl Fn() -> bool) {
    while !is_over() {
        if let Some(turn) = hub.next_to_learn(LOOK) {
            take(hub, &turn);
        }
    }
}

fn take(hub: &Arc<Hub>, turn: &Turn<Learn>) {
    let learned = catch_unwind(AssertUnwindSafe(|| learn(hub, turn)));
    let learned = learned.unwrap_or_else(|_| {
        let text = "an error in the engine itself, whose log has more; please tell the project";
        Err(problem(ProblemKind::Internal, text).into())
    });
    // From here on nobody joins them.
    let telling = hub.learned();
    match &learned {
        Ok(adapter) => {
            tracing::info!("learned {}", adapter.name);
            for client in hub.clients() {
                tell_adapters(hub, client);
            }
        }
        Err(Ending::Stopped) => tracing::info!("a training was stopped"),
        Err(Ending::Failed(problem)) => tracing::warn!("a training failed: {}", problem.text),
    }
    tell_all_runs(hub);
    for (client, job) in turn.owners.all() {
        let message = match learned.clone() {
            Ok(adapter) => FromEngine::Learned { job, adapter },
            Err(Ending::Stopped) => FromEngine::Stopped { job },
            Err(Ending::Failed(problem)) => FromEngine::Failed { job, problem },
        };
        hub.send(client, message);
    }
    drop(telling);
}

fn learn(hub: &Arc<Hub>, turn: &Turn<Learn>) -> Result<AdapterInfo, Ending> {
    let run = match &turn.work {
        Learn::New(request) => {
            // Before anything is written.
            check_recordings(request)?;
            Run::begin(&hub.places, request, |name| hub.name_run(name))?
        }
        Learn::Resume(name) => Run::named(&hub.places, name)?,
    };
    if run.is_finished() {
        let text = format!("the training {:?} is finished already", run.name);
        return Err(problem(ProblemKind::BadRequest, text).into());
    }
    tell_all_runs(hub);
    let request = run.request()?;
    let (owners, stop) = (Arc::clone(&turn.owners), Arc::clone(&turn.stop));
    let mut told = Told::new(Arc::clone(hub), owners, Arc::clone(&stop), true);
    let trained = bases::files(&request.base, &mut told)
        .map_err(Ending::from)
        .and_then(|_| cut(&run, &request, &mut told, &stop))
        .and_then(|()| train(hub, &run, &request, &mut told, &stop));
    if let (Err(Ending::Failed(_)), 0) = (&trained, run.steps_done()) {
        // Nothing is lost with it, and it would fail again.
        if let Err(problem) = run.discard() {
            tracing::warn!("{}", problem.text);
        }
    }
    let adapter = trained?;
    let kept = keep(hub, &request, &adapter)?;
    run.finish();
    Ok(hub.shelf.look_at(&kept)?)
}

/// Names recordings that are not there.
fn check_recordings(request: &LearnRequest) -> Result<(), Problem> {
    let missing = request.recordings.iter().filter(|path| !path.exists());
    let missing: Vec<String> = missing.map(|path| path.display().to_string()).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(problem(
            ProblemKind::MissingFile,
            format!("not there: {}", named(&missing)),
        )),
    }
}

fn named(names: &[String]) -> String {
    let mut text = names[..names.len().min(MOST_NAMED)].join("; ");
    if names.len() > MOST_NAMED {
        text += &format!("; and {} more", names.len() - MOST_NAMED);
    }
    text
}

/// Tells of the cutting, which works on several threads.
struct Cutting<'a>(Mutex<&'a mut (dyn Progress + Send)>);

impl preprocess::Progress for Cutting<'_> {
    fn begin(&self, phase: preprocess::Phase, files: usize) {
        let phase = match phase {
            preprocess::Phase::Hashing => "looking at the recordings",
            preprocess::Phase::Cutting => "cutting the recordings",
        };
        self.with(|progress| progress.begin(phase, files));
    }

    fn file_done(&self) {
        self.with(|progress| progress.advance());
    }

    fn notice(&self, text: &str) {
        self.with(|progress| progress.note(text));
    }
}

impl Cutting<'_> {
    fn with(&self, tell: impl FnOnce(&mut dyn Progress)) {
        let mut progress = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        tell(&mut **progress);
    }
}

/// Cuts all recordings into the run's folder, unless that is done already.
fn cut(
    run: &Run,
    request: &LearnRequest,
    told: &mut Told,
    stop: &AtomicBool,
) -> Result<(), Ending> {
    if run.cut_mark().exists() {
        return Ok(());
    }
    let mut skipped = Vec::new();
    for recording in &request.recordings {
        if told.stop_requested() {
            return Err(Ending::Stopped);
        }
        let cutting = preprocess::Request::new(recording.clone(), run.segments());
        let report = preprocess::cut(&cutting, &Cutting(Mutex::new(told)), stop);
        let report = match report {
            Ok(report) => report,
            Err(
                error @ (preprocess::CutError::NoAudio { .. }
                | preprocess::CutError::EmptyInput { .. }),
            ) => {
                skipped.push(error.to_string());
                continue;
            }
            Err(error) => {
                tell_left_out(told, &skipped);
                return Err(of_cutting(&error).into());
            }
        };
        if report.is_interrupted || stop.load(Ordering::Relaxed) {
            return Err(Ending::Stopped);
        }
        skipped.extend(
            report
                .skipped
                .iter()
                .map(|skipped| skipped.reason.to_string()),
        );
    }
    let pieces = dataset::read_manifest(&run.segments()).unwrap_or_default();
    if pieces.is_empty() {
        let text = format!(
            "nothing to learn from was found in these recordings: {}",
            named(&skipped)
        );
        return Err(problem(ProblemKind::BadRequest, text).into());
    }
    tell_left_out(told, &skipped);
    let mark = run.cut_mark();
    std::fs::write(&mark, b"").map_err(|error| of_writing(&mark, &error))?;
    Ok(())
}

/// Not as they are found: where nothing is left to learn from, the problem names them.
fn tell_left_out(told: &mut Told, skipped: &[String]) {
    for reason in skipped {
        told.note(&format!("left out: {reason}"));
    }
}

fn of_cutting(error: &preprocess::CutError) -> Problem {
    let kind = match error {
        preprocess::CutError::Input { .. } => ProblemKind::MissingFile,
        preprocess::CutError::Output { .. } => ProblemKind::Disk,
        _ => ProblemKind::BadRequest,
    };
    problem(kind, chain(error))
}

/// Trains to the end; gives where the adapter is.
fn train(
    hub: &Arc<Hub>,
    run: &Run,
    request: &LearnRequest,
    told: &mut Told,
    stop: &AtomicBool,
) -> Result<PathBuf, Ending> {
    let saved = run.training().join("config.toml");
    let goes_on = saved.is_file();
    let files = bases::files(&request.base, told)?;
    let outline = Outline::of_files(&files, None, &Device::Cpu)?;
    let settings = match goes_on {
        // As it began, whatever the defaults are by now.
        true => TrainSettings::from_file(&saved)?,
        false => settings(run, request, outline.is_embedded)?,
    };
    let config = match goes_on {
        true => settings.resolve(BaseDefaults::of(&outline))?,
        false => within_memory(hub, &outline, settings, told)?,
    };
    let planned = plan(&outline, &config);
    planned.check(&config)?;
    told.begin("waiting for memory", 0);
    let _reserved = hub
        .memory
        .reserve_for_learning(planned.memory_bytes, stop)?;
    let base = BaseModel::load(&files, &Device::Cpu, Some(config.weights), told)?;
    let set = training_set(&config, &base, told)?;
    let trainer = match goes_on {
        true => Trainer::resume(config, base, set, false, told)?,
        false => Trainer::start(config, base, set, true)?,
    };
    if let Some(line) = too_little(&trainer) {
        told.note(&line);
    }
    Ok(trainer.run(told)?.adapter)
}

fn too_little(trainer: &Trainer) -> Option<String> {
    trainer.validation_batches().is_empty().then(|| {
        "there is one recording only, so that none can be held out to judge by: the last weights are taken; two or more recordings are better".to_owned()
    })
}

fn settings(
    run: &Run,
    request: &LearnRequest,
    is_embedded: bool,
) -> Result<TrainSettings, Problem> {
    let own = TrainSettings {
        data: Some(run.segments()),
        out: Some(run.adapter()),
        run_dir: Some(run.training()),
        model: Some(request.base.clone()),
        steps: request.steps.map(|steps| steps as usize),
        trigger_words: Some(vec![request.name.trim().to_owned()]),
        // Nobody looks at these here, and they take time.
        preview_steps: Some(0),
        tensorboard: Some(false),
        ..TrainSettings::default()
    };
    if !is_embedded {
        return Ok(own);
    }
    let internal = |text: String| problem(ProblemKind::Internal, text);
    let preset: Preset = "embedded".parse().map_err(internal)?;
    Ok(own.or(preset.settings()))
}

/// The settings that fit into the engine's memory.
fn within_memory(
    hub: &Hub,
    outline: &Outline,
    settings: TrainSettings,
    told: &mut Told,
) -> Result<TrainConfig, Ending> {
    let defaults = BaseDefaults::of(outline);
    let asked = settings.clone().resolve(defaults)?;
    let bytes = hub.memory.most_for_learning();
    if plan(outline, &asked).memory_bytes <= bytes {
        return Ok(asked);
    }
    let fitted = fit(outline, &settings, MemorySize { bytes });
    let fitted = fitted.map_err(|error| problem(ProblemKind::Memory, chain(&error)))?;
    for change in &fitted.changes {
        told.note(&format!("to fit into memory: {change}"));
    }
    Ok(fitted.settings.resolve(defaults)?)
}

fn training_set(
    config: &TrainConfig,
    base: &BaseModel,
    told: &mut Told,
) -> Result<TrainingSet, Ending> {
    let encoder = match base.songs() {
        None => None,
        Some(_) => StyleEncoder::at_hand(&bases::local())?,
    };
    let mut conditions = ConditionSource::without_lyrics(encoder);
    let set = TrainingSet::open(
        &config.data,
        base,
        &mut conditions,
        &config.augmentations(),
        told,
    )?;
    Ok(set)
}

/// Copies the adapter into the user's folder under a free name.
fn keep(hub: &Hub, request: &LearnRequest, adapter: &Path) -> Result<PathBuf, Problem> {
    let folder = hub.places.adapters();
    std::fs::create_dir_all(&folder).map_err(|error| of_writing(&folder, &error))?;
    let bytes = std::fs::read(adapter).map_err(|error| of_writing(adapter, &error))?;
    let stem = stem(&request.name);
    let mut number = 1;
    loop {
        let name = match number {
            1 => format!("{stem}.safetensors"),
            number => format!("{stem} {number}.safetensors"),
        };
        let path = folder.join(name);
        match dataset::write_new_aside(&path, &bytes) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(of_writing(&path, &error)),
        }
    }
}
