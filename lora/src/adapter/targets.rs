//! Which linear layers an adapter changes: patterns over their full names.
//!
//! A pattern matches a name that ends with it at a dot (`self_attn.q_proj`, `proj_out`); `*` stands for any run of characters, and a
//! pattern with a `*` must match the whole name.

use serde::{Deserialize, Serialize};

use crate::error::LoraError;

/// The layers the original project adapted: attention projections, both time networks, the final norm's linear, the output.
pub const ORIGINAL_TARGETS: &[&str] = &[
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "time_mlp.0",
    "time_mlp.2",
    "norm_out.linear",
    "proj_out",
];

/// Include and exclude patterns; a layer is a target if some include and no exclude pattern matches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Patterns of layers to adapt.
    pub include: Vec<String>,
    /// Patterns of layers to leave alone all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
}

impl Default for Targets {
    fn default() -> Self {
        let include = ORIGINAL_TARGETS
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();
        Self {
            include,
            exclude: Vec::new(),
        }
    }
}

impl Targets {
    /// Whether the layer of this name is to be adapted.
    pub fn matches(&self, name: &str) -> bool {
        let any = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| pattern_matches(pattern, name))
        };
        any(&self.include) && !any(&self.exclude)
    }

    /// Whether these patterns choose sensibly among a base's layers.
    ///
    /// # Errors
    /// [`LoraError::Setting`] when a pattern of either list matches none of these names, most likely a slip of the pen, and when
    /// nothing is left to adapt.
    pub fn check(&self, names: &[String]) -> Result<(), LoraError> {
        let refused = |setting, value: Vec<String>, problem: &str| {
            Err(LoraError::Setting {
                setting,
                value: value.join(", "),
                expected: format!("{problem}; --dry-run lists the layers"),
            })
        };
        for (setting, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            let idle = idle_patterns(patterns, names);
            if !idle.is_empty() {
                return refused(setting, idle, "matches no layer of this base");
            }
        }
        if !names.iter().any(|name| self.matches(name)) {
            let problem = "leaves no layer to adapt; exclude fewer or include more";
            return refused("exclude", self.exclude.clone(), problem);
        }
        Ok(())
    }
}

/// The patterns that match none of these names.
pub(super) fn idle_patterns(patterns: &[String], names: &[String]) -> Vec<String> {
    let idle = |pattern: &&String| !names.iter().any(|name| pattern_matches(pattern, name));
    patterns.iter().filter(idle).cloned().collect()
}

/// Whether a pattern matches a layer's full name.
pub(crate) fn pattern_matches(pattern: &str, name: &str) -> bool {
    if pattern.contains('*') {
        return wildcard_matches(pattern.as_bytes(), name.as_bytes());
    }
    name.strip_suffix(pattern)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Backtracking over the last `*` only, so the time is at most the product of the lengths.
fn wildcard_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        if at_pattern < pattern.len() && pattern[at_pattern] == b'*' {
            star = Some((at_pattern, at_name));
            at_pattern += 1;
        } else if at_pattern < pattern.len() && pattern[at_pattern] == name[at_name] {
            at_pattern += 1;
            at_name += 1;
        } else if let Some((star_pattern, star_name)) = star {
            star = Some((star_pattern, star_name + 1));
            at_pattern = star_pattern + 1;
            at_name = star_name + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_originals_and_nothing_else() {
        let targets = Targets::default();
        for name in [
            "transformer.transformer_blocks.3.self_attn.q_proj",
            "transformer.start_time_embed.time_mlp.2",
            "transformer.norm_out.linear",
            "transformer.proj_out",
        ] {
            assert!(targets.matches(name), "{name}");
        }
        for name in [
            "transformer.transformer_blocks.0.mlp.up_proj",
            "transformer.input_embed.proj",
            "transformer.xproj_out",
        ] {
            assert!(!targets.matches(name), "{name}");
        }
    }

    #[test]
    fn wildcards_and_excludes() {
        let targets = Targets {
            include: vec!["*blocks.*.mlp.*".into()],
            exclude: vec!["*blocks.0.*".into()],
        };
        assert!(targets.matches("transformer.transformer_blocks.1.mlp.up_proj"));
        assert!(!targets.matches("transformer.transformer_blocks.0.mlp.up_proj"));
        assert!(!targets.matches("transformer.transformer_blocks.1.self_attn.q_proj"));
    }

    #[test]
    fn patterns_that_do_nothing_are_named() {
        let names = [
            "transformer.proj_out".to_owned(),
            "transformer.blocks.0.mlp".to_owned(),
        ];
        let check = |include: &[&str], exclude: &[&str]| {
            let owned = |patterns: &[&str]| patterns.iter().map(|text| (*text).into()).collect();
            let targets = Targets {
                include: owned(include),
                exclude: owned(exclude),
            };
            targets.check(&names)
        };
        check(&["proj_out", "mlp"], &["mlp"]).unwrap();
        for (include, exclude, words) in [
            (&["proj_out", "q_prj"][..], &[][..], ["include", "q_prj"]),
            (&["proj_out"], &["mpl"], ["exclude", "mpl"]),
            (&["proj_out"], &["*"], ["exclude", "no layer to adapt"]),
            (
                &["proj_out"],
                &["proj_out", "mlp"],
                ["proj_out, mlp", "no layer to adapt"],
            ),
        ] {
            let error = check(include, exclude).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
    }
}
