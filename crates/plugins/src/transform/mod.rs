//! Transforms: rows to rows.

mod cast;
mod filter;
mod select;
