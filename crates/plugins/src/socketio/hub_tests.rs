//! The laws of the history: whatever is published, lost and asked for again, every page ends up with the same
//! picture.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::socketio::wire::Chart;

const NOW: Duration = Duration::from_secs(7);

fn hub(history: usize) -> Hub {
    Hub::new(
        "e1",
        HubConfig {
            history,
            series: SeriesConfig { max: 100, ..SeriesConfig::default() },
            interval_ms: Some(1000),
            page: Page {
                title: "T".into(),
                subtitle: None,
                unit: String::new(),
                chart: Chart::Line,
                window_ms: 1,
                additive: true,
                totals: true,
            },
            legacy_keys: vec!["0".into(), "1".into()],
        },
    )
}

type Window = BTreeMap<String, f64>;
type Picture = BTreeMap<i64, Window>;

/// A page, written from docs/socketio.md alone.
#[derive(Default)]
struct NaivePage {
    epoch: Option<String>,
    last: u64,
    keys: Vec<String>,
    picture: Picture,
}

impl NaivePage {
    fn take(&mut self, point: &Point) {
        self.last = point.seq;
        let window = self.picture.entry(point.t).or_default();
        window.clear();
        for (key, value) in self.keys.iter().zip(&point.v) {
            if let Some(value) = value {
                window.insert(key.clone(), value.0);
            }
        }
    }

    fn learn(&mut self, series: &[Series]) {
        assert!(series.len() >= self.keys.len(), "series never shrink");
        let keys: Vec<String> = series.iter().map(|s| s.key.clone()).collect();
        assert_eq!(keys[..self.keys.len()], self.keys[..], "series never change their places");
        self.keys = keys;
    }

    fn hello(&mut self, hello: &Hello) {
        if self.epoch.as_deref() != Some(&hello.epoch) {
            *self = Self { epoch: Some(hello.epoch.clone()), ..Self::default() };
        }
        self.learn(&hello.series);
        for point in &hello.points {
            if point.seq > self.last {
                self.take(point);
            }
        }
        self.last = hello.last_seq;
    }

    /// False where the page has to ask again.
    fn point(&mut self, message: &PointMessage) -> bool {
        if message.point.seq <= self.last {
            return true;
        }
        if message.point.seq > self.last + 1 {
            return false;
        }
        if let Some(series) = &message.series {
            self.learn(series);
        }
        self.take(&message.point);
        true
    }
}

type Result = (i64, Vec<(u8, Option<f64>)>);

/// Results of a few windows and keys, so that they often meet; some keys are "0" and "1".
fn results() -> impl Strategy<Value = Vec<Result>> {
    let value = prop_oneof![
        8 => (0i32..50).prop_map(|n| Some(f64::from(n))),
        1 => Just(None),
        1 => Just(Some(f64::NAN))
    ];
    prop::collection::vec((0i64..12, prop::collection::vec((0u8..5, value), 1..5)), 0..60)
}

fn publish(hub: &mut Hub, (t, rows): &Result) -> Published {
    let named: Vec<(String, Option<f64>)> = rows.iter().map(|(k, v)| (k.to_string(), *v)).collect();
    hub.publish(t * 1000, named.iter().map(|(k, v)| (k.as_str(), *v)), NOW)
}

/// The truth, kept naively.
fn apply(picture: &mut Picture, (t, rows): &Result) {
    let window = picture.entry(t * 1000).or_default();
    for (key, value) in rows {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            window.insert(key.to_string(), value);
        }
    }
}

proptest! {
    #[test]
    fn every_page_ends_with_the_truth_whatever_was_lost(
        results in results(),
        lost in prop::collection::vec(any::<bool>(), 60),
        joins_at in 0usize..60,
    ) {
        let mut hub = hub(600);
        let mut truth = Picture::new();
        let (mut steady, mut lossy, mut late) = (NaivePage::default(), NaivePage::default(), None);
        steady.hello(&hub.hello(None, 0, NOW));
        lossy.hello(&hub.hello(None, 0, NOW));
        for (index, result) in results.iter().enumerate() {
            if index == joins_at {
                let mut page = NaivePage::default();
                page.hello(&hub.hello(None, 0, NOW));
                late = Some(page);
            }
            let published = publish(&mut hub, result);
            apply(&mut truth, result);
            let Some(message) = published.point else { continue };
            prop_assert!(steady.point(&message), "a page that hears all never sees a jump");
            if let Some(page) = &mut late {
                prop_assert!(page.point(&message));
            }
            if !lost[index] && !lossy.point(&message) {
                lossy.hello(&hub.resync(lossy.last, NOW));
            }
        }
        // It comes back after a loss, as `auth` lets it.
        lossy.hello(&hub.hello(Some("e1"), lossy.last, NOW));
        prop_assert_eq!(&steady.picture, &truth);
        prop_assert_eq!(&lossy.picture, &truth);
        if let Some(page) = late {
            prop_assert_eq!(&page.picture, &truth);
        }
        // Every window is counted once.
        let hello = hub.hello(None, 0, NOW);
        for (series, total) in hello.series.iter().zip(&hello.totals) {
            let sum: f64 = truth.values().filter_map(|w| w.get(&series.key)).sum();
            prop_assert_eq!(*total, Number(sum));
        }
        prop_assert_eq!(hello.points.len(), truth.len());
    }

    #[test]
    fn numbers_rise_by_one_and_the_history_is_bounded(results in results(), history in 1usize..6) {
        let mut hub = hub(history);
        let mut last = 0;
        for result in &results {
            if let Some(message) = publish(&mut hub, result).point {
                prop_assert_eq!(message.point.seq, last + 1);
                last += 1;
            }
            let hello = hub.hello(None, 0, NOW);
            prop_assert_eq!(hello.last_seq, last);
            prop_assert!(hello.points.len() <= history);
            prop_assert!(hello.points.is_sorted_by(|a, b| a.seq < b.seq));
            prop_assert_eq!(hello.points.last().map_or(0, |p| p.seq), last);
        }
    }

    #[test]
    fn the_totals_count_each_window_once_also_after_it_has_left(results in results(), history in 1usize..6) {
        let mut hub = hub(history);
        let mut truth = Picture::new();
        for result in &results {
            publish(&mut hub, result);
            apply(&mut truth, result);
        }
        let hello = hub.hello(None, 0, NOW);
        for (series, total) in hello.series.iter().zip(&hello.totals) {
            let sum: f64 = truth.values().filter_map(|w| w.get(&series.key)).sum();
            prop_assert_eq!(*total, Number(sum));
        }
        // The history has the windows of the greatest times.
        let mut held: Vec<i64> = hello.points.iter().map(|point| point.t).collect();
        held.sort_unstable();
        let newest: Vec<i64> = truth.keys().copied().rev().take(history).collect();
        prop_assert!(held.iter().rev().eq(newest.iter()), "{held:?} {newest:?}");
    }

    /// However few lines there are, all values of a window are in it, each once.
    #[test]
    fn keys_beyond_the_most_are_the_rest(results in results(), max in 1usize..4) {
        let config = HubConfig { series: SeriesConfig { max, ..SeriesConfig::default() }, ..hub(600).config };
        let mut hub = Hub::new("e1", config);
        let mut truth = Picture::new();
        let mut page = NaivePage::default();
        page.hello(&hub.hello(None, 0, NOW));
        for result in &results {
            if let Some(message) = publish(&mut hub, result).point {
                prop_assert!(page.point(&message));
            }
            apply(&mut truth, result);
        }
        prop_assert!(page.keys.len() <= max + 1);
        for (t, window) in &truth {
            let all: f64 = window.values().sum();
            let shown: f64 = page.picture[t].values().sum();
            prop_assert_eq!(Number(shown), Number(all));
        }
        let totals: f64 = hub.hello(None, 0, NOW).totals.iter().map(|total| total.0).sum();
        let all: f64 = truth.values().flat_map(BTreeMap::values).sum();
        prop_assert_eq!(Number(totals), Number(all));
    }

    #[test]
    fn a_result_that_comes_twice_is_told_once(results in results()) {
        let mut hub = hub(600);
        for result in &results {
            publish(&mut hub, result);
            prop_assert!(publish(&mut hub, result).point.is_none());
        }
    }

    #[test]
    fn hello_gives_exactly_what_comes_after(results in results(), since in 0u64..80) {
        let mut hub = hub(600);
        for result in &results {
            publish(&mut hub, result);
        }
        let all = hub.hello(None, since, NOW);
        let own = hub.hello(Some("e1"), since, NOW);
        let foreign = hub.hello(Some("e0"), since, NOW);
        prop_assert_eq!(&foreign.points, &all.points);
        if since <= all.last_seq {
            let after: Vec<_> = all.points.iter().filter(|p| p.seq > since).cloned().collect();
            prop_assert_eq!(own.points, after);
        } else {
            prop_assert_eq!(own.points, all.points);
        }
    }
}

/// Rows of a window that are the first few in an order: the keys at the places from 1 on, with the value of
/// the first.
type Ranking = (i64, Vec<u8>, i32);

fn rankings() -> impl Strategy<Value = Vec<Ranking>> {
    let keys = prop::sample::subsequence((0u8..8).collect::<Vec<_>>(), 3).prop_shuffle();
    prop::collection::vec((0i64..4, keys, 0i32..9), 0..40)
}

proptest! {
    /// Whatever order the keys of a window had before: it has those of its last result, in that order.
    #[test]
    fn what_is_displaced_has_left_the_window(results in rankings(), max in 1usize..9, split in 1usize..4) {
        let config = HubConfig { series: SeriesConfig { max, ..SeriesConfig::default() }, ..hub(600).config };
        let mut hub = Hub::new("e1", config);
        let mut page = NaivePage::default();
        page.hello(&hub.hello(None, 0, NOW));
        let mut truth: BTreeMap<i64, Vec<(String, f64)>> = BTreeMap::new();
        for (t, keys, first) in &results {
            let names: Vec<String> = keys.iter().map(u8::to_string).collect();
            let rows: Vec<Row<'_>> = names
                .iter()
                .zip(1..)
                .map(|(key, number)| Row {
                    key,
                    value: Some(f64::from(first - number)),
                    place: Some(results::Place { group: "", number: i64::from(number) }),
                })
                .collect();
            // A topic may give the rows of one result in several batches.
            for part in rows.chunks(split) {
                if let Some(message) = hub.publish(*t, part.iter().copied(), NOW).point {
                    prop_assert!(page.point(&message));
                }
            }
            truth.insert(*t, rows.iter().map(|row| (row.key.to_owned(), row.value.unwrap())).collect());
        }
        for point in hub.hello(None, 0, NOW).points {
            let top: Vec<(String, f64)> = point.top.iter().map(|(key, value)| (key.to_string(), value.0)).collect();
            prop_assert_eq!(&top, &truth[&point.t]);
            let lines = truth[&point.t].iter().filter(|(key, _)| page.keys.contains(key)).cloned();
            prop_assert_eq!(&page.picture[&point.t], &lines.collect::<Window>());
        }
        prop_assert_eq!(page.picture.len(), truth.len());
        prop_assert!(page.keys.len() <= max);
    }
}

#[test]
fn the_old_page_keeps_the_last_value_of_a_missing_key() {
    let mut hub = hub(10);
    let text = |hub: &mut Hub, t, rows: &[(&str, Option<f64>)]| {
        hub.publish(t, rows.iter().copied(), NOW).legacy.unwrap()
    };
    assert_eq!(text(&mut hub, 1, &[("2", Some(9.0))]), "0,0");
    assert_eq!(text(&mut hub, 2, &[("1", Some(7.0)), ("0", Some(5.0))]), "5,7");
    assert_eq!(text(&mut hub, 3, &[("0", Some(6.0)), ("1", None)]), "6,7");
    // The old page hears of every result, of a repeated one too.
    assert_eq!(text(&mut hub, 3, &[("0", Some(6.0))]), "6,7");
}

#[test]
fn the_old_page_is_not_served_without_keys() {
    let config = HubConfig { legacy_keys: vec![], ..hub(1).config };
    assert_eq!(Hub::new("e", config).publish(1, [("0", Some(1.0))], NOW).legacy, None);
}

#[test]
fn hello_has_the_shape_of_the_contract() {
    let mut hub = hub(10);
    hub.publish(1_700_000_000_999, [("0", Some(5.0)), ("2", Some(2.5))], Duration::from_secs(1));
    hub.publish(1_700_000_001_999, [("0", Some(7.0))], Duration::from_secs(2));
    let hello = serde_json::to_value(hub.hello(None, 0, Duration::from_millis(2140))).unwrap();
    assert_eq!(
        hello,
        serde_json::json!({
            "proto": 1, "epoch": "e1", "interval_ms": 1000, "last_seq": 2,
            "series": [{"key": "0", "label": "0"}, {"key": "2", "label": "2"}],
            "points": [
                {"seq": 1, "t": 1_700_000_000_999_i64, "v": [5, 2.5]},
                {"seq": 2, "t": 1_700_000_001_999_i64, "v": [7, null]},
            ],
            "age_ms": 140, "totals": [12, 2.5],
            "page": {"title": "T", "unit": "", "chart": "line", "window_ms": 1, "additive": true, "totals": true},
        })
    );
}
