//! An engine that makes clips out of nothing: each is a tone for the seed, with an impulse on every quarter note.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use flacenc::component::BitRepr;
use flacenc::error::Verify;
use protocol::framing::{self, FrameReader, Received};
use protocol::places::Places;
use protocol::socket::{self, Stream};
use protocol::{
    AdapterInfo, BaseInfo, ClipFile, FromEngine, Problem, ProblemKind, Recipe, RunInfo, ToEngine,
};

/// The rate of its clips.
pub(crate) const RATE_HZ: u32 = 44_100;

/// How it behaves; may be changed while it runs.
#[derive(Debug, Default)]
pub(crate) struct Manner {
    /// Clips that end with the connection instead of sound.
    pub(crate) deaths: AtomicU32,
    /// Every clip fails with this.
    pub(crate) failure: Mutex<Option<Problem>>,
    /// Clips take this long, in milliseconds.
    pub(crate) delay_ms: AtomicU32,
    /// What it was asked for, in order.
    pub(crate) asked: Mutex<Vec<Recipe>>,
    /// Trainings that are not finished.
    pub(crate) runs: Mutex<Vec<RunInfo>>,
}

/// A running one; ends when it is dropped.
pub(crate) struct FakeEngine {
    pub(crate) manner: Arc<Manner>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeEngine {
    pub(crate) fn start(places: &Places) -> Self {
        let manner = Arc::new(Manner::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let listener = socket::listen(places).unwrap();
        let thread = {
            let (manner, is_over, places) = (manner.clone(), is_over.clone(), places.clone());
            std::thread::spawn(move || {
                let mut talks = Vec::new();
                loop {
                    let Ok(stream) = socket::accept(&listener) else {
                        continue;
                    };
                    if is_over.load(Ordering::Acquire) {
                        break;
                    }
                    let (manner, is_over, places) =
                        (manner.clone(), is_over.clone(), places.clone());
                    talks.push(std::thread::spawn(move || {
                        talk(stream, &manner, &is_over, &places)
                    }));
                }
                for talk in talks {
                    talk.join().unwrap();
                }
            })
        };
        Self {
            manner,
            is_over,
            thread: Some(thread),
        }
    }

    /// How many clips were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.manner.asked.lock().unwrap().len()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the one who accepts.
        let _ = socket::connect(super::home());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn talk(mut stream: Stream, manner: &Manner, is_over: &AtomicBool, places: &Places) {
    let mut frames = FrameReader::default();
    while !is_over.load(Ordering::Acquire) {
        let message = match frames.next::<ToEngine>(&mut stream) {
            Ok(Received::Message(message)) => message,
            Ok(Received::NothingYet) => continue,
            Ok(Received::End) | Err(_) => return,
        };
        let answer = match message {
            ToEngine::Hello { .. } => FromEngine::Welcome {
                engine: "fake 1".to_owned(),
            },
            ToEngine::ListBases => FromEngine::Bases {
                bases: vec![BaseInfo {
                    name: "embedded".to_owned(),
                    title: "Fake base".to_owned(),
                    tags: vec!["lofi".to_owned(), "piano".to_owned()],
                    groups: Vec::new(),
                    is_installed: true,
                    most_secs: 12.0,
                }],
            },
            ToEngine::ListAdapters => FromEngine::Adapters {
                adapters: Vec::new(),
            },
            ToEngine::AddAdapter { job, path } if !path.exists() => FromEngine::Failed {
                job,
                problem: Problem {
                    kind: ProblemKind::MissingFile,
                    text: format!("{}: there is no such file", path.display()),
                },
            },
            ToEngine::AddAdapter { path, .. } => FromEngine::Adapters {
                adapters: vec![AdapterInfo {
                    name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                    path,
                    sha256: "aa".repeat(32),
                    base: "embedded".to_owned(),
                    problem: None,
                    trigger_words: Vec::new(),
                }],
            },
            ToEngine::Generate { job, recipe } => {
                manner.asked.lock().unwrap().push(*recipe.clone());
                let delay_ms = manner.delay_ms.load(Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(u64::from(delay_ms)));
                if manner.deaths.load(Ordering::Relaxed) > 0 {
                    manner.deaths.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
                match manner.failure.lock().unwrap().clone() {
                    Some(problem) => FromEngine::Failed { job, problem },
                    None => made(job, *recipe, places),
                }
            }
            ToEngine::Cancel { job } => FromEngine::Stopped { job },
            ToEngine::ListRuns => FromEngine::Runs {
                runs: manner.runs.lock().unwrap().clone(),
            },
            ToEngine::DiscardRun { job, run } => {
                let mut runs = manner.runs.lock().unwrap();
                match runs.iter().position(|known| known.run == run) {
                    Some(at) => {
                        runs.remove(at);
                        FromEngine::Runs { runs: runs.clone() }
                    }
                    None => FromEngine::Failed {
                        job,
                        problem: Problem {
                            kind: ProblemKind::MissingFile,
                            text: format!("there is no training run {run:?} any more"),
                        },
                    },
                }
            }
            _ => continue,
        };
        if framing::write(&mut stream, &answer).is_err() {
            return;
        }
    }
}

fn made(job: u64, mut recipe: Recipe, places: &Places) -> FromEngine {
    recipe.base.identity = Some("fake-base".to_owned());
    recipe.engine = "fake 1".to_owned();
    for adapter in &mut recipe.adapters {
        adapter.sha256 = Some("bb".repeat(32));
    }
    let key = recipe.key();
    let path = places.clips().join(format!("{key}.flac"));
    let samples = samples_of(&recipe);
    std::fs::create_dir_all(places.clips()).unwrap();
    std::fs::write(&path, flac(&samples)).unwrap();
    FromEngine::Made {
        job,
        clip: ClipFile {
            key,
            path,
            frames: recipe.frames(RATE_HZ),
            sample_rate_hz: RATE_HZ,
        },
        recipe: Box::new(recipe),
    }
}

/// What the clip of a recipe holds, left and right in 24 bits; the right side is half as loud.
pub(crate) fn samples_of(recipe: &Recipe) -> [Vec<i32>; 2] {
    let frames = recipe.frames(RATE_HZ) as usize;
    let quarters = recipe.quarters().round() as usize;
    // A whole number of periods, so that the loop has no seam.
    let periods = (100 + recipe.seed as usize % 1000) * quarters;
    let full = f64::from(1 << 23);
    let tone = |frame: usize| {
        let phase = (frame * periods) as f64 / frames as f64;
        0.25 * (phase * std::f64::consts::TAU).sin()
    };
    let mut left: Vec<i32> = (0..frames)
        .map(|frame| (tone(frame) * full) as i32)
        .collect();
    for quarter in 0..quarters {
        let frame = (quarter * frames).div_ceil(quarters);
        left[frame] = (0.9 * full) as i32;
    }
    let right = left.iter().map(|sample| sample / 2).collect();
    [left, right]
}

fn flac(samples: &[Vec<i32>; 2]) -> Vec<u8> {
    let interleaved: Vec<i32> = samples[0]
        .iter()
        .zip(&samples[1])
        .flat_map(|(left, right)| [*left, *right])
        .collect();
    let config = flacenc::config::Encoder::default().into_verified().unwrap();
    let source = flacenc::source::MemSource::from_samples(&interleaved, 2, 24, RATE_HZ as usize);
    let block = config.block_size;
    let mut stream = flacenc::encode_with_fixed_block_size(&config, source, block).unwrap();
    stream
        .stream_info_mut()
        .set_block_sizes(block, block)
        .unwrap();
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream.write(&mut sink).unwrap();
    sink.as_slice().to_vec()
}
