//! What the state of a window depends on, as a mark that is kept with it. State of another mark is of another
//! window, however the step is called: it is refused, never mixed.

use std::fmt;
use std::str::FromStr;

use arrow_schema::Schema;
use serde_json::Value;

use super::settings::{Shape, TimeMode, WindowSettings};
use crate::hash::fnv1a;

/// The mark of a window: of its key, of where its windows begin and end, and of what it computes. What else
/// the file says of it (`lateness`, `out_of_orderness`, `zero_fill`, bounds, updates) may change and the
/// state is still right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    key: u32,
    shape: u32,
    computes: u32,
}

impl Fingerprint {
    /// `plugin` with `own`, what is the aggregate's of the step's `with:`; `version` of the form of its
    /// state; `reads` the columns of `input` that it looks at.
    pub fn new(
        settings: &WindowSettings,
        plugin: &str,
        own: &Value,
        version: u32,
        reads: &[String],
        input: &Schema,
    ) -> Self {
        let typed = |name: &String| {
            let field = input.field_with_name(name);
            (name.clone(), field.map_or_else(|_| String::new(), |field| field.data_type().to_string()))
        };
        let mut reads: Vec<_> = reads.iter().map(typed).collect();
        reads.sort();
        reads.dedup();
        let key: Vec<_> = settings.key.iter().map(typed).collect();
        let processing = settings.time == TimeMode::Processing;
        let shape = match settings.shape {
            Shape::Grid(grid) => format!("{} {} {}", grid.size(), grid.slide(), grid.offset()),
            Shape::Session { gap } => format!("gap {gap}"),
        };
        Self {
            key: mark(&format!("{key:?}")),
            shape: mark(&format!("{shape} {processing}")),
            // As it is written: the order of columns is that of the state's parts.
            computes: mark(&format!("{plugin} {version} {own} {reads:?}")),
        }
    }

    /// What is not as in `other`, for a person; `None` where nothing is.
    pub fn difference(self, other: Self) -> Option<&'static str> {
        if self == other {
            None
        } else if self.key != other.key {
            Some("its key is another one")
        } else if self.shape != other.shape {
            Some("its windows are others (`size`, `slide`, `offset`, `gap` or `time`)")
        } else {
            Some("it computes something else")
        }
    }
}

fn mark(text: &str) -> u32 {
    let hash = fnv1a(text.as_bytes());
    (hash ^ (hash >> 32)) as u32
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}{:08x}", self.key, self.shape, self.computes)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |at: usize| text.get(at..at + 8).and_then(|part| u32::from_str_radix(part, 16).ok());
        match (part(0), part(8), part(16), text.len()) {
            (Some(key), Some(shape), Some(computes), 24) => Ok(Self { key, shape, computes }),
            _ => Err(format!("`{}` is no fingerprint of a window", text.escape_debug())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};
    use serde_json::json;

    fn of(change: impl FnOnce(&mut WindowSettings), own: &Value) -> Fingerprint {
        let mut settings = WindowSettings::tumbling(10).unwrap();
        settings.key = vec!["k".into()];
        change(&mut settings);
        let input = Schema::new(vec![
            Field::new("k", DataType::Utf8, true),
            Field::new("g", DataType::Utf8, true),
            Field::new("v", DataType::Int64, true),
        ]);
        Fingerprint::new(&settings, "sum", own, 1, &["v".to_owned(), "k".to_owned()], &input)
    }

    #[test]
    fn it_says_what_has_changed_and_reads_back() {
        let own = json!({ "field": "v", "as": "sum" });
        let same = of(|_| (), &own);
        assert_eq!(same.to_string().parse(), Ok(same));
        assert_eq!(same.difference(of(|s| s.lateness = 7, &own)), None);
        let key = of(|s| s.key = vec!["g".into()], &own);
        assert_eq!(same.difference(key), Some("its key is another one"));
        let size = of(|s| s.shape = WindowSettings::tumbling(20).unwrap().shape, &own);
        assert!(same.difference(size).unwrap().starts_with("its windows are others"));
        let sum = of(|_| (), &json!({ "field": "id" }));
        assert_eq!(same.difference(sum), Some("it computes something else"));
        for text in ["", "00", "zz000000000000000000000x", "0000000000000000000000000"] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
