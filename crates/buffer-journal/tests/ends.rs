//! The end of a journal that is damaged after its process died: what can be counted is counted, and
//! what cannot is never called complete.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Error};
use buffer_journal::{JournalBuffer, Options, Recovery};
use journal::fs::Fs;
use journal::fs::sim::{Broken, Sim};
use journal::segment;
use model::Event;
use model::clock::Manual;

const BEFORE: usize = 10;
const AFTER: usize = 30;

fn open(sim: &Sim) -> (JournalBuffer, Recovery) {
    let options = Options { segment_bytes: 16_384, checkpoint_ms: 0, ..Options::new("j") };
    JournalBuffer::open_on(Arc::new(sim.clone()), options, Arc::new(Manual::at(0))).unwrap()
}

fn event(n: usize) -> Event {
    Event::new(format!("event-{n:03}").as_bytes(), b"key", &[b'x'; 40]).unwrap()
}

/// Ten events, a checkpoint, thirty more, and the end of the process.
async fn killed_after_its_checkpoint(sim: &Sim) -> PathBuf {
    let (journal, _) = open(sim);
    for n in 0..BEFORE {
        journal.offer(&[event(n)]).await.unwrap();
    }
    journal.checkpoint().unwrap();
    for n in (BEFORE..BEFORE + AFTER).step_by(2) {
        journal.offer(&[event(n), event(n + 1)]).await.unwrap();
    }
    sim.crash_after(0);
    drop(journal);
    sim.restart();
    let mut paths = sim.list(Path::new("j")).unwrap();
    paths.retain(|path| segment::base(path).is_some());
    paths.sort();
    paths.pop().unwrap()
}

fn place_of(sim: &Sim, path: &Path, n: usize) -> usize {
    let mut bytes = Vec::new();
    sim.open(path, false).unwrap().read_at(&mut bytes, 1 << 20, 0).unwrap();
    let id = format!("event-{n:03}");
    bytes.windows(id.len()).position(|w| w == id.as_bytes()).unwrap()
}

#[tokio::test]
async fn however_the_end_is_damaged_no_more_is_claimed_than_is_known() {
    let all = (BEFORE + AFTER) as u64;
    for first in 0..BEFORE + AFTER {
        for zeros in [false, true] {
            let sim = Sim::new(first as u64 + 1);
            let path = killed_after_its_checkpoint(&sim).await;
            let from = place_of(&sim, &path, first) - 32;
            let to = place_of(&sim, &path, BEFORE + AFTER - 1) + 40;
            let with = if zeros { 0 } else { b'#' };
            sim.damage(&path, from, &vec![with; to - from]);
            let (journal, recovery) = open(&sim);
            let found = &recovery.events;
            let lost = all - found.records;
            let case = format!("from event {first}, zeros: {zeros}: {found:?}");
            assert!(found.missing <= lost, "{case}");
            assert_eq!(found.missing, (BEFORE as u64).saturating_sub(first as u64), "{case}");
            assert!(!found.end_known, "{case}");
            assert!(zeros || found.torn_bytes + found.damaged_bytes > 0, "{case}");
            journal.offer(&[event(500)]).await.unwrap();
            let leased = journal.lease(100, Duration::ZERO).await.unwrap();
            assert_eq!(leased.last().unwrap().event, event(500), "{case}");
        }
    }
}

#[tokio::test]
async fn a_part_of_the_last_group_that_is_damaged_is_counted_as_far_as_a_checkpoint_promises() {
    for promised in [false, true] {
        let sim = Sim::new(3);
        let (journal, _) = open(&sim);
        journal.offer(&[event(0)]).await.unwrap();
        journal.offer(&[event(1), event(2), event(3)]).await.unwrap();
        if promised {
            journal.checkpoint().unwrap();
        }
        sim.crash_after(0);
        drop(journal);
        sim.restart();
        let path = segment::path(Path::new("j"), 1);
        sim.damage(&path, place_of(&sim, &path, 2), b"#");
        let (_, recovery) = open(&sim);
        let found = (recovery.events.missing, recovery.events.doubtful);
        assert_eq!(found, if promised { (1, 0) } else { (0, 1) }, "promised: {promised}");
    }
}

#[tokio::test]
async fn a_last_segment_that_is_gone_is_noticed_without_a_checkpoint_after_it() {
    for events in [1, 2, 300] {
        let sim = Sim::new(3);
        let (journal, _) = open(&sim);
        for n in 0..events {
            journal.offer(&[event(n)]).await.unwrap();
        }
        sim.crash_after(0);
        drop(journal);
        sim.restart();
        let mut paths = sim.list(Path::new("j")).unwrap();
        paths.retain(|path| segment::base(path).is_some());
        paths.sort();
        sim.remove(paths.last().unwrap()).unwrap();
        let (_, recovery) = open(&sim);
        let found = recovery.events;
        assert!(found.missing >= 1 && !found.end_known, "{events} events: {found:?}");
    }
}

#[tokio::test]
async fn where_the_journal_was_closed_a_loss_at_its_end_is_exact() {
    let sim = Sim::new(3);
    let (journal, _) = open(&sim);
    for n in 0..20 {
        journal.offer(&[event(n)]).await.unwrap();
    }
    drop(journal);
    let path = segment::path(Path::new("j"), 1);
    let from = place_of(&sim, &path, 15);
    sim.damage(&path, from, &[0; 200]);
    let (journal, recovery) = open(&sim);
    let found = recovery.events;
    assert!(found.end_known && found.missing + found.records == 20, "{found:?}");
    journal.offer(&[event(20)]).await.unwrap();
    sim.crash_after(0);
    drop(journal);
    sim.restart();
    assert!(!open(&sim).1.events.end_known, "an append takes the mark of closing away");
}

/// A journal that was closed in order, open again, with checkpoints that cannot be written.
async fn closed_and_open_without_checkpoints(sim: &Sim, broken: Broken) -> JournalBuffer {
    let (journal, _) = open(sim);
    journal.offer(&[event(0)]).await.unwrap();
    drop(journal);
    let (journal, _) = open(sim);
    for slot in ["j/checkpoint-0", "j/checkpoint-1"] {
        sim.set_broken(Path::new(slot), Some(broken));
    }
    journal
}

#[tokio::test]
async fn no_event_is_accepted_while_the_checkpoint_still_says_that_the_journal_was_closed() {
    for broken in [Broken::Writes, Broken::Syncs] {
        let sim = Sim::new(5);
        let journal = closed_and_open_without_checkpoints(&sim, broken).await;
        let accepted = journal.offer(&[event(1)]).await.is_ok();
        sim.crash_after(0);
        drop(journal);
        sim.restart();
        // The last segment is lost with what was accepted into it.
        let last = segment::path(Path::new("j"), 2);
        sim.remove(&last).unwrap();
        let found = open(&sim).1.events;
        assert!(
            !accepted || found.missing == 1,
            "{broken:?}: an accepted event vanished: {found:?}"
        );
        assert!(!accepted || !found.end_known, "{broken:?}: the loss is called exact: {found:?}");
    }
}

#[tokio::test]
async fn an_offer_is_refused_while_no_checkpoint_can_be_written_and_accepted_afterwards() {
    let sim = Sim::new(5);
    let journal = closed_and_open_without_checkpoints(&sim, Broken::Writes).await;
    for n in [1, 2] {
        let refused = journal.offer(&[event(n), event(n + 10)]).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    }
    for slot in ["j/checkpoint-0", "j/checkpoint-1"] {
        sim.set_broken(Path::new(slot), None);
    }
    journal.offer(&[event(3)]).await.unwrap();
    sim.crash_after(0);
    drop(journal);
    sim.restart();
    let (journal, recovery) = open(&sim);
    assert_eq!((recovery.events.records, recovery.events.missing), (2, 0), "{recovery:?}");
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    assert_eq!(leased.iter().map(|e| e.event.clone()).collect::<Vec<_>>(), [event(0), event(3)]);
}

#[tokio::test]
async fn a_checkpoint_whose_sync_fails_at_the_first_group_of_a_segment_poisons() {
    for seed in 0..32 {
        let sim = Sim::new(seed * 31 + 1);
        let journal = closed_and_open_without_checkpoints(&sim, Broken::Syncs).await;
        let refused = journal.offer(&[event(1)]).await.unwrap_err();
        assert!(matches!(refused, Error::Poisoned(_)), "{refused}");
        sim.crash_after(0);
        drop(journal);
        sim.restart();
        let found = open(&sim).1.events;
        assert_eq!(found.missing, 0, "what was refused is not called lost: {found:?}");
    }
}
