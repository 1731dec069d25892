//! Lines to columns: each line is a record for the decoder of the format `json`.

use std::fmt;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use arrow_array::BinaryArray;
use memchr::memchr;
use pipectl_framework::batch;
use pipectl_framework::log::{NO_TIME, Records as OfLog};
use pipectl_framework::plugin::{Decoded, Decoder, Partition, Rejects, RowMap, SourceReject, head};

use crate::columns::TextColumn;
use crate::files::{BATCH_BYTES, Buffer, Input, LastLine, Place, Records, Rows};

/// What lines are taken for.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    /// The file's name for messages.
    pub(super) name: Arc<str>,
    /// The longest line in bytes, without its end.
    pub(super) max_line: usize,
}

/// Reads lines from `R`.
pub(super) struct Reader<R> {
    buffer: Buffer<R>,
    lines: Lines,
    decoder: Box<dyn Decoder>,
    rejects: Rejects,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// Lines of one batch.
struct Taken {
    values: TextColumn,
    /// Where each stands.
    places: Vec<Place>,
    too_long: Vec<SourceReject>,
    lines: batch::Lines,
}

impl Taken {
    fn records(&self) -> usize {
        self.places.len() + self.too_long.len()
    }
}

impl<R: Read + Seek> Reader<R> {
    /// A reader that begins at `at`.
    pub(super) fn new(
        input: R,
        lines: Lines,
        decoder: Box<dyn Decoder>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self> {
        let buffer = Buffer::new(input, last_line, at)?;
        Ok(Self { buffer, lines, decoder, rejects: Rejects::default() })
    }

    /// Goes forward only: the input passes once.
    pub(super) fn passing(mut self) -> Self {
        self.buffer.passing();
        self
    }

    /// As [`Records::read`].
    pub(super) fn read(&mut self, limit: usize) -> io::Result<(Rows, bool)> {
        self.buffer.go_on();
        let room = limit.min(8192);
        let mut taken = Taken {
            values: TextColumn::with_capacity(room, room * 64),
            places: Vec::with_capacity(room),
            too_long: Vec::new(),
            lines: batch::Lines::new(self.lines.name.clone()),
        };
        let end = self.take(limit, &mut taken)?;
        Ok((self.decode(taken)?, end))
    }

    /// Takes up to `limit` lines; true at the end.
    fn take(&mut self, limit: usize, taken: &mut Taken) -> io::Result<bool> {
        let begin = self.buffer.at().byte;
        loop {
            self.split(limit, taken);
            let full = taken.records() > 0 && self.buffer.at().byte - begin >= BATCH_BYTES;
            if full || taken.records() >= limit {
                return Ok(false);
            }
            if self.buffer.unused().len() > self.lines.max_line + 1 {
                let reject = self.too_long(self.buffer.at(), self.buffer.unused());
                if !self.buffer.skip_line()? {
                    return Ok(true);
                }
                self.buffer.count_record();
                taken.too_long.push(reject);
            } else if self.buffer.has_ended() || !self.buffer.fill()? {
                return Ok(true);
            }
        }
    }

    /// Takes the lines that are there.
    fn split(&mut self, limit: usize, taken: &mut Taken) {
        let (mut start, mut at) = (self.buffer.start(), self.buffer.at());
        taken.lines.push(at.row as i64, at.line);
        while taken.records() < limit {
            let unused = self.buffer.bytes().get(start..).unwrap_or_default();
            let Some(newline) = memchr(b'\n', unused) else { break };
            let line = unused.get(..newline).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.iter().all(u8::is_ascii_whitespace) {
                if line.len() > self.lines.max_line {
                    taken.too_long.push(self.too_long(at, line));
                } else {
                    taken.values.push(line);
                    taken.places.push(at);
                }
                at.row += 1;
            }
            start += newline + 1;
            at = Place { byte: at.byte + newline as u64 + 1, line: at.line + 1, ..at };
            // Nothing is kept where it is the line behind the one before.
            taken.lines.push(at.row as i64, at.line);
        }
        self.buffer.used(start, at);
    }

    fn too_long(&self, at: Place, line: &[u8]) -> SourceReject {
        let max_line = self.lines.max_line;
        self.reject(at, format!("longer than {max_line} bytes (`max_line`)"), line)
    }

    fn reject(&self, at: Place, reason: String, line: &[u8]) -> SourceReject {
        SourceReject {
            time: None,
            offset: at.row as i64,
            place: format!("{}:{}", self.lines.name, at.line),
            reason,
            raw: head(line, self.lines.max_line).to_vec(),
        }
    }

    /// The rows of lines, and the lines that give none.
    fn decode(&mut self, taken: Taken) -> io::Result<Rows> {
        let Taken { values, places, too_long: mut rejects, lines } = taken;
        let numbers: Vec<i64> = places.iter().map(|place| place.row as i64).collect();
        let records = OfLog {
            partition: Partition::new(self.lines.name.clone(), 0),
            timestamps: vec![NO_TIME; places.len()].into(),
            offsets: numbers.clone().into(),
            keys: BinaryArray::new_null(places.len()),
            values: values.finish_binary().map_err(io::Error::other)?,
            headers: Vec::new(),
        };
        self.rejects.clear();
        let Decoded { columns, rows } =
            self.decoder.decode(&records, &mut self.rejects).map_err(io::Error::other)?;
        for reject in self.rejects.rows() {
            if let Some(place) = places.get(reject.row) {
                rejects.push(self.reject(*place, reject.reason.clone(), records.values.value(reject.row)));
            }
        }
        rejects.sort_by_key(|reject| reject.offset);
        let numbers = match rows {
            RowMap::Same => numbers,
            RowMap::Rows(rows) => rows.iter().filter_map(|row| numbers.get(*row as usize).copied()).collect(),
        };
        Ok(Rows { columns: columns.columns().to_vec(), numbers, rejects, lines })
    }

    /// As [`Records::held`].
    pub(super) fn held(&self) -> Option<&'static str> {
        let waits = self.buffer.waits().iter().any(|byte| !byte.is_ascii_whitespace());
        (waits || self.buffer.waits_in_long_line()).then_some("the last line has no end yet")
    }
}

impl Records for Reader<Input> {
    fn place(&self) -> Place {
        self.buffer.place()
    }

    fn input(&self) -> &Input {
        self.buffer.input()
    }

    fn input_mut(&mut self) -> &mut Input {
        self.buffer.input_mut()
    }

    fn into_input(self) -> Input {
        self.buffer.into_input()
    }

    fn seek(&mut self, at: Place) -> io::Result<()> {
        self.buffer.seek(at)
    }

    fn read(&mut self, limit: usize) -> io::Result<(Rows, bool)> {
        Reader::read(self, limit)
    }

    fn held(&self) -> Option<&'static str> {
        Reader::held(self)
    }

    fn remarks(&self) -> Vec<String> {
        self.decoder.remarks()
    }
}
