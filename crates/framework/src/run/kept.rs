//! Rows whose topic does not keep them: it deletes them as soon as they are there, as they are older than it
//! keeps anything.

use chrono::{DateTime, SecondsFormat};

use super::tree::Tree;
use crate::clock::Millis;
use crate::config::DurationText;

impl Tree {
    /// Tells once where rows of these times are older than `topic`, the topic of the sink at `index`, keeps
    /// records: before they are written.
    pub(super) fn tell_of_age(&mut self, index: usize, topic: &str, times: &[Millis]) {
        let Some(kept) = self.limits.get(index).and_then(|limits| limits.kept) else { return };
        let now = self.clock.now();
        let oldest = times.iter().copied().min().unwrap_or(now);
        if now.saturating_sub(oldest) <= kept || std::mem::replace(&mut self.told_old[index], true) {
            return;
        }
        let (what, help) = words(topic, oldest, kept);
        tracing::warn!(step = self.place(index), help, "{what}");
    }
}

/// What will happen, and the remedy.
fn words(topic: &str, oldest: Millis, kept: Millis) -> (String, String) {
    let date = DateTime::from_timestamp_millis(oldest)
        .map_or_else(|| format!("{oldest} ms"), |date| date.to_rfc3339_opts(SecondsFormat::Secs, true));
    let kept = DurationText::at_least(kept);
    let what = format!(
        "a record for topic `{topic}` has the time {date}, and the topic keeps records for {kept}: it is soon deleted"
    );
    let help = "let the topic keep them: `retention: forever` (or as long as is needed) at the sink before the topic is made, or its \
                property `retention.ms`";
    (what, help.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_soon_deleted_is_told_with_the_remedy() {
        let (what, help) = words("days", 1_420_070_400_000, 7 * 86_400_000);
        insta::assert_snapshot!(format!("{what}\n  = help: {help}"));
    }
}
