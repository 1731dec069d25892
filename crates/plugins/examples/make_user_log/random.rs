//! Numbers that look random and are the same on every machine: `SplitMix64`, integers only.
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit - 1`, each as likely.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from 0 to `limit - 1`, small ones more likely: half of all lie in the first quarter.
    pub(crate) fn skewed_below(&mut self, limit: u64) -> u64 {
        let fine = 1 << 20;
        let part = self.below(fine);
        (u128::from(part * part) * u128::from(limit) / u128::from(fine * fine)) as u64
    }

    /// True once in `times`, on average.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, each as often as its weight says.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[(T, u64)]) -> T {
        let mut left = self.below(choices.iter().map(|(_, weight)| weight).sum());
        for (choice, weight) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        unreachable!("the number drawn is below the sum of the weights")
    }
}
