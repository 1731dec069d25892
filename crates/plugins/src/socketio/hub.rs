//! What the page knows: the history of results, their numbers, their totals. Pure; the server emits what it
//! returns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::ranks::Ranks;
use super::results::{self, Row};
use super::series::{Line, Place, SeriesConfig, SeriesList};
use super::totals::Totals;
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

/// The last value of each key of the old page: a key that a result does not have keeps its value, 0 before
/// the first.
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

/// The values of keys without a line of their own, in one window.
type Other = BTreeMap<u32, Number>;

/// So many of these are kept.
const MOST_OTHER_VALUES: usize = 1_000_000;

/// Lays `values` over those of the same window that came before.
pub(super) fn lay_over(values: &mut Vec<Option<Number>>, before: &[Option<Number>]) {
    values.resize(values.len().max(before.len()), None);
    for (value, before) in values.iter_mut().zip(before) {
        *value = value.or(*before);
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
/// A result that comes again for a window in the history (the keys of another worker, a correction, a record
/// that was read twice) is laid over the one that is there, key by key, or place by place where its rows are
/// the first few in an order. If that changes anything, the merged point gets a new number and takes the
/// place of the old one; if not, nothing is told. So every window stands in the history once. The history
/// holds the windows of the greatest times; one that is older than all of them is only counted in the totals.
#[derive(Debug)]
pub struct Hub {
    epoch: String,
    config: HubConfig,
    series: SeriesList,
    points: VecDeque<Arc<Point>>,
    /// The times of `points`.
    times: BTreeSet<i64>,
    last_seq: u64,
    newest_t: i64,
    totals: Totals,
    ranks: Ranks,
    /// The values of keys without a line of their own, by the time of their window: one that comes again
    /// takes the place of its own earlier value in their sum.
    others: BTreeMap<i64, Other>,
    others_held: usize,
    /// The greatest time of a window that is no longer in `others`.
    others_dropped: Option<i64>,
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
            times: BTreeSet::new(),
            last_seq: 0,
            newest_t: i64::MIN,
            totals: Totals::default(),
            ranks: Ranks::default(),
            others: BTreeMap::new(),
            others_held: 0,
            others_dropped: None,
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
        rows: impl IntoIterator<Item = impl Into<Row<'a>>>,
        now: Duration,
    ) -> Published {
        let revision = self.series.revision();
        let mut values = vec![None; self.series.list().len()];
        let mut other = Other::new();
        let mut ranked = Vec::new();
        for Row { key, value, place } in rows.into_iter().map(Into::into) {
            let value = value.filter(|v| v.is_finite()).map(Number);
            if let Some(value) = value {
                self.legacy.set(key, value);
            }
            if let Some(place) = place {
                ranked.extend(value.map(|value| (place, key, value)));
                continue;
            }
            match (self.series.place(key), value) {
                (Place::Line(index), Some(_)) => {
                    values.resize(values.len().max(index + 1), None);
                    values[index] = value;
                }
                (Place::Other(id), Some(value)) => {
                    other.insert(id, value);
                }
                _ => {}
            }
        }
        let point = if ranked.is_empty() {
            values.resize(self.series.list().len(), None);
            let grew = self.series.revision() != revision;
            self.store(t, values, other, now, grew)
        } else {
            self.store_ranked(t, ranked, now, revision)
        };
        let grew = self.series.revision() != revision;
        let told =
            point.map(|point| PointMessage { point, series: grew.then(|| self.series.list().to_vec()) });
        Published { point: told, legacy: self.legacy.text() }
    }

    /// The place in the history of the window at `t`. Most results are newer than all before; only others can
    /// have come before.
    fn held(&self, t: i64) -> Option<usize> {
        (t <= self.newest_t).then(|| self.points.iter().rposition(|p| p.t == t)).flatten()
    }

    /// True where a window at `t`, which is not in the history, has no room in it.
    fn is_too_old(&self, t: i64) -> bool {
        let full = self.points.len() >= self.config.history.max(1);
        full && self.times.first().is_some_and(|oldest| t < *oldest)
    }

    fn store(
        &mut self,
        t: i64,
        mut values: Vec<Option<Number>>,
        other: Other,
        now: Duration,
        grew: bool,
    ) -> Option<Arc<Point>> {
        let same = self.held(t);
        self.sum_other(t, other, same.is_none(), &mut values);
        if same.is_none() && self.is_too_old(t) {
            self.totals.correct(t, values);
            return None;
        }
        if let Some(index) = same {
            let old = &self.points[index].v;
            lay_over(&mut values, old);
            let unchanged = values.iter().enumerate().all(|(i, v)| *v == old.get(i).copied().flatten());
            if unchanged && !grew {
                return None;
            }
        }
        Some(self.keep(same, Point { seq: 0, t, v: values, top: Vec::new() }, now))
    }

    /// Stores the rows of a window that are the first few in an order: what they displace leaves the window.
    fn store_ranked(
        &mut self,
        t: i64,
        rows: Vec<(results::Place<'_>, &str, Number)>,
        now: Duration,
        revision: u64,
    ) -> Option<Arc<Point>> {
        let same = self.held(t);
        if same.is_none() && self.is_too_old(t) {
            return None;
        }
        let mut v = vec![None; self.series.list().len()];
        let mut top = Vec::new();
        for (key, value) in self.ranks.put(t, rows)? {
            match self.series.line(key) {
                Line::At(index) => {
                    v.resize(v.len().max(index + 1), None);
                    v[index] = v[index].or(Some(value));
                }
                Line::NoRoom => {}
                Line::LeftOut => continue,
            }
            top.push((Arc::clone(key), value));
        }
        let grew = self.series.revision() != revision;
        if !grew && same.is_some_and(|index| self.points[index].top == top) {
            return None;
        }
        Some(self.keep(same, Point { seq: 0, t, v, top }, now))
    }

    /// Puts a window in the history with the next number, in the place of the one at index `same`.
    fn keep(&mut self, same: Option<usize>, mut point: Point, now: Duration) -> Arc<Point> {
        if let Some(replaced) = same.and_then(|index| self.points.remove(index)) {
            self.totals.remove(&replaced.v);
        }
        self.totals.add(&point.v);
        self.last_seq += 1;
        self.newest_t = self.newest_t.max(point.t);
        self.stored_at = Some(now);
        point.seq = self.last_seq;
        let point = Arc::new(point);
        while self.points.len() >= self.config.history.max(1) {
            self.drop_oldest();
        }
        self.times.insert(point.t);
        self.points.push_back(Arc::clone(&point));
        point
    }

    /// Puts the sum of the keys without a line of their own in its place.
    fn sum_other(&mut self, t: i64, other: Other, is_new: bool, values: &mut [Option<Number>]) {
        let Some(index) = self.series.other() else { return };
        if other.is_empty() || !self.config.page.additive {
            return;
        }
        // Of a window whose keys are not known any more the sum stays as it was.
        if !is_new && !self.others.contains_key(&t) && self.others_dropped.is_some_and(|last| t <= last) {
            return;
        }
        let known = self.others.entry(t).or_default();
        let before = known.len();
        known.extend(other);
        self.others_held += known.len() - before;
        if let Some(value) = values.get_mut(index) {
            *value = Some(Number(known.values().map(|value| value.0).sum()));
        }
        while self.others_held > MOST_OTHER_VALUES {
            let Some((t, dropped)) = self.others.pop_first() else { break };
            self.others_held -= dropped.len();
            self.others_dropped = self.others_dropped.max(Some(t));
        }
    }

    /// Drops the window of the smallest time.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.times.pop_first() else { return };
        let index = self.points.iter().position(|point| point.t == oldest);
        if let Some(dropped) = index.and_then(|index| self.points.remove(index)) {
            self.totals.leaves(oldest, &dropped.v);
            self.ranks.leaves(oldest);
        }
    }

    /// What a client is greeted with. It gets the points after `since` where it holds those up to there of
    /// this very epoch (`held`), else the whole history.
    pub fn hello(&self, held: Option<&str>, since: u64, now: Duration) -> Hello {
        // A number that was never given out cannot be of this epoch, whatever the client says.
        let since = if held == Some(self.epoch.as_str()) && since <= self.last_seq { since } else { 0 };
        let first = self.points.partition_point(|p| p.seq <= since);
        let totals = self.totals.of(self.series.list().len());
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

    /// How many values were not shown or not counted: see [`SeriesList::refused`], [`Totals::refused`] and
    /// [`Ranks::refused`].
    pub fn values_refused(&self) -> u64 {
        self.series.refused() + self.totals.refused() + self.ranks.refused()
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
