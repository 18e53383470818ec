//! Base models: which there are, and the one that is in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Device;
use lora::base::{BaseModel, Outline, embedded_facts};
use lora::generate::bars::CLIP_SECS;
use lora::models::{EMBEDDED_NAME, Hub, KNOWN_MODELS, KnownModel, ModelChoice, ModelFiles};
use lora::progress::Progress;
use protocol::{BaseInfo, Problem, ProblemKind, TagGroup};

use crate::memory::EMBEDDED_BYTES;
use crate::problem::{Ending, of_lora, problem};

/// A base that nobody asks for is dropped after this long.
const IDLE: Duration = Duration::from_secs(120);
/// What a clip needs beside the transformer's weights: an autoencoder, latents and sound.
const BESIDE_RELEASED_BYTES: usize = 2 << 30;

/// What recipes need to know of a base.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    /// What identifies its weights.
    pub(crate) identity: String,
    /// Steps of a clip where none are asked for.
    pub(crate) steps: usize,
    /// Guidance likewise.
    pub(crate) guidance: f64,
}

/// Facts of the bases that were in memory once; those of the embedded one are always known.
#[derive(Default)]
pub(crate) struct Facts(Mutex<HashMap<String, Fact>>);

impl Facts {
    /// Of the base of this name, if they are known.
    pub(crate) fn of(&self, name: &str) -> Option<Fact> {
        if name == EMBEDDED_NAME {
            let facts = embedded_facts().ok()?;
            return Some(Fact {
                identity: facts.identity.whole(),
                steps: facts.steps,
                guidance: facts.guidance,
            });
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    fn learn(&self, name: &str, base: &BaseModel) {
        let fact = Fact {
            identity: base.identity().whole(),
            steps: base.default_steps(),
            guidance: base.default_guidance(),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), fact);
    }
}

/// All bases, the embedded one first.
pub(crate) fn list() -> Vec<BaseInfo> {
    let hub = local();
    let facts = embedded_facts();
    let embedded = facts.map(|facts| BaseInfo {
        name: EMBEDDED_NAME.to_owned(),
        title: format!("Lorelei's own, version {}", facts.identity.version),
        groups: facts.tag_groups.into_iter().map(group_of).collect(),
        tags: facts.tags,
        is_installed: true,
        most_secs: *CLIP_SECS.end(),
    });
    let released = |known: &KnownModel| BaseInfo {
        name: known.name.to_owned(),
        title: format!("{}: {}", known.name, known.summary),
        tags: Vec::new(),
        groups: Vec::new(),
        is_installed: is_installed(known, &hub),
        most_secs: *CLIP_SECS.end(),
    };
    let mut bases: Vec<BaseInfo> = embedded.into_iter().collect();
    bases.extend(KNOWN_MODELS.iter().map(released));
    bases
}

fn group_of(group: lora::base::TagGroup) -> TagGroup {
    TagGroup {
        title: group.title,
        tags: group.tags,
    }
}

fn is_installed(known: &KnownModel, hub: &Hub) -> bool {
    let files = [known.transformer, known.autoencoder];
    files.iter().all(|file| hub.find(file).is_some())
}

/// The files on this machine; an engine fetches none by itself.
pub(crate) fn local() -> Hub {
    Hub::offline_at(Hub::from_env().cache().to_owned())
}

/// The files of a base.
///
/// # Errors
/// When they are not on this machine.
pub(crate) fn files(name: &str, progress: &mut dyn Progress) -> Result<ModelFiles, Problem> {
    let choice = ModelChoice {
        model: name,
        ..ModelChoice::default()
    };
    let hub = local();
    if let Some(known) = KnownModel::named(name).filter(|known| !is_installed(known, &hub)) {
        let text = format!(
            "the model {} is not on this machine; fetch it once, in a terminal: lora-infer --model {} --seconds 10",
            known.name, known.name
        );
        return Err(problem(ProblemKind::MissingFile, text));
    }
    ModelFiles::find(&choice, &hub, progress).map_err(|error| {
        let mut problem = of_lora(&error);
        problem.kind = ProblemKind::MissingFile;
        problem
    })
}

/// The base in memory; there is one at a time.
pub(crate) struct Bases {
    hub: Arc<crate::hub::Hub>,
    device: Device,
    loaded: Option<Loaded>,
}

struct Loaded {
    name: String,
    base: BaseModel,
    used_at: Instant,
}

impl Bases {
    pub(crate) fn new(hub: Arc<crate::hub::Hub>) -> Self {
        Self {
            hub,
            device: Device::Cpu,
            loaded: None,
        }
    }

    /// The base of this name, loaded if it is another one than the last.
    pub(crate) fn get(
        &mut self,
        name: &str,
        progress: &mut dyn Progress,
    ) -> Result<&mut BaseModel, Ending> {
        let is_there = self.loaded.as_ref().is_some_and(|it| it.name == name);
        if !is_there {
            // First out with the other one, so that there are never two.
            self.drop_base();
            let base = self.load(name, progress);
            let base = base.inspect_err(|_| self.hub.memory.release_making())?;
            self.hub.facts.learn(name, &base);
            let name = name.to_owned();
            let used_at = Instant::now();
            self.loaded = Some(Loaded {
                name,
                base,
                used_at,
            });
        }
        match &mut self.loaded {
            Some(loaded) => {
                loaded.used_at = Instant::now();
                Ok(&mut loaded.base)
            }
            None => Err(problem(ProblemKind::Internal, "the base is gone").into()),
        }
    }

    fn load(&self, name: &str, progress: &mut dyn Progress) -> Result<BaseModel, Ending> {
        if name == EMBEDDED_NAME {
            self.hub.memory.reserve_for_embedded();
            return Ok(BaseModel::embedded(&self.device)?);
        }
        let files = files(name, progress)?;
        let needed = self.needed_bytes(&files)?;
        self.hub.memory.reserve_for_making(name, needed)?;
        Ok(BaseModel::load(&files, &self.device, None, progress)?)
    }

    fn needed_bytes(&self, files: &ModelFiles) -> Result<usize, Ending> {
        if !matches!(files, ModelFiles::DiffRhythm(_)) {
            // Of these an outline is the base itself.
            return Ok(EMBEDDED_BYTES);
        }
        let outline = Outline::of_files(files, None, &self.device)?;
        Ok(outline.precision.bytes(outline.parameters) + BESIDE_RELEASED_BYTES)
    }

    /// Forgets the base, as after a panic in its midst.
    pub(crate) fn drop_base(&mut self) {
        self.loaded = None;
        self.hub.memory.release_making();
    }

    /// Forgets a base that nobody has asked for in a while, or whose memory a training waits for.
    pub(crate) fn drop_idle(&mut self) {
        let is_short = self.hub.memory.is_short();
        let is_to_go = |it: &&Loaded| is_short || it.used_at.elapsed() >= IDLE;
        if let Some(loaded) = self.loaded.as_ref().filter(is_to_go) {
            tracing::info!("{} is dropped", loaded.name);
            self.drop_base();
        }
    }
}
