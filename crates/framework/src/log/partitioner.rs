//! Which partition a key belongs to: Java's `murmur2` partitioner, so that producers of other programs agree.
//!
//! `partition = (murmur2(key) & 0x7fffffff) % partitions`, as in Kafka's `Utils.murmur2` and
//! `Utils.toPositive` (what librdkafka calls `murmur2_random`).

use arrow_array::{Array, BinaryArray};

/// Kafka's `Utils.murmur2`: the 32-bit `MurmurHash2` with the seed 0x9747b28c, as a signed number like
/// Java's.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

/// The partition of `key` among `partitions` of them, which must not be 0.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & i32::MAX).cast_unsigned() % partitions
}

/// The partition of records whose key is null, where the others have one: all of them are together, so that
/// one worker counts them. Java's partitioner would spread them.
pub const NULL_KEYS: u32 = 0;

/// The rows of each partition, in their order. Without keys all go to `keyless`; a null key goes to
/// [`NULL_KEYS`], and an empty one is a key.
pub fn rows_by_partition(
    keys: Option<&BinaryArray>,
    rows: usize,
    partitions: u32,
    keyless: u32,
) -> Vec<Vec<u32>> {
    let mut out = vec![Vec::new(); partitions as usize];
    for row in 0..rows {
        let partition = match keys {
            Some(keys) if keys.is_valid(row) => partition_of(keys.value(row), partitions),
            Some(_) => NULL_KEYS,
            None => keyless % partitions,
        };
        out[partition as usize].push(row as u32);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_java() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_partition_and_in_order(
            keys in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), 0..60),
            partitions in 1u32..9,
            keyless in any::<u32>(),
        ) {
            let array: BinaryArray = keys.iter().map(Option::as_deref).collect();
            let by = rows_by_partition(Some(&array), keys.len(), partitions, keyless);
            let mut all: Vec<u32> = by.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..keys.len() as u32).collect::<Vec<_>>());
            for (partition, rows) in by.iter().enumerate() {
                prop_assert!(rows.is_sorted());
                for row in rows {
                    let want = keys[*row as usize].as_ref().map_or(NULL_KEYS, |k| partition_of(k, partitions));
                    prop_assert_eq!(partition as u32, want);
                }
            }
        }
    }
}
