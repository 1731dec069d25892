//! Which worker gives the zeros of a key that `zero_fill` names: the one that has the partition its rows
//! would be in.

use super::keys::NO_OWNER;
use super::operator::WindowOperator;

impl WindowOperator {
    /// The keys that `zero_fill` names.
    pub(crate) fn named_keys(&self) -> &[String] {
        &self.settings.keys
    }

    /// The partition, by its index, that the rows of each of [`named_keys`](Self::named_keys) are in. Without
    /// it every worker gives zeros for all of them.
    pub(crate) fn set_homes(&mut self, homes: Vec<i32>) {
        self.homes = homes;
    }

    /// For each of the named keys whether its zeros are given with the rows of the partitions `open`.
    pub(super) fn named_here(&self, open: &[u32]) -> Vec<bool> {
        let has_home = |group: usize| match self.homes.get(group) {
            Some(home) => self
                .partitions
                .iter()
                .any(|(partition, assigned)| partition.index == *home && open.contains(&assigned.number)),
            None => {
                let owner = self.keys.owner(group as u32);
                owner == NO_OWNER || open.contains(&owner)
            }
        };
        (0..self.settings.keys.len()).map(has_home).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::batch::Partition;
    use crate::plugin::{Input, fold};
    use crate::window::WindowSettings;
    use crate::window::soak::{Number, grid, schema};

    /// The named keys that a worker gives without a row, which has some of two partitions; `a` and `c` are at
    /// home in the first.
    fn given_by(has: &[i32], homes: &[i32], open: &[u32]) -> Vec<bool> {
        let input = Input { schema: schema(), given_by: "the test".into() };
        let settings = WindowSettings {
            key: vec!["value".into()],
            keep_seen: true,
            keys: vec!["a".into(), "b".into(), "c".into()],
            ..grid(1000, 1000)
        };
        let mut operator = WindowOperator::new(settings, fold::aggregate::<Number>("n", 0), &input).unwrap();
        operator.set_homes(homes.to_vec());
        for index in has {
            operator.assign(Partition::new("t", *index), None, Duration::ZERO);
        }
        operator.named_here(open)
    }

    #[test]
    fn the_zeros_of_a_named_key_are_given_by_one_worker() {
        let homes = [0, 1, 0];
        assert_eq!(given_by(&[0, 1], &homes, &[0, 1]), [true, true, true], "one worker has all");
        assert_eq!(given_by(&[0], &homes, &[0]), [true, false, true]);
        assert_eq!(given_by(&[1], &homes, &[0]), [false, true, false], "the numbers are of the worker");
        assert_eq!(given_by(&[0, 1], &homes, &[1]), [false, true, false], "the other was closed before");
        assert_eq!(given_by(&[1], &[], &[0]), [true, true, true], "nobody knows where they are");
    }
}
