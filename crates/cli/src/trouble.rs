//! Which troubles of a run have been told: a fault that lasts, or that several chains meet, is one line and
//! not a flood.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a trouble lasts before it is told again.
const AGAIN: Duration = Duration::from_secs(60);

/// The troubles that last.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// When each was told.
    told: BTreeMap<String, Instant>,
    /// The chains that have not recovered.
    chains: BTreeSet<String>,
}

impl Troubles {
    /// A chain has met a trouble, told in `words`; true where a person should hear of it.
    pub(crate) fn met(&mut self, chain: &str, words: &str, now: Instant) -> bool {
        self.chains.insert(chain.to_owned());
        let known = self.told.get(words).is_some_and(|told| now.duration_since(*told) < AGAIN);
        if !known {
            self.told.insert(words.to_owned(), now);
        }
        !known
    }

    /// A chain works again; once all do, each trouble is news.
    pub(crate) fn over(&mut self, chain: &str) {
        self.chains.remove(chain);
        if self.chains.is_empty() {
            self.told.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_a_minute_until_all_chains_work_again() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        assert!(troubles.met("a", "no broker", start));
        assert!(!troubles.met("a", "no broker", start + Duration::from_secs(10)));
        assert!(!troubles.met("b", "no broker", start + Duration::from_secs(10)));
        assert!(troubles.met("b", "no topic", start + Duration::from_secs(10)));
        assert!(troubles.met("a", "no broker", start + AGAIN));
        troubles.over("a");
        assert!(!troubles.met("a", "no broker", start + AGAIN));
        troubles.over("a");
        troubles.over("b");
        assert!(troubles.met("a", "no broker", start + AGAIN));
    }
}
