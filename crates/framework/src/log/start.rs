//! Where a reader begins of which nothing is committed.

use std::fmt;

use crate::clock::Millis;
use crate::config::StartAt;

/// Where a reader starts in a partition for which nothing is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that is there.
    #[default]
    Earliest,
    /// At the end: only records written from now on.
    Latest,
    /// At this offset, 0 or more; at the oldest record where it is older than that, and at the end where it
    /// is beyond it.
    Offset(i64),
    /// At the first record with this timestamp or a later one, not before 1970; at the end where there is
    /// none. What comes behind that record is given whatever its timestamp.
    Time(Millis),
}

impl Start {
    /// What was written, `now` being the time.
    pub fn at(written: StartAt, now: Millis) -> Self {
        match written {
            StartAt::Earliest => Self::Earliest,
            StartAt::Latest => Self::Latest,
            StartAt::Offset(offset) => Self::Offset(offset.max(0)),
            StartAt::Time(time) => Self::Time(time.max(0)),
            // Brokers take times before 1970 for words of their own: -1 is the end.
            StartAt::Ago(ago) => Self::Time(now.saturating_sub(ago.millis()).max(0)),
        }
    }

    /// Where a partition begins that has records from `low` up to `high`. `by_time` finds the first record of
    /// a time or later.
    pub fn offset(self, (low, high): (i64, i64), by_time: impl FnOnce(Millis) -> Option<i64>) -> i64 {
        match self {
            Self::Earliest => low,
            Self::Latest => high,
            Self::Offset(offset) => offset.clamp(low, high.max(low)),
            Self::Time(time) => by_time(time).map_or(high, |offset| offset.max(low)),
        }
    }
}

impl From<Start> for StartAt {
    fn from(start: Start) -> Self {
        match start {
            Start::Earliest => Self::Earliest,
            Start::Latest => Self::Latest,
            Start::Offset(offset) => Self::Offset(offset),
            Start::Time(time) => Self::Time(time),
        }
    }
}

impl fmt::Display for Start {
    /// As the end of a sentence: it is read *from its beginning*.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StartAt::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::DurationText;

    #[test]
    fn a_partition_begins_within_what_it_has() {
        let begins = |start: Start| start.offset((10, 20), |time| (time < 100).then_some(time));
        let cases = [
            (Start::Earliest, 10),
            (Start::Latest, 20),
            (Start::Offset(3), 10),
            (Start::Offset(10), 10),
            (Start::Offset(15), 15),
            (Start::Offset(20), 20),
            (Start::Offset(21), 20),
            (Start::Time(12), 12),
            (Start::Time(3), 10),
            (Start::Time(100), 20),
        ];
        for (start, offset) in cases {
            assert_eq!(begins(start), offset, "{start:?}");
        }
    }

    #[test]
    fn ago_is_counted_from_now_and_not_to_before_1970() {
        let ago = |millis| StartAt::Ago(DurationText(Duration::from_millis(millis)));
        assert_eq!(Start::at(ago(300), 1000), Start::Time(700));
        assert_eq!(Start::at(ago(3000), 1000), Start::Time(0));
        assert_eq!(Start::at(StartAt::Offset(-1), 1000), Start::Offset(0));
    }
}
