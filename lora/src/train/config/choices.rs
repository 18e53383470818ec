//! Settings that are neither numbers nor texts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How layers are changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum AdapterMethod {
    /// A low-rank product is added (Hu et al. 2021).
    #[default]
    Lora,
    /// The same, and each row gets a learned length (Liu et al. 2024): often better at low ranks, a fifth slower.
    Dora,
    /// A Kronecker product is added (Yeh et al. 2023): high rank from few numbers.
    Lokr,
}

/// What alpha is divided by to scale an adapter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum RankScale {
    /// The rank (Hu et al. 2021, LoRA).
    #[default]
    Rank,
    /// Its root (Kalajdzievski 2023, rsLoRA).
    SqrtRank,
}

/// How flow times are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum TimeSampling {
    /// As the base was trained: the sigmoid of a standard normal number for all bases so far.
    #[default]
    Base,
    /// Evenly from 0 to 1.
    Uniform,
    /// The sigmoid of a normal number of the given mean and deviation (Esser et al. 2024, section 3.1).
    LogitNormal,
}

/// What the loss of a crop weighs, by its flow time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum LossWeighting {
    /// The same at all times, as all bases so far were trained.
    #[default]
    None,
    /// The error of the data, its signal-to-noise ratio at most gamma (Hang et al. 2023).
    MinSnr,
}

/// Which blocks run as gradient checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Checkpointing {
    /// All, where it saves much memory; else none.
    #[default]
    Auto,
    /// This share of the blocks, from the first on.
    Share(f64),
}

impl Checkpointing {
    /// All blocks.
    pub const ON: Self = Self::Share(1.0);
    /// No block.
    pub const OFF: Self = Self::Share(0.0);
}

impl FromStr for Checkpointing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::ON),
            "off" => Ok(Self::OFF),
            share => match share.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
                _ => Err("expected auto, on, off or a share of the blocks from 0 to 1".to_owned()),
            },
        }
    }
}

impl fmt::Display for Checkpointing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Auto => formatter.write_str("auto"),
            Self::ON => formatter.write_str("on"),
            Self::OFF => formatter.write_str("off"),
            Self::Share(share) => write!(formatter, "{share}"),
        }
    }
}

/// A value for what matches a pattern, written `PATTERN=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternValue<T> {
    /// As it is matched.
    pub pattern: String,
    /// What holds then.
    pub value: T,
}

impl<T: FromStr> FromStr for PatternValue<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=');
        let parsed = parts.and_then(|(pattern, value)| {
            let (pattern, value) = (pattern.trim(), value.trim().parse().ok()?);
            (!pattern.is_empty()).then(|| (pattern.to_owned(), value))
        });
        let (pattern, value) =
            parsed.ok_or_else(|| format!("{text:?} is not of the form PATTERN=NUMBER"))?;
        Ok(Self { pattern, value })
    }
}

impl<T: fmt::Display> fmt::Display for PatternValue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.pattern, self.value)
    }
}

/// Both are texts in a file.
macro_rules! serde_as_text {
    ($name:ty $(, $parameter:ident)?) => {
        impl$(<$parameter: fmt::Display>)? Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
serde_as_text!(Checkpointing);
serde_as_text!(PatternValue<T>, T);

impl<'de> Deserialize<'de> for Checkpointing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for PatternValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_own_equals_signs() {
        let parsed: PatternValue<usize> = "a=b=16".parse().unwrap();
        assert_eq!((parsed.pattern.as_str(), parsed.value), ("a=b", 16));
        assert_eq!(parsed.to_string(), "a=b=16");
        for bad in ["a", "=3", "a=x", "a=-1"] {
            assert!(bad.parse::<PatternValue<usize>>().is_err(), "{bad}");
        }
    }

    #[test]
    fn checkpointing_is_a_word_or_a_share() {
        for text in ["auto", "on", "off", "0.25"] {
            assert_eq!(text.parse::<Checkpointing>().unwrap().to_string(), text);
        }
        assert_eq!("1".parse(), Ok(Checkpointing::ON));
        assert!("1.5".parse::<Checkpointing>().is_err());
        assert!("sometimes".parse::<Checkpointing>().is_err());
    }
}
