//! Where models may make tensors. A tensor of the CPU in the middle of a network fails on a card only, and most machines
//! that run the tests have none; so the libraries on the way from a model's inputs to its outputs take the device from
//! their arguments, and the places that name the CPU are counted here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

/// Crates whose code runs on the device that the user chose.
const CRATES: &[&str] = &["dit", "embed", "nn", "vae", "lora"];

const CPU: &str = "Device::Cpu";

/// File, how often its code outside of tests names the CPU, and why that is right.
const ALLOWED: &[(&str, usize, &str)] = &[
    (
        "nn/src/weights.rs",
        4,
        "files are read and checked on the CPU, then placed; no tensors and made up ones start there",
    ),
    (
        "nn/src/linear/stored.rs",
        1,
        "weights that our own kernels read are never on another device",
    ),
    (
        "nn/src/optimizer.rs",
        4,
        "adapters are updated on the CPU, and so is what is saved of it",
    ),
    (
        "nn/src/muon.rs",
        2,
        "matrices are updated on the CPU, and so is what is saved of it",
    ),
    (
        "lora/src/base_training/autoencoder.rs",
        7,
        "features are computed of files, components in closed form, and the finished weights written, on the CPU; training is placed",
    ),
    (
        "lora/src/base_training/autoencoder/principal_components.rs",
        2,
        "components are computed in closed form, before anything is placed",
    ),
    (
        "lora/src/base_training/export.rs",
        1,
        "weights from file to file",
    ),
    (
        "lora/src/base_training/run.rs",
        1,
        "a checkpoint is read on the CPU and then placed",
    ),
    (
        "lora/src/base_training/start.rs",
        3,
        "first values are read and drawn on the CPU, and placed when they become variables",
    ),
    (
        "lora/src/base_training/transformer/latents.rs",
        1,
        "sound for the autoencoder, which runs on the CPU",
    ),
    (
        "lora/src/bin/lora-train/base.rs",
        3,
        "a finished base is looked at, and its autoencoder runs on the CPU",
    ),
    (
        "lora/src/bin/lora-convert.rs",
        1,
        "files are converted on the CPU",
    ),
    (
        "lora/src/adapter/write/merged.rs",
        1,
        "an adapter without tensors is on no device",
    ),
    ("lora/src/device.rs", 3, "the choice of the device itself"),
    (
        "lora/src/base/own.rs",
        1,
        "the autoencoder runs on the CPU; the transformer is placed",
    ),
    (
        "lora/src/base/diffrhythm.rs",
        1,
        "the autoencoder runs on the CPU; the transformer is placed",
    ),
    (
        "lora/src/generate/looped.rs",
        1,
        "what the autoencoder hears and says, which runs on the CPU",
    ),
    (
        "lora/src/style/classifier.rs",
        1,
        "what the autoencoder hears, which runs on the CPU",
    ),
    (
        "lora/src/bin/lora-train/main.rs",
        3,
        "looks at a base that is not run: its tags, its sizes",
    ),
    (
        "lora/src/base/outline.rs",
        3,
        "sizes alone, for which nothing is computed",
    ),
    (
        "lora/src/style/encoder.rs",
        1,
        "a style's vector is computed once, on the CPU",
    ),
    (
        "lora/src/adapter/write/merged.rs",
        1,
        "weights from file to file, one at a time",
    ),
    (
        "lora/src/bin/lora-convert.rs",
        1,
        "adapters from file to file",
    ),
    (
        "lora/src/bin/lora-merge.rs",
        1,
        "adapters from file to file",
    ),
    (
        "lora/src/train/data.rs",
        1,
        "sound for the autoencoder, which runs on the CPU",
    ),
    (
        "lora/src/train/ensemble/mpi.rs",
        1,
        "MPI adds up what is on the host; the sum goes back where the gradients were",
    ),
    (
        "lora/src/generate/kept.rs",
        2,
        "sound for the autoencoder, which runs on the CPU; what is kept of it is placed with the request",
    ),
    (
        "lora/src/generate.rs",
        1,
        "latents for the autoencoder, which runs on the CPU",
    ),
];

/// Fails where the counts are not those of the table.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for name in CRATES {
        for entry in WalkDir::new(root.join(name).join("src")).sort_by_file_name() {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let relative = path
                .strip_prefix(root)?
                .to_string_lossy()
                .replace('\\', "/");
            let text = fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            let (found, expected) = (named(&text), allowed(&relative));
            if found != expected {
                wrong.push(format!(
                    "{relative}: {found} times, {expected} in the table"
                ));
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "{CPU} in code that runs on any device; take the device from an argument, or say in xtask/src/devices.rs why \
             not:\n  {}",
            wrong.join("\n  ")
        );
    }
    Ok(())
}

fn allowed(file: &str) -> usize {
    ALLOWED
        .iter()
        .find(|(allowed, ..)| *allowed == file)
        .map_or(0, |(_, count, _)| *count)
}

/// How often code, without comments and tests, names the CPU.
fn named(text: &str) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.matches(CPU).count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_outside_of_tests_counts() {
        let text =
            "//! Device::Cpu\nlet a = Device::Cpu;\n#[cfg(test)]\nmod tests {\n Device::Cpu }";
        assert_eq!(named(text), 1);
    }

    #[test]
    fn the_table_is_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("."));
        check(root).map_err(|error| error.to_string()).unwrap();
    }
}
