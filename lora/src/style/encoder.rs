//! Style vectors of sound and words by MuQ-MuLan: its files found, its towers loaded when they are needed, its answers kept.

use std::cell::OnceCell;
use std::path::Path;

use candle_core::Device;
use embed::{AudioEncoder, EmbeddingCache, MuLanFiles, TextEncoder};
use nn::Weights;

use crate::error::LoraError;
use crate::models::{Hub, RemoteFile, STYLE_ENCODER};
use crate::progress::Progress;

/// MuQ-MuLan on this machine. Its towers are in memory only while it lives.
pub struct StyleEncoder {
    files: MuLanFiles,
    /// None where there is no place for one: then everything is computed again.
    cache: Option<EmbeddingCache>,
    model: String,
    width: usize,
    audio: OnceCell<AudioEncoder>,
}

impl StyleEncoder {
    /// Opens the encoder in a folder, or the released one, which is fetched where it is not in the hub's cache. Sound needs no more;
    /// words do, see [`open_for_words`](Self::open_for_words).
    ///
    /// # Errors
    /// When a file is missing or cannot be fetched, or is none of this model.
    pub fn open(
        folder: Option<&Path>,
        hub: &Hub,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let files = match folder {
            Some(folder) => MuLanFiles::in_folder(folder)?,
            None => fetched(hub, &STYLE_ENCODER.files, progress)?,
        };
        Self::of_files(files)
    }

    /// The same with the tokenizer of its text tower.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_words(
        folder: Option<&Path>,
        hub: &Hub,
        progress: &mut dyn Progress,
    ) -> Result<Self, LoraError> {
        let Some(folder) = folder else {
            let [config, weights] = STYLE_ENCODER.files;
            let needed = [config, weights, STYLE_ENCODER.tokenizer];
            return Self::of_files(fetched(hub, &needed, progress)?);
        };
        let mut files = MuLanFiles::in_folder(folder)?;
        // That of the hub is the same; where it cannot be had either, the text tower says what to put where.
        files.tokenizer = files
            .tokenizer
            .or_else(|| hub.find(&STYLE_ENCODER.tokenizer));
        Self::of_files(files)
    }

    /// The released encoder, if it is on this machine already.
    ///
    /// # Errors
    /// When it is there and cannot be used.
    pub fn at_hand(hub: &Hub) -> Result<Option<Self>, LoraError> {
        let needed = STYLE_ENCODER
            .files
            .iter()
            .all(|file| hub.find(file).is_some());
        let offline = Hub::offline_at(hub.cache().to_owned());
        let opened = needed.then(|| Self::open(None, &offline, &mut crate::progress::Silent));
        opened.transpose()
    }

    fn of_files(files: MuLanFiles) -> Result<Self, LoraError> {
        let config = files.mulan_config()?;
        let model = embed::fingerprint(&config, &weights(&files)?)?;
        Ok(Self {
            width: config.mulan.dim_latent,
            files,
            cache: open_cache(),
            model,
            audio: OnceCell::new(),
        })
    }

    /// Values in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The style of a recording, by the ten seconds in its middle.
    ///
    /// # Errors
    /// When the file cannot be read, or is shorter than that.
    pub fn of_sound(&self, path: &Path) -> Result<Vec<f32>, LoraError> {
        self.of_file("", path, |encoder, samples| {
            let window = embed::middle(samples, encoder.sample_rate_hz(), encoder.clip_secs());
            window.map_err(|error| LoraError::BadFile {
                path: path.to_owned(),
                problem: error.to_string(),
            })
        })
    }

    /// The style of a piece, by the ten seconds in its middle, or all of it where it is shorter: the model then hears it from the start
    /// again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_piece(&self, path: &Path) -> Result<Vec<f32>, LoraError> {
        self.of_file("piece:", path, |encoder, samples| {
            let window = embed::middle(samples, encoder.sample_rate_hz(), encoder.clip_secs());
            Ok(window.unwrap_or(samples))
        })
    }

    /// `kind` keeps the answers of different windows apart.
    fn of_file(
        &self,
        kind: &str,
        path: &Path,
        window: impl for<'a> Fn(&AudioEncoder, &'a [f32]) -> Result<&'a [f32], LoraError>,
    ) -> Result<Vec<f32>, LoraError> {
        let hash = dataset::hash_file(path).map_err(LoraError::file(path))?;
        let key = EmbeddingCache::key(&format!("{kind}{hash}"), &self.model);
        self.kept(&key, || {
            let encoder = self.audio()?;
            let samples = mean(&audio::read_at(path, encoder.sample_rate_hz())?.channels);
            Ok(encoder.embed(window(encoder, &samples)?)?)
        })
    }

    /// The style of a description.
    ///
    /// # Errors
    /// When the tokenizer is missing or the text too long.
    pub fn of_words(&self, words: &str) -> Result<Vec<f32>, LoraError> {
        let key = EmbeddingCache::key(&format!("words:{words}"), &self.model);
        self.kept(&key, || {
            let files = &self.files;
            let encoder = TextEncoder::load(
                &files.mulan_config()?,
                &files.text_config()?,
                &weights(files)?,
                files.tokenizer.as_deref(),
            )?;
            Ok(encoder.embed(words)?)
        })
    }

    fn kept(
        &self,
        key: &str,
        compute: impl FnOnce() -> Result<Vec<f32>, LoraError>,
    ) -> Result<Vec<f32>, LoraError> {
        match &self.cache {
            Some(cache) => cache.get_or_compute(key, self.width, compute),
            None => compute(),
        }
    }

    fn audio(&self) -> Result<&AudioEncoder, LoraError> {
        if let Some(encoder) = self.audio.get() {
            return Ok(encoder);
        }
        let files = &self.files;
        let config = files.mulan_config()?;
        let encoder = AudioEncoder::load(&config, &files.muq_config()?, &weights(files)?)?;
        Ok(self.audio.get_or_init(|| encoder))
    }
}

/// One channel out of all, as librosa mixes them.
fn mean(channels: &[Vec<f32>]) -> Vec<f32> {
    let samples = channels.first().map_or(0, Vec::len);
    let share = 1.0 / channels.len().max(1) as f32;
    let sum = |sample: usize| channels.iter().map(|channel| channel[sample]).sum::<f32>();
    (0..samples).map(|sample| share * sum(sample)).collect()
}

fn weights(files: &MuLanFiles) -> Result<Weights, LoraError> {
    Ok(Weights::from_file(&files.weights, &Device::Cpu)?)
}

fn open_cache() -> Option<EmbeddingCache> {
    EmbeddingCache::open_default()
        .map_err(|error| tracing::warn!("style vectors are not kept: {error}"))
        .ok()
}

/// Configuration, weights and perhaps the tokenizer, in that order.
fn fetched(
    hub: &Hub,
    needed: &[RemoteFile],
    progress: &mut dyn Progress,
) -> Result<MuLanFiles, LoraError> {
    let mut paths = hub.get_all(needed, progress)?.into_iter();
    Ok(MuLanFiles {
        config: paths.next().unwrap_or_default(),
        weights: paths.next().unwrap_or_default(),
        audio_config: hub.find(&STYLE_ENCODER.audio_config),
        text_config: None,
        tokenizer: paths.next(),
    })
}
