//! Transforms: rows to rows.

mod filter;
mod select;
