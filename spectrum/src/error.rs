//! What can be wrong with a request for a spectrum.

use thiserror::Error;

/// A transform, filter bank or reconstruction that cannot be computed as asked.
#[derive(Debug, Error, PartialEq)]
pub enum SpectrumError {
    /// A size or frequency for which the operation is not defined.
    #[error("{what} is {actual}, expected {expected}")]
    Parameter {
        /// The parameter's name.
        what: &'static str,
        /// The condition it must meet.
        expected: &'static str,
        /// The value given.
        actual: f64,
    },
    /// A buffer whose length does not fit the transform.
    #[error("{what} holds {actual} values, expected {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// A signal without samples has no spectrum.
    #[error("the signal is empty")]
    EmptySignal,
}

/// `Ok` when `actual == expected`.
pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), SpectrumError> {
    if expected == actual {
        return Ok(());
    }
    Err(SpectrumError::Length {
        what,
        expected,
        actual,
    })
}

/// `Ok` when `holds`.
pub(crate) fn check_parameter(
    holds: bool,
    what: &'static str,
    expected: &'static str,
    actual: f64,
) -> Result<(), SpectrumError> {
    if holds {
        return Ok(());
    }
    Err(SpectrumError::Parameter {
        what,
        expected,
        actual,
    })
}
