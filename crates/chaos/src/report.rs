//! Figures: printed as they are known, and kept for the file.

use serde_json::{Map, Value, json};

/// Times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Distribution(Vec<i64>);

impl Distribution {
    pub(crate) fn add(&mut self, millis: i64) {
        self.0.push(millis);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, and the smallest value that so many percent do not exceed.
    pub(crate) fn json(&self) -> Value {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        json!({ "n": sorted.len(), "p50": at(50), "p90": at(90), "p99": at(99), "max": sorted.last() })
    }
}

/// What a run has found out, in order.
#[derive(Debug, Default)]
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    /// Prints a figure and keeps it.
    pub(crate) fn say(&mut self, name: &str, value: Value) {
        match &value {
            Value::Object(times) => {
                let parts: Vec<String> =
                    times.iter().map(|(name, value)| format!("{name} {value}")).collect();
                println!("  {name} (ms): {}", parts.join(", "));
            }
            Value::Array(all) if !all.is_empty() => {
                println!("  {name}:");
                all.iter().for_each(|one| println!("    {}", one.as_str().unwrap_or_default()));
            }
            Value::Array(_) => println!("  {name}: 0"),
            value => println!("  {name}: {value}"),
        }
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut times = Distribution::default();
        (1..=200).rev().for_each(|time| times.add(time));
        assert_eq!(times.json(), json!({ "n": 200, "p50": 100, "p90": 180, "p99": 198, "max": 200 }));
        let mut one = Distribution::default();
        one.add(7);
        assert_eq!(one.json(), json!({ "n": 1, "p50": 7, "p90": 7, "p99": 7, "max": 7 }));
        assert_eq!(Distribution::default().json()["max"], Value::Null);
    }
}
