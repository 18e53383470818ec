//! A base on paper: its layers and sizes, without its weights in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};
use checkpoint::TensorFile;
use dit::diffrhythm::{Config, DiffusionTransformer};
use nn::{VisitLinears, WeightPrecision, Weights};

use super::{BaseModel, diffrhythm};
use crate::error::LoraError;
use crate::models::{KnownModel, ModelFiles};

/// A latent frame of the released models' autoencoder, in seconds.
const RELEASED_FRAME_SECS: f64 = 2048.0 / 44_100.0;

/// One linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerOutline {
    /// Full name.
    pub name: String,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

/// What can be known of a base before it is loaded.
#[derive(Debug, Clone)]
pub struct Outline {
    /// What it is called.
    pub title: String,
    /// Its linear layers, in order.
    pub layers: Vec<LayerOutline>,
    /// Numbers in it, as [`BaseModel::parameter_count`].
    pub parameters: usize,
    /// The transformer's sizes.
    pub transformer: Config,
    /// Seconds in a latent frame.
    pub frame_secs: f64,
    /// What its weights are kept in.
    pub precision: WeightPrecision,
    /// Whether it is the one inside the program.
    pub is_embedded: bool,
    /// Whether it is asked with style vectors and lyrics.
    pub is_for_songs: bool,
}

impl Outline {
    /// Of a base in memory.
    pub fn of(base: &mut BaseModel) -> Self {
        Self {
            title: base.identity.to_string(),
            layers: layers(&mut base.transformer),
            parameters: base.parameter_count,
            transformer: base.transformer_config.clone(),
            frame_secs: base.frame_secs(),
            precision: base.precision,
            is_embedded: base.is_embedded,
            is_for_songs: base.songs().is_some(),
        }
    }

    /// Of a model with a name, whether or not its files are here.
    ///
    /// # Errors
    /// When the tensor library fails.
    pub fn of_known(
        known: &KnownModel,
        causal: Option<bool>,
        precision: Option<WeightPrecision>,
    ) -> Result<Self, LoraError> {
        let config = Config::released(known.max_frames, causal.unwrap_or(known.causal));
        Self::of_songs(known.name.to_owned(), config, precision)
    }

    /// Of a model's files: of a release only the table of contents is read. What its weights are kept in without a wish depends on the
    /// device that it will run on.
    ///
    /// # Errors
    /// When a file cannot be read or holds another model.
    pub fn of_files(
        files: &ModelFiles,
        precision: Option<WeightPrecision>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let ModelFiles::DiffRhythm(files) = files else {
            let silent = &mut crate::progress::Silent;
            return Ok(Self::of(&mut BaseModel::load(
                files,
                &Device::Cpu,
                precision,
                silent,
            )?));
        };
        let file = TensorFile::open(&files.transformer)?;
        let tensors = checkpoint::diffrhythm::weights(&file)?.tensors;
        let stored = diffrhythm::stored_precision(&tensors, device);
        let weights = Weights::from_tensor_file(tensors, &Device::Cpu);
        let config = diffrhythm::config(files, &weights)?;
        Self::of_songs(files.name.clone(), config, precision.or(Some(stored)))
    }

    fn of_songs(
        title: String,
        transformer: Config,
        precision: Option<WeightPrecision>,
    ) -> Result<Self, LoraError> {
        let parameters = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&parameters);
        // One number stands for all of a tensor's.
        let nothing = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
        let weights = Weights::made_up(move |_, shape| {
            counted.fetch_add(shape.iter().product(), Ordering::Relaxed);
            nothing.broadcast_as(shape)
        });
        let scope = weights.root().pp(diffrhythm::SCOPE);
        let mut model = DiffusionTransformer::load(&transformer, &scope)?;
        Ok(Self {
            title,
            layers: layers(&mut model),
            parameters: parameters.load(Ordering::Relaxed),
            transformer,
            frame_secs: RELEASED_FRAME_SECS,
            precision: precision.unwrap_or(WeightPrecision::F16),
            is_embedded: false,
            is_for_songs: true,
        })
    }

    /// Seconds of the longest clip.
    pub fn most_secs(&self) -> f64 {
        self.transformer.max_frames as f64 * self.frame_secs
    }
}

fn layers(model: &mut dyn VisitLinears) -> Vec<LayerOutline> {
    let mut layers = Vec::new();
    model.visit_linears(&mut |linear| {
        layers.push(LayerOutline {
            name: linear.name().to_owned(),
            inputs: linear.in_features(),
            outputs: linear.out_features(),
        });
    });
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::KNOWN_MODELS;

    /// Counted by the reference's own code on its configuration.
    #[test]
    fn the_released_models_have_the_references_numbers() {
        for known in KNOWN_MODELS {
            let outline = Outline::of_known(known, None, None).unwrap();
            let expected = match known.max_frames {
                6144 => 1_109_709_888,
                _ => 1_109_315_648,
            };
            assert_eq!(outline.parameters, expected, "{}", known.name);
        }
    }
}
