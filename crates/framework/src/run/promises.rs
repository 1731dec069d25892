//! What the code of a plugin promises, held to. A promise that is not kept loses rows, or invents some,
//! without a word: it ends the run instead, and the message names the step and the plugin. So does a panic.

use std::any::Any;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use arrow_schema::{Schema, SchemaRef};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::log::Records;
use crate::plugin::{Rejects, RowMap, type_name};

/// What a panic said.
#[derive(Debug)]
pub(super) struct Panic(Box<dyn Any + Send>);

/// Does something to its end, or to a panic. What that leaves half done must not be used again: its error
/// ends the chain.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    let mut work = pin!(work);
    poll_fn(|cx| match caught_now(|| work.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The same for what does not wait.
fn caught_now<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panic)
}

/// The code of a plugin, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promiser<'a> {
    /// `transform`, `format` and so on.
    pub(super) kind: &'static str,
    /// The plugin's name.
    pub(super) plugin: &'a str,
    /// Its step, `CHAIN.STEP`, where nobody says it later.
    pub(super) place: Option<&'a str>,
}

impl<'a> Promiser<'a> {
    /// The code of a plugin whose step somebody says later.
    pub(super) fn of(kind: &'static str, plugin: &'a str) -> Self {
        Self { kind, plugin, place: None }
    }

    /// A promise that was not kept.
    pub(super) fn broke(self, what: impl Display) -> Error {
        let at = self.place.map_or(String::new(), |place| format!("{place}: "));
        Error::fatal(format!("{at}the {} `{}` {what}", self.kind, self.plugin))
            .remedy(format!("this is a mistake in the {}: report it to whoever wrote it", self.noun()))
    }

    /// A row was rejected that is not there.
    pub(super) fn rejected(self, row: usize, rows: usize) -> Error {
        self.broke(format!("rejected row {row} of {rows}, counted from 0"))
    }

    fn noun(self) -> &'static str {
        if self.kind == "format" { "format" } else { "plugin" }
    }

    /// A panic, as an error that says what it was about.
    pub(super) fn panicked(self, about: impl Display, Panic(panic): &Panic) -> Error {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.broke(format!("panicked {about}: {}", text.unwrap_or("it did not say why")))
    }

    /// Does something; a panic is an error that says what it was about.
    ///
    /// # Errors
    /// Those of `work`, and `Fatal` where it panics.
    pub(super) async fn guards<T>(
        self,
        about: impl Display,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        caught(work).await.unwrap_or_else(|panic| Err(self.panicked(about, &panic)))
    }

    /// The same for what does not wait.
    ///
    /// # Errors
    /// Those of `work`, and `Fatal` where it panics.
    pub(super) fn guards_now<T>(self, about: impl Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
        caught_now(work).unwrap_or_else(|panic| Err(self.panicked(about, &panic)))
    }

    /// The columns are those that were promised while the file was planned.
    ///
    /// # Errors
    /// `Fatal` where a name or a type is another.
    pub(super) fn gives(self, promised: &SchemaRef, given: &SchemaRef) -> Result<()> {
        if std::sync::Arc::ptr_eq(promised, given) || alike(promised, given) {
            return Ok(());
        }
        Err(self.broke(format!("gave the columns {}, and had promised {}", named(given), named(promised))))
    }

    /// The rows that a transform made are those of what it was given, in their order: left out, or there
    /// several times.
    ///
    /// # Errors
    /// `Fatal` where one is of no such row.
    pub(super) fn made_of(self, before: &Batch, given: &Batch) -> Result<()> {
        let (from, made) = (&before.origin().offsets, &given.origin().offsets);
        if before.origin().partition != given.origin().partition {
            return Err(self.broke("gave rows of another partition than they came from"));
        }
        if from.ptr_eq(made) {
            return Ok(());
        }
        let mut at = 0;
        for (row, offset) in made.iter().enumerate() {
            while from.get(at).is_some_and(|from| from < offset) {
                at += 1;
            }
            if from.get(at) != Some(offset) {
                return Err(self.broke(format!(
                    "gave row {row} the offset {offset}, which no row has that it was given, or one before it has gone beyond"
                )));
            }
        }
        Ok(())
    }

    /// What a format decoded is of the records that it was given.
    ///
    /// # Errors
    /// `Fatal` where a row or a rejected record is of none.
    pub(super) fn decoded(
        self,
        records: &Records,
        columns: usize,
        rows: &RowMap,
        rejects: &mut Rejects,
    ) -> Result<()> {
        let count = records.len();
        rejects
            .settle(count)
            .map_err(|row| self.broke(format!("rejected record {row} of {count}, counted from 0")))?;
        match rows {
            RowMap::Same if columns != count => Err(self
                .broke(format!("gave {columns} rows for {count} records, and says that they are the same"))),
            RowMap::Same => Ok(()),
            RowMap::Rows(rows) if rows.len() != columns => Err(self
                .broke(format!("gave {columns} rows, and says of {} which record they are of", rows.len()))),
            RowMap::Rows(rows) => match rows.iter().find(|record| **record as usize >= count) {
                Some(record) => {
                    Err(self.broke(format!("gave a row of record {record} of {count}, counted from 0")))
                }
                None if rows.is_sorted() => Ok(()),
                None => Err(self.broke("gave rows in another order than that of their records")),
            },
        }
    }

    /// Rows that a source gave stand before the position behind them, which does not fall.
    ///
    /// # Errors
    /// `Fatal` where rows would be read twice, or never.
    pub(super) fn advances(self, reached: i64, batch: &Batch, position: i64) -> Result<()> {
        if position < reached {
            return Err(self.broke(format!("went back from position {reached} to {position}")));
        }
        let offsets = &batch.origin().offsets;
        if !offsets.is_sorted() {
            return Err(self.broke("gave rows whose offsets fall"));
        }
        match (offsets.first(), offsets.last()) {
            (Some(first), _) if *first < reached => {
                Err(self.broke(format!("gave a row at {first} behind its position {reached}")))
            }
            (_, Some(last)) if *last >= position => {
                Err(self.broke(format!("gave a row at {last}, which is not before its position {position}")))
            }
            _ => Ok(()),
        }
    }
}

fn alike(promised: &Schema, given: &Schema) -> bool {
    promised.fields().len() == given.fields().len()
        && promised
            .fields()
            .iter()
            .zip(given.fields())
            .all(|(p, g)| p.name() == g.name() && p.data_type() == g.data_type())
}

/// The columns as an author would say them.
fn named(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|f| format!("{}: {}", f.name(), type_name(f.data_type())));
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}
