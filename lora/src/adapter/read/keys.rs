//! The names of an adapter's tensors, taken apart into layer and part.

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `[rank, inputs]`; in the original's files `[inputs, rank]`.
    A,
    /// `[outputs, rank]`; in the original's files `[rank, outputs]`.
    B,
    Alpha,
    /// DoRA's lengths.
    Magnitude,
    /// LoKr's outer matrix, or its two factors.
    Outer,
    OuterA,
    OuterB,
    /// LoKr's inner matrix, or its two factors.
    Inner,
    InnerA,
    InnerB,
}

/// Which program writes such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dialect {
    /// `.lora_A.weight`, `.lora_magnitude_vector`.
    Peft,
    /// `.lora_A` alone: transposed.
    Original,
    /// `.lora_down.weight`.
    Kohya,
    /// Alike in several dialects.
    Any,
    /// `.parametrizations.weight.0.lora_A`.
    StableAudio3,
}

/// One name taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) layer: &'a str,
    pub(super) part: Part,
    pub(super) dialect: Dialect,
}

use Dialect::{Any, Kohya, Original, Peft, StableAudio3};

/// Ends of names; where one is the end of another, the longer comes first.
const ENDS: &[(&str, Part, Dialect)] = &[
    (".parametrizations.weight.0.lora_A", Part::A, StableAudio3),
    (".parametrizations.weight.0.lora_B", Part::B, StableAudio3),
    (
        ".parametrizations.weight.0.magnitude",
        Part::Magnitude,
        StableAudio3,
    ),
    (".lora_A.weight", Part::A, Peft),
    (".lora_B.weight", Part::B, Peft),
    (".lora_magnitude_vector.weight", Part::Magnitude, Peft),
    (".lora_magnitude_vector", Part::Magnitude, Peft),
    (".lora_down.weight", Part::A, Kohya),
    (".lora_up.weight", Part::B, Kohya),
    ("/lora_down.weight", Part::A, Kohya),
    ("/lora_up.weight", Part::B, Kohya),
    (".lora.down.weight", Part::A, Kohya),
    (".lora.up.weight", Part::B, Kohya),
    (".lora_A", Part::A, Original),
    (".lora_B", Part::B, Original),
    (".alpha", Part::Alpha, Any),
    (".dora_scale", Part::Magnitude, Any),
    (".lokr_w1", Part::Outer, Any),
    (".lokr_w1_a", Part::OuterA, Any),
    (".lokr_w1_b", Part::OuterB, Any),
    (".lokr_w2", Part::Inner, Any),
    (".lokr_w2_a", Part::InnerA, Any),
    (".lokr_w2_b", Part::InnerB, Any),
];
/// PEFT's name of an adapter that was given none; older files keep it in their keys.
const DEFAULT_NAME: &str = ".default";

/// Takes a name apart; `None` for what no method known here has.
pub(super) fn parse(name: &str) -> Option<Key<'_>> {
    let found = |layer, &(_, part, dialect): &(&str, Part, Dialect)| Key {
        layer,
        part,
        dialect,
    };
    for row in ENDS {
        let (end, ..) = row;
        if let Some(layer) = name.strip_suffix(end) {
            return Some(found(layer, row));
        }
    }
    // `layer.lora_A.default.weight`, `layer.lokr_w1.default`.
    let (rest, weight) = match name.strip_suffix(".weight") {
        Some(rest) => (rest, ".weight"),
        None => (name, ""),
    };
    let rest = rest.strip_suffix(DEFAULT_NAME)?;
    ENDS.iter().find_map(|row| {
        let own = row.0.strip_suffix(weight)?;
        let plain_end = !own.is_empty() && (weight.is_empty() || row.0.ends_with(".weight"));
        let layer = rest.strip_suffix(own).filter(|_| plain_end)?;
        (row.2 != Original).then(|| found(layer, row))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, layer, part, dialect) in [
            (
                "base_model.model.a.b.lora_A.weight",
                "base_model.model.a.b",
                Part::A,
                Peft,
            ),
            ("a.lora_B.default.weight", "a", Part::B, Peft),
            (
                "a.lora_magnitude_vector.default.weight",
                "a",
                Part::Magnitude,
                Peft,
            ),
            (
                "a.lora_magnitude_vector.default",
                "a",
                Part::Magnitude,
                Peft,
            ),
            ("a.lora_A", "a", Part::A, Original),
            (
                "lora_unet_a_b.lora_down.weight",
                "lora_unet_a_b",
                Part::A,
                Kohya,
            ),
            ("a/b/lora_up.weight", "a/b", Part::B, Kohya),
            ("a.alpha", "a", Part::Alpha, Any),
            ("lycoris_a.lokr_w2_a", "lycoris_a", Part::InnerA, Any),
            ("a.lokr_w1.default", "a", Part::Outer, Any),
            (
                "a.parametrizations.weight.0.lora_A",
                "a",
                Part::A,
                StableAudio3,
            ),
        ] {
            let key = Key {
                layer,
                part,
                dialect,
            };
            assert_eq!(parse(name), Some(key), "{name}");
        }
        for name in [
            "a.weight",
            "a.lora_mid.weight",
            "a.lokr_t2",
            "a.hada_w1_a",
            "a.lora_B.bias",
            "a.parametrizations.weight.0.M_xs",
            "a.lora_A.default",
            "lora_embedding_A",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
