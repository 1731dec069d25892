//! Transforms that reject, leave out and multiply rows, in any mix and any cut.

use arrow_array::UInt32Array;
use pipectl_framework::metrics::Balance;
use pipectl_framework::plugin::{
    Batch, BoundTransform, Error, Input, Problem, Reads, Rejects, Result, Transform, TransformPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::dice::Dice;
use super::run_cut;

/// Does with each row what dice say.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mix {
    seed: u64,
}

register!(transform: Mix);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Rejected,
    RejectedTwice,
    LeftOut,
    /// Goes on, so many times.
    Given(u64),
}

/// What becomes of a row with this offset.
fn fate(seed: u64, offset: i64) -> Fate {
    let mut dice = Dice(seed ^ (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    dice.roll(10);
    // Some seeds reject nothing, some leave nothing out, some make nothing.
    let copies = if seed & 4 == 0 { 1 } else { 1 + dice.roll(4) };
    match dice.roll(6) {
        0 if seed & 1 == 0 => Fate::Rejected,
        1 if seed & 1 == 0 => Fate::RejectedTwice,
        2 | 3 if seed & 2 == 0 => Fate::LeftOut,
        _ => Fate::Given(copies),
    }
}

impl TransformPlugin for Mix {
    const NAME: &'static str = "mix";
    const SUMMARY: &'static str = "does with each row what dice say";
    const EXAMPLE: &'static str = "- transform: mix\n  with: { seed: 1 }\n";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        Ok(BoundTransform {
            schema: input.schema.clone(),
            reads: Reads::All,
            origins: (0..input.schema.fields().len()).map(Some).collect(),
            body: Box::new(Mixer(self.seed)),
        })
    }
}

struct Mixer(u64);

impl Transform for Mixer {
    fn apply(&self, batch: Batch, rejects: &mut Rejects) -> Result<Batch> {
        let mut rows = Vec::new();
        for row in 0..batch.rows() {
            match fate(self.0, batch.origin().offsets[row]) {
                Fate::Rejected => rejects.push(row, "no"),
                Fate::RejectedTwice => {
                    rejects.push(row, "no");
                    rejects.push(row, "and again no");
                }
                Fate::LeftOut => {}
                Fate::Given(copies) => rows.extend(std::iter::repeat_n(row as u32, copies as usize)),
            }
        }
        batch.take(&UInt32Array::from(rows)).map_err(|e| Error::fatal("rows could not be taken").caused_by(e))
    }
}

const ROWS: u64 = 60;

#[test]
fn what_came_in_is_accounted_for_whatever_a_transform_does() {
    let csv: String =
        std::iter::once("k\n".to_owned()).chain((0..ROWS).map(|row| format!("{row}\n"))).collect();
    for seed in 0..64 {
        let mut dice = Dice(seed);
        let second = dice.roll(8);
        let pipelines = format!(
            "  copy:
    - source: csv
      with: {{ path: rows.csv }}
    - transform: mix
      on_error: dead_letter
      with: {{ seed: {seed} }}
    - transform: mix
      id: second
      on_error: skip
      with: {{ seed: {second} }}
    - sink: kafka
      with: {{ topic: out, encode: json }}
  letters:
    - from: copy.mix.dead
    - sink: kafka
      with: {{ topic: dead }}
"
        );
        for cut in [1, 2, 7, 1000] {
            let ran = run_cut(&pipelines, &csv, 1_000_000, cut);
            assert_eq!(ran.failure, None);
            for (step, balance) in &ran.balances {
                assert!(balance.holds(), "seed {seed}, cut {cut}: {step}: {balance:?}");
            }
            let mut expected = Balance { rows_in: ROWS, ..Balance::default() };
            for offset in 0..ROWS as i64 {
                match fate(seed, offset) {
                    Fate::Rejected | Fate::RejectedTwice => expected.dead += 1,
                    Fate::LeftOut => expected.filtered += 1,
                    Fate::Given(copies) => {
                        expected.rows_out += 1;
                        expected.made += copies - 1;
                    }
                }
            }
            let first = ran.balance("copy.mix");
            assert_eq!(first, expected, "seed {seed}, cut {cut}");
            let second = ran.balance("copy.second");
            assert_eq!(second.rows_in, first.rows_out + first.made);
            assert_eq!(ran.balance("copy.kafka").rows_in, second.rows_out + second.made);
            assert_eq!(ran.records("out").len() as u64, second.rows_out + second.made);
            assert_eq!(ran.records("dead").len() as u64, first.dead);
        }
    }
}
