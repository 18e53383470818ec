//! The released models that have a name here: where they are published, what they are, under which terms.

/// One file of a repository on the Hugging Face hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// `owner/name`.
    pub repository: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// About how large it is; from the number of weights, for the published sizes were not looked up.
    pub about_megabytes: u32,
    /// Its licence, in words.
    pub licence: &'static str,
    /// The flag that names the file, or its folder, where it is elsewhere.
    pub flag: &'static str,
}

/// A released model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownModel {
    /// What `--model` calls it.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The transformer's checkpoint.
    pub transformer: RemoteFile,
    /// The autoencoder.
    pub autoencoder: RemoteFile,
    /// Longest sequence in latent frames.
    pub max_frames: usize,
    /// Whether frames see earlier frames only.
    pub causal: bool,
    /// Points of the time grid in its own pipeline, and its guidance.
    pub sampling: (usize, f64),
    /// Where sizes and settings are from.
    pub source: &'static str,
}

/// The encoder of style prompts and its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StyleEncoder {
    /// What it is.
    pub summary: &'static str,
    /// Both towers' weights, and their configuration.
    pub files: [RemoteFile; 2],
    /// Configuration of the audio tower's model; what it says is known without it, so it is not fetched.
    pub audio_config: RemoteFile,
    /// Tokenizer of the text tower's model, for words.
    pub tokenizer: RemoteFile,
}

const APACHE: &str = "Apache-2.0";
const NOT_STATED: &str = "not stated in the project's own documents; read the model's page";
const STYLE_ENCODER_FLAG: &str = "--style-encoder";
const NON_COMMERCIAL: &str = "CC-BY-NC-4.0, NON-COMMERCIAL";

const DIFFRHYTHM_SOURCE: &str = "ASLP-lab/DiffRhythm: config/diffrhythm-1b.json, infer/infer.py";
/// Before commit fce85e5 of 2025-05-08 no mask was passed, which made attention causal; the original LoRA project is of that time.
const V1_SOURCE: &str = "ASLP-lab/DiffRhythm before 2025-05-08: config/diffrhythm-1b.json; sampling as the LoRA project zachyu-1231/lora-music-generation, lora_infer.py";

const fn diffrhythm(repository: &'static str) -> RemoteFile {
    RemoteFile {
        repository,
        file: "cfm_model.pt",
        about_megabytes: 2_220,
        licence: APACHE,
        flag: "--model",
    }
}

const DIFFRHYTHM_AUTOENCODER: RemoteFile = RemoteFile {
    repository: "ASLP-lab/DiffRhythm-vae",
    file: "vae_model.pt",
    about_megabytes: 630,
    licence: NOT_STATED,
    flag: "--vae",
};

/// Every released model with a name.
pub const KNOWN_MODELS: &[KnownModel] = &[
    KnownModel {
        name: "diffrhythm-base",
        summary: "songs of 95 s from lyrics and a style; what the original LoRA project adapted",
        transformer: diffrhythm("ASLP-lab/DiffRhythm-base"),
        autoencoder: DIFFRHYTHM_AUTOENCODER,
        max_frames: 2048,
        causal: true,
        sampling: (64, 3.0),
        source: V1_SOURCE,
    },
    KnownModel {
        name: "diffrhythm-full",
        summary: "songs of up to 285 s",
        transformer: diffrhythm("ASLP-lab/DiffRhythm-full"),
        autoencoder: DIFFRHYTHM_AUTOENCODER,
        max_frames: 6144,
        causal: true,
        sampling: (64, 3.0),
        source: V1_SOURCE,
    },
    KnownModel {
        name: "diffrhythm-v1.2",
        summary: "songs of 95 s, edits and continuations",
        transformer: diffrhythm("ASLP-lab/DiffRhythm-1_2"),
        autoencoder: DIFFRHYTHM_AUTOENCODER,
        max_frames: 2048,
        causal: false,
        sampling: (32, 4.0),
        source: DIFFRHYTHM_SOURCE,
    },
    KnownModel {
        name: "diffrhythm-v1.2-full",
        summary: "songs of up to 285 s, edits and continuations",
        transformer: diffrhythm("ASLP-lab/DiffRhythm-1_2-full"),
        autoencoder: DIFFRHYTHM_AUTOENCODER,
        max_frames: 6144,
        causal: false,
        sampling: (32, 4.0),
        source: DIFFRHYTHM_SOURCE,
    },
];

/// The encoder that DiffRhythm's styles come from.
pub const STYLE_ENCODER: StyleEncoder = StyleEncoder {
    summary: "MuQ-MuLan: style vectors from sound or words, for --style-audio and --prompt",
    files: [
        RemoteFile {
            repository: "OpenMuQ/MuQ-MuLan-large",
            file: "config.json",
            about_megabytes: 1,
            licence: NON_COMMERCIAL,
            flag: STYLE_ENCODER_FLAG,
        },
        RemoteFile {
            repository: "OpenMuQ/MuQ-MuLan-large",
            file: "pytorch_model.bin",
            about_megabytes: 2_700,
            licence: NON_COMMERCIAL,
            flag: STYLE_ENCODER_FLAG,
        },
    ],
    audio_config: RemoteFile {
        repository: "OpenMuQ/MuQ-large-msd-iter",
        file: "config.json",
        about_megabytes: 1,
        licence: NON_COMMERCIAL,
        flag: STYLE_ENCODER_FLAG,
    },
    tokenizer: RemoteFile {
        repository: "FacebookAI/xlm-roberta-base",
        file: "tokenizer.json",
        about_megabytes: 9,
        licence: "MIT",
        flag: STYLE_ENCODER_FLAG,
    },
};

impl KnownModel {
    /// The model of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_MODELS.iter().find(|known| known.name == name)
    }
}
