//! Files as sources: what `csv`, `jsonl` and every other form of file have in common.
//!
//! A form says how the bytes of a file become rows ([`records`]). Everything else is here: how a file is
//! unpacked and decoded, how it is known again after a restart, when its rows are due, and what becomes of a
//! last line without its end.
//!
//! | file | what is in it |
//! |---|---|
//! | [`common`] | the settings that every form has |
//! | [`records`] | what a form has to say: the two traits, and places in a file |
//! | [`buffer`] | the bytes of a file while its records are read |
//! | [`input`] | a file as it stands on the disk, or decoded |
//! | [`packed`], [`encoding`] | the forms in which files are compressed, and that are not UTF-8 |
//! | [`watched`] | a file that is watched while it is read, and known again |
//! | [`position`] | where to go on in a file after a restart |
//! | [`finder`] | the files that a path, a pattern or a list leads to |
//! | [`course`] | in which order several files are read, and how far each is |
//! | [`reading`] | one file while it is read |
//! | [`followed`], [`trail`] | a file that goes on, and the files that it was before it was rotated |
//! | [`passing`], [`stream`], [`pipe`] | standard input: its rows, what is decoded, its bytes |
//! | [`waiting`] | calls that wait for a disk |
//! | [`source`] | pace, stamps and positions: what the runner sees |

mod buffer;
mod common;
mod course;
mod encoding;
mod finder;
mod followed;
#[cfg(test)]
mod fuzz_tests;
mod input;
mod known;
mod packed;
mod passing;
mod pipe;
mod position;
mod reading;
mod records;
mod source;
mod stream;
mod trail;
mod waiting;
mod watched;

pub(crate) use buffer::{BATCH_BYTES, Buffer};
pub(crate) use common::{Common, Opening, one_mebibyte};
pub(crate) use encoding::{BOM, Encoding, is_no_utf_16};
pub(crate) use finder::Paths;
pub(crate) use input::Input;
pub(crate) use packed::Compression;
#[cfg(test)]
pub(crate) use passing::passing_source;
pub(crate) use pipe::STANDARD_INPUT;
pub(crate) use reading::cannot_begin;
pub(crate) use records::{Beginning, Form, LastLine, Place, Records, Rows};
