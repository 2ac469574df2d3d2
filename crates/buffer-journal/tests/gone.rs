//! A journal whose files are removed or moved while it is open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Class, Classify as _};
use buffer_journal::{JournalBuffer, Options};
use model::Event;
use model::clock::System;

fn event(id: &str) -> Event {
    Event::new(id.as_bytes(), b"key", b"{}").unwrap()
}

fn segment(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|end| end == "seg")).unwrap()
}

/// What is accepted before `remove` is settled, and nothing is accepted after it.
async fn check(sync: journal::Sync, remove: impl FnOnce(&Path)) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("buffer");
    let options = Options { sync, ..Options::new(&dir) };
    let (journal, _) = JournalBuffer::open(options, Arc::new(System)).unwrap();
    journal.offer(&[event("before")]).await.unwrap();
    remove(&dir);
    for id in ["after", "later"] {
        let refused = journal.offer(&[event(id)]).await.unwrap_err();
        assert_eq!(refused.class(), Class::Fatal, "{refused}");
        let reason = "was removed or moved while the journal was open";
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    let ids: Vec<_> = leased.iter().map(|envelope| envelope.event.id()).collect();
    assert_eq!(ids, [b"before"]);
    assert_eq!(journal.ack(&[leased[0].receipt]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_journal_whose_folder_was_removed_accepts_nothing_and_drains() {
    for sync in [journal::Sync::Always, journal::Sync::Os] {
        check(sync, |dir| std::fs::remove_dir_all(dir).unwrap()).await;
    }
}

#[tokio::test]
async fn a_journal_whose_folder_was_moved_accepts_nothing_and_drains() {
    check(journal::Sync::Always, |dir| std::fs::rename(dir, dir.with_extension("old")).unwrap())
        .await;
}

#[tokio::test]
async fn a_journal_whose_segment_was_removed_or_replaced_accepts_nothing_and_drains() {
    check(journal::Sync::Always, |dir| std::fs::remove_file(segment(dir)).unwrap()).await;
    check(journal::Sync::Always, |dir| {
        let segment = segment(dir);
        std::fs::copy(&segment, dir.join("copy")).unwrap();
        std::fs::rename(dir.join("copy"), &segment).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_journal_whose_folder_is_gone_before_its_first_event_accepts_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("buffer");
    let (journal, _) = JournalBuffer::open(Options::new(&dir), Arc::new(System)).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let refused = journal.offer(&[event("after")]).await.unwrap_err();
    assert!(refused.to_string().contains("begin"), "{refused}");
}
