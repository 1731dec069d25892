//! A hash that stays the same over versions and machines, for marks that are kept.

/// FNV-1a, 64 bits (Fowler, Noll, Vo): a check against mistakes, not against malice.
///
/// ```
/// assert_eq!(pipectl_framework::hash::fnv1a(b""), 0xcbf2_9ce4_8422_2325);
/// assert_eq!(pipectl_framework::hash::fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
/// ```
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
