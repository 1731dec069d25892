//! Records that a log refuses one by one, by rules of its own.

use crate::clock::Millis;

/// A record that a log refused by a rule of its own, such as one about timestamps: nothing of its transaction
/// is kept, and the same record would be refused again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The topic that it was for.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its timestamp, where the rule is about that; else the record would be refused with any. One that is
    /// made again may have another.
    pub timestamp: Option<Millis>,
    /// The rule, with what would satisfy it, without a final full stop.
    pub reason: String,
}
