//! A source reads only the columns that somebody looks at. What comes out is what it would be if it read all
//! of them, dead letters and late rows too.

use super::dice::Dice;
use super::run_cut;

const COLUMNS: [&str; 6] = ["t", "a", "b", "c", "d", "long"];
const LARGEST: usize = 3_000;

fn csv(dice: &mut Dice) -> String {
    let mut csv = COLUMNS.join(",") + "\n";
    for row in 0..40 {
        // Some rows have no time, some are late, and some are too large for a topic.
        let time = match dice.roll(8) {
            0 => "never".to_owned(),
            1 => "0".to_owned(),
            _ => (row * 500).to_string(),
        };
        let cell = |dice: &mut Dice| ["1", "2", "3", "x", ""][dice.roll(5) as usize];
        let (a, b, c, d) = (cell(dice), cell(dice), cell(dice), cell(dice));
        let long = "l".repeat(if dice.roll(6) == 0 { 4_000 } else { 3 });
        csv += &format!("{time},{a},{b},{c},{d},{long}\n");
        if dice.roll(15) == 0 {
            csv += "a,row,of,another,width\n";
        }
    }
    csv
}

/// The steps of a chain, and the outputs whose rows are kept: each goes to a topic of its own. Steps of the
/// names in `dead` have a reader of what they could not use.
fn chain(dice: &mut Dice) -> (String, Vec<String>) {
    let mut left: Vec<&str> = COLUMNS[1..].to_vec();
    let (mut steps, mut branches, mut topics) = (String::new(), String::new(), vec!["out".to_owned()]);
    let policy = |dice: &mut Dice, step: &str, branches: &mut String, topics: &mut Vec<String>| {
        if dice.roll(2) == 0 {
            return "on_error: skip";
        }
        *branches += &format!(
            "  dead-{step}:\n    - from: rows.{step}.dead\n    - sink: kafka\n      on_error: skip\n      with: {{ topic: dead-{step} }}\n"
        );
        topics.push(format!("dead-{step}"));
        "on_error: dead_letter"
    };
    let source = policy(dice, "source", &mut branches, &mut topics);
    let mut integers: Vec<&str> = Vec::new();
    for step in 0..dice.roll(4) {
        match dice.roll(3) {
            0 => {
                let texts: Vec<&str> = left.iter().copied().filter(|c| !integers.contains(c)).collect();
                let Some(field) = texts.get(dice.roll(texts.len().max(1) as u64) as usize) else { continue };
                let id = format!("cast{step}");
                let policy = policy(dice, &id, &mut branches, &mut topics);
                steps += &format!(
                    "    - transform: cast\n      id: {id}\n      {policy}\n      with: {{ fields: {{ {field}: integer }} }}\n"
                );
                integers.push(field);
            }
            1 => {
                let texts: Vec<&str> = left.iter().copied().filter(|c| !integers.contains(c)).collect();
                let Some(field) = texts.get(dice.roll(texts.len().max(1) as u64) as usize) else { continue };
                steps += &format!(
                    "    - transform: filter\n      id: filter{step}\n      with: {{ field: {field}, in: [\"x\"], not: true }}\n"
                );
            }
            _ => {
                let keep = 1 + dice.roll(left.len() as u64) as usize;
                while left.len() > keep {
                    left.remove(dice.roll(left.len() as u64) as usize);
                }
                steps += &format!(
                    "    - transform: select\n      id: select{step}\n      with: {{ fields: [{}] }}\n",
                    left.join(", ")
                );
            }
        }
    }
    let texts: Vec<&str> = left.iter().copied().filter(|c| !integers.contains(c)).collect();
    if let (Some(key), 0) = (texts.first(), dice.roll(2)) {
        let id = "window";
        let on_error = policy(dice, id, &mut branches, &mut topics);
        steps += &format!(
            "    - window: count-by-key\n      id: {id}\n      {on_error}\n      with: {{ key: {key}, size: 2s, max_keys: 2 }}\n"
        );
        if dice.roll(2) == 0 {
            branches += "  late:\n    - from: rows.window.late\n    - sink: kafka\n      on_error: skip\n      with: { topic: late }\n";
            topics.push("late".to_owned());
        }
        left = vec!["key", "count"];
    }
    let on_error = policy(dice, "sink", &mut branches, &mut topics);
    let field = left[dice.roll(left.len() as u64) as usize];
    let kind = if field == "count" || integers.contains(&field) { "integer" } else { "text" };
    let encode = if dice.roll(2) == 0 {
        "json".to_owned()
    } else {
        format!("{{ json: {{ fields: {{ {field}: {kind} }} }} }}")
    };
    steps += &format!(
        "    - sink: kafka\n      id: sink\n      {on_error}\n      with: {{ topic: out, encode: {encode} }}\n"
    );
    let time = "time: { field: t, format: epoch_ms }";
    let first = format!("  rows:\n    - source: SOURCE\n      id: source\n      {source}\n      {time}\n");
    (first + &steps + &branches, topics)
}

#[test]
fn dead_letters_late_rows_and_results_are_the_same_with_narrowing_and_without() {
    let (mut letters, mut late) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let csv = csv(&mut dice);
        let (chain, topics) = chain(&mut dice);
        let narrowed = chain.replace("SOURCE", "csv\n      with: { path: rows.csv }");
        let whole = chain.replace("SOURCE", "whole\n      with: { path: rows.csv }");
        let cut = 1 + dice.roll(50) as usize;
        let (narrowed, whole) = (run_cut(&narrowed, &csv, LARGEST, cut), run_cut(&whole, &csv, LARGEST, cut));
        assert_eq!((&narrowed.failure, &whole.failure), (&None, &None), "seed {seed}:\n{chain}");
        for topic in topics {
            let (one, other) = (narrowed.records(&topic), whole.records(&topic));
            assert_eq!(one, other, "seed {seed}, topic {topic}:\n{chain}");
            letters += usize::from(topic.starts_with("dead")) * one.len();
            late += usize::from(topic == "late") * one.len();
        }
    }
    assert!(letters > 1_000 && late > 20, "{letters} letters, {late} late rows");
}

#[test]
fn a_dead_letter_has_the_whole_row() {
    let chain = "  rows:
    - source: csv
      with: { path: rows.csv }
    - transform: cast
      on_error: dead_letter
      with: { fields: { a: integer } }
    - transform: select
      with: { fields: [a] }
    - sink: kafka
      with: { topic: out }
  letters:
    - from: rows.cast.dead
    - sink: kafka
      with: { topic: dead }
";
    let ran = run_cut(chain, "id,a,name\n8,x,bob\n9,1,eve\n", LARGEST, 10);
    assert_eq!(ran.records("dead")[0]["record"], r#"{"id":"8","a":"x","name":"bob"}"#);
}
