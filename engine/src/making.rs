//! From a recipe to a clip.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Tensor;
use lora::LoraError;
use lora::adapter::{Adapter, Placement, detach_all};
use lora::base::BaseModel;
use lora::generate::Clip;
use lora::generate::bars::{self, Length, Variation};
use lora::progress::Progress;
use lora::style::{self, StyleEncoder, Trigger};
use protocol::{BaseChoice, ClipFile, FromEngine, JobId, Problem, ProblemKind, Recipe, SourceRole};

use crate::bases::{Bases, Fact};
use crate::hub::{Hub, Turn};
use crate::problem::{Ending, problem};
use crate::progress::Told;
use crate::queue::ClientId;
use crate::{VERSION, adapters, bases, sources};

/// How often a thread without work looks whether its base is needed.
const LOOK: Duration = Duration::from_secs(5);
/// Adapters in memory.
const MOST_ADAPTERS: usize = 8;
/// Sounds whose style is remembered.
const MOST_STYLES: usize = 16;

/// A recipe with its files in memory.
pub struct Asked<'a> {
    /// Everything else.
    pub recipe: &'a Recipe,
    /// The adapters in their order.
    pub adapters: Vec<Arc<Adapter>>,
    /// The style of the source, if it is there for that.
    pub style: Option<Vec<f32>>,
    /// The source, if the clip is a variation of it.
    pub variation: Option<Variation>,
}

/// Length of a recipe's clip.
fn length(recipe: &Recipe) -> Length {
    Length {
        bars: recipe.bars,
        beats: recipe.metre.beats,
        unit: recipe.metre.unit,
        tempo_bpm: recipe.tempo_bpm,
    }
}

/// Makes the clip of a filled-in recipe on a base without adapters, and leaves it without them. The same recipe gives the same samples, and
/// `lora-infer --bars` the same ones for the same words.
///
/// # Errors
/// Those of attaching the adapters and of [`bars::make`].
pub fn make_clip(
    base: &mut BaseModel,
    asked: Asked<'_>,
    progress: &mut dyn Progress,
) -> Result<Clip, LoraError> {
    let made = make_adapted(base, asked, progress);
    detach_all(&mut base.transformer);
    made
}

/// As [`make_clip`], with the adapters left on.
fn make_adapted(
    base: &mut BaseModel,
    asked: Asked<'_>,
    progress: &mut dyn Progress,
) -> Result<Clip, LoraError> {
    let recipe = asked.recipe;
    let length = length(recipe);
    length.validate()?;
    let mut triggers = Vec::new();
    for (adapter, used) in asked.adapters.iter().zip(&recipe.adapters) {
        let placement = Placement::at(f64::from(used.strength));
        adapter.place_on(base, &placement, &used.path)?;
        triggers.extend(adapter.trigger.as_ref().map(|vector| Trigger {
            vector,
            strength: placement.strength,
            times: placement.times,
        }));
    }
    let tags = match base.songs() {
        Some(_) => Vec::new(),
        None => {
            let words = asked
                .adapters
                .iter()
                .flat_map(|adapter| adapter.trigger_words());
            let prompt = base.tags().without_triggers(&recipe.prompt, words);
            bars::tags(base, &prompt, &length, recipe.key.as_deref())?
        }
    };
    let own = asked.style.as_deref();
    let style = |triggers: &[(&Tensor, f64)]| match base.songs() {
        Some(_) => style::of_vector(base, own, triggers),
        None => style::of_tags_and(base, &tags, own, triggers),
    };
    let (style, later_styles) = style::over_time(&triggers, style)?;
    let request = bars::Request {
        length,
        steps: recipe.steps.map_or(base.default_steps(), usize::from),
        guidance: recipe.guidance.unwrap_or(base.default_guidance()),
        style,
        negative_style: None,
        variation: asked.variation,
    };
    bars::make(base, &request, &later_styles, recipe.seed, progress)
}

/// The clip of a recipe that is in the cache already.
///
/// # Errors
/// When the recipe names files that are gone or have changed, or weights that are not those at hand.
pub(crate) fn at_hand(hub: &Hub, recipe: &Recipe) -> Result<Option<(ClipFile, Recipe)>, Problem> {
    // As it was made once, by whichever engine.
    if recipe.base.identity.is_some()
        && let Some(found) = hub.clips.find(&recipe.key())
    {
        return Ok(Some(found));
    }
    let Some(fact) = hub.facts.of(&recipe.base.name) else {
        return Ok(None);
    };
    let filled = filled(hub, recipe, &fact)?;
    // The names and places are those of this recipe, whatever those were that the clip was made with.
    Ok(hub
        .clips
        .find(&filled.key())
        .map(|(clip, _)| (clip, filled)))
}

/// The recipe with everything that was left open.
fn filled(hub: &Hub, recipe: &Recipe, fact: &Fact) -> Result<Recipe, Problem> {
    let mut filled = recipe.clone();
    let identity = &mut filled.base.identity;
    if let Some(other) = identity.as_ref().filter(|other| **other != fact.identity) {
        let text = format!(
            "the clip was made with the base {other}, and the one here is {}; install the version of Lorelei that has it, or make the clip anew with this one",
            fact.identity
        );
        return Err(problem(ProblemKind::WrongBase, text));
    }
    *identity = Some(fact.identity.clone());
    for adapter in &mut filled.adapters {
        let (path, sha256) = hub.shelf.resolve(adapter)?;
        adapter.path = path;
        adapter.sha256 = Some(sha256);
    }
    if let Some(source) = &mut filled.source {
        hub.inputs.touch(&source.path);
        source.sha256 = Some(sources::resolve(source, &hub.shelf)?);
    }
    filled.steps = filled.steps.or(u16::try_from(fact.steps).ok());
    filled.guidance = filled.guidance.or(Some(fact.guidance));
    filled.prompt = filled.prompt.trim().to_owned();
    VERSION.clone_into(&mut filled.engine);
    Ok(filled)
}

/// The thread that makes clips.
pub(crate) struct Maker {
    hub: Arc<Hub>,
    bases: Bases,
    adapters: VecDeque<(String, Arc<Adapter>)>,
    /// Of sounds that were listened to lately, each for seconds.
    styles: VecDeque<(StyleOf, Vec<f32>)>,
}

/// A base, and the SHA-256 of a sound.
type StyleOf = (BaseChoice, String);

impl Maker {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            bases: Bases::new(Arc::clone(&hub)),
            hub,
            adapters: VecDeque::new(),
            styles: VecDeque::new(),
        }
    }

    /// Works until the engine ends.
    pub(crate) fn run(mut self, is_over: impl Fn() -> bool) {
        self.warm_up();
        while !is_over() {
            match self.hub.next_to_make(LOOK) {
                Some(turn) => self.take(turn),
                None => self.bases.drop_idle(),
            }
        }
    }

    /// The engine was started because somebody wants a clip, mostly with the base that is part of it.
    fn warm_up(&mut self) {
        let mut silent = lora::progress::Silent;
        let name = lora::models::EMBEDDED_NAME;
        if let Err(error) = self.bases.get(name, &mut silent) {
            tracing::warn!("the embedded base: {error:?}");
        }
    }

    fn take(&mut self, turn: Turn<Recipe>) {
        let started = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| self.make(&turn)));
        let made = made.unwrap_or_else(|_| {
            // What it was in the midst of may be half done.
            self.bases.drop_base();
            self.adapters.clear();
            Err(problem(
                ProblemKind::Internal,
                "an error in the engine itself, whose log has more; please tell the project",
            )
            .into())
        });
        let secs = started.elapsed().as_secs_f64();
        let answers: Vec<(ClientId, FromEngine)> = turn
            .owners
            .all()
            .into_iter()
            .map(|(client, job)| (client, self.answer(client, job, secs, made.clone())))
            .collect();
        // The next one's turn comes first, so that who hears of this clip finds the queue without it.
        let telling = self.hub.made();
        for (client, answer) in answers {
            self.hub.send(client, answer);
        }
        drop(telling);
        self.hub.clips.clean(&self.hub.held());
        self.hub.inputs.clean(&self.hub.held_inputs());
    }

    fn answer(
        &self,
        client: ClientId,
        job: JobId,
        secs: f64,
        made: Result<(ClipFile, Recipe), Ending>,
    ) -> FromEngine {
        match made {
            Ok((clip, recipe)) => {
                tracing::info!(client, job, secs, key = clip.key, "made");
                self.hub.also_hold(client, &clip.key);
                let recipe = Box::new(recipe);
                FromEngine::Made { job, clip, recipe }
            }
            Err(Ending::Stopped) => FromEngine::Stopped { job },
            Err(Ending::Failed(problem)) => {
                tracing::warn!(client, job, "failed: {}", problem.text);
                FromEngine::Failed { job, problem }
            }
        }
    }

    fn make(&mut self, turn: &Turn<Recipe>) -> Result<(ClipFile, Recipe), Ending> {
        let (owners, stop) = (Arc::clone(&turn.owners), Arc::clone(&turn.stop));
        let mut told = Told::new(Arc::clone(&self.hub), owners, stop, false);
        if told.stop_requested() {
            return Err(Ending::Stopped);
        }
        let recipe = &turn.work;
        length(recipe).validate()?;
        self.hub.clips.check()?;
        let name = recipe.base.name.as_str();
        self.bases.get(name, &mut told)?;
        let Some(fact) = self.hub.facts.of(name) else {
            return Err(problem(ProblemKind::Internal, "the base is not known").into());
        };
        let recipe = filled(&self.hub, recipe, &fact)?;
        if let Some((clip, _)) = self.hub.clips.find(&recipe.key()) {
            return Ok((clip, recipe));
        }
        let loaded = recipe.adapters.iter().map(|used| {
            let sha256 = used.sha256.clone().unwrap_or_default();
            self.adapter(&sha256, &used.path)
        });
        // Collected here, because the base is borrowed below.
        let adapters = loaded.collect::<Result<Vec<_>, Problem>>()?;
        if !turn.work.engine.is_empty() && turn.work.engine != VERSION {
            told.note("this clip was made by another version of the engine; it may sound a little different now");
        }
        let base = self.bases.get(name, &mut told)?;
        if base.songs().is_none()
            && let Some(note) = length(&recipe).note()
        {
            told.note(&note);
        }
        let (style, variation) = brought(base, &recipe, &mut self.styles, &mut told)?;
        let asked = Asked {
            recipe: &recipe,
            adapters,
            style,
            variation,
        };
        let clip = make_clip(base, asked, &mut told)?;
        let rate = base.sample_rate_hz();
        let clip = self.hub.clips.keep(&recipe, &clip, rate)?;
        Ok((clip, recipe))
    }

    fn adapter(&mut self, sha256: &str, path: &Path) -> Result<Arc<Adapter>, Problem> {
        if let Some((_, adapter)) = self.adapters.iter().find(|(known, _)| known == sha256) {
            return Ok(Arc::clone(adapter));
        }
        let adapter = Arc::new(adapters::load(path, &candle_core::Device::Cpu)?);
        let entry = (sha256.to_owned(), Arc::clone(&adapter));
        self.adapters.push_front(entry);
        self.adapters.truncate(MOST_ADAPTERS);
        Ok(adapter)
    }
}

/// Style and variation that a recipe's sound, or the words of a song model's prompt, bring.
fn brought(
    base: &BaseModel,
    recipe: &Recipe,
    known: &mut VecDeque<(StyleOf, Vec<f32>)>,
    progress: &mut dyn Progress,
) -> Result<(Option<Vec<f32>>, Option<Variation>), Ending> {
    let mut style = None;
    let mut variation = None;
    let words = recipe.prompt.as_str();
    if base.songs().is_some() && !words.is_empty() {
        let encoder = StyleEncoder::open_for_words(None, &bases::local(), progress)?;
        style = Some(encoder.of_words(words)?);
    }
    if base.songs().is_some() && recipe.key.is_some() {
        progress.note("this base takes no key; say it in the words of the prompt");
    }
    let Some(source) = &recipe.source else {
        return Ok((style, variation));
    };
    match source.role {
        SourceRole::Vary { amount } => {
            let sound = sources::read(&source.path, base.sample_rate_hz())?;
            variation = Some(Variation { sound, amount });
        }
        SourceRole::Style if base.songs().is_some() => {
            let encoder = StyleEncoder::open(None, &bases::local(), progress)?;
            style = Some(encoder.of_sound(&source.path)?);
        }
        SourceRole::Style => {
            let sha256 = source.sha256.clone().unwrap_or_default();
            let of = (recipe.base.clone(), sha256);
            if let Some((_, known)) = known.iter().find(|(known, _)| *known == of) {
                style = Some(known.clone());
            } else {
                let sound = sources::read(&source.path, base.sample_rate_hz())?;
                let heard = style::of_sound(base, &sound, progress)?;
                known.push_front((of, heard.clone()));
                known.truncate(MOST_STYLES);
                style = Some(heard);
            }
        }
    }
    Ok((style, variation))
}
