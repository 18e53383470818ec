//! Which model made a vector.

use nn::{WeightPrecision, Weights};
use sha2::{Digest, Sha256};

use crate::EmbedError;
use crate::config::MuLanConfig;

/// A name for a model that is the same wherever its file lies: SHA-256 over its configuration, the precision its
/// weights are kept in, and the two projections into the common space, which any training of the model changes. Reading
/// those is quick, so a cached vector is found without loading the model.
///
/// # Errors
/// When the weights are not those of such a model.
pub fn fingerprint(config: &MuLanConfig, weights: &Weights) -> Result<String, EmbedError> {
    let mut hash = Sha256::new();
    hash.update(format!("{config:?}"));
    hash.update(match weights.precision() {
        WeightPrecision::F32 => "f32",
        WeightPrecision::F16 => "f16",
        WeightPrecision::Bf16 => "bf16",
        WeightPrecision::Int8 => "int8",
        WeightPrecision::Nf4 => "nf4",
    });
    let root = weights.root().pp("mulan");
    for (name, dim) in [
        ("audio_to_latents", config.audio_transformer.dim),
        ("text_to_latents", config.text_transformer.dim),
    ] {
        let values = root
            .pp(name)
            .get("weight", &[config.mulan.dim_latent, dim])?;
        for value in values.flatten_all()?.to_vec1::<f32>()? {
            hash.update(value.to_le_bytes());
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
