//! Lorelei's own base files: one safetensors file with tensors `autoencoder.*`, `transformer.*` and `tag_vectors`
//! `[tags, condition width]`, f16 or f32, and in its header `lorelei_base`, the description as JSON (`base_training/export.rs` writes them).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::Device;
use checkpoint::TensorFile;
use dit::diffrhythm::DiffusionTransformer;
use nn::{WeightPrecision, Weights};
use serde::{Deserialize, Serialize};
use vae::SpectralAutoencoder;

use super::pulse::MOST_PULSES_PER_BEAT;
use super::tags::MOST_BEATS_PER_BAR;
use super::{BaseModel, Conditioning, Rhythm, TagVocabulary};
use crate::adapter::BaseIdentity;
use crate::error::LoraError;
use crate::hexadecimal::sha256;
use crate::models::OWN_DESCRIPTION;
use crate::tensor_file;

/// The base that ships inside the program.
const EMBEDDED: &[u8] = include_bytes!("../../base/lorelei-base.safetensors");
/// What errors call it.
const EMBEDDED_ORIGIN: &str = "the embedded base";
/// Its hash, which every program would otherwise compute at its start.
pub(crate) const EMBEDDED_SHA256: &str =
    "a39b052fe469b1343c45d9c4ebc0067e855aca842f988bcf7b4349f0b07b5587";
pub(crate) const FORMAT: u32 = 1;

/// What the header of a base file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) autoencoder: vae::SpectralConfig,
    pub(crate) transformer: dit::diffrhythm::Config,
    pub(crate) tags: Vec<String>,
    pub(crate) pulses_per_beat: usize,
    /// Of the tags that it was trained with, as far as pieces told their tempo; earlier bases have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rhythms: BTreeMap<String, Rhythm>,
    /// Tags that people choose from, as editors show them; earlier bases have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tag_groups: Vec<TagGroup>,
}

/// Tags that say something of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagGroup {
    /// What people call them, such as "Instruments".
    pub title: String,
    /// In the order in which they are shown.
    pub tags: Vec<String>,
}

/// Whether every tag of the groups is one of these and named once, and every group has a title of its own.
pub(crate) fn check_groups(groups: &[TagGroup], tags: &[String]) -> Result<(), String> {
    let (mut seen, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for group in groups {
        let is_plain = !group.title.trim().is_empty() && !group.title.contains(char::is_control);
        if !is_plain || !titles.insert(&group.title) {
            return Err(format!(
                "the title {:?} of a group of tags is empty, there twice or no plain text",
                group.title
            ));
        }
        for tag in &group.tags {
            if !tags.contains(tag) {
                return Err(format!(
                    "the group {:?} names {tag:?}, which is no tag of this base",
                    group.title
                ));
            }
            if !seen.insert(tag) {
                return Err(format!("the groups name the tag {tag:?} twice"));
            }
        }
    }
    Ok(())
}

/// The base that ships inside the program.
pub(super) fn embedded(
    device: &Device,
    precision: WeightPrecision,
) -> Result<BaseModel, LoraError> {
    let path = Path::new(EMBEDDED_ORIGIN);
    from_bytes(
        EMBEDDED,
        EMBEDDED_SHA256.to_owned(),
        path,
        device,
        precision,
    )
}

/// The weights of the base that ships inside the program, as a file would hold them.
pub(super) fn embedded_weights() -> Result<TensorFile, LoraError> {
    Ok(TensorFile::from_bytes(EMBEDDED, EMBEDDED_ORIGIN)?)
}

/// What can be known of the base that ships inside the program without loading it.
#[derive(Debug, Clone)]
pub struct EmbeddedFacts {
    /// What adapters record of it.
    pub identity: BaseIdentity,
    /// The tags its prompts are made of.
    pub tags: Vec<String>,
    /// Those that people choose from, by what they say.
    pub tag_groups: Vec<TagGroup>,
    /// Steps of a clip when nothing else is said.
    pub steps: usize,
    /// Guidance likewise.
    pub guidance: f64,
}

/// The facts of the base that ships inside the program.
///
/// # Errors
/// When it is damaged.
pub fn embedded_facts() -> Result<EmbeddedFacts, LoraError> {
    let description = describe(EMBEDDED).map_err(|problem| LoraError::BadFile {
        path: EMBEDDED_ORIGIN.into(),
        problem,
    })?;
    Ok(EmbeddedFacts {
        identity: BaseIdentity {
            name: description.name,
            version: description.version,
            sha256: EMBEDDED_SHA256.to_owned(),
            causal: None,
        },
        tags: description.tags,
        tag_groups: description.tag_groups,
        steps: super::TAGS_STEPS,
        guidance: super::TAGS_GUIDANCE,
    })
}

/// A base in a file.
pub(super) fn open(
    path: &Path,
    device: &Device,
    precision: WeightPrecision,
) -> Result<BaseModel, LoraError> {
    let bytes = std::fs::read(path).map_err(LoraError::file(path))?;
    let sha256 = sha256(&bytes);
    from_bytes(bytes, sha256, path, device, precision)
}

fn from_bytes(
    bytes: impl Into<Cow<'static, [u8]>>,
    sha256: String,
    path: &Path,
    device: &Device,
    precision: WeightPrecision,
) -> Result<BaseModel, LoraError> {
    let bytes = bytes.into();
    let description = describe(&bytes).map_err(|problem| LoraError::BadFile {
        path: path.to_owned(),
        problem: format!(
            "{problem}; give another base file, or export this one again (lora-train base export)"
        ),
    })?;
    let weights = Weights::from_bytes(bytes, &path.display().to_string(), &Device::Cpu)?;
    let parameter_count = weights.parameter_count();
    let root = weights.root();
    let placed = weights.clone().on_device(device).in_precision(precision);
    let (autoencoder, transformer) = rayon::join(
        || SpectralAutoencoder::load(&description.autoencoder, &root.pp("autoencoder")),
        || {
            let scope = placed.root().pp("transformer");
            DiffusionTransformer::load(&description.transformer, &scope)
        },
    );
    let (autoencoder, transformer) = (autoencoder?, transformer?);
    let shape = [description.tags.len(), description.transformer.cond_dim];
    let tag_vectors = root.get("tag_vectors", &shape)?.to_vec2::<f32>()?;
    weights.finish()?;
    let is_embedded = sha256 == EMBEDDED_SHA256;
    Ok(BaseModel {
        identity: BaseIdentity {
            name: description.name,
            version: description.version,
            sha256,
            causal: None,
        },
        autoencoder: Box::new(autoencoder),
        transformer,
        conditioning: Conditioning::Tags {
            rhythms: (description.tags.iter())
                .map(|tag| description.rhythms.get(tag).cloned())
                .collect(),
            vocabulary: TagVocabulary::new(description.tags),
            vectors: tag_vectors,
            pulses_per_beat: description.pulses_per_beat,
        },
        transformer_config: description.transformer,
        parameter_count,
        is_embedded,
        mapped: None,
        device: device.clone(),
        precision,
    })
}

/// Whether a transformer has tokens for bars of so many pulses a beat.
pub(crate) fn check_pulses(
    pulses_per_beat: usize,
    transformer: &dit::diffrhythm::Config,
) -> Result<(), String> {
    let tokens = pulses_per_beat.saturating_mul(MOST_BEATS_PER_BAR);
    if (1..=MOST_PULSES_PER_BEAT).contains(&pulses_per_beat)
        && tokens <= transformer.text_num_embeds
    {
        return Ok(());
    }
    Err(format!(
        "{pulses_per_beat} pulses a beat are not possible with {} tokens (1 to {MOST_PULSES_PER_BEAT} are, and there are bars of {MOST_BEATS_PER_BAR} beats)",
        transformer.text_num_embeds
    ))
}

/// What the header says, checked.
pub(crate) fn describe(bytes: &[u8]) -> Result<Description, String> {
    let text = tensor_file::description(bytes, OWN_DESCRIPTION)?;
    let description: Description = serde_json::from_str(&text)
        .map_err(|error| format!("the base description in the header cannot be read: {error}"))?;
    if description.format != FORMAT {
        return Err(format!(
            "base format {} is not known ({FORMAT} is; a newer Lorelei may know it)",
            description.format
        ));
    }
    check_pulses(description.pulses_per_beat, &description.transformer)?;
    for (tag, rhythm) in &description.rhythms {
        rhythm
            .check()
            .map_err(|problem| format!("the rhythm of {tag}: {problem}"))?;
    }
    check_groups(&description.tag_groups, &description.tags)?;
    // Checked here, where the file can be named.
    let autoencoder = description.autoencoder.validate("autoencoder");
    autoencoder.map_err(|error| format!("its configuration is impossible: {error}"))?;
    let transformer = description.transformer.validate();
    transformer.map_err(|error| format!("its configuration is impossible: {error}"))?;
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_base_has_its_hash() {
        assert_eq!(sha256(EMBEDDED), EMBEDDED_SHA256);
    }

    const TINY: &[u8] = include_bytes!("../../tests/fixtures/tiny-base.safetensors");

    /// The tiny base with a change to the text of its header; the offsets of its tensors count from the header's end.
    fn changed(from: &str, to: &str) -> Vec<u8> {
        let header_end = 8 + u64::from_le_bytes(TINY[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&TINY[8..header_end]).unwrap();
        // The description is a string inside of the header.
        let (from, to) = (from.replace('"', "\\\""), to.replace('"', "\\\""));
        assert!(header.contains(&from), "{from}: {header}");
        let header = header.replace(&from, &to);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&TINY[header_end..]);
        bytes
    }

    #[test]
    fn groups_hold_the_bases_own_tags_once() {
        let tags: Vec<String> = ["waltz", "lute"].map(str::to_owned).into();
        let group = |title: &str, tags: &[&str]| TagGroup {
            title: title.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let [styles, lutes] = [group("Styles", &["waltz"]), group("Lutes", &["lute"])];
        assert_eq!(check_groups(&[styles.clone(), lutes], &tags), Ok(()));
        let unknown = check_groups(&[group("Lutes", &["oud"])], &tags).unwrap_err();
        assert!(
            unknown.contains("Lutes") && unknown.contains("oud"),
            "{unknown}"
        );
        let twice = check_groups(&[styles.clone(), group("Dances", &["waltz"])], &tags);
        assert!(twice.unwrap_err().contains("waltz"));
        let titles = check_groups(&[styles.clone(), styles], &tags).unwrap_err();
        assert!(titles.contains("Styles"), "{titles}");
        assert!(check_groups(&[group(" ", &[])], &tags).is_err());
        assert!(check_groups(&[group("A\u{1b}[31m", &[])], &tags).is_err());
        // Bases of before there were groups have none.
        assert_eq!(describe(TINY).unwrap().tag_groups, []);
    }

    #[test]
    fn the_embedded_bases_tags_without_a_value_are_each_in_one_group() {
        let facts = embedded_facts().unwrap();
        let grouped: usize = facts.tag_groups.iter().map(|group| group.tags.len()).sum();
        let plain = facts.tags.iter().filter(|tag| !tag.contains(':')).count();
        assert_eq!(grouped, plain);
    }

    #[test]
    fn an_impossible_configuration_names_file_part_and_remedy() {
        for (from, to, expected) in [
            (
                r#""dim": 32"#,
                r#""dim": 0"#,
                "transformer's configuration: dim is 0",
            ),
            (
                r#""max_frames": 2048"#,
                r#""max_frames": 1048577"#,
                "max_frames is 1048577",
            ),
            (r#""fft_size": 2048"#, r#""fft_size": 0"#, "autoencoder"),
            (
                r#""fft_size": 2048"#,
                r#""fft_size": 4611686018427387904"#,
                "autoencoder",
            ),
            (
                r#""pulses_per_beat": 8"#,
                r#""pulses_per_beat": 97"#,
                "97 pulses",
            ),
            (r#""fft_size": 2048"#, r#""fft_sighs": 2048"#, "fft_sighs"),
        ] {
            let bytes = changed(from, to);
            let error = from_bytes(
                bytes.clone(),
                sha256(&bytes),
                Path::new("my-base.safetensors"),
                &Device::Cpu,
                WeightPrecision::F32,
            );
            let error = error.err().unwrap().to_string();
            for word in ["my-base.safetensors", expected, "export"] {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
    }
}
