//! A file that goes on: it grows, is renamed while another one takes its name, or is cut short and begins
//! anew.
//!
//! Rows are given once they are whole. At the end of what is there the file is looked at every [`POLL`]. One
//! that was renamed is read on through its open descriptor until nothing has come for [`SETTLED`], as its
//! writer may not have gone over to the new one yet. What cannot be read any more is told, by name, with how
//! much it was.

use std::collections::VecDeque;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Error, Held, Partition, Result, Source, SourceContext, SourceEvent};

use super::input::{Input, Origin};
use super::known::{Ahead, Now, Opened, SETTLED, settles_at};
use super::position::Mark;
use super::reading::{Reading, failed, in_header};
use super::records::{Beginning, Form, LastLine, Records, Rows};
use super::source::event;
use super::trail::{self, Found, Generation, Reached};
use super::waiting::waiting;

/// How often a file is looked at, at whose end the source is.
const POLL: Duration = Duration::from_millis(200);

/// A source of the rows of a file that goes on.
#[derive(Debug)]
pub(super) struct FollowedSource<F: Form> {
    origin: Origin,
    form: F,
    partition: Partition,
    schema: SchemaRef,
    opened: Option<Opened<F::Records>>,
}

/// What there is to do next.
enum Next {
    /// To read.
    Read,
    /// Nothing, for now.
    Wait,
    End,
}

impl<F: Form> FollowedSource<F> {
    /// Follows the file at `origin`; `name` is the source's.
    pub(super) fn new(origin: Origin, name: Arc<str>, form: F) -> Self {
        let (partition, schema) = (Partition::new(name, 0), form.schema());
        Self { origin, form, partition, schema, opened: None }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Goes on in a file that was found.
    fn go_on(&self, opened: &mut Opened<F::Records>, generation: Generation, found: Found) -> Result<()> {
        let Found { mut input, name, id } = found;
        let settles_at = settles_at(opened.elapsed(), &input);
        input.seek(SeekFrom::Start(0)).map_err(failed)?;
        let beginning = self.form.begin(&mut input, &name)?;
        let (mark, row) = (&generation.mark, opened.row);
        let reading = Reading::of(&self.form, (input, beginning), name, Some(mark), row, LastLine::Wait)?;
        let generation = Generation { id: Some(id), ..generation };
        opened.now = Some(Now { reading, generation, settles_at, changed: None });
        opened.discover(&self.origin)?;
        if let Some(now) = &mut opened.now {
            now.settles_at = settles_at;
        }
        Ok(())
    }

    /// Says that a file cannot be read any more.
    fn lost(&self, generation: &Generation, what: &str, help: &'static str) {
        let (name, line, unread) = (&self.origin.name, generation.read_to().line, generation.unread());
        let seen = match unread {
            0 => "none of it was seen".to_owned(),
            unread => format!("{unread} bytes of it were seen"),
        };
        tracing::warn!(help, "{name} {what}; what was written there from line {line} on is lost: {seen}");
    }

    /// Names files that seem to have come and gone between the file that is read and the next one, while
    /// nobody looked: nothing tells for certain that they belong here.
    fn tell_unseen(&self, opened: &Opened<F::Records>) {
        let file = opened.now.as_ref().and_then(|now| now.reading.records.input().plain());
        let Some(since) = file.and_then(|file| file.metadata().ok()?.modified().ok()) else { return };
        for (name, bytes) in trail::unseen(&self.origin, &opened.others(u64::MAX), since) {
            tracing::warn!(
                help = "read it by a chain of its own, or rotate no oftener than the run is started again",
                "{} was rotated more than once while it was not read: {name} with {bytes} bytes seems to be \
                 of it, and is not read",
                self.origin.name
            );
        }
    }

    /// The file that is read was cut short, or has other rows before the place to go on: it begins anew.
    fn begins_anew(&self, opened: &mut Opened<F::Records>) -> Result<()> {
        let Some(now) = opened.now.take() else { return Ok(()) };
        let generation = now.generation;
        let (name, line) = (&now.reading.name, generation.read_to().line);
        match trail::find(&self.origin, &generation, &opened.others(generation.number)) {
            Some(found) => {
                tracing::warn!(
                    "{name} was cut short or rewritten behind line {line}: what stood there is read from {}, \
                     then the file from its beginning",
                    found.name
                );
                self.go_on(opened, generation, found)?;
                // It was copied before.
                if let Some(now) = &mut opened.now {
                    now.settles_at = Duration::ZERO;
                }
                Ok(())
            }
            None => {
                self.lost(
                    &generation,
                    "was cut short or rewritten: it is read from its beginning",
                    "keep the copy in the same folder, uncompressed at first, or rotate by renaming",
                );
                opened.past.push_back(generation);
                Ok(())
            }
        }
    }

    /// What to do at the end of what is there.
    fn at_end(&self, opened: &mut Opened<F::Records>) -> Result<Next> {
        let over = opened.most() == 0;
        let at = opened.elapsed();
        let Some(now) = &mut opened.now else { return Ok(Next::Read) };
        if !over && now.has_changed() {
            if !now.is_same() {
                self.begins_anew(opened)?;
                return Ok(Next::Read);
            }
            if now.reading.is_over() {
                let Some(Now { reading, generation, .. }) = opened.now.take() else { return Ok(Next::Read) };
                // It ended in a line that was given without its end.
                let id = generation.id.or_else(|| trail::id_at_path(&self.origin)).unwrap_or_default();
                let found = Found { input: reading.records.into_input(), name: reading.name, id };
                self.go_on(opened, generation, found)?;
                return Ok(Next::Wait);
            }
            let more = now.reading.records.input().plain().is_some_and(|file| file.at() < now.generation.len);
            let place = now.reading.records.place();
            now.reading.records.seek(place).map_err(failed)?;
            now.settles_at = at + SETTLED;
            if more {
                return Ok(Next::Read);
            }
        }
        opened.discover(&self.origin)?;
        let Some(now) = &opened.now else { return Ok(Next::Read) };
        let packed = now.reading.records.input().plain().is_none();
        if opened.ahead.is_empty() {
            opened.resumed = false;
            return Ok(if opened.context.once { Next::End } else { Next::Wait });
        }
        if over || packed || opened.context.once || at >= now.settles_at {
            if opened.ahead.iter().all(|ahead| ahead.generation.row.is_none())
                && std::mem::take(&mut opened.resumed)
            {
                self.tell_unseen(opened);
            }
            match opened.copy_at_path() {
                Some((generation, found)) => self.go_on(opened, generation, found)?,
                None => opened.leave(),
            }
            return Ok(Next::Read);
        }
        Ok(Next::Wait)
    }

    /// Begins with the next file.
    fn begin(&self, opened: &mut Opened<F::Records>) -> Result<Next> {
        opened.discover(&self.origin)?;
        let wait = if opened.context.once { Next::End } else { Next::Wait };
        let Some(Ahead { mut generation, found, mut settles_at }) = opened.ahead.pop_front() else {
            return Ok(wait);
        };
        let row = generation.row.unwrap_or(opened.row.max(opened.reached));
        if row > opened.row {
            opened.tells = true;
            let (name, lacking) = (&self.origin.name, row - opened.row);
            tracing::warn!(
                help = ROTATED,
                "{lacking} rows of what {name} was cannot be read again: windows that were open lack them"
            );
        }
        opened.row = row;
        let over = opened.ahead.front().and_then(|ahead| ahead.generation.row).is_some_and(|end| end <= row);
        if over {
            opened.past.push_back(generation);
            return Ok(Next::Read);
        }
        let others = opened.others(generation.number);
        let found = found.or_else(|| {
            let found = trail::find(&self.origin, &generation, &others)?;
            generation.id = Some(found.id);
            Some((found.input, found.name))
        });
        let Some((mut input, name)) = found else {
            self.lost(&generation, "was rotated, and is found neither there nor beside", ROTATED);
            opened.past.push_back(generation);
            return Ok(Next::Read);
        };
        let before = generation.len;
        if let Some(file) = input.plain_mut() {
            file.look_again().map_err(failed)?;
        }
        generation.len = input.len().unwrap_or(before);
        let at = opened.elapsed();
        if generation.len != before {
            settles_at = at + SETTLED;
        }
        // Nobody writes to it any more.
        let settled = opened.context.once || (!opened.ahead.is_empty() && at >= settles_at);
        let begun = match generation.len {
            0 if input.plain().is_some() => None,
            _ => {
                input.seek(SeekFrom::Start(0)).map_err(failed)?;
                match self.form.begin(&mut input, &name) {
                    Ok(beginning) if beginning.whole => Some(beginning),
                    Err(error) if opened.context.once || at >= settles_at => return Err(error),
                    // It may be in the middle of being written.
                    Ok(_) | Err(_) => None,
                }
            }
        };
        let Some(beginning) = begun else {
            if settled && generation.len > 0 {
                self.lost(&generation, "was rotated before its header had an end", "write the header whole");
            }
            if settled && !opened.ahead.is_empty() {
                opened.past.push_back(generation);
                return Ok(Next::Read);
            }
            opened.ahead.push_front(Ahead { generation, found: Some((input, name)), settles_at });
            return Ok(wait);
        };
        let reading = self.reading((input, beginning), name, row)?;
        generation.row = Some(row);
        generation.mark = Mark::of(reading.records.input(), reading.records.place()).map_err(failed)?;
        let settles_at = at + SETTLED;
        opened.now = Some(Now { reading, generation, settles_at, changed: None });
        Ok(Next::Read)
    }

    fn reading(&self, begun: (Input, Beginning), name: Arc<str>, row: u64) -> Result<Reading<F::Records>> {
        Reading::of(&self.form, begun, name, None, row, LastLine::Wait)
    }

    /// Takes up the files of a position.
    fn resume(&self, opened: &mut Opened<F::Records>, metadata: &str) -> Result<()> {
        let (mut now, then) = trail::read(metadata, &self.origin.name)?;
        if now.given {
            let at = Reached { row: opened.row, mark: now.mark.clone() };
            now.reached.get_or_insert(at);
        }
        let reached = then.iter().chain([&now]).filter_map(|known| Some(known.reached.as_ref()?.row));
        opened.reached = reached.max().unwrap_or(0).max(opened.row);
        opened.number = then.last().unwrap_or(&now).number + 1;
        let next = then.first().and_then(|next| next.row);
        let settles_at = opened.elapsed() + SETTLED;
        opened.ahead =
            then.into_iter().map(|generation| Ahead { generation, found: None, settles_at }).collect();
        if next.is_some_and(|next| next <= opened.row) {
            opened.past.push_back(now);
            return Ok(());
        }
        match trail::find(&self.origin, &now, &opened.others(now.number)) {
            Some(found) => self.go_on(opened, now, found),
            None => {
                self.lost(
                    &now,
                    "is not the file that was read up to now, which is found under no other name",
                    ROTATED,
                );
                opened.past.push_back(now);
                Ok(())
            }
        }
    }

    /// Rows with the position behind them.
    fn event(&self, opened: &Opened<F::Records>, mut rows: Rows) -> Result<SourceEvent> {
        let now = opened.context.clock.stamp();
        for reject in &mut rows.rejects {
            reject.time = Some(now);
        }
        let times = vec![now; rows.numbers.len()];
        let metadata = match &opened.now {
            Some(now) => trail::write(&now.generation, Vec::new())?,
            None => String::new(),
        };
        let position = Position { partition: self.partition.clone(), offset: opened.row as i64, metadata };
        event::<F>(&self.schema, rows, times, position)
    }

    /// The position, without a row.
    fn nothing(&self, opened: &Opened<F::Records>) -> Result<SourceEvent> {
        self.event(opened, Rows::none(&self.schema))
    }

    /// Reads what is there.
    fn read(&mut self) -> Result<Option<Rows>> {
        let Some(opened) = &mut self.opened else { return Ok(None) };
        let most = opened.most();
        let Some(now) = opened.now.as_mut().filter(|now| most > 0 && !now.reading.is_over()) else {
            return Ok(None);
        };
        let before = now.reading.records.place().row;
        let (rows, _) = now.reading.records.read(most).map_err(failed)?;
        // Records that give no row are behind the position all the same.
        if now.reading.records.place().row == before {
            return Ok(None);
        }
        // What was read is from this file only where it still is what it was.
        let place = now.reading.records.place();
        if now.is_same()
            && let Ok(mark) = Mark::of(now.reading.records.input(), place)
        {
            now.generation.give(place.row, mark);
            opened.row = place.row;
            opened.reached = opened.reached.max(place.row);
            return Ok(Some(rows));
        }
        if let Some(mut opened) = self.opened.take() {
            let done = self.begins_anew(&mut opened);
            self.opened = Some(opened);
            done?;
        }
        Ok(None)
    }
}

const ROTATED: &str =
    "keep rotated files in the same folder until they are read; a file that is compressed is found too";

#[async_trait]
impl<F: Form> Source for FollowedSource<F> {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.opened = None;
        let mut opened = Opened {
            context: context.clone(),
            now: None,
            ahead: VecDeque::new(),
            past: VecDeque::new(),
            left: None,
            row: position.map_or(0, |position| u64::try_from(position.offset).unwrap_or_default()),
            number: 0,
            reached: 0,
            look_at: None,
            resumed: position.is_some(),
            caught_up: false,
            // A window that holds the first row is to find a position before it.
            tells: position.is_none(),
            held: Vec::new(),
        };
        if let Some(position) = position {
            waiting(|| self.resume(&mut opened, &position.metadata))?;
        }
        self.opened = Some(opened);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        // A full-speed reader never waits for anything: let the other tasks of this thread run.
        tokio::task::yield_now().await;
        loop {
            let rows = self.read()?;
            let Some(mut opened) = self.opened.take() else {
                return Err(Error::fatal(format!("the {} source was read before it was opened", F::NAME)));
            };
            let what = match rows {
                Some(rows) => self.given(&mut opened, rows),
                None => waiting(|| self.after(&mut opened)),
            };
            let look_at = opened.look_at;
            let clock = opened.context.clock.clone();
            self.opened = Some(opened);
            if let Some(event) = what? {
                return Ok(event);
            }
            if let Some(at) = look_at {
                clock.sleep_until(at).await;
            }
        }
    }

    async fn commit(&mut self, position: &Position) -> Result<()> {
        if let (Some(opened), Ok((now, _))) = (&mut self.opened, trail::read(&position.metadata, "")) {
            opened.past.retain(|past| past.number >= now.number);
        }
        Ok(())
    }

    fn renew(&self, position: Position) -> Position {
        let Some(opened) = &self.opened else { return position };
        let now = opened.now.as_ref().map(|now| &now.generation);
        let ahead = opened.ahead.iter().map(|ahead| &ahead.generation);
        trail::renew(position, opened.past.iter().chain(now).chain(ahead))
    }

    fn held(&self) -> Vec<Held> {
        let Some(opened) = &self.opened else { return Vec::new() };
        let begun = opened.now.as_ref().and_then(|now| now.reading.held());
        let begins = || {
            let next = opened.ahead.front().filter(|_| opened.now.is_none())?;
            let (Generation { row: None, len: 1.., .. }, Some((_, name))) = (&next.generation, &next.found)
            else {
                return None;
            };
            Some(in_header(name))
        };
        let now = begun
            .or_else(begins)
            .map(|held| Held { remedy: "nothing where somebody writes the file still".to_owned(), ..held });
        opened.held.iter().cloned().chain(now).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let now = self.opened.as_ref().and_then(|opened| opened.now.as_ref());
        now.map_or_else(Vec::new, |now| now.reading.records.remarks())
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.schema = self.form.narrow(columns)?;
        Some(self.schema.clone())
    }
}

impl<F: Form> FollowedSource<F> {
    /// Rows were read.
    fn given(&self, opened: &mut Opened<F::Records>, rows: Rows) -> Result<Option<SourceEvent>> {
        (opened.caught_up, opened.look_at) = (false, None);
        self.event(opened, rows).map(Some)
    }

    /// What to tell where no rows were read; nothing where there is more to do, at the time to look again.
    fn after(&self, opened: &mut Opened<F::Records>) -> Result<Option<SourceEvent>> {
        if opened.look_at.is_some_and(|at| opened.elapsed() < at) {
            return Ok(None);
        }
        opened.look_at = None;
        opened.look_back();
        let next = if opened.now.is_some() { self.at_end(opened)? } else { self.begin(opened)? };
        match next {
            Next::Read if opened.now.is_some() && std::mem::take(&mut opened.tells) => {
                self.nothing(opened).map(Some)
            }
            Next::Read => Ok(None),
            Next::End => Ok(Some(SourceEvent::End)),
            Next::Wait => {
                opened.look_at = Some(opened.elapsed() + POLL);
                if opened.has_unread() {
                    // Time must not go on before these rows, which are given once the old file is settled.
                    let told = !std::mem::replace(&mut opened.caught_up, false);
                    return if told { Ok(None) } else { self.nothing(opened).map(Some) };
                }
                let known = std::mem::replace(&mut opened.caught_up, true);
                Ok((!known).then_some(SourceEvent::CaughtUp))
            }
        }
    }
}
