//! Which of several files are read, in which order, and how far each is.
//!
//! A source of several files gives one sequence of rows, numbered from the first to the last. What is read
//! again after a restart must be the same rows under the same numbers, whatever has come or grown meanwhile.
//! So a position has the course with it: the file that it stands in, those that are still to be read in this
//! order, each as far as it reached when it was found, and those that were read, with how far. What is new is
//! read behind all that.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use pipectl_framework::clock::Millis;
use pipectl_framework::plugin::{Error, Result};
use serde::{Deserialize, Serialize};

use super::finder::{Finder, Found};
use super::position::{Mark, of_version, unreadable};
use super::reading::changed;

/// The form of the metadata of a position in several files that this version writes and reads.
const VERSION: u8 = 2;

/// A file to be read, from where it was read before or its beginning, to byte `to` as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) file: String,
    pub(super) to: u64,
}

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) mark: Mark,
    /// Where it ended then, as it stands on the disk.
    pub(super) to: u64,
    /// False where its last line waits for its end.
    pub(super) whole: bool,
}

/// The order of several files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Course {
    done: BTreeMap<String, Done>,
    now: Option<Leg>,
    next: VecDeque<Leg>,
}

#[derive(Serialize)]
struct Writing<'a> {
    v: u8,
    now: Option<(&'a Leg, &'a Mark)>,
    next: &'a VecDeque<Leg>,
    done: &'a BTreeMap<String, Done>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
}

#[derive(Deserialize)]
struct Kept {
    v: u8,
    now: Option<(Leg, Mark)>,
    next: VecDeque<Leg>,
    done: BTreeMap<String, Done>,
    time: Option<Millis>,
}

/// A course that was taken up.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    pub(super) course: Course,
    /// Where its file goes on.
    pub(super) mark: Option<Mark>,
    /// The stamp of the row before.
    pub(super) time: Option<Millis>,
}

impl Course {
    /// Takes up the course of a position's metadata.
    ///
    /// # Errors
    /// Where it is none.
    pub(super) fn read(metadata: &str) -> Result<Resumed> {
        let unusable = |what: String| {
            Error::fatal(format!("a source of several files {what}"))
                .remedy("give the pipeline another name to read its sources from their beginning")
        };
        let kept: Kept = serde_json::from_str(metadata).map_err(|e| unusable(unreadable(&e, metadata)))?;
        if kept.v != VERSION {
            return Err(unusable(of_version(kept.v, VERSION)));
        }
        let Kept { now, next, done, time, .. } = kept;
        let (now, mark) = now.unzip();
        Ok(Resumed { course: Self { done, now, next }, mark, time })
    }

    /// The metadata of a position at `mark` of the file that is read now; `time` is the stamp of the row
    /// before.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn write(&self, mark: Option<&Mark>, time: Option<Millis>) -> io::Result<String> {
        let Self { done, now, next } = self;
        let writing = Writing { v: VERSION, now: now.as_ref().zip(mark), next, done, time };
        serde_json::to_string(&writing).map_err(io::Error::other)
    }

    /// Adds what was found, in its order, behind all that is to be read anyway.
    ///
    /// # Errors
    /// `Fatal` where a file that is to be read is not what it was.
    pub(super) fn extend(&mut self, finder: &Finder, found: &[Found]) -> Result<()> {
        for Leg { file, to } in self.now.iter().chain(&self.next) {
            match finder.file(file).map(|there| there.len) {
                None => {
                    let what =
                        "is not there any more, and an earlier run found it and has not dealt with all of it";
                    return Err(changed(file, what));
                }
                Some(len) if len < *to => {
                    let what = format!("is shorter than it was: {len} of {to} bytes are there");
                    return Err(changed(file, &what));
                }
                Some(_) => {}
            }
        }
        // What has gone was read; nobody needs to know it again, and a position has not room for all that
        // ever was.
        self.done.retain(|file, _| finder.file(file).is_some());
        for Found { name, len, .. } in found.iter().filter(|found| found.len > 0) {
            let planned = self.now.iter().chain(&self.next).filter(|leg| *leg.file == **name);
            let reached = match planned.map(|leg| leg.to).max() {
                Some(to) => to,
                None => self.done.get(&**name).filter(|done| done.whole).map_or(0, |done| done.to),
            };
            if *len > reached {
                self.next.push_back(Leg { file: name.to_string(), to: *len });
            }
        }
        Ok(())
    }

    /// The files that were read.
    pub(super) fn done(&self) -> impl Iterator<Item = (&String, &Done)> {
        self.done.iter()
    }

    /// The file that is read now.
    pub(super) fn now(&self) -> Option<&Leg> {
        self.now.as_ref()
    }

    /// How far a file was read by a leg before.
    pub(super) fn mark(&self, file: &str) -> Option<&Mark> {
        self.done.get(file).map(|done| &done.mark)
    }

    /// Goes on to the next file.
    pub(super) fn step(&mut self) -> Option<&Leg> {
        self.now = self.next.pop_front();
        self.now.as_ref()
    }

    /// The file that was read now is at its end; `None` where no place in it can be gone back to.
    pub(super) fn finish(&mut self, mark: Option<Mark>, whole: bool) {
        if let (Some(Leg { file, to }), Some(mark)) = (self.now.take(), mark) {
            self.done.insert(file, Done { mark, to, whole });
        }
    }

    /// How many bytes are to be read behind the file that is read now.
    pub(super) fn ahead(&self) -> u64 {
        self.next.iter().map(|leg| leg.to).sum()
    }
}
