//! Bytes that are nearly right, for whatever reads bytes of others: decoders, notes, positions.
//!
//! Each seed gives another text, by chance, from texts that are right: bits are turned, pieces taken out,
//! doubled, cut off and put in, numbers made extreme. What fails is named by its seed.
//!
//! ```
//! use pipectl_framework::testing::fuzz::{Fuzz, runs};
//!
//! for seed in 0..runs(100) {
//!     let bytes = Fuzz::new(seed).bytes(&[b"1,2\n", b"\"a\",b\n"], &[b"\"\"", b"\r\n"]);
//!     let _ = String::from_utf8_lossy(&bytes).parse::<i64>();
//! }
//! ```

use super::simulation::Random;

/// The environment variable that says how many seeds are tried.
pub const RUNS: &str = "PIPECTL_FUZZ_RUNS";

/// Numbers at which readers stumble.
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e999",
    b"00",
    b"4294967296",
];

/// How many seeds to try: what [`RUNS`] says, or `default`.
pub fn runs(default: u64) -> u64 {
    std::env::var(RUNS).ok().and_then(|runs| runs.parse().ok()).unwrap_or(default)
}

/// The most memory that this process has ever held, in bytes; `None` where the system does not say.
pub fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Bytes, as a seed decides them.
#[derive(Debug, Clone)]
pub struct Fuzz(Random);

impl Fuzz {
    /// What this seed gives.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.between(0, end as u64) as usize
    }

    /// One of some.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> Option<&'a T> {
        of.get(self.below(of.len())).copied()
    }

    /// One of `right`, or two of them, changed in up to eight places; `words` are put in.
    pub fn bytes(&mut self, right: &[&[u8]], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = self.pick(right).unwrap_or_default().to_vec();
        for _ in 0..self.below(9) {
            self.change(&mut bytes, right, words);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, right: &[&[u8]], words: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(8)).min(bytes.len());
        match self.below(9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => bytes.insert(at, self.0.next() as u8),
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let again = bytes.get(at..end).unwrap_or_default().to_vec();
                let times = 1 + self.below(20);
                bytes.splice(at..at, again.repeat(times));
            }
            4 => bytes.truncate(at),
            5 => {
                let other = self.pick(right).unwrap_or_default();
                let from = self.below(other.len() + 1);
                bytes.splice(at..at, other.get(from..).unwrap_or_default().iter().copied());
            }
            6 => {
                let number = self.pick(&NUMBERS).unwrap_or_default();
                let digits = |byte: &u8| byte.is_ascii_digit();
                let start = bytes.iter().skip(at).position(digits).map_or(bytes.len(), |found| at + found);
                let length = bytes.iter().skip(start).take_while(|byte| digits(byte)).count();
                bytes.splice(start..start + length, number.iter().copied());
            }
            _ => {
                let word = self.pick(words).unwrap_or_default();
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_and_another_one_something_else() {
        let bytes = |seed| Fuzz::new(seed).bytes(&[b"1,2\n3,4\n"], &[b"\"\""]);
        assert_eq!(bytes(7), bytes(7));
        let all: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(bytes).collect();
        assert!(all.len() > 600 && all.iter().all(|bytes| bytes.len() < 4000), "{}", all.len());
        assert!(most_memory().is_none_or(|bytes| bytes > 1 << 20));
    }
}
