//! Every message of the two namespaces, as `docs/socketio.md` describes them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// The version of the `/live` contract.
pub const PROTO: u32 = 1;

/// Server to client on `/live`: everything that a page needs to draw.
pub const HELLO: &str = "hello";
/// Server to client on `/live`: one result.
pub const POINT: &str = "point";
/// Server to client on `/live`: the figures of the running pipeline.
pub const STATS: &str = "stats";
/// Client to server on `/live`: "I saw a jump".
pub const RESYNC: &str = "resync";
/// Client to server on `/`: the old page's first word.
pub const TEST_CONNECT: &str = "test_connect";
/// Server to client on `/`: the answer to it.
pub const CONNECTED: &str = "connected";
/// Server to client on `/`: one result.
pub const TEST_MESSAGE: &str = "test_message";

/// A value of a series, written as an integer where it is one (`5`, never `5.0`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

/// Above this a double no longer holds every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    fn as_integer(self) -> Option<i64> {
        (self.0.fract() == 0.0 && self.0.abs() <= EXACT).then_some(self.0 as i64)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_integer() {
            Some(integer) => serializer.serialize_i64(integer),
            None => serializer.serialize_f64(self.0),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.as_integer() {
            Some(integer) => integer.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The data's own text.
    pub key: String,
    /// What people read.
    pub label: String,
    /// A CSS colour, where the configuration gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// True where the page leaves the key out.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// One result: the values of all keys in one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its number in this epoch, from 1.
    pub seq: u64,
    /// Event time of the window, milliseconds since 1970 UTC.
    pub t: i64,
    /// One value per series, `None` where the key has none; may be shorter than the series.
    pub v: Vec<Option<Number>>,
    /// Where the rows of a window are the first few in an order: key and value of each, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "ranked")]
    pub top: Vec<(Arc<str>, Number)>,
}

fn ranked<S: Serializer>(top: &[(Arc<str>, Number)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(top.iter().map(|(key, value)| (&**key, value)))
}

/// `point`.
#[derive(Debug, Clone, Serialize)]
pub struct PointMessage {
    /// The result.
    #[serde(flatten, serialize_with = "shared")]
    pub point: Arc<Point>,
    /// All series, where this point has a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Series>>,
}

/// How the page draws the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// One line per key.
    #[default]
    Line,
    /// Bars side by side.
    Bars,
    /// Areas on top of each other.
    Stacked,
    /// Stacked to 100 %.
    Share,
    /// One line per key, filled down to the axis.
    Area,
    /// The newest window as bars in a row, the first one on top.
    Rank,
    /// The newest windows as a table, and no chart.
    Table,
    /// The newest values, and no chart.
    Number,
}

/// What stands around the chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Heading; never empty.
    pub title: String,
    /// One line below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<String>,
    /// Stands behind a value, such as `per second`; may be empty.
    pub unit: String,
    /// How values are drawn.
    pub chart: Chart,
    /// The time that the chart shows, in milliseconds.
    pub window_ms: i64,
    /// False where adding up the values of one window means nothing (a rate, a mean).
    pub additive: bool,
    /// False where adding up the values of several windows means nothing: they overlap, or are not additive.
    pub totals: bool,
}

fn shared<S: Serializer>(point: &Arc<Point>, serializer: S) -> Result<S::Ok, S::Error> {
    point.serialize(serializer)
}

fn all_shared<S: Serializer>(points: &[Arc<Point>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(points.iter().map(|point| &**point))
}

/// `hello`.
#[derive(Debug, Clone, Serialize)]
pub struct Hello {
    /// [`PROTO`].
    pub proto: u32,
    /// Names this run of the history.
    pub epoch: String,
    /// All series so far.
    pub series: Vec<Series>,
    /// Usual distance of two points in milliseconds; `None` where it is not known.
    pub interval_ms: Option<i64>,
    /// `seq` of the newest point, 0 where there is none.
    pub last_seq: u64,
    /// By rising `seq`.
    #[serde(serialize_with = "all_shared")]
    pub points: Vec<Arc<Point>>,
    /// How long ago the newest point was stored, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Per series the sum over the epoch.
    pub totals: Vec<Number>,
    /// What stands around the chart.
    pub page: Page,
}

/// `connected` and `test_message`: exactly this one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LegacyData<T> {
    /// The text.
    pub data: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_without_a_point() {
        let text = |n: f64| serde_json::to_string(&Number(n)).unwrap();
        assert_eq!(text(5.0), "5");
        assert_eq!(text(-0.0), "0");
        assert_eq!(text(0.5), "0.5");
        assert_eq!(text(1e300), "1e+300");
        assert_eq!(Number(7.0).to_string(), "7");
    }

    #[test]
    fn a_legacy_message_has_exactly_one_key() {
        let text = serde_json::to_string(&LegacyData { data: "5,7" }).unwrap();
        assert_eq!(text, r#"{"data":"5,7"}"#);
    }
}
