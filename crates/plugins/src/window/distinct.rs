//! `count-distinct`: how many different values a field has.

use datasketches::hll::{HllSketch, HllType, HllUnion};
use hashbrown::HashSet;
use pipectl_framework::plugin::fold::{self, Any, Cell, Fold};
use pipectl_framework::plugin::{Aggregate, BindContext, BoundWindow, Input, Problem, Result, WindowPlugin};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::top_k::countable;

/// Counts the different values of a field. Nulls are left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CountDistinct {
    /// The field: text, an integer, a number, or true or false.
    field: String,
    /// Whether to estimate: a key takes at most 4 KiB, and the count is wrong by 1.6 % in the mean. Default:
    /// false; every different value is then held, for each key and pane.
    #[serde(default)]
    approximate: bool,
    /// The name of the result's column. Default: `distinct`.
    r#as: Option<String>,
}

register!(window: CountDistinct);

impl WindowPlugin for CountDistinct {
    const NAME: &'static str = "count-distinct";
    const SUMMARY: &'static str = "counts the different values of a field, exactly or as an estimate";
    const EXAMPLE: &'static str =
        "- window: count-distinct\n  with: { field: user_id, size: 1m, approximate: true }";

    fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let column = countable(input, &self.field)?;
        let name = self.r#as.as_deref().unwrap_or("distinct");
        let aggregate: Box<dyn Aggregate> = match self.approximate {
            true => fold::aggregate::<Estimate>(name, column),
            false => fold::aggregate::<Exact>(name, column),
        };
        Ok(BoundWindow { reads: vec![self.field], aggregate })
    }
}

/// A value, held.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Held {
    Text(Box<str>),
    Other(u64),
}

/// A value of either kind, looked up without being copied.
#[derive(Hash)]
enum Seen<'a> {
    Text(&'a str),
    Other(u64),
}

impl hashbrown::Equivalent<Held> for Seen<'_> {
    fn equivalent(&self, held: &Held) -> bool {
        match (self, held) {
            (Seen::Text(a), Held::Text(b)) => **a == **b,
            (Seen::Other(a), Held::Other(b)) => a == b,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Exact {
    values: HashSet<Held, foldhash::fast::FixedState>,
    text_bytes: usize,
}

impl Fold for Exact {
    type Value = Any;
    type Output = i64;

    fn add(&mut self, value: Cell<'_>) {
        let seen = match value {
            Cell::Text(text) => Seen::Text(text),
            Cell::Integer(n) => Seen::Other(n as u64),
            Cell::Number(bits) => Seen::Other(bits),
            Cell::Boolean(b) => Seen::Other(u64::from(b)),
        };
        if !self.values.contains(&seen) {
            self.values.insert(match seen {
                Seen::Text(text) => {
                    self.text_bytes += text.len();
                    Held::Text(text.into())
                }
                Seen::Other(n) => Held::Other(n),
            });
        }
    }

    fn merge(&mut self, other: &Self) {
        for value in &other.values {
            if !self.values.contains(value) {
                self.text_bytes += if let Held::Text(text) = value { text.len() } else { 0 };
                self.values.insert(value.clone());
            }
        }
    }

    fn finish(&self) -> Option<i64> {
        Some(self.values.len() as i64)
    }

    fn heap_bytes(&self) -> usize {
        self.values.capacity() * (size_of::<Held>() + 1) + self.text_bytes
    }
}

/// 2^12 registers: the standard error of `HyperLogLog` is 1.04 / sqrt(4096) = 1.6 %.
const LG_REGISTERS: u8 = 12;

/// A `HyperLogLog` sketch (Flajolet et al., 2007); Apache `DataSketches` keeps it. It counts few values
/// exactly.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Estimate(#[serde(with = "sketch_bytes")] Option<HllUnion>);

/// A sketch in the portable form of Apache `DataSketches`; no bytes where there is none.
mod sketch_bytes {
    use super::{
        Deserialize, Deserializer, HllSketch, HllType, HllUnion, LG_REGISTERS, Serialize, Serializer, de,
    };

    #[expect(clippy::ref_option, reason = "the form in which serde calls it")]
    pub(super) fn serialize<S: Serializer>(
        union: &Option<HllUnion>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bytes = union.as_ref().map(|union| union.to_sketch(HllType::Hll8).serialize());
        bytes.unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HllUnion>, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let sketch = HllSketch::deserialize(&bytes).map_err(de::Error::custom)?;
        let mut union = HllUnion::new(LG_REGISTERS).map_err(de::Error::custom)?;
        union.update(&sketch);
        Ok(Some(union))
    }
}

impl Estimate {
    fn sketch(&mut self) -> Option<&mut HllUnion> {
        if self.0.is_none() {
            self.0 = HllUnion::new(LG_REGISTERS).ok();
        }
        self.0.as_mut()
    }
}

impl Fold for Estimate {
    type Value = Any;
    type Output = i64;

    fn add(&mut self, value: Cell<'_>) {
        if let Some(sketch) = self.sketch() {
            match value {
                Cell::Text(text) => sketch.update_value(text),
                Cell::Integer(n) => sketch.update_value(n),
                Cell::Number(bits) => sketch.update_value(bits),
                Cell::Boolean(b) => sketch.update_value(b),
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        if let (Some(others), Some(sketch)) = (&other.0, self.sketch()) {
            sketch.update(&others.to_sketch(HllType::Hll8));
        }
    }

    fn finish(&self) -> Option<i64> {
        // The composite estimate depends on the registers alone, not on the order in which they were filled.
        Some(self.0.as_ref().map_or(0, |sketch| sketch.composite_estimate().round() as i64))
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, HllUnion::estimated_size)
    }
}
