//! Topics of the framework's own must not lose what they hold to the brokers' retention. They are made so;
//! one that was made otherwise, by hand or by an earlier version, is told.

use std::time::Duration;

use pipectl_framework::config::DurationText;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{Keeps, TopicSpec};

use super::limits::{Deletes, Limits};
use super::settings::KafkaSettings;

/// Looks at each of them once.
///
/// # Errors
/// `Fatal` where a topic with positions or the state of windows loses them.
pub(super) async fn check(settings: &KafkaSettings, limits: &Limits, topics: &[TopicSpec]) -> Result<()> {
    for topic in topics.iter().filter(|topic| matches!(topic.keeps, Keeps::LastOfKey | Keeps::UntilLetGo)) {
        let Deletes::Old(age) = limits.rules(settings, &topic.name).await?.deletes else { continue };
        match topic.keeps {
            Keeps::LastOfKey => {
                limits.forget(&topic.name);
                return Err(loses_state(&topic.name, age));
            }
            _ if limits.is_untold(&topic.name) => {
                let (what, help) = loses_rows(&topic.name, age);
                tracing::warn!(help, "{what}");
            }
            _ => {}
        }
    }
    Ok(())
}

fn said(age: Option<u64>) -> String {
    match age {
        Some(millis) => format!("after {}", DurationText(Duration::from_millis(millis))),
        None => "beyond its `retention.bytes`".to_owned(),
    }
}

fn loses_state(topic: &str, age: Option<u64>) -> Error {
    let age = said(age);
    Error::fatal(format!(
        "topic `{topic}` has what a restart goes on with, and its brokers delete records {age}"
    ))
    .remedy("set the topic's property `cleanup.policy` to `compact`, as it is where pipectl makes the topic")
}

fn loses_rows(topic: &str, age: Option<u64>) -> (String, &'static str) {
    let what = format!(
        "topic `{topic}` has rows on their way to a window, and its brokers delete records {}, read or not",
        said(age)
    );
    (
        what,
        "set the topic's property `retention.ms` to -1: what is read and committed is deleted all the same",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_with_the_remedy() {
        let error = loses_state("p.c.changelog", Some(604_800_000));
        let (rows, help) = loses_rows("p.c.s.repartition", Some(60_000));
        let (bytes, _) = loses_rows("p.c.s.repartition", None);
        insta::assert_snapshot!(format!(
            "{error}\n  = help: {}\n{rows}\n  = help: {help}\n{bytes}",
            error.help().unwrap_or_default()
        ));
    }
}
