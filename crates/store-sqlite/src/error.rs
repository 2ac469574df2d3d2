//! Which of SQLite's failures is whose fault.

use rusqlite::ErrorCode;
use store::Error;

/// Sorts a failure of a running store.
pub(crate) fn classify(error: &rusqlite::Error) -> Error {
    let text = error.to_string();
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return Error::Rejected(text);
    };
    match failure.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::DiskFull
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::SchemaChanged
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted => Error::Unavailable(text),
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::ParameterOutOfRange => Error::Rejected(text),
        _ => Error::Fatal(text),
    }
}

#[cfg(test)]
mod tests {
    use model::{Class, Classify};
    use rusqlite::ffi;

    use super::*;

    fn check(code: i32, expect: Class) {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(classify(&error).class(), expect, "{error}");
    }

    #[test]
    fn what_may_pass_is_retryable() {
        check(ffi::SQLITE_BUSY, Class::Retryable);
        check(ffi::SQLITE_BUSY_SNAPSHOT, Class::Retryable);
        check(ffi::SQLITE_LOCKED, Class::Retryable);
        check(ffi::SQLITE_IOERR_FSYNC, Class::Retryable);
        check(ffi::SQLITE_FULL, Class::Retryable);
        check(ffi::SQLITE_CANTOPEN, Class::Retryable);
        check(ffi::SQLITE_NOMEM, Class::Retryable);
        check(ffi::SQLITE_PROTOCOL, Class::Retryable);
    }

    #[test]
    fn what_a_row_is_to_blame_for_is_rejected() {
        check(ffi::SQLITE_CONSTRAINT_CHECK, Class::Rejected);
        check(ffi::SQLITE_MISMATCH, Class::Rejected);
        check(ffi::SQLITE_TOOBIG, Class::Rejected);
        check(ffi::SQLITE_RANGE, Class::Rejected);
    }

    #[test]
    fn what_no_attempt_mends_is_fatal() {
        check(ffi::SQLITE_CORRUPT, Class::Fatal);
        check(ffi::SQLITE_NOTADB, Class::Fatal);
        check(ffi::SQLITE_READONLY, Class::Fatal);
        check(ffi::SQLITE_ERROR, Class::Fatal);
    }
}
