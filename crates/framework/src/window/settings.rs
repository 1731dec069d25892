//! The keys of a window's `with:` that are the framework's.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::clock::Millis;
use crate::config::{Diagnostic, DurationText, Node, Problem};
use crate::time::WindowGrid;

/// Which time a row counts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeMode {
    /// The record's own time: a topic's timestamp, or what the source stamped. A replay then gives the same windows.
    #[default]
    Record,
    /// The time at which it arrives here.
    Processing,
}

/// What a window gives for keys without a row in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(untagged)]
pub enum ZeroFill {
    /// `off`: nothing. `seen`: a key once seen stays, with 0, and a silent topic goes on giving zeros.
    Named(ZeroFillName),
    /// These keys, always, and every other that was seen.
    Keys(Vec<String>),
    /// Not written: `off`.
    #[default]
    #[schemars(skip)]
    Unset,
}

impl<'de> Deserialize<'de> for ZeroFill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ZeroFill;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`off`, `seen` or a list of keys such as `[\"0\", \"1\"]`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ZeroFill, E> {
                match text {
                    "off" => Ok(ZeroFill::Named(ZeroFillName::Off)),
                    "seen" => Ok(ZeroFill::Named(ZeroFillName::Seen)),
                    other => Err(E::unknown_variant(other, &["off", "seen"])),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, keys: A) -> Result<ZeroFill, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(keys)).map(ZeroFill::Keys)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// See [`ZeroFill::Named`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum ZeroFillName {
    /// Only keys with a row in the window.
    Off,
    /// Every key that was ever seen.
    Seen,
}

/// The framework's keys, as written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowKeys {
    /// The length of a window, such as `1s`.
    pub size: Option<DurationText>,
    /// The time from one window's beginning to the next one's; the size where it is not given (tumbling windows).
    pub slide: Option<DurationText>,
    /// Shifts the windows' beginnings from whole multiples of the slide since 1970 (UTC).
    pub offset: Option<DurationText>,
    /// `record` (default): the record's own time. `processing`: when it arrives.
    pub time: Option<TimeMode>,
    /// How far a record may lie behind a newer one before its window closes; default 0.
    pub out_of_orderness: Option<DurationText>,
    /// How long after its closing a window still takes late rows, and gives its whole result again; default 0.
    pub lateness: Option<DurationText>,
    /// After how long without a record a partition no longer holds the others up; default `1s`.
    pub idle: Option<DurationText>,
    /// A record further in the future than this cannot be used; default `1d`.
    pub max_skew: Option<DurationText>,
    /// `off` (default), `seen`, or a list of keys.
    pub zero_fill: Option<ZeroFill>,
    /// The most keys that are held; a row with a further one cannot be used. Default 1000000.
    pub max_keys: Option<u32>,
}

/// The framework's settings of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// Where windows begin and end.
    pub grid: WindowGrid,
    /// Which time counts.
    pub time: TimeMode,
    /// See [`WindowKeys::out_of_orderness`]; in milliseconds, as all of these.
    pub out_of_orderness: Millis,
    /// See [`WindowKeys::lateness`].
    pub lateness: Millis,
    /// See [`WindowKeys::idle`].
    pub idle: Duration,
    /// See [`WindowKeys::max_skew`].
    pub max_skew: Millis,
    /// True where keys once seen stay.
    pub keep_seen: bool,
    /// Keys that are there from the start.
    pub keys: Vec<String>,
    /// See [`WindowKeys::max_keys`].
    pub max_keys: u32,
}

impl WindowSettings {
    /// The framework's keys.
    pub const KEYS: [&'static str; 10] = [
        "size",
        "slide",
        "offset",
        "time",
        "out_of_orderness",
        "lateness",
        "idle",
        "max_skew",
        "zero_fill",
        "max_keys",
    ];

    /// Tumbling windows of `size` milliseconds with all defaults.
    pub fn tumbling(size: Millis) -> Option<Self> {
        Some(Self {
            grid: WindowGrid::new(size, size, 0)?,
            time: TimeMode::Record,
            out_of_orderness: 0,
            lateness: 0,
            idle: Duration::from_secs(1),
            max_skew: 86_400_000,
            keep_seen: false,
            keys: Vec::new(),
            max_keys: 1_000_000,
        })
    }

    /// Takes the framework's keys out of a window's `with:`; gives what is the plugin's.
    pub fn split(with: &Node) -> (Result<Self, Vec<Diagnostic>>, Node) {
        let (ours, theirs) = with.partition(&Self::KEYS);
        let settings = ours
            .deserialize::<WindowKeys>()
            .and_then(|keys| Self::check(keys).map_err(|problem| vec![ours.diagnose(&problem)]));
        (settings, theirs)
    }

    fn check(keys: WindowKeys) -> Result<Self, Problem> {
        let millis = |d: Option<DurationText>| d.map_or(0, DurationText::millis);
        let size = keys.size.map(DurationText::millis).ok_or_else(|| {
            Problem::new("", "the key `size` is missing").help("add how long a window is, such as `size: 1s`")
        })?;
        let slide = keys.slide.map_or(size, DurationText::millis);
        if size <= 0 {
            return Err(Problem::new("size", "a window of no length"));
        }
        if slide <= 0 {
            return Err(Problem::new("slide", "a slide of no length")
                .help("leave `slide` out for windows one after the other"));
        }
        let grid = WindowGrid::new(size, slide, millis(keys.offset)).ok_or_else(|| {
            Problem::new("slide", "the slide is longer than the window")
                .label("rows between two windows would count in none")
                .help("make `size` at least as long as `slide`")
        })?;
        if keys.max_keys == Some(0) {
            return Err(Problem::new("max_keys", "no key would have room")
                .help("give the most keys that may be held at once"));
        }
        let defaults = Self::tumbling(1).ok_or_else(|| Problem::new("", "no window"))?;
        let time = keys.time.unwrap_or_default();
        if time == TimeMode::Processing {
            for (name, set) in
                [("lateness", keys.lateness.is_some()), ("out_of_orderness", keys.out_of_orderness.is_some())]
            {
                if set {
                    return Err(Problem::new(
                        name,
                        format!("`{name}` has no meaning with `time: processing`"),
                    )
                    .label("a row that counts when it arrives is never late")
                    .help("remove it, or count at the records' own time with `time: record`"));
                }
            }
        }
        let (keep_seen, named) = match keys.zero_fill.unwrap_or_default() {
            ZeroFill::Unset | ZeroFill::Named(ZeroFillName::Off) => (false, Vec::new()),
            ZeroFill::Named(ZeroFillName::Seen) => (true, Vec::new()),
            ZeroFill::Keys(named) => (true, named),
        };
        Ok(Self {
            grid,
            time,
            out_of_orderness: millis(keys.out_of_orderness),
            lateness: millis(keys.lateness),
            idle: keys.idle.map_or(defaults.idle, |d| d.0),
            max_skew: keys.max_skew.map_or(defaults.max_skew, DurationText::millis),
            keep_seen,
            keys: named,
            max_keys: keys.max_keys.unwrap_or(defaults.max_keys),
        })
    }
}
