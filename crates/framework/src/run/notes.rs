//! The note of a committed position: where each window of the chain stood, by the step's name and by what its
//! state depends on. So state never goes to another window than the one that wrote it, however the file was
//! edited in between.
//!
//! The text is `v4`, then for each window `|CHAIN.STEP#FINGERPRINT;` and what [`Restored`] writes. Version
//! 0.1 wrote only the latter, in the order of the windows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tree::Tree;
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::graph::{NOTE_OF_A_WINDOW, NodeBody};
use crate::log::MAX_METADATA;
use crate::window::{Fingerprint, Restored};

/// A note that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notes {
    Named(BTreeMap<String, (Fingerprint, Restored)>),
    /// Of version 0.1.
    InOrder(Vec<Restored>),
}

/// What a note says to the windows of a chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// For each window, in the order of the tree; `None` for one of which the note says nothing.
    pub(crate) windows: Vec<Option<Restored>>,
    /// The steps whose state is given up, as `--reset-state` asks.
    pub(crate) reset: Vec<String>,
    /// True where the changelog may have something of these.
    pub(crate) reset_in_changelog: bool,
    /// The windows of which the note of the chain's others says nothing.
    pub(crate) new: Vec<String>,
    /// The offset before which all rows have been dealt with, also where no window of the note is there any
    /// more.
    pub(crate) dealt_with: Option<i64>,
}

/// What the notes of a position say of the changelog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InChangelog {
    /// It has the state as of this offset.
    pub(crate) saved: Option<i64>,
    /// It has keys that `zero_fill` keeps.
    pub(crate) keys: bool,
}

impl Matched {
    fn give_up(&mut self, step: &str, restored: &Restored) {
        self.reset.push(step.to_owned());
        self.reset_in_changelog |= restored.saved.is_some() || restored.keys_saved;
    }

    /// What of this is in the changelog; `None` where nothing is.
    pub(crate) fn in_changelog(&self) -> Option<InChangelog> {
        let mut found = InChangelog::default();
        for restored in self.windows.iter().flatten() {
            found.saved = found.saved.max(restored.saved);
            found.keys |= restored.keys_saved;
        }
        (self.reset_in_changelog || found != InChangelog::default()).then_some(found)
    }
}

impl Notes {
    /// The note of a position of `partition`; `None` where it has none.
    ///
    /// # Errors
    /// `Fatal` where it is not one of ours.
    pub(crate) fn parse(text: &str, partition: &Partition) -> Result<Option<Self>> {
        let foreign = |what: String| {
            Error::fatal(format!(
                "the committed position of {partition} carries a note that is not ours: {what}"
            ))
            .remedy("another program commits in this consumer group; give the source a `group:` of its own")
        };
        let mut parts = text.split('|');
        match parts.next() {
            None | Some("") => Ok(None),
            Some("v4") => {
                parts.map(named).collect::<Result<_, _>>().map(|all| Some(Self::Named(all))).map_err(foreign)
            }
            Some(_) => {
                let in_order = text.split('|').map(str::parse).collect::<Result<_, _>>();
                in_order.map(|all| Some(Self::InOrder(all))).map_err(foreign)
            }
        }
    }

    fn dealt_with(&self) -> Option<i64> {
        match self {
            Self::Named(named) => named.values().map(|(_, restored)| restored.pos).max(),
            Self::InOrder(all) => all.iter().map(|restored| restored.pos).max(),
        }
    }

    /// Gives each of `windows`, a name and what its state depends on, what is its own.
    ///
    /// # Errors
    /// `Fatal` where a state is there that no window takes, and `reset` does not name its step.
    pub(crate) fn matched(
        self,
        windows: &[(String, Fingerprint)],
        reset: &[String],
        partition: &Partition,
    ) -> Result<Matched> {
        let mut matched = Matched { dealt_with: self.dealt_with(), ..Matched::default() };
        let mut named = match self {
            Self::Named(named) => named,
            Self::InOrder(all) if all.len() == windows.len() => {
                matched.windows = all.into_iter().map(Some).collect();
                return Ok(matched);
            }
            Self::InOrder(all) => {
                return Err(Error::fatal(format!(
                    "the committed position of {partition} has the state of {} windows, and the chain has {}",
                    all.len(),
                    windows.len()
                ))
                .remedy(
                    "pipectl 0.1 wrote it, by the order of the windows: run the file as it was once with this \
                     version, which names them, then change it",
                ));
            }
        };
        for (step, fingerprint) in windows {
            let restored = match named.remove(step) {
                None => {
                    matched.new.push(step.clone());
                    matched.dealt_with.map(|pos| Restored { pos, ..Restored::default() })
                }
                Some((before, restored)) => match fingerprint.difference(before) {
                    None => Some(restored),
                    Some(_) if reset.contains(step) => {
                        matched.give_up(step, &restored);
                        Some(anew(restored))
                    }
                    Some(what) => {
                        return Err(Error::fatal(format!(
                            "the window `{step}` is not the one that wrote its state, in the committed position \
                             of {partition}: {what}"
                        ))
                        .remedy(format!(
                            "take the change back, give the step another `id:`, or give up what its open windows \
                             hold with `--reset-state {step}`; docs/changing.md says what that costs"
                        )));
                    }
                },
            };
            matched.windows.push(restored);
        }
        for (step, (_, restored)) in named {
            if !reset.contains(&step) {
                return Err(Error::fatal(format!(
                    "the committed position of {partition} has the state of the window `{step}`, which the file \
                     does not have"
                ))
                .remedy(format!(
                    "put the window back, say `was:` beside the step that it is now, or give up what its open \
                     windows hold with `--reset-state {step}`; docs/changing.md says what that costs"
                )));
            }
            matched.give_up(&step, &restored);
        }
        Ok(matched)
    }
}

/// What a window keeps whose state is given up: the windows that were closed stay closed. The others are made
/// of what can be read again.
fn anew(before: Restored) -> Restored {
    Restored {
        pos: before.pos,
        watermark: before.closed_until,
        closed_until: before.closed_until,
        late: before.late,
        ..Restored::default()
    }
}

fn named(text: &str) -> Result<(String, (Fingerprint, Restored)), String> {
    let wrong = || format!("`{}` names no window", text.escape_debug());
    let (name, rest) = text.split_once('#').ok_or_else(wrong)?;
    let (fingerprint, restored) = rest.split_once(';').ok_or_else(wrong)?;
    Ok((name.to_owned(), (fingerprint.parse()?, restored.parse()?)))
}

/// How many bytes of a position's note are left for the late rows of each of these windows.
fn room(windows: &[(String, Fingerprint)]) -> usize {
    let names: usize = windows.iter().map(|(name, _)| name.len() + NOTE_OF_A_WINDOW).sum();
    MAX_METADATA.saturating_sub(names) / windows.len().max(1)
}

/// What a commit says of a partition.
pub(crate) struct Noted {
    /// From where on it is read again.
    pub(crate) low: i64,
    /// The note.
    pub(crate) text: String,
    /// How many late rows have no room in it.
    pub(crate) left_out: usize,
}

impl Tree {
    /// What all workers of the chain must count alike, by name: its windows, and by what rows are sent to
    /// those behind a topic.
    pub(super) fn agreed(&self) -> BTreeMap<String, String> {
        let windows = self.marks().into_iter().map(|(name, fingerprint)| (name, fingerprint.to_string()));
        let sent = self.nodes.iter().filter_map(|node| match &node.body {
            NodeBody::Repartition(_, by, _) => Some((node.kept_as.clone(), by.mark())),
            _ => None,
        });
        windows.chain(sent).collect()
    }

    /// The windows, each with what its state depends on, by the names under which that is kept.
    pub(super) fn marks(&self) -> Vec<(String, Fingerprint)> {
        self.kept_windows().map(|(name, window)| (name.to_owned(), window.fingerprint())).collect()
    }

    /// From where on a partition that has been read up to `next` is read again.
    pub(crate) fn low(&self, partition: &Partition, next: i64) -> i64 {
        self.kept_windows().map(|(_, window)| window.low(partition, next)).min().unwrap_or(next).min(next)
    }

    /// The position to commit for a partition that has been read up to `next`, not before `floor`. `bounded`
    /// where the note is part of a log's position, which has room for [`MAX_METADATA`] bytes.
    pub(crate) fn position(&mut self, partition: &Partition, next: i64, floor: i64, bounded: bool) -> Noted {
        let low = self.low(partition, next).max(floor.min(next));
        let marks = self.marks();
        let room = if bounded { room(&marks) } else { usize::MAX };
        let (mut text, mut left_out) = (String::from("v4"), 0);
        for ((name, fingerprint), window) in marks.iter().zip(self.windows()) {
            let (restored, without) = window.note(partition, next, low, room);
            left_out += without;
            // Writing to a text cannot fail.
            let _ = write!(text, "|{name}#{fingerprint};{restored}");
        }
        Noted { low, text, left_out }
    }

    /// True where a window cannot say in a position all that it wants back.
    pub(crate) fn wants_saving(&mut self, partition: &Partition) -> bool {
        let room = room(&self.marks());
        self.windows().any(|window| window.wants_saving(partition, room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Given;

    /// 2,000,000 seeds: `PIPECTL_FUZZ_RUNS=2000000 cargo test --release -p pipectl-framework --lib fuzz`.
    #[test]
    fn fuzz_notes() {
        use crate::testing::fuzz::{Fuzz, most_memory, runs};
        let mark = "0123456789abcdef01234567";
        let right = [
            format!("v4|a.count#{mark};p5;w1000;c900;s3;o2;f1;k;g4,2000;l1,2,3"),
            format!("v4|a.b#{mark};p0|c.d#{mark};p7;l5"),
            "v3;5;1000;900;3;k;1;1,2,3|v2;1;;;;;".to_owned(),
            "v1;5;1000;900".to_owned(),
        ];
        let right: Vec<&[u8]> = right.iter().map(String::as_bytes).collect();
        let words: [&[u8]; 8] = [b"|", b";", b"#", b",", b"v4", b";l", b";g", b"-"];
        let before = most_memory();
        let (mut read, partition) = (0, Partition::new("t", 0));
        for seed in 0..runs(20_000) {
            let bytes = Fuzz::new(seed).bytes(&right, &words);
            let text = String::from_utf8_lossy(&bytes);
            let Ok(Some(notes)) = Notes::parse(&text, &partition) else { continue };
            read += 1;
            let all: Vec<Restored> = match &notes {
                Notes::Named(named) => named.values().map(|(_, restored)| restored.clone()).collect(),
                Notes::InOrder(all) => all.clone(),
            };
            for restored in all {
                assert_eq!(restored.to_string().parse(), Ok(restored), "seed {seed}: {text}");
            }
            let windows = [("a.count".to_owned(), mark.parse().unwrap())];
            let _ = notes.matched(&windows, &["c.d".to_owned()], &partition);
        }
        assert!(read > 0, "none was right");
        if let (Some(before), Some(after)) = (before, most_memory()) {
            assert!(after - before < 256 << 20, "{} MiB more", (after - before) >> 20);
        }
    }

    fn mark(digit: char) -> Fingerprint {
        digit.to_string().repeat(24).parse().unwrap()
    }

    fn parsed(text: &str) -> Notes {
        Notes::parse(text, &Partition::new("t", 0)).unwrap().unwrap()
    }

    fn matched(text: &str, windows: &[(&str, char)], reset: &[&str]) -> Result<Matched, String> {
        let windows: Vec<_> =
            windows.iter().map(|(name, digit)| ((*name).to_owned(), mark(*digit))).collect();
        let reset: Vec<String> = reset.iter().map(|step| (*step).to_owned()).collect();
        parsed(text).matched(&windows, &reset, &Partition::new("t", 0)).map_err(|e| e.to_string())
    }

    /// What a window begins with where rows before this offset have been dealt with.
    fn after(pos: i64) -> Restored {
        Restored { pos, ..Restored::default() }
    }

    fn two() -> String {
        format!("v4|c.a#{};p7;w3;c2|c.b#{};p7;s5;k;g6,9;l2,1", mark('a'), mark('b'))
    }

    #[test]
    fn windows_are_found_by_name_in_any_order() {
        let b = Restored {
            pos: 7,
            saved: Some(5),
            keys_saved: true,
            given: Some(Given { offset: 6, until: 9 }),
            late: vec![2, 3],
            ..Restored::default()
        };
        let found = matched(&two(), &[("c.b", 'b'), ("c.new", 'c'), ("c.a", 'a')], &[]).unwrap();
        assert_eq!(found.windows[0].as_ref(), Some(&b));
        assert_eq!((found.windows[1].as_ref(), found.new), (Some(&after(7)), vec!["c.new".to_owned()]));
        assert_eq!(found.windows[2].as_ref().and_then(|a| a.watermark), Some(3));
    }

    #[test]
    fn another_window_of_the_name_and_one_that_is_gone_are_refused_unless_reset() {
        let other = [("c.a", 'f'), ("c.b", 'b')];
        let refused = matched(&two(), &other, &["c.b"]).unwrap_err();
        assert!(refused.starts_with("the window `c.a` is not the one that wrote its state"), "{refused}");
        let found = matched(&two(), &other, &["c.a"]).unwrap();
        let a = Restored { pos: 7, watermark: Some(2), closed_until: Some(2), ..Restored::default() };
        assert_eq!((found.windows[0].as_ref(), found.reset), (Some(&a), vec!["c.a".to_owned()]));
        let refused = matched(&two(), &[("c.a", 'a')], &[]).unwrap_err();
        assert!(refused.contains("the state of the window `c.b`, which the file does not have"), "{refused}");
        assert_eq!(matched(&two(), &[("c.a", 'a')], &["c.b"]).unwrap().reset, ["c.b"]);
    }

    #[test]
    fn what_version_0_1_wrote_is_read_in_its_order() {
        let text = "v1;7;-3;|v2;7;-3;;5;k;2|v3;7;-3;;5;k;2;3,2,1";
        let windows = [("c.a", 'a'), ("c.b", 'b'), ("c.c", 'c')];
        let found = matched(text, &windows, &[]).unwrap();
        let first = Restored { pos: 7, watermark: Some(-3), ..Restored::default() };
        let second = Restored { saved: Some(5), keys_saved: true, first: Some(2), ..first.clone() };
        let third = Restored { late: vec![3, 5, 6], ..second.clone() };
        assert_eq!(found.windows, [Some(first), Some(second), Some(third)]);
        assert_eq!(found.in_changelog(), Some(InChangelog { saved: Some(5), keys: true }));
        let refused = matched(text, &windows[..2], &[]).unwrap_err();
        assert_eq!(refused, "the committed position of t[0] has the state of 3 windows, and the chain has 2");
    }

    #[test]
    fn a_window_has_the_room_that_planning_counts_with() {
        let (time, offset) = (Some(-253_402_300_799_999), 9_999_999_999_999_999);
        let restored = Restored {
            pos: offset,
            watermark: time,
            closed_until: time,
            saved: Some(offset),
            own_low: None,
            keys_saved: true,
            first: time,
            given: Some(Given { offset, until: -253_402_300_799_999 }),
            late: Vec::new(),
        };
        // Where rows have the time of reading, the end of the data leaves no window open.
        let of_reading = Restored { own_low: Some(offset), given: None, ..restored.clone() };
        for restored in [restored, of_reading] {
            let text = format!("|#{};{restored}", mark('f'));
            assert!(text.len() <= NOTE_OF_A_WINDOW, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_note_of_somebody_else_is_named() {
        for text in ["hello", "v5;1", "v4|x", "v4|c.a#12;p1", "v1;7"] {
            let error = Notes::parse(text, &Partition::new("t", 0)).unwrap_err().to_string();
            assert!(error.contains("of t[0] carries a note that is not ours"), "{error}");
        }
        assert_eq!(Notes::parse("", &Partition::new("t", 0)).unwrap(), None);
    }
}
