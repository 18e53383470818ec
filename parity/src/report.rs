//! What was compared, how far apart it was, and what was not compared and why.

use crate::case::Case;
use crate::error::ParityError;
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Tolerances on other devices than the CPU over those on it: sums run in another order and exponentials are rounded
/// differently, in f32 throughout.
pub const OTHER_DEVICE_FACTOR: f64 = 10.0;

/// Names of a reason that are shown before "and N more".
const NAMES_SHOWN: usize = 6;

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The tensor or figure.
    pub name: String,
    /// The largest difference.
    pub absolute: f64,
    /// The same over the largest expected magnitude.
    pub relative: f64,
    /// What `relative` may be.
    pub allowed: f64,
    /// Why nothing could be subtracted: other shapes, or values that are no numbers.
    pub problem: Option<String>,
}

impl Row {
    /// Whether it is within its tolerance.
    pub fn passed(&self) -> bool {
        self.problem.is_none() && self.relative <= self.allowed
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok  " } else { "OVER" };
        let Self {
            name,
            absolute,
            relative,
            allowed,
            ..
        } = self;
        match &self.problem {
            Some(problem) => write!(formatter, "{verdict} {name}: {problem}"),
            None => write!(
                formatter,
                "{verdict} {name:<64} absolute {absolute:.2e}  relative {relative:.2e}  allowed {allowed:.0e}"
            ),
        }
    }
}

/// The comparisons of one case, as it runs.
pub struct Report<'a> {
    case: &'a Case,
    rows: Vec<Row>,
    compared: BTreeSet<String>,
    skipped: BTreeMap<String, String>,
    left_out: Vec<(String, String)>,
}

impl<'a> Report<'a> {
    /// Nothing compared yet.
    pub fn new(case: &'a Case) -> Self {
        Self {
            case,
            rows: Vec::new(),
            compared: BTreeSet::new(),
            skipped: BTreeMap::new(),
            left_out: Vec::new(),
        }
    }

    /// Compares a tensor with the case's of that name.
    ///
    /// # Errors
    /// When the case has none, or values cannot be read.
    pub fn compare(
        &mut self,
        name: &str,
        found: &Tensor,
        tolerance: f64,
    ) -> Result<(), ParityError> {
        self.compare_as(name, name, found, tolerance)
    }

    /// [`compare`](Self::compare) under another name, for what is found in several ways.
    ///
    /// # Errors
    /// As [`compare`](Self::compare).
    pub fn compare_as(
        &mut self,
        label: &str,
        name: &str,
        found: &Tensor,
        tolerance: f64,
    ) -> Result<(), ParityError> {
        let expected = self.case.expected(name)?;
        self.compared.insert(name.to_string());
        self.compare_with(label, found, expected, tolerance)
    }

    /// Compares two tensors, neither of which need be the case's.
    ///
    /// # Errors
    /// When values cannot be read.
    pub fn compare_with(
        &mut self,
        label: &str,
        found: &Tensor,
        expected: &Tensor,
        tolerance: f64,
    ) -> Result<(), ParityError> {
        if found.dims() != expected.dims() {
            let problem = format!("shape {:?}, expected {:?}", found.dims(), expected.dims());
            self.push(label, 0.0, 0.0, tolerance, Some(problem));
            return Ok(());
        }
        self.figures(label, &values(found)?, &values(expected)?, tolerance);
        Ok(())
    }

    /// Compares numbers that are in no tensor.
    pub fn figures(&mut self, label: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        if found.len() != expected.len() {
            let problem = format!("{} numbers, expected {}", found.len(), expected.len());
            return self.push(label, 0.0, 0.0, tolerance, Some(problem));
        }
        if let Some((role, place)) = [("found", found), ("expected", expected)]
            .into_iter()
            .find_map(|(role, values)| {
                let place = values.iter().position(|value| !value.is_finite())?;
                Some((role, place))
            })
        {
            let problem = format!("{role} is no number at {place}");
            return self.push(label, 0.0, 0.0, tolerance, Some(problem));
        }
        let largest = expected
            .iter()
            .fold(0f64, |most, value| most.max(value.abs()));
        let absolute = found
            .iter()
            .zip(expected)
            .fold(0f64, |most, (a, b)| most.max((a - b).abs()));
        let relative = match absolute > 0.0 {
            true => absolute / largest,
            false => 0.0,
        };
        self.push(label, absolute, relative, tolerance, None);
    }

    /// Says why a tensor of the case is not compared.
    pub fn skip(&mut self, name: &str, reason: &str) {
        if self.case.has(name) {
            self.skipped.insert(name.to_string(), reason.to_string());
        }
    }

    /// Says why something that is no tensor of the case is not compared.
    pub fn leave_out(&mut self, what: &str, reason: &str) {
        self.left_out.push((what.to_string(), reason.to_string()));
    }

    /// The end of a case.
    pub fn finish(self) -> Outcome {
        let mut outcome = Outcome {
            rows: self.rows,
            ..Outcome::default()
        };
        for name in self.case.names() {
            if self.compared.contains(name) {
                continue;
            }
            let reason = match self.skipped.get(name) {
                Some(reason) => reason.as_str(),
                None if self.case.is_input(name) => "an input",
                None => {
                    outcome.forgotten.push(name.to_string());
                    continue;
                }
            };
            let names = outcome.not_compared.entry(reason.to_string());
            names.or_default().push(name.to_string());
        }
        for (what, reason) in self.left_out {
            outcome.not_compared.entry(reason).or_default().push(what);
        }
        outcome
    }

    fn push(
        &mut self,
        label: &str,
        absolute: f64,
        relative: f64,
        tolerance: f64,
        problem: Option<String>,
    ) {
        let factor = match self.case.device().is_cpu() {
            true => 1.0,
            false => OTHER_DEVICE_FACTOR,
        };
        self.rows.push(Row {
            name: label.to_string(),
            absolute,
            relative,
            allowed: tolerance * factor,
            problem,
        });
    }
}

/// Everything about one case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Comparisons, in the order in which they were made.
    pub rows: Vec<Row>,
    /// Tensors that were not compared, by reason.
    pub not_compared: BTreeMap<String, Vec<String>>,
    /// Tensors that were neither compared nor accounted for: as wrong as a tensor that is over its tolerance.
    pub forgotten: Vec<String>,
}

impl Outcome {
    /// Whether everything was compared, or accounted for, and is within its tolerance.
    pub fn passed(&self) -> bool {
        self.forgotten.is_empty() && !self.rows.is_empty() && self.rows.iter().all(Row::passed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(formatter, "  {row}")?;
        }
        for (reason, names) in &self.not_compared {
            writeln!(formatter, "  not compared: {reason}: {}", listed(names))?;
        }
        for name in &self.forgotten {
            writeln!(
                formatter,
                "  OVER {name}: neither compared nor accounted for"
            )?;
        }
        let over = self.rows.iter().filter(|row| !row.passed()).count() + self.forgotten.len();
        let worst = self.rows.iter().map(|row| row.relative).fold(0.0, f64::max);
        write!(
            formatter,
            "  {} compared, {over} over, largest relative difference {worst:.2e}",
            self.rows.len()
        )
    }
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0..=NAMES_SHOWN => names.join(", "),
        count => format!(
            "{} and {} more",
            names[..NAMES_SHOWN].join(", "),
            count - NAMES_SHOWN
        ),
    }
}

/// A tensor's values, brought to the CPU.
///
/// # Errors
/// When candle fails.
pub fn values(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}
