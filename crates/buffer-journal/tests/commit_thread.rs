//! A commit thread that panics: every caller gets an answer, and the journal closes.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Error};
use buffer_journal::{JournalBuffer, Options};
use journal::fs::Fs;
use journal::fs::sim::{Broken, Sim};
use journal::segment;
use model::Event;
use model::clock::Manual;
use tokio::time::timeout;

/// How long an answer may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

fn event(id: &[u8]) -> Event {
    Event::new(id, b"key", b"{}").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_thread_that_panics_leaves_no_caller_waiting() {
    let sim = Sim::new(1);
    // The keeper closes the segment at each of its turns.
    let options = Options { checkpoint_ms: 10, segment_ms_max: 0, ..Options::new("j") };
    let clock = Arc::new(Manual::at(0));
    let (journal, _) = JournalBuffer::open_on(Arc::new(sim.clone()), options, clock).unwrap();
    let journal = Arc::new(journal);
    let mut offered = Ok(());
    while offered.is_ok() {
        // The keeper may close the segment between the two calls: then the next one is broken.
        offered = timeout(PATIENCE, journal.offer(&[event(b"a")])).await.unwrap();
        let paths = sim.list(Path::new("j")).unwrap();
        for path in paths.iter().filter(|path| segment::base(path).is_some()) {
            sim.set_broken(path, Some(Broken::Panics));
        }
    }
    assert!(matches!(offered, Err(Error::Poisoned(_))), "it may be held or not: {offered:?}");
    let refused = timeout(PATIENCE, journal.offer(&[event(b"b")])).await.expect("an answer");
    assert!(matches!(refused, Err(Error::Poisoned(_))), "{refused:?}");
    timeout(PATIENCE, journal.remove_settled()).await.expect("an answer").unwrap();
    assert!(!journal.lease(10, Duration::ZERO).await.unwrap().is_empty(), "it can be drained");
    let closing = tokio::task::spawn_blocking(move || drop(journal));
    timeout(PATIENCE, closing).await.expect("the keeper ends").unwrap();
}
