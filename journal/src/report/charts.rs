//! The curves of a run, each drawn where there is anything to draw.

use std::collections::BTreeMap;

use plot::{LineChart, Series, Stroke};

use crate::record::{EpochRecord, PreviewRecord, Record, StepRecord, TIME_PARTS, ValidationRecord};

const WIDTH: usize = 720;
const HEIGHT: usize = 320;
/// More points than this cannot be told apart at the chart's width.
const POINTS: usize = 600;

type Points = Vec<(f64, f64)>;

/// The charts, with their heading.
pub(super) fn section(records: &[Record]) -> String {
    let charts: String = all(&Curves::of(records))
        .into_iter()
        .filter_map(ChartDraft::svg)
        .map(|svg| format!("<figure>{svg}</figure>\n"))
        .collect();
    if charts.is_empty() {
        return String::new();
    }
    let steps = Curves::of(records).steps.len();
    let thinned = if steps > POINTS {
        format!(
            "<p>Long curves are thinned: a point is the mean of up to {} records that follow each other.</p>\n",
            steps.div_ceil(POINTS)
        )
    } else {
        String::new()
    };
    format!("<h2>Curves</h2>\n{thinned}<div class=\"charts\">\n{charts}</div>")
}

/// Steps and losses on the held-out songs.
pub(super) fn validation_points(records: &[Record]) -> Points {
    Curves::of(records).validation()
}

/// The records by kind.
#[derive(Default)]
struct Curves<'a> {
    steps: Vec<&'a StepRecord>,
    epochs: Vec<&'a EpochRecord>,
    validations: Vec<&'a ValidationRecord>,
    previews: Vec<&'a PreviewRecord>,
}

impl<'a> Curves<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut curves = Self::default();
        for record in records {
            match record {
                Record::Step(record) => curves.steps.push(record),
                Record::Epoch(record) => curves.epochs.push(record),
                Record::Validation(record) => curves.validations.push(record),
                Record::Preview(record) => curves.previews.push(record),
                Record::Warning(_) | Record::Note(_) => {}
            }
        }
        curves
    }

    fn of_steps(&self, number: impl Fn(&StepRecord) -> f64) -> Points {
        points(&self.steps, |record| (record.step, number(record)))
    }

    fn of_epochs(&self, number: impl Fn(&EpochRecord) -> f64) -> Points {
        points(&self.epochs, |record| (record.step, number(record)))
    }

    /// The finer of what both kinds of record say.
    fn of_either(
        &self,
        of_step: impl Fn(&StepRecord) -> f64,
        of_epoch: impl Fn(&EpochRecord) -> f64,
    ) -> Points {
        if self.steps.is_empty() {
            self.of_epochs(of_epoch)
        } else {
            self.of_steps(of_step)
        }
    }

    /// Epochs repeat what validation records say, where there are such.
    fn validation(&self) -> Points {
        if !self.validations.is_empty() {
            return points(&self.validations, |record| (record.step, record.loss));
        }
        let measured = self.epochs.iter().filter_map(|record| {
            let loss = record.validation_loss?;
            Some((record.step as f64, loss))
        });
        measured.collect()
    }

    fn validation_by_time(&self) -> Vec<Draft> {
        // The bits of positive numbers are ordered as the numbers are.
        let mut by_time: BTreeMap<u64, (f64, Points)> = BTreeMap::new();
        for record in &self.validations {
            for &(time, loss) in &record.loss_by_time {
                let (_, points) = by_time
                    .entry(time.to_bits())
                    .or_insert_with(|| (time, Vec::new()));
                points.push((record.step as f64, loss));
            }
        }
        by_time
            .into_values()
            .map(|(time, points)| Draft::new(format!("time {time:.3}"), points, Stroke::Dotted))
            .collect()
    }

    fn adapter_norms(&self) -> Vec<Draft> {
        let mut by_block: BTreeMap<&str, Points> = BTreeMap::new();
        for record in &self.steps {
            for (block, &norm) in &record.adapter_norms {
                let points = by_block.entry(block).or_default();
                points.push((record.step as f64, norm));
            }
        }
        let mut blocks: Vec<_> = by_block.into_iter().collect();
        blocks.sort_by_cached_key(|(block, _)| with_numbers(block));
        blocks
            .into_iter()
            .map(|(block, points)| Draft::new(block, points, Stroke::Line))
            .collect()
    }

    fn similarities(&self) -> [Draft; 2] {
        let of = |name: &str, number: fn(&PreviewRecord) -> Option<f64>, stroke| {
            let points = self
                .previews
                .iter()
                .filter_map(|record| Some((record.step as f64, number(record)?)))
                .collect();
            Draft::new(name, mean_by_step(points), stroke)
        };
        [
            of("with adapter", |record| record.similarity, Stroke::Dotted),
            of("usual", |record| record.usual_similarity, Stroke::Line),
        ]
    }
}

fn points<T>(records: &[&T], point: impl Fn(&T) -> (usize, f64)) -> Points {
    records
        .iter()
        .map(|record| point(record))
        .map(|(step, number)| (step as f64, number))
        .collect()
}

/// `blocks.10` behind `blocks.9`: runs of digits by their value.
fn with_numbers(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        parts.push((0, text.to_owned()));
        let number_end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(number_end);
        parts.push((number.parse().unwrap_or(u64::MAX), String::new()));
        rest = after;
    }
    parts
}

/// Several seeds have one step; their mean is one point.
fn mean_by_step(points: Points) -> Points {
    points
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(mean)
        .collect()
}

/// Means of neighbours, so many that at most [`POINTS`] are left.
fn thinned(points: &[(f64, f64)]) -> Points {
    let together = points.len().div_ceil(POINTS).max(1);
    if together == 1 {
        return points.to_vec();
    }
    points.chunks(together).filter_map(mean).collect()
}

/// The mean over those that are numbers; where none is, a gap.
fn mean(group: &[(f64, f64)]) -> Option<(f64, f64)> {
    let step = group.last()?.0;
    if group.len() == 1 {
        return group.last().copied();
    }
    let numbers = || group.iter().map(|point| point.1).filter(|y| y.is_finite());
    let mean = numbers().sum::<f64>() / numbers().count() as f64;
    Some((step, mean))
}

/// A series to be.
struct Draft {
    name: String,
    points: Points,
    stroke: Stroke,
}

impl Draft {
    fn new(name: impl Into<String>, points: Points, stroke: Stroke) -> Self {
        Self {
            name: name.into(),
            points,
            stroke,
        }
    }
}

/// A chart to be.
struct ChartDraft {
    title: &'static str,
    y_label: &'static str,
    logarithmic: bool,
    series: Vec<Draft>,
}

impl ChartDraft {
    fn new(title: &'static str, y_label: &'static str, series: Vec<Draft>) -> Self {
        Self {
            title,
            y_label,
            logarithmic: false,
            series,
        }
    }

    fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    /// Nothing, where no number is there to be drawn.
    fn svg(mut self) -> Option<String> {
        let drawable = |y: f64| y.is_finite() && (!self.logarithmic || y > 0.0);
        self.series
            .retain(|series| series.points.iter().any(|point| drawable(point.1)));
        if self.series.is_empty() {
            return None;
        }
        let mut chart = LineChart::new(self.title)
            .x_label("step")
            .y_label(self.y_label)
            .size(WIDTH, HEIGHT);
        if self.logarithmic {
            chart = chart.logarithmic();
        }
        for draft in self.series {
            let series = Series::new(draft.name, thinned(&draft.points)).stroke(draft.stroke);
            chart = chart.series(series);
        }
        Some(chart.svg())
    }
}

fn all(curves: &Curves<'_>) -> Vec<ChartDraft> {
    let by_part = (0..TIME_PARTS).map(|part| {
        let (from, to) = (part as f64, part as f64 + 1.0);
        let parts = TIME_PARTS as f64;
        let name = format!("time {:.3} to {:.3}", from / parts, to / parts);
        let loss = |record: &StepRecord| record.loss_by_time[part].unwrap_or(f64::NAN);
        let measured = curves.of_steps(loss).into_iter();
        // A part without items since the last record is no gap in knowledge worth showing.
        let points = measured.filter(|point| !point.1.is_nan()).collect();
        Draft::new(name, points, Stroke::Line)
    });
    let norms = vec![
        Draft::new(
            "gradient",
            curves.of_either(|record| record.gradient_norm, |record| record.gradient_norm),
            Stroke::Line,
        ),
        Draft::new(
            "update",
            curves.of_steps(|record| record.update_norm),
            Stroke::Line,
        ),
    ];
    let rate = curves.of_either(|record| record.learning_rate, |record| record.learning_rate);
    let secs = curves.of_steps(|record| record.step_secs);
    vec![
        ChartDraft::new("Loss", "loss", losses(curves)),
        ChartDraft::new("Training loss by flow time", "loss", by_part.collect()),
        ChartDraft::new(
            "Held-out loss by flow time",
            "loss",
            curves.validation_by_time(),
        ),
        ChartDraft::new("Gradient and update", "norm", norms).logarithmic(),
        ChartDraft::new(
            "Learning rate",
            "rate",
            vec![Draft::new("", rate, Stroke::Line)],
        ),
        ChartDraft::new(
            "Adapter by block",
            "norm of the change",
            curves.adapter_norms(),
        ),
        ChartDraft::new("Nearest piece", "similarity", curves.similarities().into()),
        ChartDraft::new(
            "Time per step",
            "seconds",
            vec![Draft::new("", secs, Stroke::Line)],
        ),
    ]
}

/// Those that compare with each other: without weights by flow time. The weighted ones, which training makes smaller, are beside them.
fn losses(curves: &Curves<'_>) -> Vec<Draft> {
    let (steps, epochs) = (
        curves.of_steps(|record| record.unweighted_loss.unwrap_or(record.loss)),
        curves.of_epochs(|record| record.unweighted_loss.unwrap_or(record.loss)),
    );
    let held_out = Draft::new("held out", curves.validation(), Stroke::Dotted);
    // Steps are pale where epochs tell the same more calmly.
    let (name, stroke) = if epochs.len() < 2 {
        ("training", Stroke::Line)
    } else {
        ("training, steps", Stroke::Faint)
    };
    let are_weighted = curves.steps.iter().any(|it| it.unweighted_loss.is_some());
    let weighted = match are_weighted {
        true => curves.of_steps(|record| record.loss),
        false => Vec::new(),
    };
    vec![
        Draft::new(name, steps, stroke),
        Draft::new("training, epochs", epochs, Stroke::Line),
        held_out,
        Draft::new("training, weighted", weighted, Stroke::Line),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_to_means() {
        let mut long: Points = (0..6_000).map(|x| (f64::from(x), 1.0)).collect();
        long[5] = (5.0, f64::NAN);
        let thin = thinned(&long);
        assert_eq!(thin.len(), POINTS);
        assert!(thin.iter().all(|point| point.1 == 1.0));
        assert_eq!(thin[0].0, 9.0, "the step by which all of them were done");
        assert_eq!(thinned(&long[..POINTS]).len(), POINTS);
    }

    #[test]
    fn blocks_are_in_the_order_of_their_numbers() {
        let mut names = ["blocks.10", "blocks.9", "output", "blocks.9.b"];
        names.sort_by_cached_key(|name| with_numbers(name));
        assert_eq!(names, ["blocks.9", "blocks.9.b", "blocks.10", "output"]);
    }

    #[test]
    fn seeds_of_a_step_are_one_point() {
        let points = vec![(1.0, 0.25), (1.0, 0.75), (2.0, 0.5)];
        assert_eq!(mean_by_step(points), [(1.0, 0.5), (2.0, 0.5)]);
    }
}
