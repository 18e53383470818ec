//! Measured clips as the arms of a study.

use std::collections::BTreeSet;

use anyhow::Result;
use eval::study::{Arm, MeasuredSet, Origin, Study, StudyReport};
use features::{Bootstrap, FeatureStatistics, ReferenceSet, ScoredSet};

use super::Measured;
use super::measured::MeasuredClip;

/// An arm's clips: for each family one set, or one for each seed of training.
#[derive(Debug, Clone)]
pub(crate) struct ArmClips {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) sets: Vec<Vec<Measured>>,
}

/// Compares arms with the references, one for each family; `contrasts` names arms by their places.
///
/// A generated clip that could not be measured is left out of every generated set, so that they stay paired.
pub(crate) fn study(
    families: Vec<String>,
    references: &[Measured],
    arms: &[ArmClips],
    contrasts: &[(usize, usize)],
) -> Result<StudyReport> {
    let statistics = FeatureStatistics::current()?;
    let references = references
        .iter()
        .map(|clips| {
            let clips = clips.clips.iter().map(|clip| &clip.measurement);
            ReferenceSet::new(clips, &statistics)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let places = common_places(arms);
    let arms = arms
        .iter()
        .map(|arm| scored(arm, &references, &places))
        .collect::<Result<Vec<_>>>()?;
    let study = Study::new(families, arms)?;
    Ok(study.report(contrasts, &Bootstrap::default()))
}

/// The places at which every generated set has a clip.
fn common_places(arms: &[ArmClips]) -> BTreeSet<&str> {
    let generated = arms.iter().filter(|arm| arm.origin == Origin::Generated);
    let sets = generated.flat_map(|arm| arm.sets.iter().flatten());
    let places = sets.map(|set| -> BTreeSet<&str> {
        set.clips.iter().map(|clip| clip.place.as_str()).collect()
    });
    let common = places.reduce(|common, places| common.intersection(&places).copied().collect());
    common.unwrap_or_default()
}

fn scored<'a>(
    arm: &ArmClips,
    references: &'a [ReferenceSet],
    places: &BTreeSet<&str>,
) -> Result<Arm<'a>> {
    let is_kept =
        |clip: &&MeasuredClip| arm.origin == Origin::Real || places.contains(clip.place.as_str());
    let measured = |reference: &'a ReferenceSet, set: &Measured| -> Result<MeasuredSet<'a>> {
        let mut clips: Vec<&MeasuredClip> = set.clips.iter().filter(is_kept).collect();
        clips.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(MeasuredSet {
            scored: ScoredSet::new(reference, clips.iter().map(|clip| &clip.measurement))?,
            similarities: clips.iter().map(|clip| clip.similarity).collect(),
        })
    };
    let families = references.iter().zip(&arm.sets);
    let sets = families.map(|(reference, sets)| {
        let sets = sets.iter().map(|set| measured(reference, set));
        sets.collect::<Result<Vec<_>>>()
    });
    Ok(Arm {
        name: arm.name.clone(),
        origin: arm.origin,
        sets: sets.collect::<Result<Vec<_>>>()?,
    })
}

#[cfg(test)]
mod tests {
    use eval::study::Measure;
    use features::ClipMeasurement;

    use super::*;

    /// Clips at these places, all values of a vector the place's number.
    fn measured(places: &[u32]) -> Measured {
        let width = features::measure::clip_vector_names().len();
        let clip = |place: &u32| MeasuredClip {
            place: format!("seed{place}"),
            measurement: ClipMeasurement {
                duration_secs: 6.0,
                loudness_lufs: -23.0,
                vector: vec![f64::from(*place); width],
                spectrum: vec![f64::from(*place); 4],
            },
            similarity: Some(f64::from(*place)),
        };
        Measured {
            clips: places.iter().map(clip).collect(),
        }
    }

    #[test]
    fn what_one_generated_set_lacks_is_left_out_of_all_of_them() {
        let arm = |name: &str, origin, places| ArmClips {
            name: name.to_owned(),
            origin,
            sets: vec![vec![measured(places)]],
        };
        let arms = [
            arm("real", Origin::Real, &[1, 2, 3, 4]),
            arm("base", Origin::Generated, &[3, 1, 2]),
            arm("adapter", Origin::Generated, &[1, 3, 4]),
        ];
        let families = vec!["family".to_owned()];
        let report = study(families, &[measured(&[1, 2, 3])], &arms, &[(2, 1)]).unwrap();
        let mean = |arm| {
            let cell = report.value(Measure::NearestSimilarity, arm, None);
            cell.unwrap().estimate.value
        };
        assert_eq!(
            (mean("real"), mean("base"), mean("adapter")),
            (2.5, 2.0, 2.0)
        );
        let change = report.difference(Measure::SpectralDistance, "adapter", "base", None);
        assert_eq!(
            change.unwrap().estimate.high,
            Some(0.0),
            "the same clips at the same places"
        );
    }
}
