//! Adapters as people have them, told apart by their tensors' names.
//!
//! | what | names and alpha | source |
//! |---|---|---|
//! | Lorelei's own file | PEFT's names; a description in the header | [`super::file`] |
//! | PEFT, folder or file | `base_model.model.LAYER.lora_A.weight`, older ones `.lora_A.default.weight`; `adapter_config.json` | peft 0.21 |
//! | the original project's `.pt` | `lora_state_dict` with `LAYER.lora_A` `[inputs, rank]`; alpha is 16 in its code | `Lora.py` of lora-music-generation |
//! | ComfyUI, kohya, LoRAW | `PREFIX.LAYER.lora_down.weight`, `lora_unet_...`; tensors `.alpha`, `.dora_scale` | `comfy/lora.py`, sd-scripts |
//! | diffusers | `transformer.LAYER.lora_A.weight`; PEFT's settings in the header | diffusers 0.42 |
//! | LyCORIS | `lycoris_...lokr_w1` (`_a`, `_b`), `lokr_w2` (`_a`, `_b`) | lycoris-lora 4.1 |
//! | Stable Audio 3 | `LAYER.parametrizations.weight.0.lora_A`; `lora_config` in the header | stable-audio-3 |
//!
//! A tensor with another name is an error. Layers keep the file's names until a model gives its own ([`super::names`]).

mod assemble;
mod keys;
mod settings;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use checkpoint::{OtherValue, TensorFile, shorten};
use nn::Delta;

use super::{Adapter, AdapterDescription, AdapterFormat, LayerFactors, Targets, file};
use crate::error::LoraError;
use assemble::{Assumed, Parts, Scales};
use keys::{Dialect, Part};
use settings::Settings;
pub(super) use settings::{DIFFUSERS, STABLE_AUDIO_3};
pub(super) use values::to_f32;

/// PEFT's file names in a folder (`save_pretrained`).
pub(super) const PEFT_CONFIG: &str = "adapter_config.json";
pub(super) const PEFT_WEIGHTS: &str = "adapter_model.safetensors";
const PEFT_WEIGHTS_PICKLED: &str = "adapter_model.bin";
/// The original's dict in its pickle.
pub(super) const ORIGINAL_DICT: &str = "lora_state_dict.";
/// The original's `lora_config['alpha']`, which its files do not hold.
pub(super) const ORIGINAL_ALPHA: f64 = 16.0;
/// Where files written here say another.
pub(super) const ORIGINAL_ALPHA_KEY: &str = "alpha";
/// The header's key for the description of an adapter in the layout of another program.
pub(super) const PASSED_ON: &str = "lorelei_description";
/// Parts of the names of adapters' tensors, of methods that are not read here.
const OTHER_METHODS: [&str; 7] = ["lora", "lokr", "hada_", "ia3", "oft", "vera_", "glora"];
/// Names that are shown of a file that is no adapter at all.
const MOST_SHOWN: usize = 3;
/// PEFT puts it before the names in files, not before those that its patterns are for.
const PEFT_PREFIX: &str = "base_model.model.";

impl Adapter {
    /// Reads an adapter of any layout that is known here; see the table in `adapter/read.rs`. Where a file says no alpha, the layout's
    /// customary one is taken, and a warning logged.
    ///
    /// # Errors
    /// That name the file: damaged, a tensor that belongs to no known method, factors that do not belong together, numbers that are none.
    pub fn load(path: &Path, device: &Device) -> Result<Self, LoraError> {
        Self::load_with_alpha(path, None, device)
    }

    /// The same with the alpha of files that do not say theirs.
    ///
    /// # Errors
    /// As [`Adapter::load`], and when the file says another alpha itself.
    pub fn load_with_alpha(
        path: &Path,
        alpha: Option<f64>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let place = Place::of(path)?;
        let tensors = TensorFile::open(&place.weights)?;
        let bad = |problem: String| LoraError::BadFile {
            path: path.to_owned(),
            // Names of layers are in it, which may hold what a terminal would obey.
            problem: problem.replace(|letter: char| letter.is_control() && letter != '\n', " "),
        };
        if file::is_own(&tensors) {
            return file::read(&tensors, alpha, device).map_err(bad);
        }
        let settings = place.settings()?;
        foreign(&tensors, settings, alpha, device, place.is_folder).map_err(bad)
    }
}

/// The file of weights in a folder that is PEFT's.
pub(crate) fn peft_weights(folder: &Path) -> Option<PathBuf> {
    let candidates = [PEFT_WEIGHTS, PEFT_WEIGHTS_PICKLED].map(|name| folder.join(name));
    let has_config = folder.join(PEFT_CONFIG).is_file();
    let mut found = candidates.into_iter().filter(|path| path.is_file());
    found.next().filter(|_| has_config)
}

/// The files that a path stands for.
struct Place {
    weights: PathBuf,
    config: Option<PathBuf>,
    is_folder: bool,
}

impl Place {
    fn of(path: &Path) -> Result<Self, LoraError> {
        if path.is_dir() {
            return match peft_weights(path) {
                Some(weights) => Ok(Self {
                    weights,
                    config: Some(path.join(PEFT_CONFIG)),
                    is_folder: true,
                }),
                None => Err(LoraError::BadFile {
                    path: path.to_owned(),
                    problem: format!(
                        "no adapter folder of PEFT: it needs {PEFT_CONFIG} and {PEFT_WEIGHTS} (or {PEFT_WEIGHTS_PICKLED}); name the adapter's file instead, or complete the folder"
                    ),
                }),
            };
        }
        // PEFT's file, named without its folder.
        let name = path.file_name().and_then(|name| name.to_str());
        let config = path.with_file_name(PEFT_CONFIG);
        let is_pefts =
            name.is_some_and(|name| [PEFT_WEIGHTS, PEFT_WEIGHTS_PICKLED].contains(&name));
        Ok(Self {
            weights: path.to_owned(),
            config: (is_pefts && config.is_file()).then_some(config),
            is_folder: false,
        })
    }

    fn settings(&self) -> Result<Option<Settings>, LoraError> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(LoraError::file(path))?;
        let settings = Settings::from_peft(&text).map_err(|problem| LoraError::BadFile {
            path: path.clone(),
            problem,
        })?;
        Ok(Some(settings))
    }
}

/// Every tensor of the file by layer and part.
struct Sorted {
    layers: BTreeMap<String, Parts>,
    dialects: BTreeSet<Dialect>,
}

fn sort(tensors: &TensorFile, device: &Device) -> Result<Sorted, String> {
    let mut sorted = Sorted {
        layers: BTreeMap::new(),
        dialects: BTreeSet::new(),
    };
    let mut unknown = Vec::new();
    for name in tensors.names() {
        let own = name.strip_prefix(ORIGINAL_DICT).unwrap_or(name);
        let Some(key) = keys::parse(own) else {
            unknown.push(name);
            continue;
        };
        let mut tensor = values::tensor(tensors, name, device)?;
        if key.dialect == Dialect::Original && matches!(key.part, Part::A | Part::B) {
            let turned = tensor.t().and_then(|turned| turned.contiguous());
            tensor = turned.map_err(|error| format!("tensor {name:?}: {error}"))?;
        }
        sorted.dialects.insert(key.dialect);
        let layer = key.layer.strip_prefix(PEFT_PREFIX).unwrap_or(key.layer);
        let parts = sorted.layers.entry(layer.to_owned()).or_default();
        if parts.insert(key.part, tensor).is_some() {
            return Err(format!(
                "two tensors are {:?} of layer {layer} (the second is {name:?}); the file holds more than one adapter: save one alone",
                key.part
            ));
        }
    }
    match unknown.as_slice() {
        [] if sorted.layers.is_empty() => {
            Err("no tensors in it; train or download it again".to_owned())
        }
        [] => Ok(sorted),
        unknown
            if sorted.layers.is_empty()
                && unknown.len() > MOST_SHOWN
                && !is_other_method(unknown) =>
        {
            Err(format!(
                "none of its {} tensors is an adapter's. Whole models are no adapters: one is given with --model. The first of them:{}",
                unknown.len(),
                shown(&unknown[..MOST_SHOWN])
            ))
        }
        unknown => Err(format!(
            "{} of its {} tensors belong to no adapter method that is known here (LoRA, DoRA, LoKr). Whole models are no adapters; other \
             methods can be merged into the base by the program that trained them. The tensors:{}",
            unknown.len(),
            tensors.names().count(),
            shown(unknown)
        )),
    }
}

/// Whether names look like those of adapters of methods that are not read here.
fn is_other_method(names: &[&str]) -> bool {
    let mut names = names.iter();
    names.any(|name| OTHER_METHODS.iter().any(|part| name.contains(part)))
}

/// All names, one a line: they come from a file, and go to a terminal.
fn shown(names: &[&str]) -> String {
    let lines = names.iter().map(|name| format!("\n  {}", shorten(name)));
    lines.collect()
}

/// An adapter that another program made.
fn foreign(
    tensors: &TensorFile,
    settings: Option<Settings>,
    alpha: Option<f64>,
    device: &Device,
    is_folder: bool,
) -> Result<Adapter, String> {
    let Sorted { layers, dialects } = sort(tensors, device)?;
    let settings = match settings {
        Some(settings) => Some(settings),
        None => Settings::from_metadata(tensors.metadata())?
            .or_else(|| original_alpha(tensors).map(Settings::of_alpha)),
    };
    let format = format(tensors, &layers, &dialects, is_folder);
    let scales = Scales {
        settings: settings.as_ref(),
        alpha,
        assumed: match format {
            AdapterFormat::Original => Assumed::Alpha(ORIGINAL_ALPHA),
            _ => Assumed::Rank,
        },
    };
    let mut assumed = None;
    let mut read = BTreeMap::new();
    for (name, parts) in layers {
        let (factors, is_assumed) = assemble::layer(&name, parts, &scales)?;
        check_method(&name, &factors, settings.as_ref())?;
        if is_assumed {
            assumed = Some(factors.alpha());
        }
        read.insert(name, factors);
    }
    if let Some(alpha) = assumed {
        tracing::warn!(
            "{}: it does not say its alpha; {alpha} is taken, as {format} has it (lora-convert --alpha N states another)",
            tensors.origin()
        );
    }
    let dropout = settings.as_ref().map_or(0.0, |settings| settings.dropout);
    let mut metadata = tensors.metadata().clone();
    let mut description = describe(&read, dropout, tensors);
    if let Some(text) = metadata.remove(PASSED_ON) {
        passed_on(&mut description, &text)?;
    }
    let stated_base = settings.and_then(|settings| settings.base);
    Ok(Adapter {
        description,
        layers: read,
        trigger: None,
        format,
        stated_base: stated_base.or_else(|| base_in_header(&metadata)),
        metadata,
    })
}

/// What [`super::write`] put into the header of another layout: all that its tensors do not say.
fn passed_on(description: &mut AdapterDescription, text: &str) -> Result<(), String> {
    let told: AdapterDescription = serde_json::from_str(text)
        .map_err(|error| format!("{PASSED_ON:?} in its header does not parse: {error}"))?;
    *description = AdapterDescription {
        format: description.format,
        rank: description.rank,
        alpha: description.alpha,
        targets: std::mem::take(&mut description.targets),
        ..told
    };
    Ok(())
}

/// Where programs of kohya's kind say what they trained on (`sd-scripts`, `sd-model-spec`).
fn base_in_header(metadata: &BTreeMap<String, String>) -> Option<String> {
    let keys = [
        "ss_sd_model_name",
        "ss_base_model_version",
        "modelspec.architecture",
    ];
    let named = keys.iter().find_map(|key| metadata.get(*key));
    named.filter(|name| !name.is_empty()).cloned()
}

/// The alpha beside the original's dict; its own programs write none, [`super::write`] does where it is not 16.
fn original_alpha(tensors: &TensorFile) -> Option<f64> {
    let has_dict = tensors.names().any(|name| name.starts_with(ORIGINAL_DICT));
    match tensors.other_values().get(ORIGINAL_ALPHA_KEY)? {
        OtherValue::Int(alpha) if has_dict => Some(*alpha as f64),
        OtherValue::Float(alpha) if has_dict => Some(*alpha),
        _ => None,
    }
}

fn check_method(
    name: &str,
    factors: &LayerFactors,
    settings: Option<&Settings>,
) -> Result<(), String> {
    let stated = settings.and_then(|settings| settings.is_dora);
    match (stated, &factors.magnitude, &factors.delta) {
        (Some(true), None, Delta::LowRank { .. }) => Err(format!(
            "its settings say DoRA, and layer {name} has no magnitudes; the file is incomplete"
        )),
        (Some(false), Some(_), _) => Err(format!(
            "its settings say no DoRA, and layer {name} has magnitudes; tensors and settings are of different adapters"
        )),
        _ => Ok(()),
    }
}

fn format(
    tensors: &TensorFile,
    layers: &BTreeMap<String, Parts>,
    dialects: &BTreeSet<Dialect>,
    is_folder: bool,
) -> AdapterFormat {
    let has = |dialect| dialects.contains(&dialect);
    let first = layers.keys().next().map_or("", String::as_str);
    if is_folder {
        AdapterFormat::PeftFolder
    } else if has(Dialect::StableAudio3) {
        AdapterFormat::StableAudio3
    } else if has(Dialect::Original) {
        AdapterFormat::Original
    } else if first.contains('/') {
        AdapterFormat::Loraw
    } else if layers.values().any(|parts| parts.keys().any(is_lokr)) {
        AdapterFormat::Lycoris
    } else if has(Dialect::Kohya)
        || first.starts_with("diffusion_model.")
        || first.starts_with("lora_unet_")
    {
        AdapterFormat::ComfyUi
    } else if tensors.metadata().contains_key("lora_adapter_metadata")
        || tensors.names().all(|name| name.starts_with("transformer."))
    {
        AdapterFormat::Diffusers
    } else {
        AdapterFormat::PeftFile
    }
}

fn is_lokr(part: &Part) -> bool {
    use Part::{Inner, InnerA, InnerB, Outer, OuterA, OuterB};
    matches!(part, Outer | OuterA | OuterB | Inner | InnerA | InnerB)
}

/// What can be said of an adapter that another program trained.
fn describe(
    layers: &BTreeMap<String, LayerFactors>,
    dropout: f64,
    tensors: &TensorFile,
) -> AdapterDescription {
    let widest = layers.values().max_by_key(|factors| factors.rank());
    let step = tensors.other_values().get("step");
    AdapterDescription {
        format: file::FORMAT,
        rank: widest.and_then(LayerFactors::rank).unwrap_or(1),
        alpha: widest.map_or(1.0, LayerFactors::alpha),
        dropout,
        targets: Targets {
            include: layers.keys().cloned().collect(),
            exclude: Vec::new(),
        },
        base: None,
        trigger_words: Vec::new(),
        lorelei_version: String::new(),
        data_hash: String::new(),
        seed: 0,
        step: match step {
            Some(OtherValue::Int(step)) => usize::try_from(*step).unwrap_or(0),
            _ => 0,
        },
        validation_loss: None,
        changes: Vec::new(),
    }
}

/// A tensor of a file, checked, in f32.
pub(super) fn tensor(tensors: &TensorFile, name: &str, device: &Device) -> Result<Tensor, String> {
    values::tensor(tensors, name, device)
}

/// The parts of one layer in a file of ours, where scales are stated in the header.
pub(super) fn own_layers(
    tensors: &TensorFile,
    names: &[&str],
    scale: impl Fn(&str) -> Option<f64>,
    device: &Device,
) -> Result<BTreeMap<String, LayerFactors>, String> {
    let view = tensors
        .renamed(|name| names.contains(&name).then(|| name.to_owned()))
        .map_err(|error| error.to_string())?;
    let Sorted { layers, .. } = sort(&view, device)?;
    let scales = Scales {
        settings: None,
        alpha: None,
        assumed: Assumed::Rank,
    };
    let read = layers.into_iter().map(|(name, parts)| {
        let (mut factors, _) = assemble::layer(&name, parts, &scales)?;
        factors.scale = scale(&name).ok_or_else(|| {
            format!("its header says nothing of layer {name}; it was changed or damaged")
        })?;
        Ok((name, factors))
    });
    read.collect()
}
