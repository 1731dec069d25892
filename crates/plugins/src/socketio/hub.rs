//! What the page knows: the history of results, their numbers, their totals. Pure; the server emits what it returns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::series::{SeriesConfig, SeriesList};
use super::wire::{Hello, Number, PROTO, Page, Point, PointMessage, Series};

/// What the configuration says of the history and the page.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// How many points a late joiner gets.
    pub history: usize,
    /// The keys.
    pub series: SeriesConfig,
    /// Usual distance of two points in milliseconds, where it is known.
    pub interval_ms: Option<i64>,
    /// What stands around the chart.
    pub page: Page,
    /// The keys of the old page's message; empty where it is not sent.
    pub legacy_keys: Vec<String>,
}

/// The last value of each key of the old page: a key that a result does not have keeps its value, 0 before the first.
#[derive(Debug)]
struct LastValues {
    keys: Vec<String>,
    last: Vec<Number>,
}

impl LastValues {
    fn set(&mut self, key: &str, value: Number) {
        for (known, last) in self.keys.iter().zip(&mut self.last) {
            if known == key {
                *last = value;
            }
        }
    }

    fn text(&self) -> Option<String> {
        let values: Vec<String> = self.last.iter().map(Number::to_string).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

/// What a result is to be told to the clients.
#[derive(Debug, Default)]
pub struct Published {
    /// For `/live`; `None` where the result tells nothing new.
    pub point: Option<PointMessage>,
    /// For `/`: the `data` of a `test_message`; `None` where the old page is not served.
    pub legacy: Option<String>,
}

/// The state behind both namespaces. One run of the history, an epoch, is one `Hub`.
///
/// A result that comes again for a window in the history (the keys of another worker, a correction, a record that
/// was read twice) is laid over the one that is there, key by key. If that changes anything, the merged point gets a new
/// number and takes the place of the old one; if not, nothing is told. So every window stands in the history once.
#[derive(Debug)]
pub struct Hub {
    epoch: String,
    config: HubConfig,
    series: SeriesList,
    points: VecDeque<Arc<Point>>,
    last_seq: u64,
    newest_t: i64,
    totals: Vec<Number>,
    stored_at: Option<Duration>,
    legacy: LastValues,
}

impl Hub {
    /// An empty history that clients know by the name `epoch`.
    pub fn new(epoch: impl Into<String>, config: HubConfig) -> Self {
        let legacy = LastValues {
            keys: config.legacy_keys.clone(),
            last: vec![Number(0.0); config.legacy_keys.len()],
        };
        Self {
            epoch: epoch.into(),
            series: SeriesList::new(config.series.clone()),
            points: VecDeque::with_capacity(config.history.min(4096)),
            last_seq: 0,
            newest_t: i64::MIN,
            totals: Vec::new(),
            stored_at: None,
            legacy,
            config,
        }
    }

    /// Stores the result of the window at event time `t`. `now` is the time on a clock that never goes back.
    ///
    /// A value that is not finite counts as none.
    pub fn publish<'a>(
        &mut self,
        t: i64,
        rows: impl IntoIterator<Item = (&'a str, Option<f64>)>,
        now: Duration,
    ) -> Published {
        let known = self.series.list().len();
        let mut values = vec![None; known];
        for (key, value) in rows {
            let value = value.filter(|v| v.is_finite()).map(Number);
            if let Some(value) = value {
                self.legacy.set(key, value);
            }
            let Some(index) = self.series.index_of(key) else { continue };
            if index >= values.len() {
                values.resize(index + 1, None);
            }
            if value.is_some() {
                values[index] = value;
            }
        }
        let grew = self.series.list().len() > known;
        let point = self
            .store(t, values, now, grew)
            .map(|point| PointMessage { point, series: grew.then(|| self.series.list().to_vec()) });
        Published { point, legacy: self.legacy.text() }
    }

    fn store(
        &mut self,
        t: i64,
        mut values: Vec<Option<Number>>,
        now: Duration,
        grew: bool,
    ) -> Option<Arc<Point>> {
        // Most results are newer than all before; only others can have come before.
        let same = (t <= self.newest_t).then(|| self.points.iter().rposition(|p| p.t == t)).flatten();
        if let Some(index) = same {
            let old = &self.points[index].v;
            values.resize(values.len().max(old.len()), None);
            for (value, before) in values.iter_mut().zip(old) {
                *value = value.or(*before);
            }
            let unchanged = values.iter().enumerate().all(|(i, v)| *v == old.get(i).copied().flatten());
            if unchanged && !grew {
                return None;
            }
            if let Some(replaced) = self.points.remove(index) {
                self.add_to_totals(&replaced.v, -1.0);
            }
        }
        self.add_to_totals(&values, 1.0);
        self.last_seq += 1;
        self.newest_t = self.newest_t.max(t);
        self.stored_at = Some(now);
        let point = Arc::new(Point { seq: self.last_seq, t, v: values });
        while self.points.len() >= self.config.history.max(1) {
            self.points.pop_front();
        }
        self.points.push_back(Arc::clone(&point));
        Some(point)
    }

    fn add_to_totals(&mut self, values: &[Option<Number>], sign: f64) {
        self.totals.resize(self.totals.len().max(values.len()), Number(0.0));
        for (total, value) in self.totals.iter_mut().zip(values) {
            if let Some(value) = value {
                total.0 += sign * value.0;
            }
        }
    }

    /// What a client is greeted with. It gets the points after `since` where it holds those up to there of this very
    /// epoch (`held`), else the whole history.
    pub fn hello(&self, held: Option<&str>, since: u64, now: Duration) -> Hello {
        // A number that was never given out cannot be of this epoch, whatever the client says.
        let since = if held == Some(self.epoch.as_str()) && since <= self.last_seq { since } else { 0 };
        let first = self.points.partition_point(|p| p.seq <= since);
        let mut totals = self.totals.clone();
        totals.resize(self.series.list().len(), Number(0.0));
        Hello {
            proto: PROTO,
            epoch: self.epoch.clone(),
            series: self.series.list().to_vec(),
            interval_ms: self.config.interval_ms,
            last_seq: self.last_seq,
            points: self.points.range(first..).cloned().collect(),
            age_ms: self.stored_at.map(|at| now.saturating_sub(at).as_millis() as u64),
            totals,
            page: self.config.page.clone(),
        }
    }

    /// The answer to a client of this epoch that saw a jump after `since`.
    pub fn resync(&self, since: u64, now: Duration) -> Hello {
        self.hello(Some(&self.epoch), since, now)
    }

    /// The name of this run of the history.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// All series so far.
    pub fn series(&self) -> &[Series] {
        self.series.list()
    }

    /// How many values were not shown: see [`SeriesList::refused`].
    pub fn values_refused(&self) -> u64 {
        self.series.refused()
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
