//! What a file says of its layers' scales besides its tensors: PEFT's `adapter_config.json`, diffusers' copy of it in the header
//! (`lora_adapter_metadata`, keys with the component's name before them), Stable Audio 3's `lora_config`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use regex::Regex;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The header's key in files of diffusers (`loaders/lora_base.py`).
pub(in crate::adapter) const DIFFUSERS: &str = "lora_adapter_metadata";
/// The header's key in files of Stable Audio 3 (`models/lora/utils.py`).
pub(in crate::adapter) const STABLE_AUDIO_3: &str = "lora_config";

/// Ranks and alphas as PEFT states them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    alpha: Option<f64>,
    rank: Option<usize>,
    pub(super) dropout: f64,
    uses_sqrt: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    /// The config's own word for its method, to be compared with the tensors.
    pub(super) is_dora: Option<bool>,
    /// What the program calls the base.
    pub(super) base: Option<String>,
    /// Which side DoRA's lengths are of, where their shape does not tell.
    pub(super) of_inputs: bool,
}

#[derive(Deserialize)]
struct PeftConfig {
    #[serde(default)]
    peft_type: Option<String>,
    #[serde(default)]
    r: Option<usize>,
    /// LoRA's.
    #[serde(default)]
    lora_alpha: Option<f64>,
    /// LoKr's.
    #[serde(default)]
    alpha: Option<f64>,
    #[serde(default)]
    lora_dropout: Option<f64>,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    use_dora: Option<bool>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    rank_pattern: Option<InOrder<usize>>,
    #[serde(default)]
    alpha_pattern: Option<InOrder<f64>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Settings of PEFT that change what the tensors mean and that are not known here.
const UNKNOWN: &[&str] = &[
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
];
/// Values of `init_lora_weights` for which PEFT takes something off the base's weights before it adds the adapter (`lora/layer.py`).
const CHANGES_THE_BASE: &[&str] = &["pissa", "corda", "olora", "loftq", "lora_ga"];

impl Settings {
    /// Of the text of an `adapter_config.json`.
    pub(super) fn from_peft(text: &str) -> Result<Self, String> {
        let config: PeftConfig =
            serde_json::from_str(text).map_err(|error| format!("does not parse: {error}"))?;
        Self::new(config)
    }

    /// Of a safetensors header; `None` when it says nothing of ranks.
    pub(super) fn from_metadata(
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, String> {
        let damaged = |key: &str, error| format!("{key:?} in its header does not parse: {error}");
        if let Some(text) = metadata.get(DIFFUSERS) {
            let own = without_component(text)?;
            let config = serde_json::from_str(&own).map_err(|error| damaged(DIFFUSERS, error))?;
            return Self::new(config).map(Some);
        }
        match metadata.get(STABLE_AUDIO_3) {
            Some(text) => Self::from_stable_audio_3(text).map(Some),
            None => Ok(None),
        }
    }

    /// Of a file that states one alpha for all of its layers.
    pub(super) fn of_alpha(alpha: f64) -> Self {
        Self {
            alpha: Some(alpha),
            ..Self::default()
        }
    }

    fn from_stable_audio_3(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Config {
            rank: Option<usize>,
            alpha: Option<f64>,
            adapter_type: Option<String>,
            dropout: Option<f64>,
        }
        let config: Config = serde_json::from_str(text)
            .map_err(|error| format!("{STABLE_AUDIO_3:?} in its header does not parse: {error}"))?;
        let kind = config.adapter_type.unwrap_or_else(|| "lora".to_owned());
        let (is_dora, of_inputs) = match kind.as_str() {
            "lora" => (false, false),
            "dora" | "dora-rows" => (true, false),
            "dora-cols" => (true, true),
            _ => {
                return Err(format!(
                    "its adapter type is {kind:?}; lora, dora-rows and dora-cols can be read: merge it where it was trained"
                ));
            }
        };
        Ok(Self {
            alpha: config.alpha.or(config.rank.map(|rank| rank as f64)),
            rank: config.rank,
            dropout: config.dropout.unwrap_or(0.0),
            is_dora: Some(is_dora),
            of_inputs,
            ..Self::default()
        })
    }

    fn new(config: PeftConfig) -> Result<Self, String> {
        let kind = config.peft_type.as_deref().unwrap_or("LORA");
        if !["LORA", "LOKR"].contains(&kind) {
            return Err(format!(
                "says that it is of PEFT's type {kind:?}; LORA and LOKR can be read: merge it with PEFT instead"
            ));
        }
        let used = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            _ => true,
        };
        if let Some(key) = UNKNOWN
            .iter()
            .find(|key| config.rest.get(**key).is_some_and(used))
        {
            return Err(format!(
                "uses {key}, which is not known here: merge the adapter with PEFT instead"
            ));
        }
        check_initialisation(config.rest.get("init_lora_weights"))?;
        Ok(Self {
            alpha: config.lora_alpha.or(config.alpha),
            rank: config.r,
            dropout: config.lora_dropout.unwrap_or(0.0),
            uses_sqrt: config.use_rslora.unwrap_or(false),
            ranks: patterns(config.rank_pattern)?,
            alphas: patterns(config.alpha_pattern)?,
            is_dora: config.use_dora,
            base: config
                .base_model_name_or_path
                .filter(|base| !base.is_empty()),
            of_inputs: false,
        })
    }

    /// The alpha stated for a layer.
    pub(super) fn alpha(&self, layer: &str) -> Option<f64> {
        first(&self.alphas, layer).or(self.alpha)
    }

    /// The rank stated for a layer.
    pub(super) fn rank(&self, layer: &str) -> Option<usize> {
        first(&self.ranks, layer).or(self.rank)
    }

    /// What alpha is divided by.
    pub(super) fn divisor(&self, rank: usize) -> f64 {
        match self.uses_sqrt {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        }
    }
}

/// An adapter that was trained against a changed base means nothing for the base itself.
fn check_initialisation(value: Option<&Value>) -> Result<(), String> {
    let stated = value.and_then(Value::as_str).unwrap_or_default();
    let lower = stated.to_lowercase();
    match CHANGES_THE_BASE.iter().any(|name| lower.starts_with(name)) {
        true => Err(format!(
            "has init_lora_weights {stated:?}, which changes the base's weights too: save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it"
        )),
        false => Ok(()),
    }
}

/// diffusers' settings under PEFT's own keys. The values stay text, in which patterns keep their order.
fn without_component(text: &str) -> Result<String, String> {
    let damaged = |error| format!("{DIFFUSERS:?} in its header does not parse: {error}");
    let all: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(damaged)?;
    let split = |key: &str| {
        key.split_once('.')
            .map(|(component, own)| (component.to_owned(), own.to_owned()))
    };
    let components: BTreeSet<String> = all
        .keys()
        .filter_map(|key| split(key).map(|(component, _)| component))
        .collect();
    if components.len() > 1 {
        let components: Vec<String> = components.into_iter().collect();
        return Err(format!(
            "it holds adapters of several components ({}); save the transformer's alone",
            components.join(", ")
        ));
    }
    let own: BTreeMap<String, &RawValue> = all
        .iter()
        .map(|(key, value)| {
            let own = split(key).map_or_else(|| key.clone(), |(_, own)| own);
            (own, value.as_ref())
        })
        .collect();
    serde_json::to_string(&own).map_err(damaged)
}

/// A JSON object in the order of the file.
struct InOrder<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = InOrder<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of patterns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// PEFT's rule (`get_pattern_key` in `utils/other.py`): the first of the file's expressions that a name ends with, at a dot.
fn patterns<T>(given: Option<InOrder<T>>) -> Result<Vec<(Regex, T)>, String> {
    let given = given.map(|given| given.0).unwrap_or_default();
    given
        .into_iter()
        .map(|(pattern, value)| {
            let anchored = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let anchored = anchored.map_err(|error| {
                format!("has a pattern {pattern:?} that is no expression: {error}")
            })?;
            Ok((anchored, value))
        })
        .collect()
}

fn first<T: Copy>(patterns: &[(Regex, T)], layer: &str) -> Option<T> {
    let mut matching = patterns
        .iter()
        .filter(|(pattern, _)| pattern.is_match(layer));
    matching.next().map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_an_end_counts_in_the_files_order() {
        let text = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true,
            "rank_pattern": {"proj_in": 6, "attn2.to_q": 2},
            "alpha_pattern": {"to_v": 3, "attn1.to_v": 5, "^blocks\\.0\\.x": 9, "a.x": 1}}"#;
        let keys = [
            "peft_type",
            "r",
            "lora_alpha",
            "use_rslora",
            "rank_pattern",
            "alpha_pattern",
        ];
        let diffusers = keys.iter().fold(text.to_owned(), |text, key| {
            text.replace(&format!("\"{key}\""), &format!("\"transformer.{key}\""))
        });
        let metadata = BTreeMap::from([(DIFFUSERS.to_owned(), diffusers)]);
        for settings in [
            Settings::from_peft(text).unwrap(),
            Settings::from_metadata(&metadata).unwrap().unwrap(),
        ] {
            for (layer, rank, alpha) in [
                ("proj_in", 6, 8.0),
                ("xproj_in", 4, 8.0),
                ("blocks.1.attn2.to_q", 2, 8.0),
                ("blocks.1.attn1.to_v", 4, 3.0),
                ("blocks.0.x", 4, 9.0),
                ("more.blocks.0.x", 4, 8.0),
            ] {
                assert_eq!(settings.rank(layer), Some(rank), "{layer}");
                assert_eq!(settings.alpha(layer), Some(alpha), "{layer}");
            }
            assert_eq!(settings.divisor(9), 3.0);
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (text, word) in [
            (r#"{"peft_type": "VERA"}"#, "VERA"),
            (r#"{"modules_to_save": ["head"]}"#, "modules_to_save"),
            (r#"{"target_parameters": ["weight"]}"#, "target_parameters"),
            (r#"{"arrow_config": {"top_k": 3}}"#, "arrow_config"),
            (r#"{"init_lora_weights": "pissa_niter_4"}"#, "pissa_niter_4"),
        ] {
            let error = Settings::from_peft(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        Settings::from_peft(
            r#"{"modules_to_save": null, "target_parameters": [], "use_qalora": false, "init_lora_weights": "gaussian"}"#,
        )
        .unwrap();
        let parts = r#"{"transformer.r": 4, "text_encoder.r": 4}"#;
        assert!(
            without_component(parts)
                .unwrap_err()
                .contains("text_encoder, transformer")
        );
    }
}
