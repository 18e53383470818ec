//! Clips made for the evaluation: with an adapter and without, from the same seeds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use audio::{AudioBuffer, SampleFormat};
use clap::Args;
use lora::adapter::{Adapter, detach_all};
use lora::base::BaseModel;
use lora::device::DeviceChoice;
use lora::generate::{Request, generate};
use lora::models::{EMBEDDED_NAME, Hub, ModelChoice, ModelFiles};
use lora::progress::Progress;
use lora::style;
use lora::terminal::{Terminal, catch_interrupts, open_device};

/// What a base that is asked with tags makes where nothing else is said.
const DEFAULT_SECS: f64 = 6.0;

/// What to make, when the clips are not there yet.
#[derive(Debug, Args)]
pub(crate) struct Generation {
    /// Make the clips with this adapter, and those of the baseline without it from the same seeds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["candidate", "baseline"])]
    pub(crate) lora: Option<PathBuf>,
    /// Base model: "embedded", a released model's name (lora-infer --list-models shows them), or a path
    #[arg(long, default_value = EMBEDDED_NAME, requires = "lora")]
    model: String,
    /// The released model's autoencoder, if it is not beside the model
    #[arg(long, value_name = "PATH", requires = "lora")]
    vae: Option<PathBuf>,
    /// Whether the released model's attention is causal, if its name does not tell
    #[arg(long, value_name = "BOOL", requires = "lora")]
    causal: Option<bool>,
    /// How many clips of each kind
    #[arg(long, default_value_t = 16, requires = "lora", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    count: u32,
    /// Their length in seconds [default: 6; of a released model the longest it makes]
    #[arg(long, requires = "lora")]
    seconds: Option<f64>,
    /// Folder for the clips, in "adapter" and "base"
    #[arg(
        long,
        value_name = "DIR",
        default_value = "lora-eval-clips",
        requires = "lora"
    )]
    clips: PathBuf,
    /// Where the transformer runs: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
}

/// Makes the clips; the folders of those with the adapter and of those without.
pub(crate) fn make(
    generation: &Generation,
    adapter: &Path,
    force: bool,
) -> Result<(PathBuf, PathBuf)> {
    let folders = [("adapter", true), ("base", false)]
        .map(|(name, adapted)| (generation.clips.join(name), adapted));
    for (folder, _) in &folders {
        if folder.exists() && !force {
            bail!(
                "{} exists already; name another folder with --clips, or pass --force to replace its clips",
                folder.display()
            );
        }
    }
    let mut progress = Terminal::default();
    let choice = ModelChoice {
        model: &generation.model,
        autoencoder: generation.vae.as_deref(),
        causal: generation.causal,
    };
    let files = ModelFiles::find(&choice, &Hub::from_env(), &mut progress)?;
    let device = open_device(generation.device)?;
    let mut base = BaseModel::load(&files, &device, None, &mut progress)?;
    let loaded = Adapter::load(adapter, &device)?;
    catch_interrupts().context("Ctrl-C cannot be caught")?;
    for (folder, adapted) in &folders {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: the folder cannot be made", folder.display()))?;
        detach_all(&mut base.transformer);
        let mut triggers = Vec::new();
        if *adapted {
            loaded.attach_to(&mut base, 1.0, adapter)?;
            triggers.extend(loaded.trigger.as_ref().map(|trigger| (trigger, 1.0)));
        }
        if *adapted && base.songs().is_some() && triggers.is_empty() {
            progress.note("the adapter was trained on a style of each piece and brings none: its clips are made without style, as the base's are; make clips with lora-infer --style-audio and give them as --candidate and --baseline to judge it with one");
        }
        let request = request(generation, &base, &triggers)?;
        for seed in 0..u64::from(generation.count) {
            let made = generate(&base, &request, &[seed], &mut progress)?;
            let sound = AudioBuffer {
                sample_rate_hz: base.sample_rate_hz(),
                channels: made.into_iter().flatten().collect(),
            };
            let path = folder.join(format!("seed{seed}.wav"));
            audio::write_wav(&path, &sound, SampleFormat::I16)?;
        }
    }
    let [(candidate, _), (baseline, _)] = folders;
    Ok((candidate, baseline))
}

/// As the base's own pipeline makes clips, without a prompt: the adapter speaks for itself.
fn request(
    generation: &Generation,
    base: &BaseModel,
    triggers: &[(&candle_core::Tensor, f64)],
) -> Result<Request> {
    let most = base.most_secs();
    let (style, default_secs) = match base.songs() {
        Some(_) => (style::of_vector(base, None, triggers)?, base.default_secs()),
        None => (style::of_tags(base, &[], triggers)?, DEFAULT_SECS),
    };
    let seconds = generation.seconds.unwrap_or(default_secs);
    if !(0.1..=most).contains(&seconds) {
        bail!("--seconds {seconds}: must be from 0.1 to {most:.1}");
    }
    Ok(Request::plain(base, style, seconds))
}
