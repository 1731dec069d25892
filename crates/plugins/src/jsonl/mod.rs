//! The `jsonl` source: a file with one JSON object a line (JSON Lines, NDJSON).
//!
//! A line is read as the format [`json`](crate::format) reads a record. Blank lines are passed over. A line
//! that is no such object is rejected with its line and column, and does not stop those behind it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`reader`] | lines to columns |
//!
//! All that does not depend on the form of a file is in [`files`](crate::files).

mod reader;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use indexmap::IndexMap;
use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{
    BindContext, BoundSource, Capability, Decoder, FormatPlugin, Problem, Result, SourcePlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::files::{
    BOM, Beginning, Common, Compression, Encoding, Form, Input, LastLine, Paths, Place, cannot_begin,
    is_no_utf_16, one_mebibyte,
};
use crate::format::{FieldSpec, Json};
use crate::replay::Speed;
use reader::{Lines, Reader};

/// The objects of a file with one JSON object a line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Jsonl {
    /// The file. A relative path starts at the folder of the pipeline file. A pattern such as `logs/*.jsonl`,
    /// or a list, gives several files, which are read in order of name as one. `-` is standard input.
    path: Paths,
    /// The fields with their types: `text`, `integer`, `number`, `boolean` or `time`; or with more, as in
    /// `{ type: integer, path: "$.order.id", coerce: true }`.
    #[schemars(with = "BTreeMap<String, FieldSpec>")]
    fields: IndexMap<String, FieldSpec>,
    /// Where the elements are that rows are made of, such as `$.items[*]`, as in the format `json`. Default:
    /// a line is a row.
    rows: Option<String>,
    /// How the file is compressed: `auto`, as its first bytes say, `none`, `gzip` or `zstd`. Default: auto.
    #[serde(default)]
    compression: Compression,
    /// The encoding of the file, by its name in the Encoding Standard of the WHATWG, such as `gbk` or
    /// `utf-16le`. Default: utf-8.
    #[serde(default)]
    encoding: Encoding,
    /// How many rows to give a second, such as `10/s`, `600/m`; row `i` is then stamped `start + i / rate`.
    /// Default: `max`, as fast as they can be read, each stamped with the time it is read.
    rate: Option<Rate>,
    /// How much faster than its own clock a replay with a `rate` runs: `10` gives ten times as many rows a
    /// second with the same stamps, `max` does not wait at all. Default: 1. Change it to try hours of data in
    /// minutes.
    #[serde(default)]
    speed: Speed,
    /// Whether to begin again at the end, for ever. Default: false. Under `--once` the file is read once all
    /// the same.
    #[serde(default)]
    repeat: bool,
    /// Whether to go on with what is written to the file later: it grows, is renamed while another one takes
    /// its name, or is cut short and begins anew. Default: false. Under `--once` it is read to its present
    /// end.
    #[serde(default)]
    follow: bool,
    /// What becomes of a last line without its end: `wait`, it is read by a later run once it has one, or
    /// `row`, it is a row like any other. Default: `wait` where the run keeps the file's position, and `row`
    /// elsewhere.
    last_line: Option<LastLine>,
    /// The longest line; a longer one is rejected. It bounds memory. Default: 1MiB.
    #[serde(default = "one_mebibyte")]
    max_line: ByteSize,
}

register!(source: Jsonl);

impl SourcePlugin for Jsonl {
    const NAME: &'static str = "jsonl";
    const SUMMARY: &'static str =
        "objects of a file with one JSON object a line, at full speed or replayed at a pace";
    const EXAMPLE: &'static str = "\
- source: jsonl
  with:
    path: data/events.jsonl
    fields: { user_id: integer, gender: text }
";
    const CAPABILITIES: &'static [Capability] = &[Capability::Replayable, Capability::Bounded];

    fn bind(self, context: &BindContext<'_>) -> Result<BoundSource, Problem> {
        if self.fields.is_empty() {
            return Err(Problem::new("fields", "at least one field is needed")
                .help("name the fields with their types: `fields: { user_id: integer, gender: text }`"));
        }
        let Self { path, compression, encoding, rate, speed, repeat, last_line, max_line, follow, .. } = self;
        let common = Common { path, compression, encoding, rate, speed, repeat, last_line, max_line, follow };
        let opening = common.check(context)?;
        // Nothing of standard input needs to be known before it is read.
        if !opening.is_standard() {
            opening.look(first_line)?;
        }
        let json = Json::of_fields(self.fields, self.rows);
        let schema = json.clone().decoder()?.schema();
        let form = JsonlForm { json, schema, max_line: opening.max_line };
        Ok(opening.source(form))
    }
}

/// Objects by line, as a form of file.
#[derive(Debug)]
struct JsonlForm {
    json: Json,
    schema: SchemaRef,
    /// The longest line in bytes, without its end.
    max_line: usize,
}

impl Form for JsonlForm {
    type Records = Reader<Input>;

    const NAME: &'static str = "jsonl";

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Every field that is named is read, as in a record of a topic: an object with a bad value is rejected
    /// whether or not a step looks at it.
    fn narrow(&mut self, _columns: &[String]) -> Option<SchemaRef> {
        None
    }

    fn begin(&self, file: &mut Input, name: &str) -> Result<Beginning> {
        let (rows, whole) = first_line(file).map_err(|e| cannot_begin(name, e))?;
        Ok(Beginning { rows, whole })
    }

    fn records(
        &self,
        file: Input,
        name: Arc<str>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self::Records> {
        let decoder: Box<dyn Decoder> =
            self.json.clone().decoder().map_err(|problem| io::Error::other(problem.message))?;
        let passes = matches!(file, Input::Stream(_));
        let reader = Reader::new(file, Lines { name, max_line: self.max_line }, decoder, last_line, at)?;
        Ok(if passes { reader.passing() } else { reader })
    }
}

/// Where the first line begins: behind a byte order mark; false where more of it is to come.
fn first_line(file: &mut Input) -> io::Result<(Place, bool)> {
    let mut bytes = Vec::new();
    let dry = match file.take(1024).read_to_end(&mut bytes) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
        read => read.map(|_| false)?,
    };
    is_no_utf_16(&bytes)?;
    let byte = if bytes.starts_with(BOM) { BOM.len() as u64 } else { 0 };
    Ok((Place { byte, row: 0, line: 1 }, !dry || bytes.contains(&b'\n')))
}

#[cfg(test)]
mod tests;
