//! Several families of music, several adapters for each, and what they are compared with: one table with intervals.
//!
//! An *arm* is a way of getting clips: real ones, the base's, an adapter's. It has for each family one set, or one for each seed of
//! training. Of one family an arm's value is the mean over its sets; the mean over families counts each alike.
//!
//! Intervals come from drawing clips and seeds of training anew. The clips of generated arms start from the same noise, so that the
//! same places are drawn in all their sets, of all families; seeds of training are drawn for each family, the same in all arms; real clips
//! are drawn for each family alone. References are held fixed.

use features::{Bootstrap, Estimate, ScoredSet};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// What is measured of a set of clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Audio Feature Distance to the reference.
    Afd,
    /// Mel-spectral distance to the reference, in dB².
    SpectralDistance,
    /// Kernel Audio Distance to the reference.
    KernelDistance,
    /// Mean similarity of clips to their nearest training stretch: the memorising score.
    NearestSimilarity,
}

impl Measure {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [
        Self::Afd,
        Self::SpectralDistance,
        Self::KernelDistance,
        Self::NearestSimilarity,
    ];
}

/// A set of clips, set against its family's reference and training pieces.
#[derive(Debug, Clone)]
pub struct MeasuredSet<'a> {
    /// Its distances.
    pub scored: ScoredSet<'a>,
    /// Each clip's similarity to its nearest training stretch; none where nothing happens in it.
    pub similarities: Vec<Option<f64>>,
}

impl MeasuredSet<'_> {
    fn value(&self, measure: Measure, drawn: &[usize]) -> f64 {
        match measure {
            Measure::Afd => self.scored.feature_distance(drawn),
            Measure::SpectralDistance => self.scored.spectral_distance(drawn),
            Measure::KernelDistance => self.scored.kernel_distance(drawn),
            Measure::NearestSimilarity => {
                mean(drawn.iter().filter_map(|&clip| self.similarities[clip]))
            }
        }
    }
}

/// Where an arm's clips come from, which decides what is drawn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made by a model; the clips at one place of two sets start from the same noise.
    Generated,
    /// Recordings, none of which belongs to any other clip.
    Real,
}

/// A way of getting clips.
#[derive(Debug, Clone)]
pub struct Arm<'a> {
    /// What the table calls it.
    pub name: String,
    /// Where its clips come from.
    pub origin: Origin,
    /// For each family its sets, one for each seed of training: `[family][seed]`.
    pub sets: Vec<Vec<MeasuredSet<'a>>>,
}

/// Arms over the same families.
#[derive(Debug, Clone)]
pub struct Study<'a> {
    families: Vec<String>,
    arms: Vec<Arm<'a>>,
    /// Clips in each generated set.
    clips: usize,
}

/// One figure of a [`StudyReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// What was measured.
    pub measure: Measure,
    /// Of which arm.
    pub arm: String,
    /// Less which other arm's value; none where it is the value itself.
    pub less: Option<String>,
    /// Of which family; none for the mean over families.
    pub family: Option<String>,
    /// The value or the difference.
    pub estimate: Estimate,
    /// The difference in per cent of the other arm's value.
    pub relative_percent: Option<Estimate>,
}

/// All figures of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyReport {
    /// The families, in order.
    pub families: Vec<String>,
    /// The arms, in order.
    pub arms: Vec<String>,
    /// Values and differences.
    pub cells: Vec<Cell>,
}

impl StudyReport {
    /// The value of an arm; of the mean over families without one.
    pub fn value(&self, measure: Measure, arm: &str, family: Option<&str>) -> Option<&Cell> {
        self.find(measure, arm, None, family)
    }

    /// How much an arm's value lies above another's.
    pub fn difference(
        &self,
        measure: Measure,
        arm: &str,
        less: &str,
        family: Option<&str>,
    ) -> Option<&Cell> {
        self.find(measure, arm, Some(less), family)
    }

    fn find(
        &self,
        measure: Measure,
        arm: &str,
        less: Option<&str>,
        family: Option<&str>,
    ) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            cell.measure == measure
                && cell.arm == arm
                && cell.less.as_deref() == less
                && cell.family.as_deref() == family
        })
    }
}

/// Values by measure, arm and family.
type Values = Vec<Vec<Vec<f64>>>;

/// Which figure a [`Cell`] holds: places of measure and arms, and of the family, if it is of one.
#[derive(Debug, Clone, Copy)]
struct Place {
    measure: usize,
    arm: usize,
    less: Option<usize>,
    family: Option<usize>,
}

impl Place {
    fn of(&self, values: &Values, arm: usize) -> f64 {
        let families = &values[self.measure][arm];
        match self.family {
            Some(family) => families[family],
            None => mean(families.iter().copied()),
        }
    }

    /// Value or difference, and the difference in per cent.
    fn figures(&self, values: &Values) -> [f64; 2] {
        let value = self.of(values, self.arm);
        match self.less.map(|other| self.of(values, other)) {
            Some(other) => [value - other, 100.0 * (value - other) / other],
            None => [value, 0.0],
        }
    }
}

impl<'a> Study<'a> {
    /// Takes arms together.
    ///
    /// # Errors
    /// [`EvalError::Arm`] where an arm lacks a family's sets, where sets that are drawn together differ in their number of clips or
    /// seeds, and where a set has fewer than two clips that differ.
    pub fn new(families: Vec<String>, arms: Vec<Arm<'a>>) -> Result<Self, EvalError> {
        let mut study = Self {
            families,
            arms,
            clips: 0,
        };
        study.check()?;
        Ok(study)
    }

    fn check(&mut self) -> Result<(), EvalError> {
        let mut generated = None;
        let mut seeds = None;
        for arm in &self.arms {
            let refused = |what: &'static str, expected: usize, actual: usize| EvalError::Arm {
                arm: arm.name.clone(),
                what,
                expected,
                actual,
            };
            if arm.sets.len() != self.families.len() {
                let (expected, actual) = (self.families.len(), arm.sets.len());
                return Err(refused("families", expected, actual));
            }
            for sets in &arm.sets {
                let expected = *seeds.get_or_insert(sets.len().max(1));
                if sets.len() > 1 && expected == 1 {
                    seeds = Some(sets.len());
                } else if sets.is_empty() || (sets.len() > 1 && sets.len() != expected) {
                    return Err(refused("sets of a family", expected, sets.len()));
                }
                for set in sets {
                    let clips = set.scored.clips();
                    let expected = match arm.origin {
                        Origin::Generated => *generated.get_or_insert(clips),
                        Origin::Real => sets[0].scored.clips(),
                    };
                    if clips != expected || set.similarities.len() != clips {
                        return Err(refused("clips in each set", expected, clips));
                    }
                    if !set.scored.has_kernel_distance() {
                        return Err(refused("clips that differ", 2, 1));
                    }
                }
            }
        }
        self.clips = generated.unwrap_or(0);
        Ok(())
    }

    /// The values of all arms, and the differences between those named by `contrasts` (an arm, and the one it is compared with).
    pub fn report(&self, contrasts: &[(usize, usize)], bootstrap: &Bootstrap) -> StudyReport {
        let places = self.places(contrasts);
        let figures = |values: Values| -> Vec<f64> {
            places
                .iter()
                .flat_map(|place| place.figures(&values))
                .collect()
        };
        let estimates = bootstrap.joint(&self.counts(), |draws| figures(self.values(draws)));
        let name = |arm: usize| self.arms[arm].name.clone();
        let cells = places.iter().zip(estimates.chunks_exact(2));
        let cells = cells.map(|(place, pair)| {
            let measure = Measure::ALL[place.measure];
            let mut estimate = pair[0];
            if measure == Measure::Afd && place.less.is_none() {
                estimate.low = estimate.low.map(|low| low.max(0.0));
            }
            Cell {
                measure,
                arm: name(place.arm),
                less: place.less.map(name),
                family: place.family.map(|family| self.families[family].clone()),
                estimate,
                relative_percent: place.less.map(|_| pair[1]),
            }
        });
        StudyReport {
            families: self.families.clone(),
            arms: (0..self.arms.len()).map(name).collect(),
            cells: cells.collect(),
        }
    }

    fn places(&self, contrasts: &[(usize, usize)]) -> Vec<Place> {
        let pairs: Vec<(usize, Option<usize>)> = (0..self.arms.len())
            .map(|arm| (arm, None))
            .chain(contrasts.iter().map(|&(arm, less)| (arm, Some(less))))
            .collect();
        let families = || (0..self.families.len()).map(Some).chain([None]);
        let of_measure = |measure: usize| {
            pairs.iter().flat_map(move |&(arm, less)| {
                families().map(move |family| Place {
                    measure,
                    arm,
                    less,
                    family,
                })
            })
        };
        (0..Measure::ALL.len()).flat_map(of_measure).collect()
    }

    /// How many of each kind are drawn: places of generated clips, then seeds of each family, then each real set's clips. Kinds with
    /// nothing to draw from are held fixed.
    fn counts(&self) -> Vec<usize> {
        let real = self.arms.iter().filter(|arm| arm.origin == Origin::Real);
        let real = real.flat_map(|arm| arm.sets.iter().map(|sets| sets[0].scored.clips()));
        let seeds = (0..self.families.len() * usize::from(self.seeds() > 1)).map(|_| self.seeds());
        let clips = (self.clips > 0).then_some(self.clips);
        clips.into_iter().chain(seeds).chain(real).collect()
    }

    fn seeds(&self) -> usize {
        let sets = self.arms.iter().flat_map(|arm| &arm.sets);
        sets.map(Vec::len).max().unwrap_or(1)
    }

    fn values(&self, draws: &[Vec<usize>]) -> Values {
        let mut draws = draws.iter();
        let mut next = || draws.next().map(Vec::as_slice).unwrap_or_default();
        let clips = if self.clips > 0 { next() } else { &[] };
        let seeds: Vec<&[usize]> = self
            .families
            .iter()
            .map(|_| if self.seeds() > 1 { next() } else { &[0] })
            .collect();
        let real: Vec<Vec<&[usize]>> = self
            .arms
            .iter()
            .map(|arm| match arm.origin {
                Origin::Real => self.families.iter().map(|_| next()).collect(),
                Origin::Generated => vec![clips; self.families.len()],
            })
            .collect();
        let of_family = |measure: Measure, arm: usize, family: usize| {
            let sets = &self.arms[arm].sets[family];
            let of_set = |set: &MeasuredSet| set.value(measure, real[arm][family]);
            match sets.as_slice() {
                [only] => of_set(only),
                several => mean(seeds[family].iter().map(|&seed| of_set(&several[seed]))),
            }
        };
        let of_arm = |measure: Measure, arm: usize| {
            let families = 0..self.families.len();
            families
                .map(|family| of_family(measure, arm, family))
                .collect()
        };
        let of_measure = |measure: Measure| {
            (0..self.arms.len())
                .map(|arm| of_arm(measure, arm))
                .collect()
        };
        Measure::ALL.into_iter().map(of_measure).collect()
    }
}

/// Zero of none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0_f64);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count.max(1.0)
}

#[cfg(test)]
mod tests {
    use features::statistics::FeatureStatistics;
    use features::{ClipMeasurement, ReferenceSet};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Clips whose vectors lie around `centre` in every second value, by noise of their seed and place.
    fn clips(centre: f64, count: usize, seed: u64) -> Vec<ClipMeasurement> {
        let statistics = FeatureStatistics::current().unwrap();
        let width = features::measure::clip_vector_names().len();
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut clip = || {
            let scores = (0..width).map(|index| {
                let noise = generator.random_range(-1.0..1.0);
                noise + if index % 2 == 0 { centre } else { -1.0 }
            });
            ClipMeasurement {
                duration_secs: 6.0,
                loudness_lufs: -23.0,
                vector: statistics.unscored(&scores.collect::<Vec<f64>>()),
                spectrum: vec![centre + generator.random_range(-1.0..1.0); 4],
            }
        };
        (0..count).map(|_| clip()).collect()
    }

    fn set<'a>(reference: &'a ReferenceSet, clips: &[ClipMeasurement]) -> MeasuredSet<'a> {
        MeasuredSet {
            scored: ScoredSet::new(reference, clips).unwrap(),
            similarities: (0..clips.len())
                .map(|clip| Some(0.5 + clip as f64 / 100.0))
                .collect(),
        }
    }

    fn arm<'a>(name: &str, origin: Origin, sets: Vec<Vec<MeasuredSet<'a>>>) -> Arm<'a> {
        let name = name.to_owned();
        Arm { name, origin, sets }
    }

    fn reference(seed: u64) -> ReferenceSet {
        let statistics = FeatureStatistics::current().unwrap();
        ReferenceSet::new(&clips(2.0, 8, seed), &statistics).unwrap()
    }

    /// Two families, two seeds: an adapter near the reference, a base far from it, the base's clips the same for both families.
    fn report(bootstrap: &Bootstrap) -> StudyReport {
        let references = [reference(1), reference(2)];
        let of_all = |make: &dyn Fn(&'_ ReferenceSet, u64) -> Vec<Vec<ClipMeasurement>>| {
            references
                .iter()
                .zip(0..)
                .map(|(reference, family)| {
                    let sets = make(reference, family);
                    sets.iter().map(|clips| set(reference, clips)).collect()
                })
                .collect::<Vec<Vec<MeasuredSet>>>()
        };
        let real = of_all(&|_, family| vec![clips(2.0, 6, 10 + family)]);
        let base = of_all(&|_, _| vec![clips(-0.5, 8, 20)]);
        let adapter = of_all(&|_, family| {
            let seeds = 0..2;
            seeds
                .map(|seed| clips(1.5, 8, 30 + 2 * family + seed))
                .collect()
        });
        let arms = vec![
            arm("real", Origin::Real, real),
            arm("base", Origin::Generated, base),
            arm("adapter", Origin::Generated, adapter),
        ];
        let families = vec!["one".to_owned(), "two".to_owned()];
        Study::new(families, arms)
            .unwrap()
            .report(&[(2, 1)], bootstrap)
    }

    #[test]
    fn means_over_seeds_and_families_and_differences_between_arms() {
        let report = report(&Bootstrap::default());
        // Three values and one difference, of two families and their mean, by four measures.
        assert_eq!(report.cells.len(), 4 * 4 * 3);
        for measure in Measure::ALL {
            let value = |arm, family| {
                let cell = report.value(measure, arm, family).unwrap();
                let (low, high) = (cell.estimate.low.unwrap(), cell.estimate.high.unwrap());
                assert!(
                    low <= cell.estimate.value && cell.estimate.value <= high,
                    "{cell:?}"
                );
                cell.estimate.value
            };
            let mean = 0.5 * (value("adapter", Some("one")) + value("adapter", Some("two")));
            assert!((value("adapter", None) - mean).abs() < 1e-12);
            let change = report.difference(measure, "adapter", "base", None).unwrap();
            let expected = value("adapter", None) - value("base", None);
            assert!((change.estimate.value - expected).abs() < 1e-12);
            let percent = 100.0 * expected / value("base", None);
            assert!((change.relative_percent.unwrap().value - percent).abs() < 1e-9);
        }
        let afd = report
            .difference(Measure::Afd, "adapter", "base", None)
            .unwrap();
        assert!(
            afd.estimate.excludes_zero() && afd.estimate.value < 0.0,
            "{afd:?}"
        );
        // Real clips are no further from real clips than an adapter's.
        let kernel = |arm| {
            report
                .value(Measure::KernelDistance, arm, None)
                .unwrap()
                .estimate
                .value
        };
        assert!(kernel("real") < kernel("adapter") && kernel("adapter") < kernel("base"));
    }

    #[test]
    fn seeds_repeat_and_the_report_reads_back() {
        let bootstrap = Bootstrap {
            resamples: 100,
            ..Bootstrap::default()
        };
        let first = report(&bootstrap);
        assert_eq!(first, report(&bootstrap));
        let text = serde_json::to_string(&first).unwrap();
        let again: StudyReport = serde_json::from_str(&text).unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn arms_that_do_not_fit_are_refused() {
        let reference = reference(1);
        let made = |count| vec![set(&reference, &clips(1.0, count, 3))];
        let refusal = |families: usize, arms: Vec<Arm>| {
            let families = (0..families).map(|family| family.to_string()).collect();
            Study::new(families, arms).unwrap_err().to_string()
        };
        let base = || arm("base", Origin::Generated, vec![made(4)]);
        let message = refusal(2, vec![base()]);
        assert!(
            message.contains("base") && message.contains("families"),
            "{message}"
        );
        let message = refusal(
            1,
            vec![base(), arm("other", Origin::Generated, vec![made(5)])],
        );
        assert!(message.contains("other: expected 4 clips"), "{message}");
        let single = vec![base(), arm("single", Origin::Real, vec![made(1)])];
        assert!(refusal(1, single).contains("expected 2 clips that differ"));
        let three: Vec<_> = (0..3).flat_map(|_| made(4)).collect();
        let two: Vec<_> = (0..2).flat_map(|_| made(4)).collect();
        let seeds = vec![
            arm("three", Origin::Generated, vec![three]),
            arm("two", Origin::Generated, vec![two]),
        ];
        assert!(refusal(1, seeds).contains("two: expected 3 sets"));
    }
}
