//! JSON by paths: fields from anywhere in a record, and a row for each element of a list.
//!
//! A record is read once for the fields that begin at `$`. With `rows`, the list is kept as it is written
//! meanwhile, and read once more, element by element, for the others. A record whose rows cannot all be used
//! gives none: it is rejected whole.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, SchemaRef};
use pipectl_framework::log::Records;
use pipectl_framework::plugin::{Decoded, Decoder, Error, Rejects, Result, RowMap};
use serde::Deserializer as _;
use serde::de::{DeserializeSeed as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::path::{Path, Step};
use super::read::{Column, Slot};
use super::tree::{Leaf, ReadTree, Target, Tree};
use super::value::Reading;
use crate::format::excerpt;

/// The most bytes of text in the rows of one record: a long text beside a long list is in each of them.
const MOST_TEXT: usize = 256 << 20;

/// A tree with as many marks as it has nodes.
#[derive(Debug)]
struct Paths {
    tree: Tree,
    nodes: usize,
}

impl Paths {
    fn new() -> Self {
        Self { tree: Tree::default(), nodes: 1 }
    }

    fn add(&mut self, steps: &[Step], leaf: Leaf) {
        self.tree.add(steps, leaf, &mut self.nodes);
    }
}

/// Where the rows of a record are.
#[derive(Debug)]
struct RowsAt {
    path: Path,
    /// The way to each list but the first, from an element of the one before.
    lists: Vec<Paths>,
    /// What leads from an element of the last list to what a row is made of.
    last: Paths,
    /// What is known while the path has led nowhere.
    unmatched: Option<Unmatched>,
}

/// Records in which there was nothing to make rows of.
#[derive(Debug, Default)]
struct Unmatched {
    records: usize,
    /// The beginning of the first.
    first: String,
    told: bool,
}

/// After so many records a path that has led nowhere is told.
const MOST_UNMATCHED: usize = 1000;

impl Unmatched {
    fn count(&mut self, path: &Path, record: &[u8]) {
        if self.records == 0 {
            self.first = excerpt(record);
        }
        self.records += 1;
        if self.records == MOST_UNMATCHED {
            self.told = true;
            tracing::warn!("{}", self.words(path));
        }
    }

    fn words(&self, path: &Path) -> String {
        let records = match self.records {
            1 => "the only record".to_owned(),
            records => format!("any of {records} records"),
        };
        format!(
            "json: `rows: \"{path}\"` has led to nothing in {records}, so there is no row; look where the list stands in a \
             record, such as {}",
            self.first
        )
    }
}

/// What is used again for each record.
#[derive(Debug, Default)]
struct Scratch {
    values: Vec<Slot>,
    text: Vec<u8>,
    seen: Vec<bool>,
    /// The number of the element in each list.
    at: Vec<usize>,
}

/// Reads records into columns.
pub(super) struct NestedDecoder {
    schema: SchemaRef,
    fields: Vec<Reading>,
    /// The paths that begin at the record.
    record: Paths,
    /// Those that begin at what a row is made of, with the fields that they are of.
    element: Paths,
    of_element: Vec<usize>,
    rows: Option<RowsAt>,
    scratch: Scratch,
    /// The fields whose value does not stand under their own name in the record.
    elsewhere: Vec<String>,
}

impl NestedDecoder {
    /// A decoder of fields, each with its path: without one at the record, or at what a row is made of.
    pub(super) fn new(schema: SchemaRef, fields: Vec<(Reading, Path)>, rows: Option<Path>) -> Self {
        let stands_elsewhere = |(field, (_, path)): &(&Arc<Field>, &(Reading, Path))| {
            path.root != super::path::Root::Record || path.steps != [Step::Name(field.name().clone())]
        };
        let elsewhere = schema.fields().iter().zip(&fields).filter(stands_elsewhere);
        let elsewhere = elsewhere.map(|(field, _)| field.name().clone()).collect();
        let (mut record, mut element, mut of_element) = (Paths::new(), Paths::new(), Vec::new());
        for (index, (_, path)) in fields.iter().enumerate() {
            match path.root {
                super::path::Root::Record => record.add(&path.steps, Leaf::Field(index)),
                super::path::Root::Element => {
                    element.add(&path.steps, Leaf::Field(index));
                    of_element.push(index);
                }
            }
        }
        let rows = rows.map(|path| {
            let mut parts = path.steps.split(|step| *step == Step::Every);
            // The way to the first list is read with the fields of the record.
            record.add(parts.next().unwrap_or_default(), Leaf::Written);
            let ways = parts.map(|steps| {
                let mut way = Paths::new();
                way.add(steps, Leaf::Written);
                way
            });
            let mut lists: Vec<Paths> = ways.collect();
            let last = lists.pop().unwrap_or_else(Paths::new);
            RowsAt { path, lists, last, unmatched: Some(Unmatched::default()) }
        });
        let fields: Vec<Reading> = fields.into_iter().map(|(reading, _)| reading).collect();
        let scratch = Scratch { values: vec![Slot::Missing; fields.len()], ..Scratch::default() };
        Self { schema, fields, record, element, of_element, rows, scratch, elsewhere }
    }

    /// Reads a record, and adds its rows to the columns; gives how many.
    fn read(&mut self, record: &[u8], columns: &mut [Column]) -> std::result::Result<usize, String> {
        let Self { fields, record: paths, element, of_element, rows, scratch, .. } = self;
        scratch.values.fill(Slot::Missing);
        scratch.text.clear();
        scratch.at.clear();
        let mut written = None;
        let mut json = serde_json::Deserializer::from_slice(record);
        read_paths(paths, &mut json, fields, scratch, &mut written, true).map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        let Some(rows) = rows else {
            push(columns, scratch);
            return Ok(1);
        };
        // No list is a list of nothing.
        let Some(written) = written.filter(|written| *written != "null") else {
            if let Some(unmatched) = &mut rows.unmatched {
                unmatched.count(&rows.path, record);
            }
            return Ok(0);
        };
        let outer = scratch.text.len();
        let (count, text, led) = (0, 0, false);
        let mut made =
            Made { fields, element, of_element, rows: &*rows, scratch, columns, outer, count, text, led };
        match made.list(written, 0) {
            Ok(()) => {
                let (count, led) = (made.count, made.led);
                if led {
                    rows.unmatched = None;
                } else if let Some(unmatched) = &mut rows.unmatched {
                    unmatched.count(&rows.path, record);
                }
                Ok(count)
            }
            // What stands before the first colon is what reasons are counted by.
            Err(reason) => {
                let (path, place) = (&made.rows.path, place(&made.rows.path, &made.scratch.at));
                Err(format!("an element of `{path}` cannot be used: {place}: {reason}"))
            }
        }
    }
}

/// Reads what paths lead to.
fn read_paths<'de, R: serde_json::de::Read<'de>>(
    paths: &Paths,
    json: &mut serde_json::Deserializer<R>,
    fields: &[Reading],
    scratch: &mut Scratch,
    written: &mut Option<&'de str>,
    root: bool,
) -> serde_json::Result<()> {
    scratch.seen.clear();
    scratch.seen.resize(paths.nodes, false);
    let Scratch { values, text, seen, .. } = scratch;
    let mut target = Target { fields, values, text, seen, written };
    ReadTree { tree: &paths.tree, target: &mut target, root }.deserialize(json)
}

fn push(columns: &mut [Column], scratch: &Scratch) {
    for (column, slot) in columns.iter_mut().zip(&scratch.values) {
        column.push(*slot, &scratch.text);
    }
}

/// What serde says, without the line and column in a part of the record.
fn without_column(error: &serde_json::Error) -> String {
    let mut words = error.to_string();
    if let Some(at) = words.rfind(" at line ") {
        words.truncate(at);
    }
    words
}

/// The path of an element: `$.items[3]`.
fn place(path: &Path, at: &[usize]) -> String {
    let mut at = at.iter();
    let steps = path.steps.iter().map(|step| match step {
        Step::Every => at.next().map_or(Step::Every, |index| Step::Index(*index as i64)),
        step => step.clone(),
    });
    Path { root: path.root, steps: steps.collect() }.to_string()
}

/// The rows of one record, while they are made.
struct Made<'a> {
    fields: &'a [Reading],
    element: &'a Paths,
    of_element: &'a [usize],
    rows: &'a RowsAt,
    scratch: &'a mut Scratch,
    columns: &'a mut [Column],
    /// The bytes of text of the record's own fields.
    outer: usize,
    count: usize,
    /// The bytes of text of all rows.
    text: usize,
    /// There was something to make a row of, or an empty list of such.
    led: bool,
}

impl Made<'_> {
    /// Makes the rows of the list that is written here, the `depth`th on the way.
    fn list(&mut self, written: &str, depth: usize) -> std::result::Result<(), String> {
        self.scratch.at.push(0);
        let mut failed = None;
        let elements = Elements { made: self, depth, failed: &mut failed };
        let read = serde_json::Deserializer::from_str(written).deserialize_any(elements);
        if let Some(reason) = failed {
            return Err(reason);
        }
        // What is wrong otherwise is of the list itself, and of none of its elements.
        self.scratch.at.pop();
        read.map_err(|error| error.to_string())
    }

    /// Makes the rows of an element.
    fn element(&mut self, written: &str, depth: usize) -> std::result::Result<(), String> {
        let rows = self.rows;
        let way = rows.lists.get(depth).unwrap_or(&rows.last);
        let mut inside = None;
        let mut json = serde_json::Deserializer::from_str(written);
        read_paths(way, &mut json, self.fields, self.scratch, &mut inside, false)
            .map_err(|e| e.to_string())?;
        if depth < rows.lists.len() {
            return match inside.filter(|inside| *inside != "null") {
                Some(inside) => self.list(inside, depth + 1),
                None => Ok(()),
            };
        }
        let Some(inside) = inside else { return Ok(()) };
        self.led = true;
        self.scratch.text.truncate(self.outer);
        for index in self.of_element {
            if let Some(slot) = self.scratch.values.get_mut(*index) {
                *slot = Slot::Missing;
            }
        }
        let mut json = serde_json::Deserializer::from_str(inside);
        read_paths(self.element, &mut json, self.fields, self.scratch, &mut None, true)
            .map_err(|e| without_column(&e))?;
        self.text += self.scratch.text.len();
        if self.text > MOST_TEXT {
            return Err(format!("the rows of one record have more than {MOST_TEXT} bytes of text together"));
        }
        push(self.columns, self.scratch);
        self.count += 1;
        Ok(())
    }
}

/// Goes through the elements of a list, or the members of an object.
struct Elements<'m, 'a, 'f> {
    made: &'m mut Made<'a>,
    depth: usize,
    failed: &'f mut Option<String>,
}

impl Elements<'_, '_, '_> {
    /// The list has ended, with so many elements.
    fn ends(&mut self, elements: usize) {
        self.made.led |= elements == 0 && self.depth == self.made.rows.lists.len();
    }

    fn one(&mut self, number: usize, written: &str) -> bool {
        if let Some(at) = self.made.scratch.at.get_mut(self.depth) {
            *at = number;
        }
        match self.made.element(written, self.depth) {
            Ok(()) => true,
            Err(reason) => {
                *self.failed = Some(reason);
                false
            }
        }
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list to make rows of")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut number = 0;
        while let Some(element) = list.next_element::<&'de RawValue>()? {
            if !self.one(number, element.get()) {
                return Err(A::Error::custom("an element cannot be used"));
            }
            number += 1;
        }
        self.ends(number);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> std::result::Result<(), A::Error> {
        let mut number = 0;
        while let Some((_, member)) = object.next_entry::<IgnoredAny, &'de RawValue>()? {
            if !self.one(number, member.get()) {
                return Err(A::Error::custom("a member cannot be used"));
            }
            number += 1;
        }
        self.ends(number);
        Ok(())
    }
}

impl Decoder for NestedDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn other_than_named(&self) -> Vec<String> {
        self.elsewhere.clone()
    }

    fn record_names(&self) -> Vec<(String, String)> {
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        names.filter(|name| !self.elsewhere.contains(name)).map(|name| (name.clone(), name)).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let rows = self.rows.as_ref();
        let unmatched = rows.and_then(|rows| Some((&rows.path, rows.unmatched.as_ref()?)));
        let untold = unmatched.filter(|(_, unmatched)| unmatched.records > 0 && !unmatched.told);
        untold.map(|(path, unmatched)| unmatched.words(path)).into_iter().collect()
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        let mut columns: Vec<Column> =
            self.fields.iter().map(|field| Column::new(field.field_type, records.len())).collect();
        let mut rows: Vec<u32> = Vec::with_capacity(records.len());
        for (number, record) in records.values.iter().enumerate() {
            let Some(record) = record else {
                rejects.push(number, "the record has no value");
                continue;
            };
            match self.read(record, &mut columns) {
                Ok(made) => rows.resize(rows.len() + made, number as u32),
                Err(mut reason) => {
                    columns.iter_mut().for_each(|column| column.truncate(rows.len()));
                    let _ = write!(reason, ": {}", excerpt(record));
                    rejects.push(number, reason);
                }
            }
        }
        let same = self.rows.is_none() && rows.len() == records.len();
        let rows = if same { RowMap::Same } else { RowMap::Rows(rows) };
        let columns = columns.into_iter().map(Column::finish).collect::<std::result::Result<_, _>>();
        let columns = columns
            .and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .map_err(|e| Error::fatal("JSON fields do not fit their columns").caused_by(e))?;
        Ok(Decoded { columns, rows })
    }
}

/// A check whether a value stands at a path.
pub(super) struct Look {
    paths: Paths,
    scratch: Scratch,
}

impl Look {
    pub(super) fn new(path: &Path) -> Self {
        let mut paths = Paths::new();
        paths.add(&path.steps, Leaf::Written);
        Self { paths, scratch: Scratch::default() }
    }

    /// True where a value stands there that is not null.
    pub(super) fn finds(&mut self, record: &[u8]) -> bool {
        let mut written = None;
        let mut json = serde_json::Deserializer::from_slice(record);
        read_paths(&self.paths, &mut json, &[], &mut self.scratch, &mut written, false).is_ok()
            && written.is_some_and(|written| written != "null")
    }
}
