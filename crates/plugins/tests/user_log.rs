//! `data/user_log.csv` is what `examples/make_user_log` makes, and is what `data/README.md` says of it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // a test fails by panicking

#[path = "../examples/make_user_log/random.rs"]
mod random;
#[path = "../examples/make_user_log/shop.rs"]
mod shop;
#[path = "../examples/make_user_log/user_log.rs"]
mod user_log;

use std::collections::{BTreeMap, HashSet};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/user_log.csv");

fn made() -> String {
    let mut bytes = Vec::new();
    user_log::write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_committed_sample_is_what_the_program_makes() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    let made = made();
    for (at, (committed, made)) in committed.lines().zip(made.lines()).enumerate() {
        assert_eq!(committed, made, "data/user_log.csv:{}", at + 1);
    }
    assert!(committed == made, "the files differ in length or line ends");
}

/// How many rows have each value of the column at `index`.
fn counts<'a>(rows: &[Vec<&'a str>], index: usize) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row[index]).or_default() += 1;
    }
    counts
}

#[test]
fn the_sample_is_what_its_readme_says() {
    let made = made();
    let mut lines = made.lines();
    assert_eq!(
        lines.next(),
        Some("user_id,item_id,cat_id,merchant_id,brand_id,month,day,action,age_range,gender,province")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 20_000);
    assert!(rows.iter().all(|row| row.len() == 11));

    let dates: Vec<(&str, &str)> = rows.iter().map(|row| (row[5], row[6])).collect();
    assert!(dates.is_sorted());
    assert_eq!((dates[0], dates[19_999]), (("10", "28"), ("11", "17")));
    assert_eq!(dates.iter().filter(|date| **date == ("11", "11")).count(), 8_000);

    let actions = counts(&rows, 7);
    assert_eq!(actions.keys().copied().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert!(actions["0"] > 16_000 && actions["2"] > 1_000, "{actions:?}");
    assert_eq!(counts(&rows, 8).len(), 9);

    let genders = counts(&rows, 9);
    assert_eq!(genders.keys().copied().collect::<Vec<_>>(), ["", "0", "1", "2"]);
    assert!((40..=80).contains(&genders[""]), "{genders:?}");
    assert!(genders["0"] > genders["1"] && genders["1"] > genders["2"], "{genders:?}");

    let provinces = counts(&rows, 10);
    assert_eq!(provinces.len(), 34);
    assert!(provinces["广东"] > 10 * provinces["西藏"], "{provinces:?}");
}

/// A shopper's own fields never change; only the gender may be lost on the way.
#[test]
fn a_shopper_stays_who_they_are() {
    let made = made();
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut near = 0;
    let mut last: HashSet<&str> = HashSet::new();
    let rows: Vec<Vec<&str>> = made.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for row in &rows {
        let itself = known.entry(row[0]).or_insert_with(|| row[8..].to_vec());
        if itself[1].is_empty() {
            itself[1] = row[9];
        }
        assert!((itself[0], itself[2]) == (row[8], row[10]), "user {}", row[0]);
        assert!(itself[1] == row[9] || row[9].is_empty(), "user {}", row[0]);
    }
    assert!(known.len() > 1_000, "{} shoppers", known.len());
    for ten in rows.chunks(10) {
        let now: HashSet<&str> = ten.iter().map(|row| row[0]).collect();
        near += usize::from(!now.is_disjoint(&last));
        last = now;
    }
    assert!(near > 1_500, "visits stretch over neighbouring rows: {near} of 2000 tens share a shopper");
}
