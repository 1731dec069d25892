//! What the tests of this crate share.

#![allow(dead_code)] // each test uses a part of it

pub mod aggregates;
pub mod bench;
pub mod model;
pub mod svg;
