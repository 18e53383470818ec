//! From the names that a file gives layers to the names that a model gives them.
//!
//! Programs put the model they train into others, so that `transformer_blocks.0.attn1.to_q` may be called
//! `diffusion_model.transformer_blocks...` or `base_model.model.transformer.transformer_blocks...`; kohya's and LyCORIS's programs write
//! underscores for dots besides, as in `lora_unet_transformer_blocks_0_attn1_to_q`. A name is resolved when exactly one of the model's
//! layers has it once such wrappers are taken off both.

use std::collections::BTreeMap;

/// Names of wrappers, taken off in any order.
const WRAPPERS: &[&str] = &[
    "base_model.model.",
    "base_model.",
    // ACE-Step's transformer in ComfyUI; elsewhere a decoder is an autoencoder's.
    "diffusion_model.decoder.",
    "diffusion_model.",
    "model.",
    "transformer.",
    "dit.",
    "cfm.",
];
/// What programs that write underscores put first.
const UNDERSCORED: &[&str] = &[
    "lora_unet_",
    "lora_transformer_",
    "lora_dit_",
    "lycoris_",
    "lora_",
];

/// The names of a model's layers, to look others up in.
pub struct LayerNames {
    exact: BTreeMap<String, String>,
    /// Without wrappers; those that two layers would share are left out.
    bare: BTreeMap<String, Option<String>>,
    /// The same, and the full names, with underscores.
    underscored: BTreeMap<String, Option<String>>,
}

impl LayerNames {
    /// A model with these layers.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known = Self {
            exact: BTreeMap::new(),
            bare: BTreeMap::new(),
            underscored: BTreeMap::new(),
        };
        for name in names {
            known.exact.insert(name.to_owned(), name.to_owned());
            let bare = without_wrappers(name);
            enter(&mut known.bare, bare.to_owned(), name);
            enter(&mut known.underscored, bare.replace('.', "_"), name);
            if bare != name {
                enter(&mut known.underscored, name.replace('.', "_"), name);
            }
        }
        known
    }

    /// The model's layer that a file's name means.
    pub fn resolve(&self, name: &str) -> Option<&str> {
        if let Some(name) = self.exact.get(name) {
            return Some(name);
        }
        let dotted = name.replace('/', ".");
        let bare = self.bare.get(without_wrappers(&dotted));
        if let Some(Some(name)) = bare {
            return Some(name);
        }
        let rest = UNDERSCORED
            .iter()
            .find_map(|start| name.strip_prefix(start))?;
        let wrapped = std::iter::successors(Some(rest), |rest| {
            WRAPPERS
                .iter()
                .find_map(|wrapper| rest.strip_prefix(&wrapper.replace('.', "_")))
        });
        let mut found = wrapped.filter_map(|rest| self.underscored.get(rest)?.as_deref());
        found.next()
    }
}

/// Whether a name has underscores for dots, so that only a model's names tell what it means.
pub(crate) fn is_underscored(name: &str) -> bool {
    !name.contains(['.', '/']) && UNDERSCORED.iter().any(|start| name.starts_with(start))
}

fn enter(names: &mut BTreeMap<String, Option<String>>, key: String, name: &str) {
    names
        .entry(key)
        .and_modify(|taken| {
            if taken.as_deref() != Some(name) {
                *taken = None;
            }
        })
        .or_insert_with(|| Some(name.to_owned()));
}

fn without_wrappers(name: &str) -> &str {
    let mut rest = name;
    while let Some(shorter) = WRAPPERS
        .iter()
        .find_map(|wrapper| rest.strip_prefix(wrapper))
    {
        rest = shorter;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_and_underscores_are_seen_through() {
        let names = LayerNames::new([
            "transformer.transformer_blocks.0.self_attn.q_proj",
            "transformer.proj_out",
        ]);
        for name in [
            "transformer.transformer_blocks.0.self_attn.q_proj",
            "transformer_blocks.0.self_attn.q_proj",
            "base_model.model.transformer.transformer_blocks.0.self_attn.q_proj",
            "diffusion_model.transformer_blocks.0.self_attn.q_proj",
            "model/transformer/transformer_blocks/0/self_attn/q_proj",
            "lora_unet_transformer_blocks_0_self_attn_q_proj",
            "lora_unet_transformer_transformer_blocks_0_self_attn_q_proj",
            "lycoris_transformer_blocks_0_self_attn_q_proj",
            "lycoris_transformer_transformer_blocks_0_self_attn_q_proj",
        ] {
            assert_eq!(
                names.resolve(name),
                Some("transformer.transformer_blocks.0.self_attn.q_proj"),
                "{name}"
            );
        }
        for name in [
            "transformer_blocks.1.self_attn.q_proj",
            "proj",
            "lora_unet_",
        ] {
            assert_eq!(names.resolve(name), None, "{name}");
        }
    }

    /// A LoRA of an autoencoder is none of the transformer, whatever its layers' shapes.
    #[test]
    fn a_decoder_is_no_wrapper() {
        let names = LayerNames::new(["transformer.proj", "layers.0.mlp"]);
        assert_eq!(names.resolve("decoder.proj"), None);
        let comfyui = names.resolve("diffusion_model.decoder.layers.0.mlp");
        assert_eq!(comfyui, Some("layers.0.mlp"));
    }

    #[test]
    fn what_could_be_two_layers_is_none() {
        let names = LayerNames::new(["transformer.proj", "dit.proj", "a.b_c", "a_b.c"]);
        assert_eq!(names.resolve("proj"), None);
        assert_eq!(names.resolve("transformer.proj"), Some("transformer.proj"));
        assert_eq!(names.resolve("decoder.proj"), None);
        assert_eq!(names.resolve("lora_unet_a_b_c"), None);
    }
}
