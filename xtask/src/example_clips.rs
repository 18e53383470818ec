//! `cargo xtask example-clips`: for each held-out family a clip of the base, one with an adapter, and a real one, on a page that plays them.
//!
//! The clips are those of the headline's first seeds, chosen by number and not by ear.

mod opus;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use corpus::Style;

use crate::experiment::{Experiment, Laboratory, Scale, Training, embedded_base_sha256};
use crate::marked;
use crate::workspace::Workspace;

/// Hosts of source code and phones alike take files of this size.
const MOST_BYTES: usize = 200_000;
/// Loudness of all clips, so that none wins by being louder.
const LOUDNESS_LUFS: f64 = -18.0;
/// The highest peak that the change of loudness leads to.
const MOST_PEAK: f32 = 0.9;
/// Which of the clips is taken, of the base's, the adapter's and the real ones.
const CLIP: usize = 0;
/// Where the page is, in a checkout.
const FOLDER: &str = "docs/examples";
/// The marked place in README.md.
const PLACE: &str = "examples";
const LINK: &str = "Hear it: [base, adapter and real clips side by side](docs/examples/index.html), a page to open in a browser.";

#[derive(Debug, Args)]
pub(crate) struct ExampleClipsArgs {
    /// Folder for the sound and the page [default: docs/examples].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of parts, shared with `headline` [default: headline in the target folder].
    #[arg(long, value_name = "DIR")]
    parts: Option<PathBuf>,
    /// One family and few steps: shows that everything runs. Needs --out.
    #[arg(long, requires = "out")]
    quick: bool,
}

/// What can be heard of a family: names of files in the page's folder.
#[derive(Debug, Clone)]
struct Examples {
    family: String,
    /// What is heard, and its file.
    clips: Vec<(&'static str, String)>,
}

/// Runs `cargo xtask example-clips`.
pub(crate) fn run(args: &ExampleClipsArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| workspace.root.join(FOLDER));
    let parts = args.parts.clone();
    let parts = parts.unwrap_or_else(|| workspace.target.join("headline"));
    let (scale, families) = match args.quick {
        true => (Scale::QUICK, &Style::held_out()[..1]),
        false => (Scale::FULL, Style::held_out()),
    };
    let laboratory = Laboratory::open(workspace, &parts, scale)?;
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    let examples = families
        .iter()
        .map(|family| of_family(&laboratory, *family, &out))
        .collect::<Result<Vec<_>>>()?;
    let page = out.join("index.html");
    fs::write(&page, page::render(&examples, &laboratory.base_sha256))
        .with_context(|| format!("writing {}", page.display()))?;
    eprintln!("{}", page.display());
    match args.out {
        None => marked::replace(&laboratory.root().join("README.md"), PLACE, LINK),
        Some(_) => Ok(()),
    }
}

/// Fails if there is a page of another base's clips.
pub(crate) fn check(root: &Path) -> Result<()> {
    let path = root.join(FOLDER).join("index.html");
    if !path.exists() {
        return Ok(());
    }
    let page = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(
        page.contains(page::shown(&embedded_base_sha256(root)?)),
        "{} plays another base than the embedded one; cargo xtask example-clips makes it anew",
        path.display()
    );
    Ok(())
}

fn of_family(laboratory: &Laboratory, family: Style, out: &Path) -> Result<Examples> {
    let music = laboratory.music(family)?;
    let training = Training::standard(&laboratory.scale);
    let trained = laboratory.train(&Experiment {
        music: &music,
        training: &training,
        seed: 0,
    })?;
    let real = music.real().join(format!("{family}-{CLIP:02}.wav"));
    let base = laboratory
        .base_clips("")?
        .join(format!("base-seed{CLIP}.wav"));
    let adapted = laboratory.adapter_clips(&trained)?;
    let adapted = adapted.join(format!("style-seed{CLIP}.wav"));
    let sounds = [
        ("Without the adapter", "base", base),
        ("With the adapter, same seed", "adapter", adapted),
        ("A real piece, not trained on", "real", real),
    ];
    let mut clips = Vec::new();
    for (title, name, wav) in sounds {
        let file = format!("{family}-{name}.opus");
        encode(&wav, &out.join(&file))?;
        clips.push((title, file));
    }
    Ok(Examples {
        family: family.name().to_owned(),
        clips,
    })
}

/// Reads a clip, brings it to a common loudness, and writes it as Opus.
fn encode(wav: &Path, path: &Path) -> Result<()> {
    let mut sound = audio::read_at(wav, opus::SAMPLE_RATE_HZ)
        .with_context(|| format!("reading {}", wav.display()))?;
    let lufs = audio::loudness::integrated_lufs(&sound).unwrap_or(LOUDNESS_LUFS);
    let wanted = 10f64.powf((LOUDNESS_LUFS - lufs) / 20.0) as f32;
    let gain = wanted.min(MOST_PEAK / sound.peak().max(f32::MIN_POSITIVE));
    let samples = sound.channels.iter_mut().flatten();
    samples.for_each(|sample| *sample *= gain);
    let bytes = opus::encode(&sound).with_context(|| format!("encoding {}", wav.display()))?;
    ensure!(
        bytes.len() < MOST_BYTES,
        "{}: {} bytes, at most {MOST_BYTES} are allowed",
        path.display(),
        bytes.len()
    );
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_base_is_refused() {
        let root = tempfile::tempdir().unwrap();
        check(root.path()).unwrap();
        for folder in [FOLDER, "lora/base"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("lora/base/base.safetensors"), "abc").unwrap();
        let write = |base_sha256: &str| {
            let page = page::render(&[], base_sha256);
            fs::write(root.path().join(FOLDER).join("index.html"), page).unwrap();
        };
        write(&"ab".repeat(32));
        assert!(check(root.path()).is_err());
        write(&embedded_base_sha256(root.path()).unwrap());
        check(root.path()).unwrap();
    }
}
