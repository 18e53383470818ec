//! `cargo xtask headline`: does an adapter bring a style that the base never heard? One table over the held-out families.

mod document;
pub(crate) mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use corpus::Style;
use eval::study::{Measure, Origin, StudyReport};
use features::nearest::COPY_SIMILARITY;
use serde::{Deserialize, Serialize};

use crate::experiment::{ArmClips, Experiment, Laboratory, Measured, Scale, Training, study};
use crate::workspace::Workspace;

pub(crate) use document::check;

pub(crate) const REAL: &str = "real clips";
pub(crate) const BASE: &str = "base";
const PROMPTED: &str = "base, nearest tags";
const ADAPTER: &str = "with adapter";
const FILE: &str = "headline.json";
/// Seeds of the adapters of each family.
const ADAPTER_SEEDS: [u64; 3] = [0, 1, 2];
/// Audio Feature Distance, relative to the base's: at least this much lower.
const AFD_MARK_PERCENT: f64 = -50.0;
/// Mel-spectral distance, relative to the base's: at least this much lower.
const SPECTRAL_MARK_PERCENT: f64 = -20.0;

#[derive(Debug, Args)]
pub(crate) struct HeadlineArgs {
    /// Folder for all parts, which a stopped run goes on with, and for the results [default: headline in the target folder].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One family, one adapter, few steps, few clips: shows that everything runs, measures nothing.
    #[arg(long, conflicts_with = "write_readme")]
    quick: bool,
    /// Put the table into README.md, and the figures into docs/headline.json.
    #[arg(long)]
    write_readme: bool,
}

/// Everything the table says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headline {
    /// Of the base that all of it is about.
    base_sha256: String,
    /// Of the Audio Feature Distance.
    statistics_version: u32,
    scale: Scale,
    training: Training,
    adapter_seeds: Vec<u64>,
    families: Vec<Family>,
    report: StudyReport,
    marks: Vec<Mark>,
}

/// What no interval says of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    name: String,
    /// What the prompted base was asked for.
    prompt: String,
    /// The longest training of an adapter.
    longest_training_secs: f64,
    /// Highest similarity of a real clip to a training piece.
    highest_real_similarity: f64,
    /// Highest similarity of an adapter's clip to a training piece.
    highest_adapter_similarity: f64,
    /// Clips of adapters that are nearer to a training piece than any real clip, and as near as copies are.
    copies: usize,
}

/// What was asked for, and whether it was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    text: String,
    is_met: bool,
}

/// Runs `cargo xtask headline`.
pub(crate) fn run(args: &HeadlineArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    let (scale, families, seeds) = match args.quick {
        true => (Scale::QUICK, &Style::held_out()[..1], &ADAPTER_SEEDS[..1]),
        false => (Scale::FULL, Style::held_out(), &ADAPTER_SEEDS[..]),
    };
    let folder = args.out.clone();
    let folder = folder.unwrap_or_else(|| workspace.target.join("headline"));
    let laboratory = Laboratory::open(workspace, &folder, scale)?;
    let headline = measure(&laboratory, families, seeds)?;
    let path = laboratory.folder().join(FILE);
    fs::write(&path, document::to_json(&headline)?)
        .with_context(|| format!("writing {}", path.display()))?;
    let table = table::render(&headline);
    fs::write(path.with_extension("md"), &table)?;
    print_table(&table);
    eprintln!("figures: {}", path.display());
    if args.write_readme {
        document::write(laboratory.root(), &headline)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the command's output")]
pub(crate) fn print_table(table: &str) {
    println!("{table}");
}

/// The arms, in the order of [`FamilySets::arms`].
const ARMS: [(&str, Origin); 4] = [
    (REAL, Origin::Real),
    (BASE, Origin::Generated),
    (PROMPTED, Origin::Generated),
    (ADAPTER, Origin::Generated),
];
/// What the adapters, the last of the arms, are compared with: all others.
const CONTRASTS: [(usize, usize); 3] = [(3, 0), (3, 1), (3, 2)];

/// A family's clips, measured.
struct FamilySets {
    reference: Measured,
    /// For each of [`ARMS`] a set, or one for each adapter.
    arms: [Vec<Measured>; 4],
    told: Family,
}

fn measure(laboratory: &Laboratory, families: &[Style], seeds: &[u64]) -> Result<Headline> {
    let training = Training::standard(&laboratory.scale);
    let mut references = Vec::new();
    let mut told = Vec::new();
    let mut arms = ARMS.map(|(name, origin)| ArmClips {
        name: name.to_owned(),
        origin,
        sets: Vec::new(),
    });
    for family in families {
        let sets = family_sets(laboratory, *family, &training, seeds)?;
        references.push(sets.reference);
        told.push(sets.told);
        for (arm, sets) in arms.iter_mut().zip(sets.arms) {
            arm.sets.push(sets);
        }
    }
    let names = told.iter().map(|family| family.name.clone()).collect();
    let report = study(names, &references, &arms, &CONTRASTS)?;
    let marks = marks(&report, &told)?;
    Ok(Headline {
        base_sha256: laboratory.base_sha256.clone(),
        statistics_version: features::statistics::VERSION,
        scale: laboratory.scale,
        training,
        adapter_seeds: seeds.to_vec(),
        families: told,
        report,
        marks,
    })
}

fn family_sets(
    laboratory: &Laboratory,
    family: Style,
    training: &Training,
    seeds: &[u64],
) -> Result<FamilySets> {
    let music = laboratory.music(family)?;
    let pieces = laboratory.pieces(&music, training.songs)?;
    let real = laboratory.measured(&music.real(), Some(&pieces))?;
    let base = |prompt: &str| -> Result<Measured> {
        laboratory.measured(&laboratory.base_clips(prompt)?, Some(&pieces))
    };
    let (mut adapted, mut longest_training_secs) = (Vec::new(), 0.0_f64);
    for &seed in seeds {
        let trained = laboratory.train(&Experiment {
            music: &music,
            training,
            seed,
        })?;
        longest_training_secs = longest_training_secs.max(trained.training_secs);
        adapted.push(laboratory.measured_adapter(&trained)?);
    }
    let highest_real_similarity = real.highest_similarity();
    let copy = highest_real_similarity.max(COPY_SIMILARITY);
    let highest = adapted.iter().map(Measured::highest_similarity);
    Ok(FamilySets {
        reference: laboratory.measured(&music.reference(), None)?,
        told: Family {
            longest_training_secs,
            highest_real_similarity,
            highest_adapter_similarity: highest.fold(0.0, f64::max),
            copies: adapted.iter().map(|set| set.clips_above(copy)).sum(),
            name: music.family,
            prompt: music.prompt.clone(),
        },
        arms: [
            vec![real],
            vec![base("")?],
            vec![base(&music.prompt)?],
            adapted,
        ],
    })
}

fn marks(report: &StudyReport, families: &[Family]) -> Result<Vec<Mark>> {
    let change = |measure, less| {
        let cell = report.difference(measure, ADAPTER, less, None);
        cell.context("the study lacks a difference")
    };
    let relative = |measure, most: f64, name: &str| -> Result<Mark> {
        let cell = change(measure, BASE)?;
        let percent = cell
            .relative_percent
            .context("a difference without per cent")?;
        let told = table::percent(&percent);
        Ok(Mark {
            text: format!(
                "{name} at least {:.0} % lower than the base's: {told}",
                -most
            ),
            is_met: percent.value <= most,
        })
    };
    let similarity = change(Measure::NearestSimilarity, REAL)?.estimate;
    let copies: usize = families.iter().map(|family| family.copies).sum();
    Ok(vec![
        relative(Measure::Afd, AFD_MARK_PERCENT, "mean AFD")?,
        relative(
            Measure::SpectralDistance,
            SPECTRAL_MARK_PERCENT,
            "mean mel-spectral distance",
        )?,
        Mark {
            text: format!(
                "no nearer to the training pieces than real clips of the style are: {} in similarity, {copies} copies",
                table::signed(&similarity, 2)
            ),
            is_met: similarity.value <= 0.0 && copies == 0,
        },
    ])
}

/// What `--write-readme` would publish must be of the whole size.
fn ensure_full(headline: &Headline) -> Result<()> {
    let families: Vec<&str> = headline
        .families
        .iter()
        .map(|family| family.name.as_str())
        .collect();
    let expected: Vec<&str> = Style::held_out().iter().map(|style| style.name()).collect();
    ensure!(
        headline.scale == Scale::FULL
            && families == expected
            && headline.adapter_seeds == ADAPTER_SEEDS,
        "the table is not of all held-out families, adapters and clips; cargo xtask headline --write-readme makes it"
    );
    Ok(())
}

/// Where the results of a checkout are kept.
fn published(root: &Path) -> PathBuf {
    root.join("docs").join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a value for each arm: real, base, prompted, adapter.
    fn headline(adapter: f64, copies: usize) -> Headline {
        let values = [
            (REAL, 0.2),
            (BASE, 1.0),
            (PROMPTED, 0.8),
            (ADAPTER, adapter),
        ];
        let report = crate::experiment::tests::report(&values);
        let families: Vec<Family> = Style::held_out()
            .iter()
            .map(|style| Family {
                name: style.name().to_owned(),
                prompt: "lute".to_owned(),
                longest_training_secs: 75.0,
                highest_real_similarity: 0.8,
                highest_adapter_similarity: 0.7,
                copies,
            })
            .collect();
        Headline {
            base_sha256: "ab".repeat(32),
            statistics_version: 1,
            scale: Scale::FULL,
            training: Training::standard(&Scale::FULL),
            adapter_seeds: ADAPTER_SEEDS.to_vec(),
            marks: marks(&report, &families).unwrap(),
            families,
            report,
        }
    }

    #[test]
    fn marks_are_met_or_missed() {
        let met = |headline: &Headline| -> Vec<bool> {
            headline.marks.iter().map(|mark| mark.is_met).collect()
        };
        assert_eq!(met(&headline(0.15, 0)), [true, true, true]);
        assert_eq!(met(&headline(0.45, 0)), [true, true, false]);
        assert_eq!(met(&headline(0.6, 0)), [false, true, false]);
        assert_eq!(met(&headline(0.15, 1)), [true, true, false]);
    }

    #[test]
    fn the_table_holds_every_arm_and_says_which_marks_are_met() {
        let text = table::render(&headline(0.15, 0));
        assert!(
            text.contains("| **mean** | 0.200 [0.100, 0.300] | 1.000 [0.900, 1.100]"),
            "{text}"
        );
        assert!(text.contains("-85 % [-85, -85]"), "{text}");
        assert!(
            text.contains("abababababab") && text.contains("(met)"),
            "{text}"
        );
        assert!(table::render(&headline(0.9, 0)).contains("(missed)"));
    }

    fn checkout() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs")).unwrap();
        fs::create_dir_all(root.path().join("lora/base")).unwrap();
        fs::write(root.path().join("lora/base/base.safetensors"), "abc").unwrap();
        let readme = "# Name\n\n<!-- headline -->\n<!-- /headline -->\n\nMore.\n";
        fs::write(root.path().join("README.md"), readme).unwrap();
        root
    }

    #[test]
    fn the_readme_holds_the_table_of_the_embedded_base() {
        let root = checkout();
        check(root.path()).unwrap();
        let mut made = headline(0.15, 0);
        document::write(root.path(), &made).unwrap();
        let readme = fs::read_to_string(root.path().join("README.md")).unwrap();
        assert!(readme.contains("with adapter") && readme.ends_with("\n\nMore.\n"));
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("another base"), "{error}");
        made.base_sha256 = crate::experiment::embedded_base_sha256(root.path()).unwrap();
        document::write(root.path(), &made).unwrap();
        check(root.path()).unwrap();
        // A figure that was changed by hand.
        let forged = fs::read_to_string(root.path().join("README.md")).unwrap();
        fs::write(
            root.path().join("README.md"),
            forged.replace("0.150", "0.050"),
        )
        .unwrap();
        assert!(check(root.path()).is_err());
        made.adapter_seeds.pop();
        assert!(document::write(root.path(), &made).is_err());
    }

    #[test]
    fn a_table_without_figures_is_refused() {
        let root = checkout();
        fs::write(root.path().join("README.md"), "no place").unwrap();
        assert!(check(root.path()).is_err());
        let readme = "<!-- headline -->\n| a table |\n<!-- /headline -->";
        fs::write(root.path().join("README.md"), readme).unwrap();
        assert!(check(root.path()).is_err());
    }
}
