//! A base model: autoencoder, diffusion transformer, and what it is asked with. One is part of the program; others are files.
//!
//! - `own`: Lorelei's own base files, the embedded one among them; they are asked with tags and a beat grid.
//! - `rhythm`: what the beat of a clip is drawn from whose prompt names no tempo.
//! - `diffrhythm`: DiffRhythm's releases; they are asked with style vectors and the phonemes of lyrics.

mod diffrhythm;
mod fingerprint;
mod outline;
mod own;
mod pulse;
mod quantised;
mod rhythm;
mod tags;
mod weights;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use checkpoint::TensorFile;
use dit::diffrhythm::DiffusionTransformer;
use dit::flow::Solver;
use nn::WeightPrecision;
use vae::{Autoencoder, Posterior, Tiling};

use crate::adapter::BaseIdentity;
use crate::error::LoraError;
use crate::models::{Hub, ModelChoice, ModelFiles};
use crate::progress::{Progress, Silent};

pub use diffrhythm::SongBase;
pub use outline::{LayerOutline, Outline};
pub(crate) use own::EMBEDDED_SHA256;
pub(crate) use own::{Description, FORMAT, check_groups, check_pulses, describe};
pub use own::{EmbeddedFacts, TagGroup, embedded_facts};
pub use pulse::PulseGrid;
pub(crate) use pulse::token as pulse_token;
pub use rhythm::Rhythm;
pub(crate) use tags::{Change, MOST_BEATS_PER_BAR, TEMPO_RANGE_BPM};
pub use tags::{Prompt, TagVocabulary};
pub use weights::weights;
pub(crate) use weights::{identity_named, identity_of};

/// The position in a piece that clips are made for: 0 is a beginning, where many pieces are still thin; a third in, all play.
const CLIP_POSITION: f64 = 1.0 / 3.0;

/// Steps and guidance of bases that are asked with tags.
const TAGS_STEPS: usize = 12;
const TAGS_GUIDANCE: f64 = 1.25;

/// A loaded base model.
pub struct BaseModel {
    identity: BaseIdentity,
    autoencoder: Box<dyn Autoencoder>,
    /// The transformer that adapters attach to.
    pub transformer: DiffusionTransformer,
    conditioning: Conditioning,
    transformer_config: dit::diffrhythm::Config,
    parameter_count: usize,
    is_embedded: bool,
    /// The transformer's file, whose mapped pages may be its weights.
    mapped: Option<TensorFile>,
    device: Device,
    precision: WeightPrecision,
}

/// What a base is asked with.
enum Conditioning {
    /// Tags with learned vectors `[tags][condition width]`; the text tokens are a beat grid.
    Tags {
        vocabulary: TagVocabulary,
        vectors: Vec<Vec<f32>>,
        pulses_per_beat: usize,
        /// Of each tag, where the base's file tells it.
        rhythms: Vec<Option<Rhythm>>,
    },
    /// Style vectors of MuQ-MuLan; the text tokens are phonemes.
    Songs {
        base: SongBase,
        vocabulary: TagVocabulary,
    },
}

impl BaseModel {
    /// The base that ships inside the program.
    pub fn embedded(device: &Device) -> Result<Self, LoraError> {
        own::embedded(device, WeightPrecision::F32)
    }

    /// The base of that name or path, from this machine's files.
    pub fn open(model: &str, device: &Device) -> Result<Self, LoraError> {
        let choice = ModelChoice {
            model,
            ..ModelChoice::default()
        };
        let files = ModelFiles::find(&choice, &Hub::from_env(), &mut Silent)?;
        Self::load(&files, device, None, &mut Silent)
    }

    /// Loads a model's files. The transformer's weights are kept in `precision`, or as the files have them: released models in 16 bits,
    /// which changes nothing in the results. The autoencoder always runs on the CPU, in f32.
    pub fn load(
        files: &ModelFiles,
        device: &Device,
        precision: Option<WeightPrecision>,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        match files {
            ModelFiles::Embedded => own::embedded(device, precision.unwrap_or_default()),
            ModelFiles::Own(path) => own::open(path, device, precision.unwrap_or_default()),
            ModelFiles::DiffRhythm(files) => diffrhythm::load(files, device, precision, progress),
        }
    }

    /// Name, version and hash: what adapters record.
    pub fn identity(&self) -> &BaseIdentity {
        &self.identity
    }

    /// Whether it is the base that ships inside the program, wherever it was opened from.
    pub fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// How its velocities are integrated: as the reference does for released models, in fewer steps for those asked with tags.
    pub(crate) fn solver(&self) -> Solver {
        match &self.conditioning {
            Conditioning::Tags { .. } => Solver::AdamsBashforth,
            Conditioning::Songs { .. } => Solver::Euler,
        }
    }

    /// The beat grid as the base's tokens, one a latent frame; zeros for bases that know none.
    pub fn pulse_tokens(&self, grid: &PulseGrid, latent_frames: usize) -> Vec<u32> {
        match &self.conditioning {
            Conditioning::Tags {
                pulses_per_beat, ..
            } => grid.tokens(latent_frames, self.frame_secs(), *pulses_per_beat),
            Conditioning::Songs { .. } => vec![0; latent_frames],
        }
    }

    /// The tempi and metres that the tags of a prompt have in common, and the prompt's own metre if it names one; none if no tag tells.
    pub fn rhythm(&self, prompt: &Prompt) -> Option<Rhythm> {
        let Conditioning::Tags { rhythms, .. } = &self.conditioning else {
            return None;
        };
        let of_tags = prompt
            .tags
            .iter()
            .filter_map(|row| rhythms.get(*row)?.as_ref());
        let mut rhythm = Rhythm::common(of_tags)?;
        if let Some(beats_per_bar) = prompt.beats_per_bar {
            rhythm.metres = BTreeMap::from([(beats_per_bar, 1.0)]);
        }
        Some(rhythm)
    }

    /// What a released song model brings of its own; none for bases that are asked with tags.
    pub fn songs(&self) -> Option<&SongBase> {
        match &self.conditioning {
            Conditioning::Songs { base, .. } => Some(base),
            Conditioning::Tags { .. } => None,
        }
    }

    /// Where the transformer runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the transformer's weights are kept in.
    pub fn precision(&self) -> WeightPrecision {
        self.precision
    }

    /// The prompt vocabulary; empty for a base that is asked with style vectors.
    pub fn tags(&self) -> &TagVocabulary {
        let (Conditioning::Tags { vocabulary, .. } | Conditioning::Songs { vocabulary, .. }) =
            &self.conditioning;
        vocabulary
    }

    /// Sizes of the transformer.
    pub fn transformer_config(&self) -> &dit::diffrhythm::Config {
        &self.transformer_config
    }

    /// Numbers in the whole base; of a released model, in its transformer, as its authors count them.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// Where in a song the clips begin that are made with it, from 0 to 1.
    pub fn clip_position(&self) -> f64 {
        match &self.conditioning {
            Conditioning::Tags { .. } => CLIP_POSITION,
            Conditioning::Songs { .. } => 0.0,
        }
    }

    /// Samples a second.
    pub fn sample_rate_hz(&self) -> u32 {
        self.autoencoder.sample_rate_hz()
    }

    /// Samples in a latent frame.
    pub fn hop(&self) -> usize {
        self.autoencoder.hop()
    }

    /// Channels of a latent frame.
    pub fn latent_channels(&self) -> usize {
        self.autoencoder.latent_channels()
    }

    /// Seconds in a latent frame.
    pub fn frame_secs(&self) -> f64 {
        self.hop() as f64 / f64::from(self.sample_rate_hz())
    }

    /// Seconds of the longest clip it makes.
    pub fn most_secs(&self) -> f64 {
        self.transformer_config.max_frames as f64 * self.frame_secs()
    }

    /// Steps of a clip when nothing else is said: those of a release's own pipeline, whose grid has a point more.
    pub fn default_steps(&self) -> usize {
        self.songs()
            .map_or(TAGS_STEPS, |songs| songs.sampling.0.saturating_sub(1))
    }

    /// Guidance of a clip when nothing else is said.
    pub fn default_guidance(&self) -> f64 {
        self.songs().map_or(TAGS_GUIDANCE, |songs| songs.sampling.1)
    }

    /// Seconds of a clip when nothing else is said of a song: whole ones, as the releases are asked (95, 285).
    pub fn default_secs(&self) -> f64 {
        self.most_secs().floor()
    }

    /// What identifies the autoencoder in the latent cache.
    pub fn autoencoder_id(&self) -> &str {
        self.autoencoder.id()
    }

    /// Audio `[1, 2, samples]` to latents `[1, channels, frames]`.
    pub fn encode(&self, audio: &Tensor, tiling: Tiling) -> Result<Posterior, LoraError> {
        Ok(self.autoencoder.encode_tiled(audio, tiling)?)
    }

    /// Latents `[1, channels, frames]` to audio `[1, 2, samples]`; `None` decodes as if at once.
    pub fn decode(&self, latents: &Tensor, tiling: Option<Tiling>) -> Result<Tensor, LoraError> {
        Ok(match tiling {
            None => self.autoencoder.decode(latents)?,
            Some(tiling) => self.autoencoder.decode_tiled(latents, tiling)?,
        })
    }

    /// Gives back the memory of weights that can be read from their file again, until the transformer is asked next.
    pub fn rest(&self) {
        if let Some(file) = &self.mapped {
            file.discard_pages(None);
        }
    }

    /// Sum of the vectors of these rows of the tag table, `[condition width]`.
    pub fn tag_sum(&self, rows: &[usize]) -> Vec<f32> {
        let mut sum = vec![0.0f32; self.transformer_config.cond_dim];
        let Conditioning::Tags { vectors, .. } = &self.conditioning else {
            return sum;
        };
        for vector in rows.iter().filter_map(|row| vectors.get(*row)) {
            for (total, value) in sum.iter_mut().zip(vector) {
                *total += value;
            }
        }
        sum
    }
}
