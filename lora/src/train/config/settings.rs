//! The list of settings: each one's name, flag, meaning, unit and default, said once.

use std::path::PathBuf;

use nn::WeightPrecision;
use serde::{Deserialize, Serialize};

use super::choices::{
    AdapterMethod, Checkpointing, LossWeighting, PatternValue, RankScale, TimeSampling,
};
use super::defaults::{BaseDefaults, adapter_name, default_run_dir};
use crate::adapter::Targets;
use crate::device::DeviceChoice;
use crate::models::EMBEDDED_NAME;
use crate::train::data::Augmentation;
use crate::train::fit::MemorySize;

/// What defaults depend on.
pub(super) struct Context {
    /// The base's own.
    pub base: BaseDefaults,
    /// The adapter's file.
    pub out: PathBuf,
    /// How layers are changed.
    pub method: AdapterMethod,
}

/// Makes the two structures of the settings, as a user gives them (all optional) and as a run has them (complete), and the ways between.
/// `given` settings always have a value in a run; `open` ones may stay unset; those of the `machine` belong to where a run goes on and not
/// to the run, which may be resumed elsewhere: no run keeps them.
macro_rules! settings {
    (
        $context:ident;
        machine { $( $(#[$machine_doc:meta])+ $machine:ident: $machine_type:ty, ($($machine_flag:tt)*); )* }
        open { $( $(#[$open_doc:meta])+ $open:ident: $open_type:ty, ($($open_flag:tt)*); )* }
        given { $( $(#[$doc:meta])+ $name:ident: $type:ty = $default:expr, ($($flag:tt)*); )* }
    ) => {
        /// What a user may set, in a TOML file or by flags of the same names. Unset means the default.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[cfg_attr(feature = "cli", derive(clap::Args))]
        pub struct TrainSettings {
            $(
                $(#[$machine_doc])+
                #[cfg_attr(feature = "cli", arg($($machine_flag)*))]
                pub $machine: Option<$machine_type>,
            )*
            $(
                $(#[$open_doc])+
                #[cfg_attr(feature = "cli", arg($($open_flag)*))]
                pub $open: Option<$open_type>,
            )*
            $(
                $(#[$doc])+
                #[cfg_attr(feature = "cli", arg($($flag)*))]
                pub $name: Option<$type>,
            )*
        }

        /// The resolved configuration of a run.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct TrainConfig {
            $( $(#[$open_doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $open: Option<$open_type>, )*
            $( $(#[$doc])+ pub $name: $type, )*
        }

        impl From<TrainConfig> for TrainSettings {
            fn from(config: TrainConfig) -> Self {
                Self {
                    $( $machine: None, )*
                    $( $open: config.$open, )*
                    $( $name: Some(config.$name), )*
                }
            }
        }

        impl TrainSettings {
            /// All names, as they stand in a file.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($machine),)* $(stringify!($open),)* $(stringify!($name),)*];

            /// The names of those that are set.
            pub fn given(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$machine.is_some() { names.push(stringify!($machine)); } )*
                $( if self.$open.is_some() { names.push(stringify!($open)); } )*
                $( if self.$name.is_some() { names.push(stringify!($name)); } )*
                names
            }

            pub(super) fn filled_from(self, lower: Self) -> Self {
                Self {
                    $( $machine: self.$machine.or(lower.$machine), )*
                    $( $open: self.$open.or(lower.$open), )*
                    $( $name: self.$name.or(lower.$name), )*
                }
            }

            pub(super) fn completed(self, $context: &Context) -> TrainConfig {
                TrainConfig {
                    $( $open: self.$open, )*
                    $( $name: self.$name.unwrap_or_else(|| $default), )*
                }
            }
        }
    };
}

settings! {
    context;
    machine {
        /// Where the transformer runs: auto, cpu, cuda or cuda:N; a run does not keep it [default: auto].
        device: DeviceChoice, (long, value_name = "DEVICE");
        /// Threads; a run does not keep it [default: RAYON_NUM_THREADS, or as many as there are physical cores, shared among the
        /// processes of mpirun].
        threads: usize, (long, value_name = "N");
    }
    open {
        /// The released model's autoencoder, a file or its folder, if it is not beside the model.
        vae: PathBuf, (long, value_name = "PATH");
        /// Whether the released model's attention is causal, if its name does not tell.
        causal: bool, (long, value_name = "BOOL");
        /// Folder with MuQ-MuLan, which gives each piece its style vector for a released song model [default: the one in the Hugging Face
        /// cache, if it is there].
        style_encoder: PathBuf, (long, value_name = "DIR");
        /// DiffRhythm's folder g2p/sources, for Chinese lyrics.
        lyrics_data: PathBuf, (long, value_name = "DIR");
        /// Memory that the run may take, such as 8GB: settings that are not given are chosen so that it fits.
        memory: MemorySize, (long, value_name = "SIZE");
        /// Passes over the training pieces; --steps wins if both are set.
        epochs: usize, (long);
        /// Rows and columns of a LoKr's outer factor, about [default: the root of the layer's].
        lokr_factor: usize, (long, value_name = "NUMBER");
        /// Mean of the normal distribution whose sigmoid is the flow time, for --time-sampling logit-normal [default: 0].
        time_mean: f64, (long, value_name = "NUMBER", allow_negative_numbers = true);
        /// Standard deviation of that distribution [default: 1].
        time_deviation: f64, (long, value_name = "NUMBER");
        /// The gamma of --loss-weighting min-snr, a signal-to-noise ratio [default: 5].
        min_snr_gamma: f64, (long, value_name = "RATIO");
    }
    given {
        /// Base model: `embedded`, a released model's name (lora-infer --list-models shows them), or a path [default: embedded].
        model: String = EMBEDDED_NAME.to_owned(), (long);
        /// Folder with pieces and manifest.jsonl, made by cut-music.
        data: PathBuf = PathBuf::new(), (long, value_name = "DIR");
        /// Where the adapter goes [default: style.safetensors].
        out: PathBuf = context.out.clone(), (long, value_name = "FILE");
        /// Folder for metrics, report, previews, configuration and checkpoints [default: runs/NAME after the adapter's name].
        run_dir: PathBuf = default_run_dir(&context.out), (long, value_name = "DIR");
        /// Optimizer steps [default: 300].
        steps: usize = context.base.steps, (long);
        /// Crops in one forward pass [default: 8].
        batch_size: usize = 8, (long);
        /// Batches whose gradients are added up for one step: the step sees batch-size times this many crops, of each
        /// process under mpirun [default: 1].
        accumulate: usize = 1, (long, value_name = "BATCHES");
        /// Seed of initial weights, order, crops, noise and dropout, up to 2^63 - 1 [default: 0].
        seed: u64 = 0, (long);
        /// How layers are changed: lora, dora or lokr [default: lora].
        method: AdapterMethod = AdapterMethod::default(), (long, value_enum, value_name = "METHOD");
        /// Rank of the adapter [default: 8].
        rank: usize = 8, (long);
        /// The adapter's output is scaled by alpha / rank [default: 16].
        alpha: f64 = 16.0, (long);
        /// What alpha is divided by: `rank`, or `sqrt-rank` as in rsLoRA, which keeps high ranks from fading [default: rank].
        rank_scale: RankScale = RankScale::default(), (long, value_enum, value_name = "SCALE");
        /// Ranks of layers that match a pattern, as PATTERN=RANK; the first that matches holds.
        rank_pattern: Vec<PatternValue<usize>> = Vec::new(), (long, value_delimiter = ',', value_name = "PATTERN=RANK");
        /// Alphas of layers that match a pattern, as PATTERN=ALPHA; the first that matches holds.
        alpha_pattern: Vec<PatternValue<f64>> = Vec::new(), (long, value_delimiter = ',', value_name = "PATTERN=ALPHA");
        /// Whether both factors of a LoKr are low-rank products where they are large enough [default: false].
        lokr_decompose_both: bool = false, (long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true");
        /// Dropout on the adapter's input while training, 0 to below 1 [default: 0.25; LoKr has none].
        dropout: f64 = if context.method == AdapterMethod::Lokr { 0.0 } else { 0.25 }, (long);
        /// Layers to adapt, patterns over their names [default: attention projections, time networks, final norm, output].
        include: Vec<String> = Targets::default().include, (long, value_delimiter = ',', value_name = "PATTERN");
        /// Layers to leave alone all the same.
        exclude: Vec<String> = Vec::new(), (long, value_delimiter = ',', value_name = "PATTERN");
        /// Peak learning rate [default: 2e-3 for the embedded base, 2e-4 for others].
        learning_rate: f64 = context.base.learning_rate, (long);
        /// The factors B learn at this multiple of the rate, as in LoRA+ (which found 16 good) [default: 1].
        output_rate_ratio: f64 = 1.0, (long, value_name = "RATIO");
        /// Decoupled weight decay [default: 0.01].
        weight_decay: f64 = 0.01, (long);
        /// Steps of linear warm-up [default: 20].
        warm_up_steps: usize = 20, (long);
        /// The cosine schedule ends at this share of the peak rate [default: 0.1].
        final_rate_ratio: f64 = 0.1, (long);
        /// Largest global norm of the gradient; 0 turns clipping off [default: 1].
        gradient_clip: f64 = 1.0, (long);
        /// Keep a running mean of the adapter with this memory a step, such as 0.999, and make that the result; 0 keeps none [default: 0].
        ema_decay: f64 = 0.0, (long);
        /// How the flow time of each crop is drawn: `base` as the base was trained, `uniform`, or `logit-normal` [default: base].
        time_sampling: TimeSampling = TimeSampling::default(), (long, value_enum, value_name = "HOW");
        /// What the loss of a crop weighs by its flow time t: `none`, the same at all times, or `min-snr`, min(t^2, gamma (1 - t)^2), the
        /// flow's form of min-SNR: less near noise and near data. The losses that are measured on held-out songs stay without [default: none].
        loss_weighting: LossWeighting = LossWeighting::default(), (long, value_enum, value_name = "HOW");
        /// Length of a training crop in seconds [default: 6, or all that a song model makes].
        crop_secs: f64 = context.base.crop_secs, (long);
        /// Fill every crop with silence up to the length of the model, as the reference does: its text path and full attention feel the
        /// length of a batch. Takes the time and memory of whole songs [default: false, true with --preset diffrhythm-opera].
        pad_to_model: bool = false, (long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true");
        /// Share of crops trained without their style, for guidance [default: 0.15].
        style_drop: f64 = 0.15, (long);
        /// Share of crops trained without their lyrics, for guidance [default: 0.15].
        text_drop: f64 = 0.15, (long);
        /// Share of crops trained with the trigger alone, without the piece's tags [default: 0].
        tag_drop: f64 = 0.0, (long);
        /// How many times an epoch visits the pieces of a recording, as NAME=TIMES; NAME is part of the recording's path.
        repeats: Vec<PatternValue<usize>> = Vec::new(), (long, value_delimiter = ',', value_name = "NAME=TIMES");
        /// Changed forms of the pieces to train on too: swap (left and right), polarity, gain (3 dB down and up); each is encoded once.
        augment: Vec<Augmentation> = Vec::new(), (long, value_enum, value_delimiter = ',', value_name = "KIND");
        /// Tempos to train on too, as multiples of a piece's own from 0.5 to 2, such as 0.9,1.1: a form each, stretched at the same pitch.
        augment_tempo: Vec<f64> = Vec::new(), (long, value_delimiter = ',', value_name = "MULTIPLE");
        /// Pitches to train on too, in whole semitones from -12 to 12, such as -2,2: a form each, shifted at the same tempo.
        augment_pitch: Vec<i32> = Vec::new(), (long, value_delimiter = ',', value_name = "SEMITONES", allow_hyphen_values = true);
        /// Clips of the base's own that every step trains on beside the pieces, so that what the base knows stays; 0 for none [default: 0].
        prior_clips: usize = 0, (long, value_name = "CLIPS");
        /// What the loss on these clips weighs beside that on the pieces [default: 1].
        prior_weight: f64 = 1.0, (long, value_name = "WEIGHT");
        /// Stop after this many epochs without improvement on the held-out songs [default: 200].
        patience_epochs: usize = 200, (long);
        /// An improvement counts from this share of the best validation loss [default: 0.01].
        minimum_improvement: f64 = 0.01, (long);
        /// Words that call the style, kept in the adapter's metadata [default: the adapter's name].
        trigger_words: Vec<String> = vec![adapter_name(&context.out)], (long, value_delimiter = ',', value_name = "WORD");
        /// Steps between checkpoints; a stop or crash costs at most as many [default: 50].
        checkpoint_steps: usize = 50, (long);
        /// Checkpoints kept; older ones are removed [default: 2].
        keep: usize = 2, (long, value_name = "CHECKPOINTS");
        /// Steps between lines of figures in metrics.jsonl [default: 10].
        log_steps: usize = 10, (long);
        /// Write event files for TensorBoard into the run folder [default: true].
        tensorboard: bool = true, (long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true");
        /// Steps between previews, clips with and without the adapter as WAV; 0 makes none [default: 100, none for song models].
        preview_steps: usize = context.base.preview_steps, (long);
        /// Clips in a preview, each of a fixed seed [default: 2].
        preview_clips: usize = 2, (long);
        /// Length of a preview in seconds, at most what the base makes [default: 6].
        preview_secs: f64 = 6.0, (long);
        /// Keep the base's weights in f32, f16, bf16, int8 or nf4 (QLoRA's 4 bits): less memory; the adapter itself is trained in f32 [default: f32, or the 16
        /// bits of a released model's file].
        weights: WeightPrecision = context.base.weights, (long, value_name = "PRECISION");
        /// Keep only what enters each block and compute it again on the way back: less memory, a third more time, the same result to the
        /// last bit. `on`, `off`, a share of the blocks such as 0.5, or `auto`, which does it where it saves a gigabyte or more
        /// [default: auto].
        checkpointing: Checkpointing = Checkpointing::default(), (long, value_name = "WHEN");
        /// Train as the original LoRA project does where it errs: dropout is not executed, the rate climbs back in the second half, early
        /// stopping watches the training loss, a batch drops its conditions together. For comparison with it [default: false].
        reference_defects: bool = false, (long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true");
    }
}
