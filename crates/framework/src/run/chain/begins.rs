//! Whether a chain of which nothing is kept is new, or has lost what was kept: it was renamed, or its
//! positions were deleted.

use super::{Chain, Notice};
use crate::error::Result;
use crate::log::{Assignment, Start};
use crate::run::whole::holds_records;

/// What is known of a chain's past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Past {
    #[default]
    Unknown,
    /// It has been looked at, and told of where that was needed.
    Known,
}

impl Chain {
    /// Looks once, when its group has given the chain partitions.
    pub(super) async fn looks_back(&mut self, given: &[Assignment]) -> Result<()> {
        if given.is_empty() || std::mem::replace(&mut self.past, Past::Known) == Past::Known {
            return Ok(());
        }
        let anew = self.durable && self.input.in_group() && given.iter().all(|a| a.committed.is_none());
        // A partition that the group has not come to is nothing new where it has come to others.
        // What it leaves out may be all that there is.
        let leaves_out = self.input.start() != Start::Earliest;
        if anew && (leaves_out || self.input.lag() > 0) && self.input.is_new().await? {
            let source = format!("topic `{}`", given[0].partition.source);
            self.begins_anew(source, Vec::new(), self.input.start()).await;
        }
        Ok(())
    }

    /// Tells that it begins anew, where a topic that it alone writes holds anything.
    pub(super) async fn begins_anew(&mut self, source: String, before: Vec<String>, start: Start) {
        for (connection, topic) in &self.environment.alone {
            let log = &self.environment.connections[*connection].1;
            let holds = holds_records(&**log, topic).await;
            match holds {
                Ok(true) => {
                    let (chain, written) = (self.name.clone(), topic.clone());
                    return self.notify(Notice::BeginsAnew { chain, source, before, start, written });
                }
                Ok(false) => {}
                // It need not be allowed to read there.
                Err(error) => tracing::debug!(chain = self.name, "cannot look at topic `{topic}`: {error}"),
            }
        }
    }
}
