//! Plugins that break what their contract says: the run ends and names the step and the plugin, and no row is
//! lost or invented without a word.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use pipectl_framework::log::{Position, Records};
use pipectl_framework::plugin::fold::{self, Fold, Text};
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, BoundSource, BoundTransform, BoundWindow, Decoded, Decoder, Encoder,
    FormatPlugin, Input, Origin, Partition, Problem, Reads, Rejects, Result, RowMap, Sink, SinkContext,
    SinkPlugin, Source, SourceContext, SourceEvent, SourcePlugin, Transform, TransformPlugin, WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ran, run};

/// What a plugin does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    OtherType,
    OtherName,
    RejectBeyond,
    Panics,
    PanicsWithText,
    // A transform.
    InventedRow,
    OtherOrder,
    OtherPartition,
    // A source.
    Falls,
    RowBehind,
    RowBeyond,
    OffsetsFall,
    // A format.
    FewerRows,
    ShortMap,
    MapBeyond,
    MapFalls,
    // A sink.
    PanicsInOpen,
    PanicsInFlush,
    PanicsInClose,
    HangsInClose,
}

/// A plugin of each kind that does something wrong.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Unruly {
    how: How,
}

register!(transform: Unruly);
register!(source: Unruly);
register!(format: Unruly);
register!(sink: Unruly);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true)]))
}

/// Columns of so many rows; of another name or type where that is wrong.
fn columns(how: How, rows: usize) -> RecordBatch {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a"; rows]));
    let (name, column): (_, ArrayRef) = match how {
        How::OtherType => ("k", Arc::new(Int64Array::from(vec![1; rows]))),
        How::OtherName => ("other", text),
        _ => ("k", text),
    };
    RecordBatch::try_from_iter([(name, column)]).unwrap()
}

fn panic_as(how: How, what: &str) {
    match how {
        How::Panics => panic!("no more"),
        How::PanicsWithText => panic!("no more of {what}"),
        _ => {}
    }
}

/// Panics where it shall here.
fn panic_at(how: How, here: How) {
    if how == here {
        std::panic::panic_any("not today");
    }
}

impl TransformPlugin for Unruly {
    const NAME: &'static str = "unruly";
    const SUMMARY: &'static str = "a transform that does something wrong";
    const EXAMPLE: &'static str = "- transform: unruly\n  with: { how: other_type }\n";

    fn bind(self, _: &Input) -> Result<BoundTransform, Problem> {
        let origins = vec![None; schema().fields().len()];
        Ok(BoundTransform { schema: schema(), reads: Reads::All, origins, body: Box::new(self) })
    }
}

impl Transform for Unruly {
    fn apply(&self, batch: Batch, rejects: &mut Rejects) -> Result<Batch> {
        panic_as(self.how, "it");
        let mut origin = batch.origin().clone();
        match self.how {
            How::RejectBeyond => rejects.push(batch.rows(), "no"),
            How::InventedRow => origin.offsets = vec![0, 1, 17].into(),
            How::OtherOrder => origin.offsets = vec![2, 1, 0].into(),
            How::OtherPartition => origin.partition = Partition::new("elsewhere", 0),
            _ => {}
        }
        Ok(Batch::new(columns(self.how, batch.rows()), batch.times().clone(), origin).unwrap())
    }
}

impl SourcePlugin for Unruly {
    const NAME: &'static str = "unruly";
    const SUMMARY: &'static str = "a source that does something wrong";
    const EXAMPLE: &'static str = "- source: unruly\n  with: { how: falls }\n";

    fn bind(self, _: &BindContext<'_>) -> Result<BoundSource, Problem> {
        Ok(BoundSource::custom("unruly", schema(), true, UnrulySource { how: self.how, given: 0 }))
    }
}

struct UnrulySource {
    how: How,
    given: usize,
}

#[async_trait]
impl Source for UnrulySource {
    async fn open(&mut self, _: &SourceContext, _: Option<&Position>) -> Result<()> {
        panic_at(self.how, How::PanicsInOpen);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        panic_as(self.how, "the file");
        self.given += 1;
        let (offsets, position) = match (self.how, self.given) {
            (_, 1) => (vec![0, 1, 2], 3),
            (How::Falls, _) => (vec![], 2),
            (How::RowBehind, _) => (vec![2, 3], 4),
            (How::RowBeyond, _) => (vec![3, 4], 4),
            (How::OffsetsFall, _) => (vec![4, 3], 5),
            _ => (vec![3], 4),
        };
        let partition = Partition::new("unruly", 0);
        let rows = offsets.len();
        let origin = Origin { partition: partition.clone(), offsets: offsets.into(), replay: false };
        let batch = Batch::new(columns(self.how, rows), vec![0; rows].into(), origin).unwrap();
        let position = Position { partition, offset: position, metadata: String::new() };
        Ok(SourceEvent::Batch { batch, rejects: Vec::new(), position })
    }
}

impl FormatPlugin for Unruly {
    const NAME: &'static str = "unruly";
    const SUMMARY: &'static str = "a format that does something wrong";
    const EXAMPLE: &'static str = "{ unruly: { how: map_beyond } }";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        Ok(Box::new(self))
    }

    fn encoder(self, _: &Input, _: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        Err(Problem::new("", "it cannot be written"))
    }
}

impl Decoder for Unruly {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        panic_as(self.how, "the records");
        let count = records.len();
        let (rows, map) = match self.how {
            How::RejectBeyond => {
                rejects.push(count, "no");
                (count, RowMap::Same)
            }
            How::FewerRows => (count - 1, RowMap::Same),
            How::ShortMap => (count, RowMap::Rows(vec![0])),
            How::MapBeyond => (1, RowMap::Rows(vec![count as u32])),
            How::MapFalls => (2, RowMap::Rows(vec![1, 0])),
            _ => (count, RowMap::Same),
        };
        Ok(Decoded { columns: columns(self.how, rows), rows: map })
    }
}

impl SinkPlugin for Unruly {
    const NAME: &'static str = "unruly";
    const SUMMARY: &'static str = "a sink that does something wrong";
    const EXAMPLE: &'static str = "- sink: unruly\n  with: { how: panics }\n";

    fn bind(self, _: &Input, _: &BindContext<'_>) -> Result<BoundSink, Problem> {
        Ok(BoundSink::custom(self))
    }
}

#[async_trait]
impl Sink for Unruly {
    async fn open(&mut self, _: &SinkContext) -> Result<()> {
        panic_at(self.how, How::PanicsInOpen);
        Ok(())
    }

    fn unusable(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<()> {
        if self.how == How::RejectBeyond {
            rejects.push(batch.rows(), "no");
        }
        Ok(())
    }

    async fn write(&mut self, _: &Batch) -> Result<()> {
        panic_as(self.how, "these");
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        panic_at(self.how, How::PanicsInFlush);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        match self.how {
            How::PanicsInClose => panic!("at last"),
            How::HangsInClose => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

/// A window whose aggregate cannot take a text.
#[derive(Debug, Deserialize, JsonSchema)]
struct Frail {
    field: String,
}

register!(window: Frail);

impl WindowPlugin for Frail {
    const NAME: &'static str = "frail";
    const SUMMARY: &'static str = "a window that panics";
    const EXAMPLE: &'static str = "- window: frail\n  with: { field: k, size: 1s }";

    fn bind(self, input: &Input, _: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let column = input.text_column("field", &self.field)?;
        Ok(BoundWindow { reads: vec![self.field], aggregate: fold::aggregate::<Never>("never", column) })
    }
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Never;

impl Fold for Never {
    type Value = Text;
    type Output = i64;

    fn add(&mut self, text: &str) {
        panic!("{text} is too much");
    }

    fn merge(&mut self, _: &Self) {}

    fn finish(&self) -> Option<i64> {
        None
    }
}

const ROWS: &str = "k\na\nb\nc\n";
const FROM_FILE: &str = "    - source: csv\n      with: { path: rows.csv }\n";
const TO_TOPIC: &str = "    - sink: kafka\n      with: { topic: out, encode: json }\n";

/// A chain with a step of the plugin, and another one beside it.
fn with_step(kind: &str, how: &str) -> Ran {
    let step = |kind: &str| format!("    - {kind}: unruly\n      with: {{ how: {how} }}\n");
    let chain = match kind {
        "source" => step(kind) + TO_TOPIC,
        "transform" => FROM_FILE.to_owned() + &step(kind) + TO_TOPIC,
        "sink" => FROM_FILE.to_owned() + &step(kind),
        _ => format!(
            "    - source: kafka\n      with: {{ topic: rows, format: {{ unruly: {{ how: {how} }} }} }}\n{TO_TOPIC}"
        ),
    };
    let rows = format!("{FROM_FILE}    - sink: kafka\n      with: {{ topic: rows, encode: json }}\n");
    run(&format!("  rows:\n{rows}  broken:\n{chain}"), ROWS, 1_000_000)
}

#[test]
fn a_promise_that_is_not_kept_ends_the_run_and_names_the_plugin() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "transform",
            &[
                "other_type",
                "other_name",
                "reject_beyond",
                "invented_row",
                "other_order",
                "other_partition",
                "panics",
                "panics_with_text",
            ],
        ),
        (
            "source",
            &["other_type", "falls", "row_behind", "row_beyond", "offsets_fall", "panics", "panics_in_open"],
        ),
        (
            "format",
            &[
                "other_name",
                "reject_beyond",
                "fewer_rows",
                "short_map",
                "map_beyond",
                "map_falls",
                "panics_with_text",
            ],
        ),
        (
            "sink",
            &[
                "reject_beyond",
                "panics_with_text",
                "panics_in_open",
                "panics_in_flush",
                "panics_in_close",
                "hangs_in_close",
            ],
        ),
    ];
    let mut said = String::new();
    for (kind, hows) in cases {
        for how in hows {
            let ran = with_step(kind, how);
            let failure = ran.failure.as_deref().unwrap_or("NOTHING");
            writeln!(said, "{kind} {how}:\n  {failure}").unwrap();
            let rows = ran.records("rows").len();
            assert!(
                rows == 0 || rows == 3,
                "{kind} {how}: the other chain drains, and gives whole batches: {rows}"
            );
        }
    }
    let window = format!(
        "  broken:\n{FROM_FILE}    - window: frail\n      with: {{ field: k, size: 1s }}\n{TO_TOPIC}"
    );
    writeln!(said, "window panics:\n  {}", run(&window, ROWS, 1_000_000).failure.unwrap()).unwrap();
    insta::assert_snapshot!(said);
}
