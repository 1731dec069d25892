//! Records that stand for several rows, and encoders that say something wrong.

use pipectl_framework::plugin::{
    Batch, Decoder, Encoded, Encoder, Error, FormatPlugin, Input, Problem, Reads, RecordMap, Rejects, Result,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::run;

/// A window of `keys` keys to a topic as pairs, and another of two keys behind it.
fn pairs(on_error: &str) -> String {
    format!(
        "  counts:
    - source: csv
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: rows.csv }}
    - window: count-by-key
      with: {{ key: k, size: 1s }}
    - sink: kafka
      id: out
      on_error: {on_error}
      with: {{ topic: out, encode: pairs }}
"
    )
}

const LETTERS: &str = "  letters:
    - from: counts.out.dead
    - sink: kafka
      with: { topic: dead }
";

fn rows(keys: usize) -> String {
    let first: String = (0..keys).map(|key| format!("0,key{key}\n")).collect();
    format!("t,k\n{first}1000,a\n1000,b\n")
}

#[test]
fn a_record_of_many_rows_that_is_too_large_rejects_all_of_them() {
    let ran = run(&(pairs("dead_letter") + LETTERS), &rows(500), 1000);
    assert_eq!(ran.failure, None);
    let balance = ran.balance("counts.out");
    assert_eq!((balance.rows_in, balance.rows_out, balance.dead), (502, 2, 500));
    assert_eq!(ran.records("out"), [serde_json::json!([{ "a": 1 }, { "b": 1 }])]);
    let letters = ran.records("dead");
    assert_eq!(letters.len(), 500);
    let mut keys: Vec<String> = letters
        .iter()
        .map(|letter| {
            let row: serde_json::Value = serde_json::from_str(letter["record"].as_str().unwrap()).unwrap();
            row["key"].as_str().unwrap().to_owned()
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 500, "each row has a letter of its own");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("larger than its topic takes: 6391 bytes of key and value, and `out` takes 1000; the record is of this and 499 other rows"),
        "{reason}"
    );
    assert!(!reason.contains("cut short"), "the row is whole: {reason}");

    let ran = run(&pairs("skip"), &rows(500), 1000);
    let balance = ran.balance("counts.out");
    assert_eq!((balance.rows_in, balance.rows_out, balance.dead), (502, 2, 500));
    let failure = run(&pairs("fail"), &rows(500), 1000).failure.unwrap();
    assert!(
        failure.contains("larger than its topic takes") && failure.contains("`encode: json`"),
        "{failure}"
    );
}

/// What an encoder says wrongly.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Wrong {
    /// One value for two rows, and no map.
    FewerValues,
    /// A value more than rows.
    MoreValues,
    /// Fewer timestamps than values.
    FewerTimes,
    /// Fewer keys than values.
    FewerKeys,
    /// A map of fewer rows than there are.
    ShortMap,
    /// A map to a record that is not there.
    MapBeyond,
    /// A record that no row went into.
    RecordOfNothing,
    /// A rejected row that the batch does not have.
    RejectBeyond,
    /// A row that is rejected twice, and nothing written for another.
    RejectTwice,
}

/// A format that is broken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Broken {
    wrong: Wrong,
}

register!(format: Broken);

impl FormatPlugin for Broken {
    const NAME: &'static str = "broken";
    const SUMMARY: &'static str = "a format that is broken";
    const EXAMPLE: &'static str = "{ broken: { wrong: fewer_values } }";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        Err(Problem::new("", "it cannot be read"))
    }

    fn encoder(self, _input: &Input, _key: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        Ok(Box::new(BrokenEncoder(self.wrong)))
    }
}

struct BrokenEncoder(Wrong);

impl Encoder for BrokenEncoder {
    fn reads(&self) -> Reads {
        Reads::All
    }

    fn encode(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<Encoded> {
        let rows = batch.rows();
        if rows < 2 {
            return Err(Error::fatal("the test needs two rows"));
        }
        let (mut values, mut times, mut keys, mut map) = (rows, rows, None, RecordMap::OneEach);
        match self.0 {
            Wrong::FewerValues => (values, times) = (rows - 1, rows - 1),
            Wrong::MoreValues => (values, times) = (rows + 1, rows + 1),
            Wrong::FewerTimes => times = rows - 1,
            Wrong::FewerKeys => keys = Some(rows - 1),
            Wrong::ShortMap => map = RecordMap::Rows((1..rows as u32).collect()),
            Wrong::MapBeyond => map = RecordMap::Rows((1..=rows as u32).collect()),
            Wrong::RecordOfNothing => map = RecordMap::Rows(vec![0; rows]),
            Wrong::RejectBeyond => {
                rejects.push(rows, "no");
                (values, times) = (rows - 1, rows - 1);
            }
            Wrong::RejectTwice => {
                rejects.push(0, "no");
                rejects.push(0, "no");
                (values, times) = (rows - 2, rows - 2);
            }
        }
        Ok(Encoded {
            keys: keys.map(|keys| (0..keys).map(|_| Some(b"k")).collect()),
            values: (0..values).map(|_| Some(b"1")).collect(),
            timestamps: vec![0; times].into(),
            headers: Vec::new(),
            rows: map,
        })
    }
}

#[test]
fn an_encoder_that_says_something_wrong_ends_the_run_by_name_and_nothing_is_written() {
    for (wrong, what) in [
        ("fewer_values", "1 record for 2 rows"),
        ("more_values", "3 records for 2 rows"),
        ("fewer_times", "1 timestamp for 2 records"),
        ("fewer_keys", "1 key for 2 records"),
        ("short_map", "says of 1 row which record it is in, and there are 2"),
        ("map_beyond", "put a row into record 2, and there are 2"),
        ("record_of_nothing", "record 1 is of no row"),
        ("reject_beyond", "rejected row 2 of 2"),
        ("reject_twice", "0 records for 1 row"),
    ] {
        for on_error in ["fail", "skip"] {
            let ran = run(
                &format!(
                    "  copy:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      id: out
      on_error: {on_error}
      with: {{ topic: out, encode: {{ broken: {{ wrong: {wrong} }} }} }}
"
                ),
                "k\na\nb\n",
                1000,
            );
            let failure =
                ran.failure.as_deref().unwrap_or_else(|| panic!("{wrong} passed: {:?}", ran.balances));
            assert!(
                failure.starts_with("copy.out: the format `broken`") && failure.contains(what),
                "{wrong}: {failure}"
            );
            assert!(ran.records("out").is_empty(), "{wrong}");
        }
    }
}
