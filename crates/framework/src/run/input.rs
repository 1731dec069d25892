//! One face for both kinds of source: a plugin's own reader, and a topic of a log.

mod decode;
mod step;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use self::decode::decode;
pub(crate) use self::step::SourceStep;
use super::channels::channel;
use super::promises::Promiser;
use super::{dead, untimed};
use crate::batch::{Batch, Lines, Partition};
use crate::config::StartAt;
use crate::error::{Consequence, Error, Result};
use crate::graph::{Piece, piece, timed};
use crate::log::{
    Assignment, Gone, Group, Log, LogReader, Membership, Position, ReadEvent, ReaderOptions, Records, Start,
};
use crate::plugin::{
    Held, LogSource, Progress, Rejects, Source, SourceBody, SourceContext, SourceEvent, SourceReject, Stamper,
};
use crate::time::Word;

/// What an input has to tell.
pub(crate) enum InputEvent {
    Batch {
        batch: Batch,
        /// New ones, or read again, as the rows of the batch are.
        rejects: Vec<SourceReject>,
        /// How many records were left out because the file says so.
        left_out: usize,
        position: Position,
    },
    /// What is said of time in a partition of a repartition topic; the position is behind it.
    Words {
        words: Vec<Word>,
        position: Position,
        replay: bool,
    },
    Assigned(Vec<Assignment>),
    Revoked(Vec<Partition>),
    Lost(Vec<Partition>),
    CaughtUp(Vec<Partition>),
    OutOfReach(Vec<Partition>),
    Gone(Vec<Gone>),
    Grown {
        topic: Arc<str>,
        before: u32,
        now: u32,
    },
    End,
}

/// The most bytes of records that a reader holds ahead of its chain.
const READ_AHEAD: usize = 16 << 20;

pub(crate) struct Input {
    reading: Reading,
    /// The source's step.
    step: Arc<SourceStep>,
    /// Gives rows the time that stands in their fields.
    stamper: Option<Stamper>,
    unstamped: Rejects,
}

enum Reading {
    Custom(CustomInput),
    Topic(TopicInput),
}

pub(crate) struct CustomInput {
    step: Arc<SourceStep>,
    source: Box<dyn Source>,
    partition: Partition,
    /// Names rows of which it says no line.
    rows: Arc<Lines>,
    announced: bool,
    /// Rows below this offset have been dealt with before a failure; they only rebuild open panes.
    replay_until: i64,
    /// Rows below this offset are in no open pane.
    skip_until: i64,
    /// The position behind the last batch.
    reached: i64,
    /// The new rows of a batch that began with rows that are read again.
    rest: Option<InputEvent>,
}

pub(crate) struct TopicInput {
    step: Arc<SourceStep>,
    log: Arc<dyn Log>,
    settings: LogSource,
    group: Option<Group>,
    reader: Option<Box<dyn LogReader>>,
    rejects: Rejects,
    /// Offsets below this have been dealt with before a restart; they only rebuild open panes.
    replay_until: HashMap<Partition, i64>,
    pending: VecDeque<Records>,
    /// True for a repartition topic.
    mixed: bool,
    /// True where a field says the time of a row, whatever that of its record is.
    stamped: bool,
    /// Where its reader begins of which nothing is kept.
    begins: Start,
    /// What the reader told while it was opened.
    first: Option<ReadEvent>,
    /// Without a group: where each partition stood by the last commit. Nothing else keeps it, so it is gone
    /// with the process.
    stood: HashMap<Partition, Assignment>,
}

impl Input {
    pub(crate) fn new(
        step: SourceStep,
        body: SourceBody,
        stamper: Option<Stamper>,
        log: Option<Arc<dyn Log>>,
        group: Option<Group>,
        mixed: bool,
    ) -> Result<Self> {
        let step = Arc::new(step);
        let reading = match body {
            SourceBody::Custom(source, partition) => Reading::Custom(CustomInput {
                step: step.clone(),
                source,
                rows: Arc::new(Lines::new(partition.source.clone())),
                partition,
                announced: false,
                replay_until: i64::MIN,
                skip_until: i64::MIN,
                reached: i64::MIN,
                rest: None,
            }),
            SourceBody::Log(settings) => Reading::Topic(TopicInput {
                step: step.clone(),
                log: log.ok_or_else(|| Error::fatal(format!("no connection `{}`", settings.connection)))?,
                settings,
                group,
                reader: None,
                rejects: Rejects::default(),
                replay_until: HashMap::new(),
                pending: VecDeque::new(),
                mixed,
                stamped: stamper.is_some(),
                begins: Start::Earliest,
                first: None,
                stood: HashMap::new(),
            }),
        };
        Ok(Self { reading, step, stamper, unstamped: Rejects::default() })
    }

    pub(crate) fn is_topic(&self) -> bool {
        matches!(self.reading, Reading::Topic(_))
    }

    /// True where what is written before it is open is read all the same: its group keeps where it stands,
    /// and begins at the beginning.
    pub(crate) fn misses_nothing(&self) -> bool {
        match &self.reading {
            Reading::Custom(_) => false,
            Reading::Topic(topic) => {
                topic.group.is_some() && matches!(topic.settings.start, None | Some(StartAt::Earliest))
            }
        }
    }

    /// Opens it, at the committed position: the log's own for a topic, `committed` for a plugin's source.
    pub(crate) async fn open(&mut self, context: &SourceContext, committed: Option<&Position>) -> Result<()> {
        match &mut self.reading {
            Reading::Custom(custom) => {
                custom.announced = false;
                custom.replay_until = i64::MIN;
                custom.skip_until = i64::MIN;
                custom.reached = i64::MIN;
                custom.rest = None;
                let source = self.step.source();
                source.guards("while it was opened", custom.source.open(context, committed)).await
            }
            Reading::Topic(topic) => {
                topic.replay_until.clear();
                topic.pending.clear();
                let start = Start::at(topic.start(), context.clock.now());
                topic.begins = start;
                let options = ReaderOptions {
                    topics: vec![topic.settings.topic.clone()],
                    partitions: None,
                    group: topic.group.clone(),
                    start,
                    max_records: context.batch_rows.max(1) * 8,
                    max_bytes: READ_AHEAD,
                    headers: topic.settings.decoder.headers(),
                };
                let reader = topic.reader.insert(topic.log.reader(options).await?);
                // Whoever writes for it must not begin before it is settled where it starts, unless that is
                // the oldest record.
                topic.first = None;
                if topic.group.is_none() || start != Start::Earliest {
                    let mut first = reader.next().await?;
                    if let (ReadEvent::Assigned(assignments), None) = (&mut first, &topic.group) {
                        go_on(&mut **reader, &mut topic.stood, start, assignments).await?;
                    }
                    topic.first = Some(first);
                }
                Ok(())
            }
        }
    }

    /// Whether it can be opened again at the committed position, after a fault.
    pub(crate) fn can_reopen(&self, committed: Option<&Position>) -> Result<()> {
        match &self.reading {
            Reading::Custom(custom) => custom.source.can_reopen(committed),
            Reading::Topic(_) => Ok(()),
        }
    }

    /// The next event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<InputEvent> {
        let source = self.step.source();
        let read = async {
            match &mut self.reading {
                Reading::Custom(custom) => custom.next().await,
                Reading::Topic(topic) => topic.next().await,
            }
        };
        let event = source.guards("while it read", read).await?;
        self.stamped(event)
    }

    /// What belongs to the last event of a plugin's source, and shares its position: nothing may be committed
    /// before it is dealt with.
    pub(crate) fn rest(&mut self) -> Result<Option<InputEvent>> {
        let Reading::Custom(custom) = &mut self.reading else { return Ok(None) };
        custom.rest.take().map(|rest| self.stamped(rest)).transpose()
    }

    fn stamped(&mut self, event: InputEvent) -> Result<InputEvent> {
        match (event, &self.stamper) {
            (InputEvent::Batch { batch, mut rejects, left_out, position }, Some(stamper)) => {
                self.unstamped.clear();
                let stamped = stamper.stamp(&batch, &mut self.unstamped)?;
                rejects.extend(dead::of_rows(&batch, self.unstamped.rows()));
                Ok(InputEvent::Batch { batch: stamped, rejects, left_out, position })
            }
            (event, _) => Ok(event),
        }
    }

    /// From now on rows of `partition` below `until` are read again: see [`Origin::replay`].
    pub(crate) fn replay(&mut self, partition: &Partition, until: i64) {
        match &mut self.reading {
            Reading::Custom(custom) => custom.replay_until = until,
            Reading::Topic(topic) => {
                topic.replay_until.insert(partition.clone(), until);
            }
        }
    }

    /// Rows of a plugin's source below `until` were dealt with for good: they are left out when they are read
    /// again.
    pub(crate) fn skip(&mut self, until: i64) {
        if let Reading::Custom(custom) = &mut self.reading {
            custom.skip_until = until;
        }
    }

    /// Where it begins of which nothing is kept.
    pub(crate) fn start(&self) -> Start {
        match &self.reading {
            Reading::Custom(_) => Start::Earliest,
            Reading::Topic(topic) => topic.begins,
        }
    }

    /// The name of a plugin's source, such as a file's path.
    pub(crate) fn name(&self) -> Option<String> {
        match &self.reading {
            Reading::Custom(custom) => Some(custom.partition.source.to_string()),
            Reading::Topic(_) => None,
        }
    }

    /// The topic that it reads.
    pub(crate) fn topic(&self) -> Option<&str> {
        match &self.reading {
            Reading::Custom(_) => None,
            Reading::Topic(topic) => Some(&topic.settings.topic),
        }
    }

    /// True where its group has committed nothing yet.
    pub(crate) async fn is_new(&mut self) -> Result<bool> {
        match &mut self.reading {
            Reading::Topic(TopicInput { reader: Some(reader), .. }) => reader.is_new().await,
            _ => Ok(false),
        }
    }

    /// True where a group of the log shares the partitions and keeps the positions.
    pub(crate) fn in_group(&self) -> bool {
        matches!(&self.reading, Reading::Topic(topic) if topic.group.is_some())
    }

    pub(crate) fn membership(&self) -> Option<Membership> {
        match &self.reading {
            Reading::Custom(_) => None,
            Reading::Topic(topic) => topic.reader.as_ref().and_then(|r| r.membership()),
        }
    }

    /// Commits outside a transaction.
    pub(crate) async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        match &mut self.reading {
            Reading::Custom(custom) => {
                for position in positions {
                    custom.source.commit(position).await?;
                }
                Ok(())
            }
            Reading::Topic(TopicInput { reader: Some(reader), group: Some(_), .. }) => {
                reader.commit(positions).await
            }
            Reading::Topic(topic) => {
                for position in positions {
                    let (partition, start) = (position.partition.clone(), position.offset);
                    let stood = Assignment { partition, committed: Some(position.clone()), start };
                    topic.stood.insert(position.partition.clone(), stood);
                }
                Ok(())
            }
        }
    }

    /// Reads a topic only to where it ends now.
    pub(crate) async fn bound(&mut self) -> Result<()> {
        match &mut self.reading {
            Reading::Topic(TopicInput { reader: Some(reader), .. }) => reader.bound().await,
            _ => Ok(()),
        }
    }

    pub(crate) fn lag(&self) -> u64 {
        match &self.reading {
            Reading::Custom(_) => 0,
            Reading::Topic(topic) => topic.reader.as_ref().map_or(0, |r| r.lag()),
        }
    }

    /// A position that is to be committed, as it is told now.
    pub(crate) fn renew(&self, position: Position) -> Position {
        match &self.reading {
            Reading::Custom(custom) => custom.source.renew(position),
            Reading::Topic(_) => position,
        }
    }

    /// What is to be said of all records that were read.
    pub(crate) fn remarks(&self) -> Vec<String> {
        match &self.reading {
            Reading::Custom(custom) => custom.source.remarks(),
            Reading::Topic(topic) => topic.settings.decoder.remarks(),
        }
    }

    /// The records of a plugin's source that are not whole.
    pub(crate) fn held(&self) -> Vec<Held> {
        match &self.reading {
            Reading::Custom(custom) => custom.source.held(),
            Reading::Topic(_) => Vec::new(),
        }
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        match &self.reading {
            Reading::Custom(custom) => custom.source.progress(),
            Reading::Topic(_) => None,
        }
    }

    pub(crate) async fn close(&mut self) -> Result<()> {
        match &mut self.reading {
            Reading::Custom(_) => Ok(()),
            Reading::Topic(topic) => match topic.reader.take() {
                Some(reader) => reader.close().await,
                None => Ok(()),
            },
        }
    }
}

impl CustomInput {
    async fn next(&mut self) -> Result<InputEvent> {
        if !self.announced {
            self.announced = true;
            let partition = self.partition.clone();
            return Ok(InputEvent::Assigned(vec![Assignment { partition, committed: None, start: 0 }]));
        }
        loop {
            return Ok(match self.source.next().await? {
                SourceEvent::Batch { batch, rejects, position } => {
                    let source = self.step.source();
                    source.gives(&self.step.schema, &batch.columns().schema())?;
                    source.advances(self.reached, &batch, position.offset)?;
                    self.reached = position.offset;
                    // Rows are named by their number in words where the source does not know their lines.
                    let lines = batch.lines().unwrap_or(&self.rows).clone();
                    let batch = batch.on_lines(Some(lines));
                    self.split_replay(batch, rejects, position)
                }
                // A source with a rate has given all that is due, and yet not all that is read again.
                SourceEvent::CaughtUp if self.reached < self.replay_until => continue,
                SourceEvent::CaughtUp => InputEvent::CaughtUp(vec![self.partition.clone()]),
                SourceEvent::End => InputEvent::End,
            });
        }
    }

    /// Cuts a batch at the boundary between rows that are read again and rows that are new.
    fn split_replay(
        &mut self,
        mut batch: Batch,
        mut rejects: Vec<SourceReject>,
        position: Position,
    ) -> InputEvent {
        let skipped = batch.origin().offsets.partition_point(|offset| *offset < self.skip_until);
        if skipped > 0 {
            batch = batch.cut(skipped, batch.rows() - skipped);
        }
        rejects.retain(|r| r.offset >= self.skip_until);
        let again = batch.origin().offsets.partition_point(|offset| *offset < self.replay_until);
        let fresh: Vec<SourceReject> = rejects.extract_if(.., |r| r.offset >= self.replay_until).collect();
        // Where nothing is left, the position says what the batch was of.
        let old = position.offset <= self.replay_until;
        if again == 0 && rejects.is_empty() && !old {
            return InputEvent::Batch { batch, rejects: fresh, left_out: 0, position };
        }
        if again == batch.rows() && fresh.is_empty() && (again > 0 || old) {
            return InputEvent::Batch { batch: batch.replayed(true), rejects, left_out: 0, position };
        }
        let rest = batch.cut(again, batch.rows() - again);
        let (batch, at) = (batch.cut(0, again).replayed(true), position.clone());
        self.rest = Some(InputEvent::Batch { batch: rest, rejects: fresh, left_out: 0, position });
        InputEvent::Batch { batch, rejects, left_out: 0, position: at }
    }
}

impl TopicInput {
    /// Where it begins of which nothing is kept.
    fn start(&self) -> StartAt {
        let otherwise = if self.group.is_some() { StartAt::Earliest } else { StartAt::Latest };
        self.settings.start.unwrap_or(otherwise)
    }

    async fn next(&mut self) -> Result<InputEvent> {
        let records = match self.pending.pop_front() {
            Some(records) => records,
            None => {
                let reader = self.reader.as_mut().ok_or_else(|| Error::retry("the reader is not open"))?;
                let event = match self.first.take() {
                    Some(first) => first,
                    None => match reader.next().await {
                        Ok(event) => event,
                        Err(error) => {
                            // Of a topic that was made anew nothing is known.
                            if self.group.is_none() && error.consequence() == Consequence::Abort {
                                self.stood.clear();
                            }
                            return Err(error);
                        }
                    },
                };
                match event {
                    ReadEvent::Records(records) => records,
                    ReadEvent::Assigned(assignments) => {
                        if self.group.is_none() {
                            for assignment in &assignments {
                                let stood = self.stood.entry(assignment.partition.clone());
                                stood.or_insert_with(|| assignment.clone());
                            }
                        }
                        return Ok(InputEvent::Assigned(assignments));
                    }
                    ReadEvent::Revoked(partitions) => return Ok(InputEvent::Revoked(partitions)),
                    ReadEvent::Lost(partitions) => return Ok(InputEvent::Lost(partitions)),
                    ReadEvent::CaughtUp(partitions) => return Ok(InputEvent::CaughtUp(partitions)),
                    ReadEvent::OutOfReach(partitions) => return Ok(InputEvent::OutOfReach(partitions)),
                    ReadEvent::Gone(gone) => return Ok(InputEvent::Gone(gone)),
                    ReadEvent::Grown { topic, before, now } => {
                        return Ok(InputEvent::Grown { topic, before, now });
                    }
                    ReadEvent::End => return Ok(InputEvent::End),
                }
            }
        };
        let (records, said) = if self.mixed { self.split_channels(records)? } else { (records, None) };
        let (records, replay) = self.split_replay(records);
        let format =
            Promiser { place: Some(&self.step.place), ..Promiser::of("format", &self.settings.format) };
        let decoder = (self.settings.decoder.as_mut(), format);
        match said {
            None if self.stamped => decode(decoder, &mut self.rejects, &records, replay),
            None => {
                let next = records.offsets.last().map(|last| last + 1);
                let (records, untimed) = untimed::take_out(records)?;
                let mut event = decode(decoder, &mut self.rejects, &records, replay)?;
                if let InputEvent::Batch { rejects, position, .. } = &mut event {
                    rejects.extend(untimed);
                    rejects.sort_by_key(|reject| reject.offset);
                    position.offset = next.unwrap_or(position.offset);
                }
                Ok(event)
            }
            Some(Piece::Words(words)) => {
                let offset = records.offsets.last().map_or(0, |last| last + 1);
                let position =
                    Position { partition: records.partition.clone(), offset, metadata: String::new() };
                Ok(InputEvent::Words { words, position, replay })
            }
            Some(Piece::Row(origin)) => {
                let event = decode(decoder, &mut self.rejects, &records, replay)?;
                let InputEvent::Batch { batch, rejects, left_out, position } = event else {
                    return Ok(event);
                };
                let batch = timed(batch, &records, channel(&records.partition, origin))?;
                Ok(InputEvent::Batch { batch, rejects, left_out, position })
            }
        }
    }

    /// Cuts records of a repartition topic behind the first ones that are of one channel, or behind words.
    fn split_channels(&mut self, records: Records) -> Result<(Records, Option<Piece>)> {
        let first = piece(&records, 0)?;
        let mut run = 1;
        while matches!(first, Piece::Row(_)) && run < records.len() && piece(&records, run)? == first {
            run += 1;
        }
        if run < records.len() {
            self.pending.push_front(records.slice(run, records.len() - run));
        }
        Ok((records.slice(0, run), Some(first)))
    }

    /// Cuts records at the boundary between those that are read again and those that are new.
    fn split_replay(&mut self, records: Records) -> (Records, bool) {
        let Some(until) = self.replay_until.get(&records.partition).copied() else {
            return (records, false);
        };
        let again = records.offsets.partition_point(|offset| *offset < until);
        if again == records.len() {
            return (records, true);
        }
        self.replay_until.remove(&records.partition);
        if again == 0 {
            return (records, false);
        }
        self.pending.push_front(records.slice(again, records.len() - again));
        (records.slice(0, again), true)
    }
}

/// Has a reader that was opened again go on where it stood, and remembers where it begins otherwise.
async fn go_on(
    reader: &mut dyn LogReader,
    stood: &mut HashMap<Partition, Assignment>,
    start: Start,
    assignments: &mut [Assignment],
) -> Result<()> {
    for assignment in assignments {
        // A topic that ends before where this stood was made anew.
        let anew = |at: &&Assignment| start == Start::Latest && assignment.start < at.start;
        match stood.get(&assignment.partition).filter(|at| !anew(at)) {
            Some(at) => {
                reader.seek(&assignment.partition, at.start).await?;
                assignment.clone_from(at);
            }
            None => _ = stood.insert(assignment.partition.clone(), assignment.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
