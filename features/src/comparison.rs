//! Reference, candidate and baseline compared: distances, their intervals, and the difference the adapter makes.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::bootstrap::{Bootstrap, Estimate};
use crate::distance::ReferenceSet;
use crate::error::FeatureError;
use crate::measure::ClipMeasurement;
use crate::scored_set::ScoredSet;
use crate::statistics::FeatureStatistics;

/// Random halvings of the reference that are averaged.
const HALVINGS: u64 = 100;
/// The fewest clips that are halved.
const FEWEST_HALVED: usize = 4;

/// A clip with the name by which candidate and baseline are paired: its path within its folder, without extension.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedClip {
    /// The name.
    pub name: String,
    /// The clip, described.
    pub measurement: ClipMeasurement,
}

/// The distances of a set to the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distances {
    /// Number of clips.
    pub clips: usize,
    /// Audio Feature Distance.
    pub afd: Estimate,
    /// Mel-spectral distance in dB².
    pub spectral_distance: Estimate,
    /// Kernel Audio Distance; none where this set or the reference has fewer than two clips.
    pub kernel_distance: Option<Estimate>,
}

/// One distance of the candidate less that of the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// The difference and its interval; below zero means that the candidate is nearer.
    #[serde(flatten)]
    pub difference: Estimate,
    /// Whether zero lies outside the interval.
    pub excludes_zero: bool,
    /// The difference in per cent of the baseline's distance.
    pub relative_percent: Estimate,
}

/// What the adapter changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Whether clips of the same name were drawn together.
    pub paired: bool,
    /// Change of the Audio Feature Distance.
    pub afd: Change,
    /// Change of the mel-spectral distance.
    pub spectral_distance: Change,
    /// Change of the Kernel Audio Distance, where both sets have one.
    pub kernel_distance: Option<Change>,
}

/// The distance that clips of the reference have among themselves: what a perfect candidate would score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Floor {
    /// Number of clips.
    pub clips: usize,
    /// Mean AFD between random halves; none with fewer than four clips.
    pub afd: Option<f64>,
    /// Mean distance of each clip to the mean of the others, in dB²; none with fewer than two clips.
    pub spectral_distance: Option<f64>,
    /// Mean Kernel Audio Distance between random halves; none with fewer than four clips.
    pub kernel_distance: Option<f64>,
}

/// All distances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// The reference against itself.
    pub reference: Floor,
    /// Clips made with the adapter.
    pub candidate: Distances,
    /// Clips made without it.
    pub baseline: Option<Distances>,
    /// Candidate less baseline.
    pub difference: Option<Difference>,
}

/// Compares a candidate, and a baseline where there is one, with a reference.
///
/// # Errors
/// When one of the sets is empty.
pub fn compare(
    reference: &[NamedClip],
    candidate: &[NamedClip],
    baseline: Option<&[NamedClip]>,
    statistics: &FeatureStatistics,
    bootstrap: &Bootstrap,
) -> Result<Comparison, FeatureError> {
    let clips: Vec<&ClipMeasurement> = reference.iter().map(|clip| &clip.measurement).collect();
    let set = ReferenceSet::new(clips.iter().copied(), statistics)?;
    let candidate = Scored::new(&set, candidate)?;
    let baseline = baseline.map(|clips| Scored::new(&set, clips)).transpose()?;
    Ok(Comparison {
        reference: floor(&clips, statistics, bootstrap.seed)?,
        candidate: candidate.distances(bootstrap),
        baseline: baseline
            .as_ref()
            .map(|baseline| baseline.distances(bootstrap)),
        difference: baseline
            .as_ref()
            .map(|baseline| difference(&candidate, baseline, bootstrap)),
    })
}

/// A set with the names of its clips.
struct Scored<'a> {
    names: Vec<&'a str>,
    set: ScoredSet<'a>,
}

impl<'a> Scored<'a> {
    fn new(reference: &'a ReferenceSet, clips: &'a [NamedClip]) -> Result<Self, FeatureError> {
        Ok(Self {
            names: clips.iter().map(|clip| clip.name.as_str()).collect(),
            set: ScoredSet::new(reference, clips.iter().map(|clip| &clip.measurement))?,
        })
    }

    fn distances(&self, bootstrap: &Bootstrap) -> Distances {
        let set = &self.set;
        let interval =
            |statistic: Statistic<'a>| bootstrap.one(set.clips(), |drawn| statistic(set, drawn));
        let afd = interval(ScoredSet::feature_distance);
        Distances {
            clips: set.clips(),
            afd: Estimate {
                low: afd.low.map(|low| low.max(0.0)),
                ..afd
            },
            spectral_distance: interval(ScoredSet::spectral_distance),
            kernel_distance: set
                .has_kernel_distance()
                .then(|| interval(ScoredSet::kernel_distance)),
        }
    }
}

type Statistic<'a> = fn(&ScoredSet<'a>, &[usize]) -> f64;

fn difference<'a>(
    candidate: &Scored<'a>,
    baseline: &Scored<'a>,
    bootstrap: &Bootstrap,
) -> Difference {
    let pairs = pairs(&candidate.names, &baseline.names);
    let change = |statistic: Statistic<'a>| {
        let interval = |combine: fn(f64, f64) -> f64| match &pairs {
            Some(pairs) => bootstrap.one(pairs.len(), |drawn| {
                let of_baseline: Vec<usize> = drawn.iter().map(|&index| pairs[index]).collect();
                combine(
                    statistic(&candidate.set, drawn),
                    statistic(&baseline.set, &of_baseline),
                )
            }),
            None => bootstrap.two(
                (candidate.set.clips(), baseline.set.clips()),
                |drawn, of_baseline| {
                    combine(
                        statistic(&candidate.set, drawn),
                        statistic(&baseline.set, of_baseline),
                    )
                },
            ),
        };
        let difference = interval(|candidate, baseline| candidate - baseline);
        let relative_percent =
            interval(|candidate, baseline| 100.0 * (candidate - baseline) / baseline);
        Change {
            difference,
            excludes_zero: difference.excludes_zero(),
            relative_percent,
        }
    };
    let have_kernels = candidate.set.has_kernel_distance() && baseline.set.has_kernel_distance();
    Difference {
        paired: pairs.is_some(),
        afd: change(ScoredSet::feature_distance),
        spectral_distance: change(ScoredSet::spectral_distance),
        kernel_distance: have_kernels.then(|| change(ScoredSet::kernel_distance)),
    }
}

/// For each clip of the candidate the baseline's clip of the same name; none unless all match one to one.
fn pairs(candidate: &[&str], baseline: &[&str]) -> Option<Vec<usize>> {
    let places: HashMap<&str, usize> = baseline
        .iter()
        .enumerate()
        .map(|(index, &name)| (name, index))
        .collect();
    let distinct = candidate
        .iter()
        .collect::<std::collections::HashSet<_>>()
        .len();
    if candidate.len() != baseline.len()
        || places.len() != baseline.len()
        || distinct != candidate.len()
    {
        return None;
    }
    candidate
        .iter()
        .map(|name| places.get(name).copied())
        .collect()
}

fn floor(
    clips: &[&ClipMeasurement],
    statistics: &FeatureStatistics,
    seed: u64,
) -> Result<Floor, FeatureError> {
    let others = |left_out: usize| {
        (0..clips.len())
            .filter(move |&index| index != left_out)
            .map(|index| clips[index])
    };
    let mut spectral_distance = None;
    if clips.len() >= 2 {
        let mut sum = 0.0;
        for (index, clip) in clips.iter().enumerate() {
            sum += ReferenceSet::new(others(index), statistics)?.spectral_error(clip);
        }
        spectral_distance = Some(sum / clips.len() as f64);
    }
    let halves = halves(clips, statistics, seed)?;
    Ok(Floor {
        clips: clips.len(),
        afd: halves.map(|(afd, _)| afd),
        spectral_distance,
        kernel_distance: halves.and_then(|(_, kernel)| kernel),
    })
}

/// Mean AFD and Kernel Audio Distance between random halves; none of fewer than four clips.
fn halves(
    clips: &[&ClipMeasurement],
    statistics: &FeatureStatistics,
    seed: u64,
) -> Result<Option<(f64, Option<f64>)>, FeatureError> {
    if clips.len() < FEWEST_HALVED {
        return Ok(None);
    }
    let (mut afd, mut kernel) = (0.0, Some(0.0));
    for halving in 0..HALVINGS {
        let order = shuffled(clips.len(), seed, halving);
        let (one, other) = order.split_at(clips.len() / 2);
        let half = ReferenceSet::new(one.iter().map(|&index| clips[index]), statistics)?;
        let set = ScoredSet::new(&half, other.iter().map(|&index| clips[index]))?;
        let drawn: Vec<usize> = (0..other.len()).collect();
        afd += set.feature_distance(&drawn);
        kernel = kernel
            .filter(|_| set.has_kernel_distance())
            .map(|sum| sum + set.kernel_distance(&drawn));
    }
    let mean = |sum: f64| sum / HALVINGS as f64;
    Ok(Some((mean(afd), kernel.map(mean))))
}

/// A seeded random order of `0..count` (Fisher and Yates).
fn shuffled(count: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    let mut order: Vec<usize> = (0..count).collect();
    for index in (1..count).rev() {
        order.swap(index, generator.random_range(0..=index));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pair_one_to_one_or_not_at_all() {
        assert_eq!(pairs(&["a", "b"], &["b", "a"]), Some(vec![1, 0]));
        assert_eq!(pairs(&["a", "b"], &["b", "c"]), None);
        assert_eq!(pairs(&["a", "a"], &["a", "b"]), None);
        assert_eq!(pairs(&["a"], &["a", "b"]), None);
    }
}
