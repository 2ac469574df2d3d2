//! buffer-journal
