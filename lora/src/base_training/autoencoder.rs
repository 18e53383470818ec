//! The spectral autoencoder: principal components in closed form, then everything by gradients.

mod loss;
mod principal_components;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use nn::{Stream, Weights, gradients_in_shares, gradients_of_variables};
use rayon::prelude::*;
use vae::{SpectralAutoencoder, SpectralConfig};

use super::corpus::Corpus;
use super::run::{self, Course, Objective, Outcome, Place, RunSettings};
use super::start::{self, Start};
use super::variables::{Given, Variables};
use crate::error::LoraError;
use crate::progress::Progress;
use crate::tensor_file;
use loss::Loss;

/// The finished autoencoder in a run's folder.
pub const AUTOENCODER_FILE: &str = "autoencoder.safetensors";
pub(super) const DESCRIPTION: &str = "lorelei_autoencoder";
/// Latent frames of a crop: one and a half seconds.
const CROP_FRAMES: usize = 32;
/// Noise on the latents in training, in their own unit: what the transformer gets wrong should do little harm.
const LATENT_NOISE: f64 = 0.1;
/// Feature vectors that principal components are computed of.
const COMPONENT_VECTORS: usize = 40_000;
/// What is left of a channel's share of noise, at least.
const LEAST_EMPHASIS: f32 = 0.5;
/// Begins at zero, so that training starts from the principal components alone.
const ZEROS: &[&str] = &["head.weight"];

/// What a run of the autoencoder is made with.
#[derive(Debug, Clone)]
pub struct AutoencoderRun<'a> {
    /// The pieces.
    pub corpus: &'a Corpus,
    /// Sizes of the network.
    pub config: &'a SpectralConfig,
    /// An earlier base to begin from; without, principal components of the corpus.
    pub start: Option<&'a Start>,
    /// Steps and rates.
    pub settings: &'a RunSettings,
    /// At most so many pieces are held in memory (2.5 MB each).
    pub pieces: usize,
    /// Where it lies, how it begins, and how long it may take.
    pub course: Course<'a>,
    /// Where it is trained.
    pub device: &'a Device,
}

/// Trains an autoencoder; a finished run leaves [`AUTOENCODER_FILE`] in its folder.
///
/// # Errors
/// When pieces cannot be read, or the run cannot begin or be saved.
pub fn train(run: &AutoencoderRun<'_>, progress: &mut dyn Progress) -> Result<Outcome, LoraError> {
    if run.pieces == 0 {
        return Err(LoraError::Setting {
            setting: "pieces",
            value: "0".to_owned(),
            expected: "at least 1".to_owned(),
        });
    }
    let origin = BTreeMap::from([
        (start::ORIGIN, start::origin(run.start)),
        ("corpus", run.corpus.sha256.clone()),
        ("number of pieces", run.pieces.to_string()),
        ("configuration", description(run.config)),
    ]);
    let mut place = Place::take(run.course, run.settings, origin, AUTOENCODER_FILE)?;
    let training = AutoencoderTraining::prepare(run, progress)?;
    let outcome = run::run(&training, run.settings, &mut place, progress)?;
    if outcome == Outcome::Finished {
        training.finish(&place.result())?;
    }
    Ok(outcome)
}

fn description(config: &SpectralConfig) -> String {
    serde_json::to_string(config).unwrap_or_default()
}

/// The autoencoder under training, with what it learns from.
struct AutoencoderTraining<'a> {
    model: SpectralAutoencoder,
    variables: Variables,
    constants: BTreeMap<String, Tensor>,
    loss: Loss,
    training: Vec<Features>,
    validation: Vec<Features>,
    config: &'a SpectralConfig,
    settings: &'a RunSettings,
    random: Stream,
    device: &'a Device,
}

/// Feature vectors of one piece, `[frames, features]`; half precision tells apart what the ear does.
struct Features {
    values: Vec<f16>,
    frames: usize,
}

impl Features {
    /// Some frames in f32.
    fn crop(&self, first: usize, frames: usize, width: usize) -> Vec<f32> {
        let mut values = vec![0f32; frames * width];
        self.values[first * width..(first + frames) * width].convert_to_f32_slice(&mut values);
        values
    }
}

impl<'a> AutoencoderTraining<'a> {
    fn prepare(run: &AutoencoderRun<'a>, progress: &mut dyn Progress) -> Result<Self, LoraError> {
        let random = Stream::new(run.settings.seed).named("autoencoder");
        let width = run.config.features();
        // A model without weights, for what it computes of sound.
        let none = Weights::made_up(|_, shape| {
            Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu)
        });
        let ear = SpectralAutoencoder::load(run.config, &none.root())?;
        let count = run.pieces.min(run.corpus.training.len());
        progress.begin("listening", count + run.corpus.validation.len());
        let mut listen = |pieces: &[super::CorpusPiece]| -> Result<Vec<Features>, LoraError> {
            let mut all = Vec::with_capacity(pieces.len());
            for piece in pieces {
                if progress.stop_requested() {
                    return Err(LoraError::Stopped);
                }
                let sound = run.corpus.sound(piece, run.config.sample_rate_hz)?;
                let values = ear.features_of(&sound.channels[0], &sound.channels[1])?;
                progress.advance();
                let frames = values.len() / width;
                if frames >= CROP_FRAMES {
                    let values = values.iter().map(|value| f16::from_f32(*value)).collect();
                    all.push(Features { values, frames });
                }
            }
            Ok(all)
        };
        let training = listen(&run.corpus.training[..count])?;
        let validation = listen(&run.corpus.validation)?;
        progress.end();
        if training.is_empty() || validation.is_empty() {
            return Err(LoraError::Data {
                path: run.corpus.path(&run.corpus.training[0]),
                problem: format!(
                    "no piece is as long as {CROP_FRAMES} latent frames; render longer ones"
                ),
            });
        }
        let mut given = match run.start {
            Some(start) => start.autoencoder(run.config)?,
            None => {
                let weights = Tensor::from_vec(run.config.feature_weights()?, width, &Device::Cpu)?;
                let sample = sampled(&training, width, &random.named("components"))?;
                let components =
                    principal_components::of(&sample, &weights, run.config.latent_channels)?;
                progress.note(&format!(
                    "principal components explain {:.1} % of the weighted variance",
                    100.0 * components.explained
                ));
                Given {
                    constants: BTreeMap::from([
                        ("feature_mean".to_owned(), components.mean),
                        ("feature_weight".to_owned(), weights),
                    ]),
                    first_values: BTreeMap::from([
                        ("encoder.skip.weight".to_owned(), components.encoder),
                        ("decoder.skip.weight".to_owned(), components.decoder),
                    ]),
                }
            }
        };
        // In the latents' own unit until the training ends.
        let channels = run.config.latent_channels;
        let (zeros, ones) = (
            Tensor::zeros(channels, candle_core::DType::F32, &Device::Cpu)?,
            Tensor::ones(channels, candle_core::DType::F32, &Device::Cpu)?,
        );
        given.constants.insert("latent_mean".to_owned(), zeros);
        given.constants.insert("latent_scale".to_owned(), ones);
        let (model, variables) = Variables::initialise(
            &random.named("first values"),
            &given,
            ZEROS,
            run.device,
            |weights| Ok(SpectralAutoencoder::load(run.config, &weights.root())?),
        )?;
        Ok(Self {
            loss: Loss::new(run.config, run.device)?,
            model,
            variables,
            constants: given.constants,
            training,
            validation,
            config: run.config,
            settings: run.settings,
            random,
            device: run.device,
        })
    }

    /// Weighted features of crops, `[batch, frames, features]`.
    fn crops(&self, values: Vec<f32>, frames: usize) -> Result<Tensor, LoraError> {
        let width = self.config.features();
        let items = values.len() / (frames * width);
        let features = Tensor::from_vec(values, (items, frames, width), self.device)?;
        Ok(self.model.weigh(&features)?)
    }

    /// Latent statistics over the training pieces, and the file.
    fn finish(&self, path: &Path) -> Result<(), LoraError> {
        let width = self.config.features();
        let latents: Vec<Tensor> = self
            .training
            .iter()
            .map(|piece| {
                let weighted = self.crops(piece.crop(0, piece.frames, width), piece.frames)?;
                let raw = self.model.encode_weighted(&weighted)?.detach();
                Ok(raw.squeeze(0)?)
            })
            .collect::<Result<_, LoraError>>()?;
        let latents = Tensor::cat(&latents, 0)?.to_device(&Device::Cpu)?;
        let mean = latents.mean(0)?;
        let centred = latents.broadcast_sub(&mean)?;
        let deviation = centred.sqr()?.mean(0)?.sqrt()?;
        let values = self.variables.values()?;
        // Louder components of the sound keep a larger share of the latent's unit of noise.
        let skip = &values["decoder.skip.weight"].to_device(&Device::Cpu)?;
        let loudness = (skip.sqr()?.sum(0)?.sqrt()? * &deviation)?;
        let most = loudness.max(0)?.to_scalar::<f32>()?;
        let emphasis = (loudness / f64::from(most))?.sqrt()?;
        let emphasis = emphasis.clamp(LEAST_EMPHASIS, f32::MAX)?;
        let mut tensors = values;
        tensors.extend(self.constants.clone());
        tensors.insert("latent_mean".to_owned(), mean);
        tensors.insert("latent_scale".to_owned(), (deviation / emphasis)?);
        let bad = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        };
        let bytes =
            tensor_file::to_bytes(&tensors, DESCRIPTION, description(self.config)).map_err(bad)?;
        dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
    }
}

impl Objective for AutoencoderTraining<'_> {
    fn variables(&self) -> &Variables {
        &self.variables
    }

    /// AdamW trains all: the skips are principal components already.
    fn is_hidden_matrix(&self, _name: &str) -> bool {
        false
    }

    fn gradients(&self, step: usize) -> Result<(f64, GradStore), LoraError> {
        let random = self.random.at(step as u64);
        let width = self.config.features();
        let items = self.settings.batch_size;
        let crops: Vec<Vec<f32>> = (0..items)
            .into_par_iter()
            .map(|item| {
                let random = random.at(item as u64);
                let piece = &self.training[random.named("piece").below(self.training.len())];
                let first = random.named("start").below(piece.frames - CROP_FRAMES + 1);
                piece.crop(first, CROP_FRAMES, width)
            })
            .collect();
        let (loss, gradients) = gradients_in_shares(items, self.device, |number, part| {
            let share = part.len() as f64 / items as f64;
            let target = self.crops(crops[part].concat(), CROP_FRAMES)?;
            let latents = self.model.encode_weighted(&target)?;
            let noise = random.named("noise").at(number as u64);
            let noise = (noise.normal(latents.shape(), self.device)? * LATENT_NOISE)?;
            let predicted = self.model.decode_weighted(&(&latents + noise)?)?;
            let parts = self.loss.parts(&self.model, &target, &predicted)?;
            let loss = (parts.total()? + Loss::spread(&latents)?)?;
            let loss = (loss * share)?;
            let value = f64::from(loss.to_scalar::<f32>()?);
            Ok::<_, LoraError>((value, gradients_of_variables(&loss)?))
        })?;
        let gradients = gradients
            .ok_or_else(|| candle_core::Error::Msg("a training step without a crop".to_owned()))?;
        Ok((loss, gradients))
    }

    fn validation(&self) -> Result<(f64, String), LoraError> {
        let width = self.config.features();
        let mut sums: BTreeMap<&'static str, f64> = BTreeMap::new();
        for piece in &self.validation {
            let target = self.crops(piece.crop(0, piece.frames, width), piece.frames)?;
            let latents = self.model.encode_weighted(&target)?.detach();
            let predicted = self.model.decode_weighted(&latents)?.detach();
            let parts = self.loss.parts(&self.model, &target, &predicted)?;
            for (name, value) in parts.values()? {
                *sums.entry(name).or_default() += value / self.validation.len() as f64;
            }
        }
        let shown = sums
            .iter()
            .map(|(name, value)| format!(" {name} {value:.4}"));
        Ok((
            sums.values().sum(),
            format!(" ({})", shown.collect::<String>().trim()),
        ))
    }
}

/// Feature vectors from all pieces alike, `[vectors, features]`.
fn sampled(pieces: &[Features], width: usize, random: &Stream) -> Result<Tensor, LoraError> {
    let total: usize = pieces.iter().map(|piece| piece.frames).sum();
    let count = COMPONENT_VECTORS.min(total);
    let mut all: Vec<(usize, usize)> = Vec::with_capacity(total);
    for (number, piece) in pieces.iter().enumerate() {
        all.extend((0..piece.frames).map(|frame| (number, frame)));
    }
    random.shuffle(&mut all);
    let vectors: Vec<f32> = all[..count]
        .par_iter()
        .flat_map_iter(|&(piece, frame)| pieces[piece].crop(frame, 1, width))
        .collect();
    Ok(Tensor::from_vec(vectors, (count, width), &Device::Cpu)?)
}
