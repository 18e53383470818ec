//! `cargo xtask ablations`: what an adapter's settings are worth, one changed at a time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use corpus::Style;
use eval::study::{Measure, Origin, StudyReport};
use serde::Serialize;

use crate::experiment::{ArmClips, Experiment, Laboratory, Music, Scale, Training, study};
use crate::headline::table::{SHOWN_DIGITS, described, percent, with_interval};
use crate::headline::{BASE, REAL, print_table};
use crate::marked;
use crate::workspace::Workspace;

const FILE: &str = "ablations.json";
const DOCUMENT: &str = "docs/ablations.md";
/// Name of the marked place in the document.
const PLACE: &str = "ablations";
const STANDARD: &str = "standard";
/// The settings that `--quick` tries.
const QUICK: [&str; 3] = [STANDARD, ATTENTION, "2 recordings"];
const ATTENTION: &str = "attention alone";
/// The flow time's networks among the targets.
const TIME_NETWORKS: [&str; 2] = ["time_mlp.0", "time_mlp.2"];
/// The layers behind the last block among the targets.
const OUTPUT_LAYERS: [&str; 2] = ["norm_out.linear", "proj_out"];

#[derive(Debug, Args)]
pub(crate) struct AblationsArgs {
    /// Folder for all parts, shared with `headline` [default: headline in the target folder].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The held-out family [default: the first].
    #[arg(long, conflicts_with = "all")]
    family: Option<Style>,
    /// All held-out families, and the mean over them.
    #[arg(long)]
    all: bool,
    /// Adapters for each setting and family.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=16))]
    seeds: u64,
    /// One adapter for each setting, few steps, few clips: shows that everything runs, measures nothing.
    #[arg(long, conflicts_with = "write_document")]
    quick: bool,
    /// Put the table into docs/ablations.md.
    #[arg(long)]
    write_document: bool,
}

/// A changed setting.
struct Variant {
    name: String,
    training: Training,
}

#[derive(Serialize)]
struct Ablations {
    base_sha256: String,
    scale: Scale,
    seeds: u64,
    report: StudyReport,
}

/// Runs `cargo xtask ablations`.
pub(crate) fn run(args: &AblationsArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    let first = args.family.unwrap_or(Style::held_out()[0]);
    anyhow::ensure!(
        Style::held_out().contains(&first),
        "--family {first}: the base has heard it; expected a held-out family"
    );
    let families = match args.all {
        true => Style::held_out().to_vec(),
        false => vec![first],
    };
    let (scale, seeds) = match args.quick {
        true => (Scale::QUICK, 1),
        false => (Scale::FULL, args.seeds),
    };
    let folder = args.out.clone();
    let folder = folder.unwrap_or_else(|| workspace.target.join("headline"));
    let laboratory = Laboratory::open(workspace, &folder, scale)?;
    let ablations = Ablations {
        base_sha256: laboratory.base_sha256.clone(),
        scale,
        seeds,
        report: measure(&laboratory, &families, seeds)?,
    };
    let path = laboratory.folder().join(FILE);
    fs::write(&path, serde_json::to_string_pretty(&ablations)? + "\n")
        .with_context(|| format!("writing {}", path.display()))?;
    let table = render(&ablations);
    print_table(&table);
    eprintln!("figures: {}", path.display());
    match args.write_document {
        true => marked::replace(&laboratory.root().join(DOCUMENT), PLACE, &table),
        false => Ok(()),
    }
}

/// The standard settings first, then each change of them.
fn variants(scale: &Scale) -> Vec<Variant> {
    let standard = Training::standard(scale);
    let changed = |name: &str, change: &dyn Fn(&mut Training)| {
        let mut training = standard.clone();
        change(&mut training);
        Variant {
            name: name.to_owned(),
            training,
        }
    };
    let excluding = |name: &str, layers: &[&str]| {
        changed(name, &|training| {
            training.exclude = layers.iter().map(|layer| (*layer).to_owned()).collect();
        })
    };
    let mut variants = vec![
        changed(STANDARD, &|_| ()),
        changed("rank 2", &|training| training.rank = 2),
        changed("rank 32", &|training| training.rank = 32),
        changed("dropout 0", &|training| training.dropout = 0.0),
        excluding("without time networks", &TIME_NETWORKS),
        excluding("without output layers", &OUTPUT_LAYERS),
        excluding(ATTENTION, &[TIME_NETWORKS, OUTPUT_LAYERS].concat()),
    ];
    let fewer = [2, 4, 8].into_iter().filter(|songs| *songs < scale.songs);
    variants.extend(fewer.map(|songs| {
        changed(&format!("{songs} recordings"), &|training| {
            training.songs = songs;
        })
    }));
    variants
}

/// What real clips are called whose similarity is to the pieces of fewer recordings.
fn real_of(songs: usize, scale: &Scale) -> String {
    match songs == scale.songs {
        true => REAL.to_owned(),
        false => format!("{REAL}, {songs} recordings"),
    }
}

fn measure(laboratory: &Laboratory, families: &[Style], seeds: u64) -> Result<StudyReport> {
    let scale = &laboratory.scale;
    let mut variants = variants(scale);
    if *scale == Scale::QUICK {
        variants.retain(|variant| QUICK.contains(&variant.name.as_str()));
    }
    let music = families.iter().map(|family| laboratory.music(*family));
    let music = music.collect::<Result<Vec<Music>>>()?;
    let mut references = Vec::new();
    for music in &music {
        references.push(laboratory.measured(&music.reference(), None)?);
    }
    // Each variant has the standard beside it, whose place is 0.
    let mut arms = Vec::new();
    for variant in &variants {
        let mut sets = Vec::new();
        for music in &music {
            let trained = (0..seeds).map(|seed| {
                let training = &variant.training;
                let trained = laboratory.train(&Experiment {
                    music,
                    training,
                    seed,
                })?;
                laboratory.measured_adapter(&trained)
            });
            sets.push(trained.collect::<Result<Vec<_>>>()?);
        }
        arms.push(ArmClips {
            name: variant.name.clone(),
            origin: Origin::Generated,
            sets,
        });
    }
    let contrasts: Vec<(usize, usize)> = (1..arms.len()).map(|arm| (arm, 0)).collect();
    let of_music = |songs: usize, clips: &dyn Fn(&Music) -> Result<PathBuf>| {
        let measured = music.iter().map(|music| {
            let pieces = laboratory.pieces(music, songs)?;
            Ok(vec![laboratory.measured(&clips(music)?, Some(&pieces))?])
        });
        measured.collect::<Result<Vec<_>>>()
    };
    arms.push(ArmClips {
        name: BASE.to_owned(),
        origin: Origin::Generated,
        sets: of_music(scale.songs, &|_| laboratory.base_clips(""))?,
    });
    let songs: BTreeSet<usize> = variants
        .iter()
        .map(|variant| variant.training.songs)
        .collect();
    for songs in songs.into_iter().rev() {
        arms.push(ArmClips {
            name: real_of(songs, scale),
            origin: Origin::Real,
            sets: of_music(songs, &|music| Ok(music.real()))?,
        });
    }
    let names = music.iter().map(|music| music.family.clone()).collect();
    study(names, &references, &arms, &contrasts)
}

/// One row for each setting, of the mean over families.
fn render(ablations: &Ablations) -> String {
    let report = &ablations.report;
    let mut text = String::from("| |");
    for measure in Measure::ALL {
        let _ = write!(text, " {} |", described(measure).0);
    }
    text.push_str(" AFD against the standard |\n|---|---|---|---|---|---|\n");
    for arm in &report.arms {
        let _ = write!(text, "| {arm} |");
        for measure in Measure::ALL {
            let cell = report.value(measure, arm, None);
            let shown = cell.map(|cell| with_interval(&cell.estimate, described(measure).1));
            let _ = write!(text, " {} |", shown.unwrap_or_default());
        }
        let change = report.difference(Measure::Afd, arm, STANDARD, None);
        let relative = change.and_then(|cell| cell.relative_percent.as_ref());
        let _ = writeln!(text, " {} |", relative.map(percent).unwrap_or_default());
    }
    let _ = writeln!(
        text,
        "\n{}; {} adapters for each setting and family, {} steps, {} clips. Base {}.",
        report.families.join(", "),
        ablations.seeds,
        ablations.scale.steps,
        ablations.scale.clips,
        &ablations.base_sha256[..SHOWN_DIGITS.min(ablations.base_sha256.len())],
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_changes_one_setting_of_the_standard() {
        let variants = variants(&Scale::FULL);
        let standard = &variants[0].training;
        assert_eq!(*standard, Training::standard(&Scale::FULL));
        for variant in &variants[1..] {
            let Training {
                songs,
                steps,
                rank,
                dropout,
                exclude,
            } = &variant.training;
            let changed = [
                *songs != standard.songs,
                *steps != standard.steps,
                *rank != standard.rank,
                *dropout != standard.dropout,
                *exclude != standard.exclude,
            ];
            assert_eq!(
                changed.iter().filter(|changed| **changed).count(),
                1,
                "{}",
                variant.name
            );
        }
        let songs: Vec<usize> = variants
            .iter()
            .map(|variant| variant.training.songs)
            .collect();
        assert_eq!(songs[7..], [2, 4, 8]);
    }

    #[test]
    fn the_table_has_a_row_for_each_arm() {
        let arms = [(STANDARD, 0.5), ("rank 2", 0.75), (BASE, 1.0), (REAL, 0.1)];
        let text = render(&Ablations {
            base_sha256: "ab".repeat(32),
            scale: Scale::FULL,
            seeds: 2,
            report: crate::experiment::tests::report(&arms),
        });
        assert!(text.contains("| rank 2 | 0.750 [0.650, 0.850] |"), "{text}");
        assert!(text.contains("| +50 % [+50, +50] |"), "{text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with('|')).count(),
            2 + arms.len()
        );
    }
}
