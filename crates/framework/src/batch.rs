//! The record model: a [`Batch`] is Arrow columns, a time per row, and where each row came from.

use std::sync::{Arc, OnceLock};

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, SchemaRef};

use crate::clock::Millis;

mod lines;

pub use lines::Lines;
pub(crate) use lines::place_of;

/// A partition of a source: a partition of a topic, or the one partition of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic, or the file's path from the pipeline file's folder: one name, however the path is written.
    pub source: Arc<str>,
    /// The number, from 0.
    pub index: i32,
}

impl Partition {
    /// The partition `index` of `source`.
    pub fn new(source: impl Into<Arc<str>>, index: i32) -> Self {
        Self { source: source.into(), index }
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.source, self.index)
    }
}

/// Where the rows of a batch came from. All are of one partition, in the order of their offsets.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The partition that was read.
    pub partition: Partition,
    /// One offset per row, never falling; one record may have become several rows with the same offset.
    pub offsets: ScalarBuffer<i64>,
    /// True while a window reads again what it had read before a restart (offsets below the committed
    /// position): rows only rebuild open panes, and no output is given twice.
    pub replay: bool,
}

/// The event time of each row, in milliseconds since 1970.
///
/// Cloning copies no times, and what was found out about them is found out once.
#[derive(Debug, Clone)]
pub struct Times {
    values: ScalarBuffer<Millis>,
    span: Arc<OnceLock<Option<Span>>>,
}

/// The least and the greatest of some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The least.
    pub least: Millis,
    /// The greatest.
    pub greatest: Millis,
    /// True where no time is less than the one before.
    pub rising: bool,
}

impl Times {
    /// The times.
    pub fn values(&self) -> &ScalarBuffer<Millis> {
        &self.values
    }

    /// The least and the greatest; `None` where there is no time.
    ///
    /// ```
    /// use pipectl_framework::batch::{Span, Times};
    /// let span = |times: Vec<i64>| Times::from(times).span();
    /// assert_eq!(span(vec![1, 1, 3]), Some(Span { least: 1, greatest: 3, rising: true }));
    /// assert_eq!(span(vec![2, 3, 1]), Some(Span { least: 1, greatest: 3, rising: false }));
    /// assert_eq!(span(vec![]), None);
    /// ```
    pub fn span(&self) -> Option<Span> {
        *self.span.get_or_init(|| {
            let times = &self.values[..];
            let (first, last) = (*times.first()?, *times.last()?);
            // No early exit in the loop, so that it takes many rows at a time.
            let rising = times.iter().zip(&times[1..]).fold(0, |falls, (a, b)| falls | u8::from(a > b)) == 0;
            let (least, greatest) = match rising {
                true => (first, last),
                false => times.iter().fold((first, first), |(l, g), t| (l.min(*t), g.max(*t))),
            };
            Some(Span { least, greatest, rising })
        })
    }
}

impl<T: Into<ScalarBuffer<Millis>>> From<T> for Times {
    fn from(values: T) -> Self {
        Self { values: values.into(), span: Arc::default() }
    }
}

impl FromIterator<Millis> for Times {
    fn from_iter<I: IntoIterator<Item = Millis>>(times: I) -> Self {
        times.into_iter().collect::<ScalarBuffer<Millis>>().into()
    }
}

impl std::ops::Deref for Times {
    type Target = ScalarBuffer<Millis>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

/// The rows of a batch as they were read, before any was left out: time goes on with each of them, whether or
/// not it goes on itself.
#[derive(Debug, Clone)]
pub(crate) struct AsRead {
    /// The time of each row, or of each record.
    pub(crate) times: Times,
    /// As many offsets, never falling.
    pub(crate) offsets: ScalarBuffer<i64>,
    /// Where they stand, where they are of no topic.
    pub(crate) lines: Option<Arc<Lines>>,
}

/// Rows on their way through a chain: columns, event times and origin, all of the same length.
///
/// Cloning copies no rows. Where rows are left out, the batch goes on knowing the times of all that were read
/// with it.
#[derive(Debug, Clone)]
pub struct Batch {
    columns: RecordBatch,
    times: Times,
    origin: Origin,
    channel: Option<Partition>,
    /// `None` while all rows are there that were read.
    read: Option<Arc<AsRead>>,
    /// `None` where the rows are of a topic, or nobody has said it.
    lines: Option<Arc<Lines>>,
}

impl Batch {
    /// Puts a batch together.
    ///
    /// # Errors
    /// Where `times` or the origin's offsets are not as many as the rows.
    pub fn new(columns: RecordBatch, times: Times, origin: Origin) -> Result<Self, ArrowError> {
        let rows = columns.num_rows();
        if times.len() != rows || origin.offsets.len() != rows {
            return Err(ArrowError::InvalidArgumentError(format!(
                "a batch of {rows} rows got {} times and {} offsets",
                times.len(),
                origin.offsets.len()
            )));
        }
        Ok(Self { columns, times, origin, channel: None, read: None, lines: None })
    }

    /// The columns.
    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// The column at `index`, as planning resolved it.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.columns.column(index)
    }

    /// The schema.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// The event time of each row.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Where the rows came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The same rows with other columns (a projection, a computed column).
    ///
    /// # Errors
    /// Where `columns` has another number of rows.
    pub fn with_columns(self, columns: RecordBatch) -> Result<Self, ArrowError> {
        let batch = Self::new(columns, self.times, self.origin)?.through(self.channel).of(self.read);
        Ok(batch.on_lines(self.lines))
    }

    /// The same rows with other event times. What was read with them and left out is forgotten, as its times
    /// were of another kind.
    ///
    /// # Errors
    /// Where `times` are not as many as the rows.
    pub fn with_times(self, times: Times) -> Result<Self, ArrowError> {
        Ok(Self::new(self.columns, times, self.origin)?.through(self.channel).on_lines(self.lines))
    }

    /// Marks the rows as read again: see [`Origin::replay`].
    #[must_use]
    pub fn replayed(mut self, replay: bool) -> Self {
        self.origin.replay = replay;
        self
    }

    /// Says on which lines the rows stand, so that messages name them by their lines: the source of a file
    /// does.
    #[must_use]
    pub fn on_lines(mut self, lines: Option<Arc<Lines>>) -> Self {
        self.lines = lines;
        self
    }

    /// On which lines the rows stand, where somebody has said it.
    pub fn lines(&self) -> Option<&Arc<Lines>> {
        self.lines.as_ref()
    }

    /// The place of the row at `offset` for a person, such as `logs/a.csv:17` or `orders[0]@1234`.
    pub(crate) fn place(&self, offset: i64) -> String {
        place_of(&self.origin.partition, offset, self.lines.as_deref())
    }

    /// Says through which channel of a repartition topic's partition the rows came.
    #[must_use]
    pub(crate) fn through(mut self, channel: Option<Partition>) -> Self {
        self.channel = channel;
        self
    }

    /// Says what was read with these rows.
    #[must_use]
    pub(crate) fn of(mut self, read: Option<Arc<AsRead>>) -> Self {
        self.read = read;
        self
    }

    /// What was read with these rows, where that is more than these; else `None`.
    pub(crate) fn as_read(&self) -> Option<&AsRead> {
        self.read.as_deref()
    }

    /// The times of all rows that were read, also of those that were left out.
    pub(crate) fn read_times(&self) -> &Times {
        self.read.as_ref().map_or(&self.times, |read| &read.times)
    }

    /// The times and the offsets of all rows that were read.
    pub(crate) fn read(&self) -> (&Times, &ScalarBuffer<i64>) {
        match &self.read {
            Some(read) => (&read.times, &read.offsets),
            None => (&self.times, &self.origin.offsets),
        }
    }

    /// The same of the rows that have an offset of their own, to be kept.
    pub(crate) fn seen(&self) -> AsRead {
        let (times, offsets) = self.read_here();
        AsRead { times: times.clone(), offsets: offsets.clone(), lines: self.lines.clone() }
    }

    /// The times and the offsets of the rows that have an offset of their own: what was read through a
    /// channel has rows that are in another partition, or nowhere.
    pub(crate) fn read_here(&self) -> (&Times, &ScalarBuffer<i64>) {
        if self.has_channel() { (&self.times, &self.origin.offsets) } else { self.read() }
    }

    /// Says that a step has made these rows of those.
    #[must_use]
    pub(crate) fn made_of(self, before: &Self) -> Self {
        // Most often nothing is left out, and the times are the very same.
        let same = self.times.values().ptr_eq(before.times.values());
        let read = if same { before.read.clone() } else { Some(before.all_read()) };
        self.through(before.channel.clone()).of(read).on_lines(before.lines.clone())
    }

    /// What is known of what was read, for a batch that has a part of these rows.
    fn all_read(&self) -> Arc<AsRead> {
        let own = || {
            let (times, offsets) = (self.times.clone(), self.origin.offsets.clone());
            Arc::new(AsRead { times, offsets, lines: self.lines.clone() })
        };
        self.read.clone().unwrap_or_else(own)
    }

    /// Whose progress in time the rows show: the channel that they came through, else their partition.
    pub(crate) fn channel(&self) -> &Partition {
        self.channel.as_ref().unwrap_or(&self.origin.partition)
    }

    /// True where they came through a channel of their partition.
    pub(crate) fn has_channel(&self) -> bool {
        self.channel.is_some()
    }

    /// The rows where `keep` is true (null counts as false).
    ///
    /// # Errors
    /// Where `keep` has another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        let columns = arrow_select::filter::filter_record_batch(&self.columns, keep)?;
        if columns.num_rows() == self.rows() {
            return Ok(Self { columns, ..self.clone() });
        }
        let pick = |values: &ScalarBuffer<i64>| -> Result<ScalarBuffer<i64>, ArrowError> {
            let array = Int64Array::new(values.clone(), None);
            Ok(int64_values(&arrow_select::filter::filter(&array, keep)?))
        };
        let origin = Origin { offsets: pick(&self.origin.offsets)?, ..self.origin.clone() };
        let batch = Self::new(columns, pick(&self.times)?.into(), origin)?;
        Ok(batch.through(self.channel.clone()).of(Some(self.all_read())).on_lines(self.lines.clone()))
    }

    /// The rows at `rows`, in that order; a row may be taken more than once.
    ///
    /// # Errors
    /// Where an index is beyond the last row.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self, ArrowError> {
        let columns = arrow_select::take::take_record_batch(&self.columns, rows)?;
        let pick = |values: &ScalarBuffer<i64>| -> Result<ScalarBuffer<i64>, ArrowError> {
            let array = Int64Array::new(values.clone(), None);
            Ok(int64_values(&arrow_select::take::take(&array, rows, None)?))
        };
        let origin = Origin { offsets: pick(&self.origin.offsets)?, ..self.origin.clone() };
        let batch = Self::new(columns, pick(&self.times)?.into(), origin)?;
        Ok(batch.through(self.channel.clone()).of(Some(self.all_read())).on_lines(self.lines.clone()))
    }

    /// `length` rows from `start` on, without copying.
    ///
    /// # Panics
    /// Where `start + length` is beyond the last row.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        self.cut(start, length).of(Some(self.all_read()))
    }

    /// As [`slice`](Self::slice), of a batch as it was read: the others are as if they had been read before
    /// or behind it.
    #[must_use]
    pub(crate) fn cut(&self, start: usize, length: usize) -> Self {
        Self {
            columns: self.columns.slice(start, length),
            times: self.times.slice(start, length).into(),
            origin: Origin { offsets: self.origin.offsets.slice(start, length), ..self.origin.clone() },
            channel: self.channel.clone(),
            read: None,
            lines: self.lines.clone(),
        }
    }

    /// The rows before `row`, and those from it on, each with the times that were read with it. `row` is of
    /// another record than the one before it.
    pub(crate) fn split(&self, row: usize) -> (Self, Self) {
        let (mut before, mut from) = (self.cut(0, row), self.cut(row, self.rows() - row));
        if let (Some(read), Some(offset)) = (&self.read, self.origin.offsets.get(row)) {
            let at = read.offsets.partition_point(|o| o < offset);
            let part = |start: usize, length: usize| {
                let times = read.times.slice(start, length).into();
                let offsets = read.offsets.slice(start, length);
                Some(Arc::new(AsRead { times, offsets, lines: read.lines.clone() }))
            };
            before = before.of(part(0, at));
            from = from.of(part(at, read.offsets.len() - at));
        }
        (before, from)
    }

    /// The greatest event time of the batch; `None` where it is empty.
    pub fn max_time(&self) -> Option<Millis> {
        self.times.span().map(|span| span.greatest)
    }
}

fn int64_values(array: &dyn Array) -> ScalarBuffer<i64> {
    use arrow_array::cast::AsArray;
    array.as_primitive::<arrow_array::types::Int64Type>().values().clone()
}
