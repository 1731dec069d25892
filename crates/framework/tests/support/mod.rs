//! What the tests of this crate share.

pub mod aggregates;
pub mod model;
