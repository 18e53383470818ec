//! The diffusion transformer on the latents of a corpus.

mod batch;
mod latents;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use dit::diffrhythm::{Config, DiffusionTransformer, Drops, Inputs};
use dit::flow;
use nn::{Mode, Stream, gradients_in_shares, gradients_of_variables};
use vae::{Autoencoder, SpectralAutoencoder};

use super::corpus::{Corpus, CorpusPiece};
use super::run::{self, Course, Objective, Outcome, Place, RunSettings};
use super::sizes::BaseSizes;
use super::start::{self, Start};
use super::variables::{Given, Variables};
use crate::base::{Rhythm, TagVocabulary};
use crate::error::LoraError;
use crate::progress::Progress;
use crate::tensor_file;
use batch::{Batch, Lengths, Pieces, Selection};

/// The finished transformer in a run's folder, with the tags' vectors.
pub const TRANSFORMER_FILE: &str = "transformer.safetensors";
pub(super) const DESCRIPTION: &str = "lorelei_transformer";
/// Vectors of the tags, `[tags, condition width]`.
pub(super) const TAG_VECTORS: &str = "tag_vectors";
/// Begins at zero: a step in a direction that is not known yet is no step.
const ZEROS: &[&str] = &["proj_out.weight"];
/// Pieces that validation looks at, at most.
const VALIDATION_PIECES: usize = 48;

/// What a run of the transformer is made with.
pub struct TransformerRun<'a> {
    /// The pieces.
    pub corpus: &'a Corpus,
    /// The finished autoencoder.
    pub autoencoder: &'a SpectralAutoencoder,
    /// Sizes of the network, and the fineness of the beat grid.
    pub sizes: &'a BaseSizes,
    /// The prompt vocabulary, in the order of its vectors.
    pub tags: &'a [String],
    /// An earlier base to begin from; without, all is drawn.
    pub start: Option<&'a Start>,
    /// Steps and rates.
    pub settings: &'a RunSettings,
    /// Where it lies, how it begins, and how long it may take.
    pub course: Course<'a>,
    /// Where it is trained.
    pub device: &'a Device,
}

/// Trains a transformer; a finished run leaves [`TRANSFORMER_FILE`] in its folder.
///
/// # Errors
/// When pieces cannot be read, or the run cannot begin or be saved.
pub fn train(run: &TransformerRun<'_>, progress: &mut dyn Progress) -> Result<Outcome, LoraError> {
    // A run that began without these checks can be finished.
    if !run.course.resume {
        check_corpus(run)?;
    }
    let channels = run.autoencoder.latent_channels();
    if channels != run.sizes.transformer.mel_dim {
        return Err(LoraError::Setting {
            setting: "sizes",
            value: format!("mel_dim {}", run.sizes.transformer.mel_dim),
            expected: format!("the autoencoder's {channels} latent channels"),
        });
    }
    let origin = BTreeMap::from([
        (start::ORIGIN, start::origin(run.start)),
        ("corpus", run.corpus.sha256.clone()),
        ("autoencoder", run.autoencoder.id().to_owned()),
        ("vocabulary", run.tags.join(",")),
        (
            "configuration",
            serde_json::to_string(run.sizes).unwrap_or_default(),
        ),
    ]);
    let mut place = Place::take(run.course, run.settings, origin, TRANSFORMER_FILE)?;
    let training = TransformerTraining::prepare(run, progress)?;
    let outcome = run::run(&training, run.settings, &mut place, progress)?;
    if outcome == Outcome::Finished {
        training.finish(run, &place.result())?;
    }
    Ok(outcome)
}

/// Before anything is encoded or written: whether prompts can name every tag, every piece's tags are among them, and its beat can be learned.
fn check_corpus(run: &TransformerRun<'_>) -> Result<(), LoraError> {
    let vocabulary = TagVocabulary::new(run.tags.to_vec());
    let pieces = || run.corpus.training.iter().chain(&run.corpus.validation);
    if let Some((tag, reason)) = vocabulary.unaskable() {
        let with_it = pieces().find(|piece| piece.tags.iter().any(|own| own == tag));
        let problem = format!("no prompt can ask for the tag {tag:?}: {reason}");
        return Err(match with_it {
            Some(piece) => LoraError::Data {
                path: run.corpus.path(piece),
                problem: format!("{problem} (in corpus.jsonl, and in the file of --tags)"),
            },
            None => LoraError::Setting {
                setting: "tags",
                value: format!("{tag:?}"),
                expected: problem,
            },
        });
    }
    for piece in pieces() {
        tag_rows(run, piece)?;
        let problem = piece.beat_problem();
        if let Some(problem) = problem.or_else(|| piece.tempo_problem(&vocabulary)) {
            let path = run.corpus.path(piece);
            return Err(LoraError::Data { path, problem });
        }
    }
    Ok(())
}

/// Rows of a piece's tags among the run's.
fn tag_rows(run: &TransformerRun<'_>, piece: &CorpusPiece) -> Result<Vec<usize>, LoraError> {
    let row = |tag: &String| {
        let found = run.tags.iter().position(|known| known == tag);
        found.ok_or_else(|| LoraError::Data {
            path: run.corpus.path(piece),
            problem: format!("its tag {tag:?} is not in the vocabulary (--tags)"),
        })
    };
    piece.tags.iter().map(row).collect()
}

struct TransformerTraining<'a> {
    transformer: DiffusionTransformer,
    tag_vectors: Tensor,
    variables: Variables,
    training: Pieces,
    validation: Pieces,
    lengths: Lengths,
    settings: &'a RunSettings,
    random: Stream,
    device: &'a Device,
}

impl<'a> TransformerTraining<'a> {
    fn prepare(run: &TransformerRun<'a>, progress: &mut dyn Progress) -> Result<Self, LoraError> {
        let random = Stream::new(run.settings.seed).named("transformer");
        let lengths = Lengths::of(run.autoencoder.sample_rate_hz(), run.autoencoder.hop());
        let of = |pieces, progress: &mut dyn Progress| -> Result<Pieces, LoraError> {
            let latents = latents::encode(run, pieces, progress)?;
            Pieces::new(latents, run, &lengths)
        };
        let training = of(&run.corpus.training, progress)?;
        let validation = of(&run.corpus.validation, progress)?;
        let first_values = random.named("first values");
        let given = match run.start {
            Some(start) => start.transformer(run.sizes, run.tags, &first_values)?,
            None => Given::default(),
        };
        let ((transformer, tag_vectors), variables) =
            Variables::initialise(&first_values, &given, ZEROS, run.device, |weights| {
                let root = weights.root();
                let shape = [run.tags.len(), run.sizes.transformer.cond_dim];
                let tag_vectors = root.get(TAG_VECTORS, &shape)?;
                let scope = root.pp("transformer");
                let transformer = DiffusionTransformer::load(&run.sizes.transformer, &scope)?;
                Ok((transformer, tag_vectors))
            })?;
        progress.note(&format!(
            "{} pieces to learn from, {} held out; {:.1} million numbers",
            training.len(),
            validation.len(),
            variables.count() as f64 / 1e6
        ));
        Ok(Self {
            transformer,
            tag_vectors,
            variables,
            training,
            validation,
            lengths,
            settings: run.settings,
            random,
            device: run.device,
        })
    }

    fn loss(&self, batch: &Batch, mode: &Mode) -> Result<Tensor, LoraError> {
        let noised = flow::interpolate(&batch.noise, &batch.data, &batch.time)?;
        let inputs = Inputs {
            x: &noised,
            audio_condition: &batch.data.broadcast_mul(&batch.kept)?,
            text: &batch.text,
            style: &batch.mix.matmul(&self.tag_vectors)?,
            time: &batch.time,
            start_time: &batch.start_time,
            duration: None,
            drops: Drops::default(),
        };
        let predicted = self.transformer.forward(&inputs, mode)?;
        let error = (predicted - flow::velocity(&batch.noise, &batch.data)?)?;
        let error = error.sqr()?.mean_keepdim(2)?;
        // What is kept need not be made.
        let made = batch.kept.affine(-1.0, 1.0)?;
        let count = f64::from(made.sum_all()?.to_scalar::<f32>()?);
        Ok((error.broadcast_mul(&made)?.sum_all()? / count.max(1.0))?)
    }

    fn finish(&self, run: &TransformerRun<'_>, path: &Path) -> Result<(), LoraError> {
        let bad = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            problem,
        };
        let description = Description {
            transformer: run.sizes.transformer.clone(),
            tags: run.tags.to_vec(),
            pulses_per_beat: run.sizes.pulses_per_beat,
            rhythms: rhythms(run),
            autoencoder_id: run.autoencoder.id().to_owned(),
        };
        let text = serde_json::to_string(&description).map_err(|error| bad(error.to_string()))?;
        let tensors = self.variables.values()?;
        let bytes = tensor_file::to_bytes(&tensors, DESCRIPTION, text).map_err(bad)?;
        dataset::write_aside(path, &bytes).map_err(LoraError::file(path))
    }
}

/// Tempi and metres of each tag's pieces. Tags with a value, as `tempo:90` and `key:a-minor`, have none of their own.
fn rhythms(run: &TransformerRun<'_>) -> BTreeMap<String, Rhythm> {
    let of_tag = |tag: &String| {
        let pieces = run.corpus.training.iter();
        let with_tag = pieces.filter(|piece| piece.tags.contains(tag));
        let known: Vec<(f64, usize)> = with_tag
            .filter_map(|piece| Some((piece.tempo_bpm?, piece.beats_per_bar)))
            .collect();
        let rhythm = Rhythm::of_pieces(&known)?;
        // A corpus may hold what no prompt can ask for.
        rhythm.check().is_ok().then(|| (tag.clone(), rhythm))
    };
    let has_value = |tag: &&String| {
        let kinds = ["tempo:", "key:", "metre:", "bars:"];
        kinds.iter().any(|kind| tag.starts_with(kind))
    };
    let of_sound = run.tags.iter().filter(|tag| !has_value(tag));
    of_sound.filter_map(of_tag).collect()
}

/// What the header of [`TRANSFORMER_FILE`] says.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) transformer: Config,
    pub(super) tags: Vec<String>,
    pub(super) pulses_per_beat: usize,
    /// Of the tags, as far as pieces told their tempo.
    #[serde(default)]
    pub(super) rhythms: BTreeMap<String, Rhythm>,
    /// Of the autoencoder whose latents it knows.
    pub(super) autoencoder_id: String,
}

impl Objective for TransformerTraining<'_> {
    fn variables(&self) -> &Variables {
        &self.variables
    }

    fn is_hidden_matrix(&self, name: &str) -> bool {
        name.contains("transformer_blocks") && name.ends_with("weight")
    }

    fn gradients(&self, step: usize) -> Result<(f64, GradStore), LoraError> {
        let random = self.random.at(step as u64);
        let frames = self.lengths.draw(&random.named("length"));
        let items = self.lengths.items(self.settings.batch_size, frames);
        let chosen: Vec<usize> = (0..items)
            .map(|item| {
                random
                    .named("piece")
                    .at(item as u64)
                    .below(self.training.len())
            })
            .collect();
        let selection = Selection {
            frames,
            with_drops: true,
            random: random.named("batch"),
        };
        let batch = self.training.batch(&chosen, &selection, self.device)?;
        let whole = batch.made_frames()?;
        let (loss, gradients) = gradients_in_shares(items, self.device, |number, part| {
            let part = batch.items(part)?;
            let share = part.made_frames()? / whole;
            let mode = Mode::Training {
                dropout: random.named("dropout").at(number as u64),
                checkpoints: None,
            };
            let loss = (self.loss(&part, &mode)? * share)?;
            let value = f64::from(loss.to_scalar::<f32>()?);
            Ok::<_, LoraError>((value, gradients_of_variables(&loss)?))
        })?;
        let gradients = gradients
            .ok_or_else(|| candle_core::Error::Msg("a training step without a piece".to_owned()))?;
        Ok((loss, gradients))
    }

    fn validation(&self) -> Result<(f64, String), LoraError> {
        let all: Vec<usize> = (0..self.validation.len().min(VALIDATION_PIECES)).collect();
        let random = Stream::new(99).named("validation");
        let (mut sum, mut count) = (0.0, 0usize);
        for (number, chosen) in all.chunks(self.settings.batch_size).enumerate() {
            let selection = Selection {
                frames: self.lengths.shortest(),
                with_drops: false,
                random: random.at(number as u64),
            };
            let batch = self.validation.batch(chosen, &selection, self.device)?;
            let loss = self.loss(&batch, &Mode::Inference)?.to_scalar::<f32>()?;
            sum += f64::from(loss) * chosen.len() as f64;
            count += chosen.len();
        }
        Ok((sum / count.max(1) as f64, String::new()))
    }
}
