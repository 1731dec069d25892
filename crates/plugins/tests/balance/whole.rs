//! A source of a CSV file that reads every column, whoever looks at them.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use pipectl_framework::batch::Lines;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSource, Origin, Partition, Problem, Result, Source, SourceContext, SourceEvent,
    SourcePlugin, SourceReject,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

/// The rows of a file without quotes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Whole {
    path: String,
}

register!(source: Whole);

impl SourcePlugin for Whole {
    const NAME: &'static str = "whole";
    const SUMMARY: &'static str = "the rows of a file without quotes";
    const EXAMPLE: &'static str = "- source: whole\n  with: { path: rows.csv }\n";

    fn bind(self, context: &BindContext<'_>) -> Result<BoundSource, Problem> {
        let file: PathBuf = context.path(&self.path);
        let text = std::fs::read_to_string(file).map_err(|e| Problem::new("path", e.to_string()))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let header = lines.remove(0);
        let fields: Vec<Field> =
            header.split(',').map(|name| Field::new(name, DataType::Utf8, false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let source = WholeSource {
            partition: Partition::new(self.path.as_str(), 0),
            name: self.path.clone(),
            schema: schema.clone(),
            lines,
            next: 0,
            context: None,
        };
        Ok(BoundSource::custom(self.path, schema, true, source))
    }
}

struct WholeSource {
    partition: Partition,
    name: String,
    schema: SchemaRef,
    lines: Vec<String>,
    next: usize,
    context: Option<SourceContext>,
}

#[async_trait]
impl Source for WholeSource {
    async fn open(&mut self, context: &SourceContext, _position: Option<&Position>) -> Result<()> {
        self.context = Some(context.clone());
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        let context = self.context.as_ref().unwrap();
        let end = self.lines.len().min(self.next + context.batch_rows);
        if self.next == end {
            return Ok(SourceEvent::End);
        }
        let width = self.schema.fields().len();
        let (mut rows, mut offsets, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.next..end {
            let line = &self.lines[row];
            let cells: Vec<&str> = line.split(',').collect();
            if cells.len() == width {
                rows.push(cells);
                offsets.push(row as i64);
            } else {
                rejects.push(SourceReject {
                    time: None,
                    offset: row as i64,
                    place: format!("{}:{}", self.name, row + 2),
                    reason: format!("{} cells where {width} are expected", cells.len()),
                    raw: line.as_bytes().to_vec(),
                });
            }
        }
        self.next = end;
        let columns: Vec<ArrayRef> = (0..width)
            .map(|column| {
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[column]))) as ArrayRef
            })
            .collect();
        let columns = RecordBatch::try_new(self.schema.clone(), columns).unwrap();
        let now = context.clock.now();
        let times = offsets.iter().map(|_| now).collect();
        let origin = Origin { partition: self.partition.clone(), offsets: offsets.into(), replay: false };
        let mut lines = Lines::new(self.name.as_str());
        lines.push(0, 2);
        let batch = Batch::new(columns, times, origin).unwrap().on_lines(Some(Arc::new(lines)));
        let position =
            Position { partition: self.partition.clone(), offset: end as i64, metadata: String::new() };
        Ok(SourceEvent::Batch { batch, rejects, position })
    }
}
