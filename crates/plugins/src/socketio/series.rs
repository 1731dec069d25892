//! Which keys there are, in which order, and what the configuration says of each.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::wire::Series;

/// A key longer than this, in bytes, is not shown.
const LONGEST_KEY: usize = 512;

/// What the configuration says of the keys.
#[derive(Debug, Clone, Default)]
pub struct SeriesConfig {
    /// What people read for a key.
    pub labels: IndexMap<String, String>,
    /// CSS colours.
    pub colours: IndexMap<String, String>,
    /// Keys that the page does not show.
    pub leave_out: Vec<String>,
    /// Keys that come first, in this order; empty for the order of `labels`.
    pub order: Vec<String>,
    /// At most so many series; the values of further keys are not shown.
    pub max: usize,
}

/// The series of one epoch. They only grow, at the end.
#[derive(Debug)]
pub struct SeriesList {
    config: SeriesConfig,
    leave_out: HashSet<String>,
    list: Vec<Series>,
    index: HashMap<String, usize>,
    refused: u64,
}

impl SeriesList {
    /// The keys that the configuration names, in its order; keys of the data follow as they come.
    pub fn new(config: SeriesConfig) -> Self {
        let mut series = Self {
            leave_out: config.leave_out.iter().cloned().collect(),
            list: Vec::new(),
            index: HashMap::new(),
            refused: 0,
            config,
        };
        let named: Vec<String> =
            series.config.order.iter().chain(series.config.labels.keys()).cloned().collect();
        for key in &named {
            series.index_of(key);
        }
        series
    }

    /// All series so far.
    pub fn list(&self) -> &[Series] {
        &self.list
    }

    /// How many values were not shown because there were too many keys, or a key was too long.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The place of `key`, which becomes the last series where it is new; `None` where no further one is taken.
    pub fn index_of(&mut self, key: &str) -> Option<usize> {
        if let Some(index) = self.index.get(key) {
            return Some(*index);
        }
        if self.list.len() >= self.config.max || key.len() > LONGEST_KEY {
            self.refused += 1;
            return None;
        }
        self.index.insert(key.to_owned(), self.list.len());
        self.list.push(Series {
            key: key.to_owned(),
            label: self.config.labels.get(key).cloned().unwrap_or_else(|| key.to_owned()),
            colour: self.config.colours.get(key).cloned(),
            hidden: self.leave_out.contains(key),
        });
        Some(self.list.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SeriesConfig {
        SeriesConfig {
            labels: [("0", "Women"), ("1", "Men")].map(|(k, l)| (k.into(), l.into())).into(),
            colours: [("1".to_owned(), "teal".to_owned())].into(),
            leave_out: vec!["2".into(), String::new()],
            order: vec![],
            max: 4,
        }
    }

    #[test]
    fn named_keys_come_first_in_the_files_order() {
        let mut series = SeriesList::new(config());
        assert_eq!(series.index_of("2"), Some(2));
        assert_eq!(series.index_of("0"), Some(0));
        let seen: Vec<_> = series.list().iter().map(|s| (s.label.as_str(), s.hidden)).collect();
        assert_eq!(seen, [("Women", false), ("Men", false), ("2", true)]);
        assert_eq!(series.list()[1].colour.as_deref(), Some("teal"));

        let series = SeriesList::new(SeriesConfig { order: vec!["1".into()], ..config() });
        let keys: Vec<_> = series.list().iter().map(|s| s.key.as_str()).collect();
        assert_eq!(keys, ["1", "0"]);
    }

    #[test]
    fn keys_beyond_the_cap_and_endless_keys_are_counted_not_shown() {
        let mut series = SeriesList::new(config());
        assert_eq!(series.index_of(&"x".repeat(LONGEST_KEY + 1)), None);
        assert_eq!(
            (series.index_of("a"), series.index_of("b"), series.index_of("c")),
            (Some(2), Some(3), None)
        );
        assert_eq!(series.index_of("a"), Some(2));
        assert_eq!((series.list().len(), series.refused()), (4, 2));
    }
}
