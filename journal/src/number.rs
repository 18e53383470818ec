//! Numbers that may be none: JSON has no NaN and no infinity. They are written as `null`, and `null` is read as NaN, so that the line of
//! a step whose loss broke is not lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub(crate) fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

pub(crate) fn map_or_nan<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let map = BTreeMap::<String, Option<f64>>::deserialize(from)?;
    Ok(map
        .into_iter()
        .map(|(name, number)| (name, number.unwrap_or(f64::NAN)))
        .collect())
}

pub(crate) fn pairs_or_nan<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<(f64, f64)>, D::Error> {
    let pairs = Vec::<(f64, Option<f64>)>::deserialize(from)?;
    Ok(pairs
        .into_iter()
        .map(|(key, number)| (key, number.unwrap_or(f64::NAN)))
        .collect())
}
