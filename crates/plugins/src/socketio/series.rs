//! Which keys there are, in which order, and what the configuration says of each.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::results::BETWEEN;
use super::wire::Series;

/// A key longer than this, in bytes, is not shown.
const LONGEST_KEY: usize = 512;

/// So many keys are told apart beyond those that have a line; the values of further ones are not shown.
const MOST_OTHER: usize = 10_000;

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
    /// At most so many lines; further keys are one more, which is their sum.
    pub max: usize,
    /// True where a key has several parts, with [`BETWEEN`] between them.
    pub parts: bool,
}

impl SeriesConfig {
    /// What people read for a key: what is said of all of it, or of its parts.
    fn label(&self, key: &str) -> String {
        let said = |text: &str| self.labels.get(text).cloned();
        let of_part = |part: &str| said(part).unwrap_or_else(|| part.to_owned());
        said(key).unwrap_or_else(|| match self.parts {
            true => key.split(BETWEEN).map(of_part).collect::<Vec<_>>().join(BETWEEN),
            false => key.to_owned(),
        })
    }
}

/// The series of one epoch. They only grow, at the end.
#[derive(Debug)]
pub struct SeriesList {
    config: SeriesConfig,
    leave_out: HashSet<String>,
    list: Vec<Series>,
    index: HashMap<String, usize>,
    /// The keys beyond the most, each with a number.
    others: HashMap<String, u32>,
    /// The place of the line that stands for them, once there is one: the last.
    other: Option<usize>,
    revision: u64,
    refused: u64,
}

/// Where a key is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As a line of its own.
    Line(usize),
    /// In the line of all others, of which it has this number.
    Other(u32),
    /// Nowhere: it is left out, or there is no room.
    Nowhere,
}

/// The line of a key whose rows are the first few in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// This one.
    At(usize),
    /// There are too many lines for one more.
    NoRoom,
    /// The page does not show the key.
    LeftOut,
}

impl SeriesList {
    /// The keys that the configuration names, in its order; keys of the data follow as they come.
    pub fn new(config: SeriesConfig) -> Self {
        let mut series = Self {
            leave_out: config.leave_out.iter().cloned().collect(),
            list: Vec::new(),
            index: HashMap::new(),
            others: HashMap::new(),
            other: None,
            revision: 0,
            refused: 0,
            config,
        };
        let named: Vec<String> =
            series.config.order.iter().chain(series.config.labels.keys()).cloned().collect();
        for key in &named {
            // What is said of a part is not said of a line.
            if !series.config.parts || key.contains(BETWEEN) {
                series.place(key);
            }
        }
        series
    }

    /// All series so far.
    pub fn list(&self) -> &[Series] {
        &self.list
    }

    /// How many values were not shown because there were far too many keys, or a key was too long.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The place of `key`, which becomes the last series where it is new and there is room.
    pub fn place(&mut self, key: &str) -> Place {
        if let Some(index) = self.own_line(key) {
            return Place::Line(index);
        }
        if let Some(id) = self.others.get(key) {
            return Place::Other(*id);
        }
        if self.leave_out.contains(key) {
            return Place::Nowhere;
        }
        if self.others.len() >= MOST_OTHER || key.len() > LONGEST_KEY {
            self.refused += 1;
            return Place::Nowhere;
        }
        let id = self.others.len() as u32;
        self.others.insert(key.to_owned(), id);
        self.label_other();
        Place::Other(id)
    }

    /// The line of `key` where its rows are the first few in an order: those without a line are not the rest
    /// of anything, and have no line together.
    pub fn line(&mut self, key: &str) -> Line {
        if self.leave_out.contains(key) {
            return Line::LeftOut;
        }
        self.own_line(key).map_or(Line::NoRoom, Line::At)
    }

    /// The line of `key`, the last one where it is new and there is room.
    fn own_line(&mut self, key: &str) -> Option<usize> {
        if let Some(index) = self.index.get(key) {
            return Some(*index);
        }
        if self.other.is_some() || self.list.len() >= self.config.max || key.len() > LONGEST_KEY {
            return None;
        }
        self.index.insert(key.to_owned(), self.list.len());
        self.list.push(Series {
            key: key.to_owned(),
            label: self.config.label(key),
            colour: self.config.colours.get(key).cloned(),
            hidden: self.leave_out.contains(key),
        });
        self.revision += 1;
        Some(self.list.len() - 1)
    }

    /// The place of the line that stands for all keys beyond the most.
    pub fn other(&self) -> Option<usize> {
        self.other
    }

    /// Rises with every change of the list.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn label_other(&mut self) {
        let keys = self.others.len();
        let label = format!("other ({keys} {})", if keys == 1 { "key" } else { "keys" });
        let index = *self.other.get_or_insert(self.list.len());
        match self.list.get_mut(index) {
            Some(series) => series.label = label,
            None => self.list.push(Series { key: "(other)".to_owned(), label, colour: None, hidden: false }),
        }
        self.revision += 1;
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
            parts: false,
        }
    }

    #[test]
    fn named_keys_come_first_in_the_files_order() {
        let mut series = SeriesList::new(config());
        assert_eq!(series.place("2"), Place::Line(2));
        assert_eq!(series.place("0"), Place::Line(0));
        let seen: Vec<_> = series.list().iter().map(|s| (s.label.as_str(), s.hidden)).collect();
        assert_eq!(seen, [("Women", false), ("Men", false), ("2", true)]);
        assert_eq!(series.list()[1].colour.as_deref(), Some("teal"));

        let series = SeriesList::new(SeriesConfig { order: vec!["1".into()], ..config() });
        let keys: Vec<_> = series.list().iter().map(|s| s.key.as_str()).collect();
        assert_eq!(keys, ["1", "0"]);
    }

    #[test]
    fn the_parts_of_a_key_have_labels_of_their_own() {
        let labels =
            [("0", "Women"), ("北京市 / 1", "Men of Beijing")].map(|(k, l)| (k.into(), l.into())).into();
        let mut series = SeriesList::new(SeriesConfig { labels, parts: true, ..config() });
        series.place("北京市 / 0");
        series.place("上海市 / 1");
        let labels: Vec<_> = series.list().iter().map(|s| s.label.as_str()).collect();
        assert_eq!(labels, ["Men of Beijing", "北京市 / Women", "上海市 / 1"]);
    }

    #[test]
    fn keys_beyond_the_cap_are_one_line_and_endless_keys_are_counted() {
        let mut series = SeriesList::new(config());
        assert_eq!(series.place(&"x".repeat(LONGEST_KEY + 1)), Place::Nowhere);
        let places = ["a", "b", "c", "d", "c", "2", "a"].map(|key| series.place(key));
        let (line, other) = (Place::Line, Place::Other);
        assert_eq!(places, [line(2), line(3), other(0), other(1), other(0), Place::Nowhere, line(2)]);
        let last = series.list().last().map(|series| series.label.as_str());
        assert_eq!((last, series.other(), series.refused()), (Some("other (2 keys)"), Some(4), 1));
    }
}
