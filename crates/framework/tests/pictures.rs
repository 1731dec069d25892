//! The pictures of docs/windows.md. Each is drawn from what the operator gives for the rows in it, and the
//! file must be that drawing: `UPDATE_PICTURES=1 cargo test --workspace --test pictures` writes them.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // a test fails by panicking

mod support;

use std::path::Path;

use pipectl_framework::time::WindowGrid;
use pipectl_framework::window::{Shape, WindowSettings};
use support::bench::Bench;
use support::svg::{Svg, WIDTH};

type Rows<'a> = &'a [(i64, &'a str)];

const LEFT: f64 = 90.0;

fn settings(shape: Shape) -> WindowSettings {
    WindowSettings { shape, ..WindowSettings::tumbling(1).unwrap() }
}

fn grid(size: i64, slide: i64) -> Shape {
    Shape::Grid(WindowGrid::new(size, slide, 0).unwrap())
}

fn class(key: &str) -> &str {
    if key == "a" { "a" } else { "b" }
}

/// `start..end key=count key=count` to its parts.
fn read(result: &str) -> Vec<(i64, i64, String)> {
    let mut windows: Vec<(i64, i64, String)> = Vec::new();
    for word in result.split(' ') {
        match word.split_once("..") {
            Some((start, end)) => windows.push((start.parse().unwrap(), end.parse().unwrap(), String::new())),
            None => {
                let label = &mut windows.last_mut().unwrap().2;
                if !label.is_empty() {
                    label.push(' ');
                }
                label.push_str(&word.replace('=', ": "));
            }
        }
    }
    windows
}

/// Rows on the line of time, and below it the windows that the operator gives for them.
fn time_line(title: &str, settings: WindowSettings, rows: Rows<'_>, until: i64) -> String {
    let mut bench = Bench::new(settings);
    bench.push(rows);
    let results = bench.finish();
    let windows: Vec<(i64, i64, String)> = results.iter().flat_map(|result| read(result)).collect();
    let x = |t: i64| LEFT + (WIDTH - LEFT - 20.0) * t as f64 / until as f64;
    let mut svg = Svg::new(92.0 + 26.0 * windows.len() as f64);
    for t in (0..=until).step_by(5) {
        svg.line("grid", (x(t), 62.0), (x(t), 80.0 + 26.0 * windows.len() as f64));
        svg.text("small", "middle", (x(t), 76.0), &format!("{t} s"));
    }
    for (lane, key) in ["a", "b"].iter().enumerate() {
        let y = 20.0 + 24.0 * lane as f64;
        svg.text("", "end", (LEFT - 14.0, y + 4.0), &format!("key {key}"));
        svg.line("axis", (x(0), y), (x(until), y));
        for (t, _) in rows.iter().filter(|row| row.1 == *key) {
            svg.dot(class(key), (x(*t), y));
        }
    }
    for (lane, (start, end, label)) in windows.iter().enumerate() {
        let y = 86.0 + 26.0 * lane as f64;
        let (from, to) = (x((*start).max(0)), x((*end).min(until)));
        svg.bar("window", (from, y), to - from, 20.0);
        svg.text("", "middle", (f64::midpoint(from, to), y + 15.0), label);
    }
    svg.finish(title)
}

/// Rows as they arrive: from left to right the order, upwards their time; the watermark behind them, and what
/// closed windows gave.
fn arrivals(title: &str, settings: WindowSettings, rows: Rows<'_>, until: i64) -> String {
    let size = match settings.shape {
        Shape::Grid(grid) => grid.size(),
        Shape::Session { gap } => gap,
    };
    let (top, bottom) = (16.0, 300.0);
    let x = |i: usize| LEFT + 40.0 + (WIDTH - LEFT - 80.0) * i as f64 / rows.len() as f64;
    let y = |t: i64| bottom - (bottom - top) * t as f64 / until as f64;
    let mut svg = Svg::new(330.0);
    for start in (0..until).step_by(size as usize) {
        svg.line("grid", (LEFT, y(start)), (WIDTH - 20.0, y(start)));
        svg.text("small", "end", (LEFT - 10.0, y(start) + 4.0), &format!("{start} s"));
        svg.text("small", "start", (8.0, y(start + size / 2) + 4.0), "window");
    }
    svg.line("axis", (LEFT, y(0)), (WIDTH - 20.0, y(0)));
    svg.text("small", "end", (WIDTH - 20.0, bottom + 22.0), "order of arrival →");
    svg.text("small", "start", (8.0, bottom + 22.0), "↑ time of the row");
    let mut bench = Bench::new(settings);
    let mut mark: Vec<(f64, f64)> = Vec::new();
    for (i, (t, key)) in rows.iter().enumerate() {
        bench.push(&[(*t, *key)]);
        let given = bench.given();
        let late = std::mem::take(&mut bench.late) > 0;
        if let Some(watermark) = bench.operator.watermark() {
            let before = mark.last().map_or(y(watermark), |last| last.1);
            mark.extend([(x(i), before), (x(i), y(watermark))]);
        }
        for (start, end, label) in given.iter().flat_map(|result| read(result)) {
            svg.line("grid", (x(i), y(start)), (x(i), y(end)));
            // Labels beside each other stand at two heights.
            let up = 5.0 + 15.0 * (i % 2) as f64;
            svg.text("green", "start", (x(i) + 4.0, y(start) - up), &format!("→ {label}"));
        }
        svg.dot(if late { "late" } else { class(key) }, (x(i), y(*t)));
        let word = if late { format!("{key} is late") } else { (*key).to_owned() };
        let beside = if late { 20.0 } else { -10.0 };
        svg.text(if late { "late" } else { "" }, "middle", (x(i), y(*t) + beside), &word);
    }
    if let Some(last) = mark.last().copied() {
        mark.push((WIDTH - 20.0, last.1));
        svg.text("green", "end", (WIDTH - 20.0, last.1 - 6.0), "watermark");
    }
    svg.path("mark", &mark);
    svg.finish(title)
}

fn check(name: &str, drawing: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/pictures/{name}.svg"));
    if std::env::var_os("UPDATE_PICTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, drawing).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == drawing,
        "{} is not what the operator does: UPDATE_PICTURES=1 draws it anew",
        path.display()
    );
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/windows.md");
    let document = std::fs::read_to_string(document).unwrap();
    assert!(document.contains(&format!("](pictures/{name}.svg)")), "docs/windows.md does not show {name}");
}

const SHOPPERS: Rows<'static> =
    &[(1, "a"), (2, "b"), (3, "a"), (4, "a"), (8, "b"), (9, "a"), (17, "b"), (18, "a"), (19, "b"), (22, "a")];

#[test]
fn tumbling_windows() {
    check("tumbling", &time_line("Tumbling windows of 10 s", settings(grid(10, 10)), SHOPPERS, 30));
}

#[test]
fn sliding_windows() {
    check("sliding", &time_line("Sliding windows of 10 s, each 5 s", settings(grid(10, 5)), SHOPPERS, 30));
}

#[test]
fn session_windows() {
    let sessions = settings(Shape::Session { gap: 5 });
    check("sessions", &time_line("Sessions with a gap of 5 s", sessions, SHOPPERS, 30));
}

const DISORDER: Rows<'static> =
    &[(2, "a"), (6, "b"), (11, "a"), (8, "a"), (14, "b"), (9, "b"), (23, "a"), (7, "b"), (26, "a")];

#[test]
fn the_watermark() {
    let settings = WindowSettings { out_of_orderness: 4, ..settings(grid(10, 10)) };
    check("watermark", &arrivals("The watermark, with an out-of-orderness of 4 s", settings, DISORDER, 30));
}

#[test]
fn allowed_lateness() {
    let settings = WindowSettings { lateness: 10, ..settings(grid(10, 10)) };
    check("lateness", &arrivals("An allowed lateness of 10 s", settings, DISORDER, 30));
}
