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
        // A row may be at fault, or a constraint or a trigger that refuses every row.
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::ParameterOutOfRange => Error::Refused(text),
        _ => Error::Fatal(text),
    }
}

/// Sorts a failure of a statement that writes rows. There, SQLite's plain "error" is what a trigger
/// or a constraint came to with one row (an integer overflow, malformed JSON), or a table that is
/// not as it was; neither is mended by a new start.
pub(crate) fn classify_write(error: &rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::Unknown => {
            Error::Refused(error.to_string())
        }
        _ => classify(error),
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
    fn what_a_row_may_be_to_blame_for_is_refused() {
        let refused = |code: i32| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert!(matches!(classify_write(&error), Error::Refused(_)), "{error}");
        };
        refused(ffi::SQLITE_CONSTRAINT_CHECK);
        refused(ffi::SQLITE_CONSTRAINT_TRIGGER);
        refused(ffi::SQLITE_MISMATCH);
        refused(ffi::SQLITE_TOOBIG);
        refused(ffi::SQLITE_RANGE);
        refused(ffi::SQLITE_ERROR);
    }

    #[test]
    fn no_row_is_to_blame_for_a_full_disk_a_lock_or_an_error_of_the_medium() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_BUSY] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert!(matches!(classify_write(&error), Error::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn what_no_attempt_mends_is_fatal() {
        check(ffi::SQLITE_CORRUPT, Class::Fatal);
        check(ffi::SQLITE_NOTADB, Class::Fatal);
        check(ffi::SQLITE_READONLY, Class::Fatal);
        check(ffi::SQLITE_ERROR, Class::Fatal);
    }
}
