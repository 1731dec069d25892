//! `retry:` beside a source's or sink's `with:`: how its passing faults are tried again.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::problem::Problem;
use super::scalars::DurationText;

/// How passing faults of a step are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not at all: the first ends the run.
    Off,
    /// After waits that double.
    Waits {
        /// The first wait.
        first: Duration,
        /// No wait is longer.
        longest: Duration,
        /// How long it is tried before the run fails; `None` for ever.
        give_up_after: Option<Duration>,
    },
}

impl Default for Retry {
    /// For ever, from a tenth of a second to ten seconds.
    fn default() -> Self {
        Self::Waits {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            give_up_after: None,
        }
    }
}

impl Retry {
    /// How long it is tried; `None` for ever.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Off => Some(Duration::ZERO),
            Self::Waits { give_up_after, .. } => *give_up_after,
        }
    }

    /// The one of two that gives up first.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let patience = |retry: Self| retry.patience().unwrap_or(Duration::MAX);
        if patience(other) < patience(self) { other } else { self }
    }

    /// What was written, as settings that can be.
    ///
    /// # Errors
    /// A [`Problem`] at the length of time that cannot be.
    pub fn of(written: &RetryDecl) -> Result<Self, Problem> {
        let RetryDecl::Waits(keys) = written else { return Ok(Self::Off) };
        let (first, longest) = match (keys.first, keys.longest) {
            (Some(first), Some(longest)) => (first.0, longest.0),
            (Some(first), None) => (first.0, first.0.max(Duration::from_secs(10))),
            (None, Some(longest)) => (longest.0.min(Duration::from_millis(100)), longest.0),
            (None, None) => (Duration::from_millis(100), Duration::from_secs(10)),
        };
        for (key, length) in [("longest", longest), ("first", first)] {
            if length.is_zero() {
                return Err(Problem::new(key, "a wait of no length")
                    .help("`retry: off` does not try again; the shortest wait is `1ms`"));
            }
        }
        if longest < first {
            return Err(Problem::new("longest", "the longest wait is shorter than the first")
                .help("waits double from `first` to `longest`"));
        }
        let give_up_after = keys.give_up_after.map(|length| length.0);
        if give_up_after == Some(Duration::ZERO) {
            return Err(
                Problem::new("give_up_after", "a time of no length").help("`retry: off` does not try again")
            );
        }
        Ok(Self::Waits { first, longest, give_up_after })
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Waits { first, longest, give_up_after } => {
                write!(f, "{} to {}", DurationText(*first), DurationText(*longest))?;
                give_up_after.map_or(Ok(()), |after| write!(f, ", for {}", DurationText(after)))
            }
        }
    }
}

/// `retry` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryDecl {
    /// `off`
    Off,
    /// A mapping.
    Waits(RetryKeys),
}

/// The keys of `retry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryKeys {
    /// The first wait; each one after it is twice as long. Default: `100ms`.
    pub first: Option<DurationText>,
    /// No wait is longer. Default: `10s`.
    pub longest: Option<DurationText>,
    /// How long it is tried before the run fails. Default: for ever.
    pub give_up_after: Option<DurationText>,
}

impl<'de> Deserialize<'de> for RetryDecl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RetryDecl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`off` or a mapping such as `{ first: 100ms, longest: 10s, give_up_after: 10m }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RetryDecl, E> {
                match text {
                    "off" => Ok(RetryDecl::Off),
                    other => Err(E::unknown_variant(other, &["off"])),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, keys: A) -> Result<RetryDecl, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(keys)).map(RetryDecl::Waits)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
