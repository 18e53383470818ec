//! Kinds of cases: how each is recognised, and what it runs.

mod diffrhythm;
mod diffrhythm_vae;
mod four_bit;
mod lyrics;
mod muq;
mod oobleck;
mod sampling;
mod stable_audio;
mod stable_audio_lora;
mod training;

use crate::case::{Case, read_json};
use crate::error::ParityError;
use crate::report::{Outcome, Report};
use nn::AdamWOptions;

/// What a case is of. The folder's name does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `a_oobleck`
    Oobleck,
    /// `b_stable_audio_dit`
    StableAudio,
    /// `d_lora_dit`, `d2_lora_pattern_rslora`
    StableAudioLora,
    /// `dr_dit`, `dr_dit_full`
    DiffRhythm,
    /// `dr_cfm_sample`
    Sampling,
    /// `dr_train`
    Training,
    /// `dr_vae`
    DiffRhythmVae,
    /// `muq`
    Muq,
    /// `dr_lyrics`
    Lyrics,
    /// `i_nf4`
    FourBit,
}

impl Kind {
    /// The kind of a case, told from its notes and files; none if no kind here fits.
    pub fn of(case: &Case) -> Option<Self> {
        let notes = case.notes();
        let noted = |keys: &[&str]| keys.iter().all(|key| !notes[*key].is_null());
        let class =
            |file: &str| read_json(&case.path(file)).map(|file| file["_class_name"].clone());
        let stable_audio =
            || class("transformer/config.json").is_ok_and(|name| name == "StableAudioDiTModel");
        if noted(&["runs"]) && case.names().any(|name| name.ends_with(".y0")) {
            Some(Self::Sampling)
        } else if noted(&["trajectory", "lora"]) && case.has("in.latent") {
            Some(Self::Training)
        } else if notes["config"]["model_type"] == "diffrhythm" && noted(&["calls"]) {
            Some(Self::DiffRhythm)
        } else if notes["config"]["c_mults"].is_array() && case.has("encode") {
            Some(Self::DiffRhythmVae)
        } else if noted(&["muq_config"]) {
            Some(Self::Muq)
        } else if noted(&["block", "dq_blocksize2"]) && case.has("weight") {
            Some(Self::FourBit)
        } else if noted(&["lrc", "g2p_en"]) {
            Some(Self::Lyrics)
        } else if class("vae/config.json").is_ok_and(|name| name == "AutoencoderOobleck")
            && case.has("parameters")
        {
            Some(Self::Oobleck)
        } else if stable_audio() && case.has_file("lora/adapter_config.json") {
            Some(Self::StableAudioLora)
        } else if stable_audio() && case.has("enc") && case.has("glob") {
            Some(Self::StableAudio)
        } else {
            None
        }
    }

    /// What cases of this kind are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oobleck => "Oobleck, diffusers' layout",
            Self::StableAudio => "Stable Audio's transformer",
            Self::StableAudioLora => "LoRA on Stable Audio's transformer",
            Self::DiffRhythm => "DiffRhythm's transformer",
            Self::Sampling => "DiffRhythm's sampling",
            Self::Training => "LoRA on DiffRhythm's transformer",
            Self::DiffRhythmVae => "Oobleck, stable-audio-tools' layout",
            Self::Muq => "MuQ-MuLan",
            Self::Lyrics => "DiffRhythm's lyrics",
            Self::FourBit => "bitsandbytes' 4-bit weights",
        }
    }

    /// What may differ by how much of the largest expected value, on the CPU.
    pub fn tolerances(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Oobleck => oobleck::TOLERANCES,
            Self::StableAudio => stable_audio::TOLERANCES,
            Self::StableAudioLora => stable_audio_lora::TOLERANCES,
            Self::DiffRhythm => diffrhythm::TOLERANCES,
            Self::Sampling => sampling::TOLERANCES,
            Self::Training => training::TOLERANCES,
            Self::DiffRhythmVae => diffrhythm_vae::TOLERANCES,
            Self::Muq => muq::TOLERANCES,
            Self::Lyrics => lyrics::TOLERANCES,
            Self::FourBit => four_bit::TOLERANCES,
        }
    }

    /// Runs a case of this kind.
    ///
    /// # Errors
    /// When it cannot be run to its end; what is over its tolerance is no error but part of the outcome.
    pub fn run(self, case: &Case) -> Result<Outcome, ParityError> {
        let mut report = Report::new(case);
        let run = match self {
            Self::Oobleck => oobleck::run,
            Self::StableAudio => stable_audio::run,
            Self::StableAudioLora => stable_audio_lora::run,
            Self::DiffRhythm => diffrhythm::run,
            Self::Sampling => sampling::run,
            Self::Training => training::run,
            Self::DiffRhythmVae => diffrhythm_vae::run,
            Self::Muq => muq::run,
            Self::Lyrics => lyrics::run,
            Self::FourBit => four_bit::run,
        };
        run(case, &mut report)?;
        Ok(report.finish())
    }
}

/// What the notes say about AdamW.
fn optimizer_options(case: &Case) -> Result<AdamWOptions, ParityError> {
    let betas: [f64; 2] = case.note("/adamw/betas")?;
    let number = |key: &str| case.note::<f64>(&format!("/adamw/{key}"));
    Ok(AdamWOptions {
        beta1: betas[0],
        beta2: betas[1],
        epsilon: number("eps")?,
        weight_decay: number("weight_decay")?,
    })
}
