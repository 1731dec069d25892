//! The settings in a window's `with:` that are the framework's.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::keys::KeyTable;
use crate::clock::Millis;
use crate::config::{ByteSize, Diagnostic, DurationText, Node, Problem};
use crate::plugin::{Input, type_name};
use crate::time::WindowGrid;

/// Which time a row counts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum TimeMode {
    /// The record's own time: a topic's timestamp, or what the source stamped. A replay then gives the same
    /// windows.
    #[default]
    Record,
    /// The time at which it arrives here.
    Processing,
}

impl<'de> Deserialize<'de> for TimeMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = TimeMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`record` or `processing` (a time that stands in a field is named at the source, beside \
                     its `with:`, such as `time: { field: created_at }`)",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeMode, E> {
                match text {
                    "record" => Ok(TimeMode::Record),
                    "processing" => Ok(TimeMode::Processing),
                    other => Err(E::unknown_variant(other, &["record", "processing"])),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
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

/// When a window gives results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// When it closes; and again, whole, when a late row comes within `lateness`.
    #[default]
    Final,
    /// Also before: the result so far, where it has changed, each `every`.
    Updates,
}

/// The fields that make a key: one name, or a list.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum KeyNames {
    /// One field; the result has it as `key`.
    One(String),
    /// Several fields; the result has each under its own name.
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for KeyNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field such as `gender`, or a list of fields such as `[province, gender]`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<KeyNames, E> {
                Ok(KeyNames::One(name.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, names: A) -> Result<KeyNames, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(names)).map(KeyNames::Several)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The framework's settings, as written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowKeys {
    /// The field whose values are told apart, or a list of fields: text, integers, or true and false. Without
    /// it all rows are one.
    pub key: Option<KeyNames>,
    /// The length of a window, such as `1s`.
    pub size: Option<DurationText>,
    /// The time from one window's beginning to the next one's; the size where it is not given (tumbling
    /// windows).
    pub slide: Option<DurationText>,
    /// Shifts the windows' beginnings from whole multiples of the slide since 1970 (UTC).
    pub offset: Option<DurationText>,
    /// Session windows, in place of `size`: a key's window goes on until it has had no row for so long.
    pub gap: Option<DurationText>,
    /// `record` (default): the record's own time. `processing`: when it arrives.
    pub time: Option<TimeMode>,
    /// How far a record may lie behind a newer one before its window closes; default 0.
    pub out_of_orderness: Option<DurationText>,
    /// How long after its closing a window still takes late rows, and gives its whole result again;
    /// default 0.
    pub lateness: Option<DurationText>,
    /// After how long without a record a partition no longer holds the others up; default `1s`.
    pub idle: Option<DurationText>,
    /// A record further in the future than this cannot be used; default `1d`.
    pub max_skew: Option<DurationText>,
    /// `final` (default): one result, when the window closes. `updates`: also what it has so far, each
    /// `every`.
    pub emit: Option<Emit>,
    /// How often, by the wall clock, a window that is still open gives what it has so far; with
    /// `emit: updates`. Default `1s`.
    pub every: Option<DurationText>,
    /// `off` (default), `seen`, or a list of keys.
    pub zero_fill: Option<ZeroFill>,
    /// The most keys that are held; a row with a further one cannot be used. Default 1000000.
    pub max_keys: Option<u32>,
    /// The most memory that keys and open windows may take; a row that comes when it is full cannot be used.
    /// Default `1GiB`.
    pub max_state: Option<ByteSize>,
}

/// Which windows a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Windows of one length that begin at regular times: tumbling or sliding.
    Grid(WindowGrid),
    /// A window per key, from its first row to `gap` milliseconds after its last.
    Session {
        /// How long without a row ends it.
        gap: Millis,
    },
}

/// The framework's settings of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// The fields that make the key.
    pub key: Vec<String>,
    /// Which windows a row belongs to.
    pub shape: Shape,
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
    /// How often open windows give what they have so far; `None` for never.
    pub every: Option<Duration>,
    /// True where keys once seen stay.
    pub keep_seen: bool,
    /// Keys that are there from the start.
    pub keys: Vec<String>,
    /// See [`WindowKeys::max_keys`].
    pub max_keys: u32,
    /// See [`WindowKeys::max_state`]; in bytes.
    pub max_state: u64,
}

/// The most windows that a row may be in where each gives updates.
const MOST_UPDATED: Millis = 100;

impl WindowSettings {
    /// The names of the framework's settings.
    pub const KEYS: [&'static str; 15] = [
        "key",
        "size",
        "slide",
        "offset",
        "gap",
        "time",
        "out_of_orderness",
        "lateness",
        "idle",
        "max_skew",
        "emit",
        "every",
        "zero_fill",
        "max_keys",
        "max_state",
    ];

    /// Tumbling windows of `size` milliseconds with all defaults.
    pub fn tumbling(size: Millis) -> Option<Self> {
        Some(Self {
            key: Vec::new(),
            shape: Shape::Grid(WindowGrid::new(size, size, 0)?),
            time: TimeMode::Record,
            out_of_orderness: 0,
            lateness: 0,
            idle: Duration::from_secs(1),
            max_skew: 86_400_000,
            every: None,
            keep_seen: false,
            keys: Vec::new(),
            max_keys: 1_000_000,
            max_state: 1 << 30,
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

    /// The columns of the key fields.
    ///
    /// # Errors
    /// A [`Problem`] where one is not there, or of a type that cannot be a key.
    pub(crate) fn key_columns(&self, input: &Input) -> Result<Vec<usize>, Problem> {
        let single = self.key.len() == 1;
        let column = |(index, name): (usize, &String)| {
            let path = if single { "key".to_owned() } else { format!("key[{index}]") };
            let column = input.column(&path, name)?;
            let data_type = input.schema.field(column).data_type();
            if KeyTable::takes(data_type) {
                return Ok(column);
            }
            Err(Problem::new(path, format!("field `{name}` cannot be a key"))
                .label(format!("it is {}", type_name(data_type)))
                .help("a key is a text, an integer, or true or false")
                .of_field(name))
        };
        self.key.iter().enumerate().map(column).collect()
    }

    fn check(keys: WindowKeys) -> Result<Self, Problem> {
        let millis = |d: Option<DurationText>| d.map_or(0, DurationText::millis);
        let shape = shape(&keys)?;
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
        let every = every(&keys, shape)?;
        let key = match keys.key {
            None => Vec::new(),
            Some(KeyNames::One(name)) => vec![name],
            Some(KeyNames::Several(names)) if names.is_empty() => {
                return Err(Problem::new("key", "the list of key fields is empty")
                    .help("name at least one field, or leave `key` out: all rows are then one"));
            }
            Some(KeyNames::Several(names)) => names,
        };
        let twice = key.iter().enumerate().find(|(i, name)| key[..*i].contains(name));
        if let Some((index, name)) = twice {
            return Err(Problem::new(
                format!("key[{index}]"),
                format!("the key field `{name}` stands twice"),
            ));
        }
        let (keep_seen, named) = match keys.zero_fill.unwrap_or_default() {
            ZeroFill::Unset | ZeroFill::Named(ZeroFillName::Off) => (false, Vec::new()),
            ZeroFill::Named(ZeroFillName::Seen) => (true, Vec::new()),
            ZeroFill::Keys(_) if key.len() != 1 => {
                return Err(Problem::new("zero_fill", "a list of keys needs a `key` of one field")
                    .help("write `zero_fill: seen` to keep every key that was seen"));
            }
            ZeroFill::Keys(named) => (true, named),
        };
        if keep_seen && matches!(shape, Shape::Session { .. }) {
            return Err(Problem::new("zero_fill", "a session without a row does not exist")
                .label("it cannot be filled with zeros")
                .help("remove `zero_fill`, or use windows of a `size`"));
        }
        Ok(Self {
            key,
            shape,
            time,
            out_of_orderness: millis(keys.out_of_orderness),
            lateness: millis(keys.lateness),
            idle: keys.idle.map_or(defaults.idle, |d| d.0),
            max_skew: keys.max_skew.map_or(defaults.max_skew, DurationText::millis),
            every,
            keep_seen,
            keys: named,
            max_keys: keys.max_keys.unwrap_or(defaults.max_keys),
            max_state: keys.max_state.map_or(defaults.max_state, |size| size.0),
        })
    }
}

fn shape(keys: &WindowKeys) -> Result<Shape, Problem> {
    if let Some(gap) = keys.gap {
        let grid = [
            ("size", keys.size.is_some()),
            ("slide", keys.slide.is_some()),
            ("offset", keys.offset.is_some()),
        ];
        if let Some((name, _)) = grid.iter().find(|(_, set)| *set) {
            return Err(Problem::new(*name, format!("`{name}` and `gap` cannot stand together"))
                .label("a session is as long as its rows make it")
                .help("`gap` alone makes session windows; `size` with or without `slide` makes windows of one length"));
        }
        if gap.millis() <= 0 {
            return Err(Problem::new("gap", "a gap of no length").label("every row would be a session"));
        }
        return Ok(Shape::Session { gap: gap.millis() });
    }
    let size = keys.size.map(DurationText::millis).ok_or_else(|| {
        Problem::new("", "the key `size` is missing")
            .help("add how long a window is, such as `size: 1s`, or `gap: 30m` for sessions")
    })?;
    let slide = keys.slide.map_or(size, DurationText::millis);
    if size <= 0 {
        return Err(Problem::new("size", "a window of no length"));
    }
    if slide <= 0 {
        return Err(Problem::new("slide", "a slide of no length")
            .help("leave `slide` out for windows one after the other"));
    }
    let grid =
        WindowGrid::new(size, slide, keys.offset.map_or(0, DurationText::millis)).ok_or_else(|| {
            Problem::new("slide", "the slide is longer than the window")
                .label("rows between two windows would count in none")
                .help("make `size` at least as long as `slide`")
        })?;
    Ok(Shape::Grid(grid))
}

fn every(keys: &WindowKeys, shape: Shape) -> Result<Option<Duration>, Problem> {
    if keys.emit.unwrap_or_default() == Emit::Final {
        return match keys.every {
            None => Ok(None),
            Some(_) => Err(Problem::new("every", "`every` needs `emit: updates`")
                .label("a window that gives only its final result gives nothing in between")
                .help("add `emit: updates`, or remove `every`")),
        };
    }
    let every = keys.every.map_or(Duration::from_secs(1), |every| every.0);
    if every.is_zero() {
        return Err(Problem::new("every", "an `every` of no length").help("`1s` is usual; `100ms` is often"));
    }
    match shape {
        Shape::Grid(grid) if grid.size() / grid.slide() > MOST_UPDATED => Err(Problem::new(
            "emit",
            format!(
                "each row would change {} windows, and each would give an update",
                grid.size() / grid.slide()
            ),
        )
        .label(format!("at most {MOST_UPDATED} windows may overlap with `emit: updates`"))
        .help("a longer `slide`; or `emit: final`: a result comes each `slide` all the same")),
        _ => Ok(Some(every)),
    }
}
