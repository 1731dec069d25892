//! What goes wrong with a log on disk, in terms of what to do.

use std::io::{self, ErrorKind};

use pipectl_framework::error::Error;
use redb::DatabaseError;

const ANOTHER_DIRECTORY: &str = "restore the directory from a copy, or remove it to begin anew";

pub(super) fn in_use(name: &str) -> Error {
    Error::fatal(format!("another process has the log in {name} open"))
        .remedy("stop it, or give this pipeline a directory of its own: `brokers: embedded:DIR`")
}

pub(super) fn a_file(name: &str) -> Error {
    Error::fatal(format!("the log cannot be kept in {name}: that is a file, not a directory"))
        .remedy("name a directory: `brokers: embedded:DIR`")
}

/// The directory cannot be made, or not be written to.
pub(super) fn no_directory(name: &str, error: &io::Error) -> Error {
    if full(error) {
        return disk_full(name);
    }
    Error::fatal(format!("the log cannot be kept in the directory {name}: {error}"))
        .remedy("name a directory that this user may write in: `brokers: embedded:DIR`")
}

pub(super) fn of_version(name: &str, found: u64, known: u64) -> Error {
    Error::fatal(format!("the log in {name} is of version {found}, and this pipectl reads version {known}"))
        .remedy("use the version of pipectl that wrote it, or another directory")
}

pub(super) fn damaged(name: &str, what: impl std::fmt::Display) -> Error {
    Error::fatal(format!("the log in {name} is damaged: {what}")).remedy(ANOTHER_DIRECTORY)
}

/// The log has fewer commits than it once had.
pub(super) fn lost(name: &str, found: u64, least: u64) -> Error {
    damaged(name, format!("it has {found} of at least {least} commits, the last ones are lost"))
}

pub(super) fn without_file(name: &str, file: &str) -> Error {
    damaged(name, format!("its file {file} is gone"))
}

pub(super) fn cannot_open(name: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => in_use(name),
        DatabaseError::UpgradeRequired(version) => Error::fatal(format!(
            "the log in {name} is in another form of the store ({version})"
        ))
        .remedy("let the version of pipectl that wrote it finish, or remove the directory to begin anew"),
        other => broken(name, other.into()),
    }
}

/// What the store says.
pub(super) fn broken(name: &str, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(e) if full(&e) => disk_full(name),
        redb::Error::Io(e) if e.kind() == ErrorKind::InvalidData => {
            Error::fatal(format!("{name}/log.redb is not a log of pipectl: {e}"))
                .remedy("name another directory, or remove this one to begin anew")
        }
        // The file ends before what its header speaks of.
        redb::Error::Io(e) if e.kind() == ErrorKind::UnexpectedEof => damaged(name, e),
        redb::Error::Corrupted(what) => damaged(name, what),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableDoesNotExist(_)) => damaged(name, error),
        other => Error::fatal(format!("the log in {name} cannot be read or written: {other}"))
            .remedy("see that this user may write there and that the disk works, then start again"),
    }
}

fn full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn disk_full(name: &str) -> Error {
    Error::retry(format!("the disk of the log in {name} is full"))
        .remedy("make room there: the pipeline waits, loses nothing, and goes on by itself")
}
