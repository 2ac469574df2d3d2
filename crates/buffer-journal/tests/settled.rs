//! What is settled leaves the disk: after some seconds, and when the journal is closed. Numbers go on
//! from the highest one ever given, also where no segment is left.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buffer::{Buffer, DeadLetters};
use buffer_journal::{JournalBuffer, Options, Recovery};
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::fs::sim::{Faults, Sim};
use journal::segment;
use model::Event;
use model::clock::Manual;

/// How long the keeper of a test may take to remove what is settled.
const REMOVED_WITHIN: Duration = Duration::from_secs(20);
const CARD: &[u8] = b"4111111111111111";

fn open(sim: &Sim) -> (JournalBuffer, Recovery) {
    let options = Options { segment_bytes: 4096, checkpoint_ms: 0, ..Options::new("j") };
    JournalBuffer::open_on(Arc::new(sim.clone()), options, Arc::new(Manual::at(0))).unwrap()
}

fn event(n: usize) -> Event {
    Event::new(n.to_string().as_bytes(), CARD, CARD).unwrap()
}

/// Offers these and settles all that is there. Returns their numbers.
async fn settle(journal: &JournalBuffer, events: std::ops::Range<usize>) -> Vec<u64> {
    for n in events {
        journal.offer(&[event(n)]).await.unwrap();
    }
    let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
    let receipts: Vec<_> = leased.iter().map(|envelope| envelope.receipt).collect();
    journal.ack(&receipts).await.unwrap();
    receipts.iter().map(|receipt| receipt.seq).collect()
}

/// Files in `dir` that hold the card number.
fn with_cards(fs: &dyn Fs, dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths = fs.list(dir).unwrap();
    paths.retain(|path| {
        let Ok(file) = fs.open(path, false) else { return false };
        let mut bytes = Vec::new();
        let read = journal::fs::read_full_at(&*file, &mut bytes, 1 << 30, 0);
        read.is_ok() && bytes.windows(CARD.len()).any(|window| window == CARD)
    });
    paths
}

fn segments(sim: &Sim) -> usize {
    sim.list(Path::new("j")).unwrap().iter().filter(|path| segment::base(path).is_some()).count()
}

#[tokio::test]
async fn what_is_settled_leaves_the_disk_while_the_journal_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_ms: 20, segment_ms_max: 100, ..Options::new(dir.path()) };
    let (journal, _) = JournalBuffer::open(options, Arc::new(Manual::at(0))).unwrap();
    for round in 0..3 {
        journal.offer(&[event(round)]).await.unwrap();
        assert!(!with_cards(&Disk, dir.path()).is_empty(), "it is durable");
        settle(&journal, 0..0).await;
        let begun = Instant::now();
        while !with_cards(&Disk, dir.path()).is_empty() {
            assert!(begun.elapsed() < REMOVED_WITHIN, "card numbers stay: round {round}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_settled_stays_however_old_its_segment_is() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_ms: 5, segment_ms_max: 0, ..Options::new(dir.path()) };
    let (journal, _) = JournalBuffer::open(options.clone(), Arc::new(Manual::at(0))).unwrap();
    for n in 0..200 {
        journal.offer(&[event(n)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let there = Disk.list(dir.path()).unwrap();
    let segments = there.iter().filter(|path| segment::base(path).is_some()).count();
    assert!((2..=17).contains(&segments), "{segments} open files for 200 events");
    drop(journal);
    let (journal, recovery) = JournalBuffer::open(options, Arc::new(Manual::at(0))).unwrap();
    assert_eq!((recovery.events.records, recovery.events.missing), (200, 0));
    let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
    assert!((0..200).map(event).eq(leased.into_iter().map(|envelope| envelope.event)));
}

#[tokio::test]
async fn a_journal_that_is_closed_with_all_settled_leaves_no_card_number() {
    for runs in 1..4 {
        let sim = Sim::new(3);
        for run in 0..runs {
            let (journal, recovery) = open(&sim);
            assert_eq!((recovery.events.missing, recovery.events.ahead), (0, 0));
            settle(&journal, run * 10..run * 10 + 10).await;
            journal.close().await.unwrap();
            assert_eq!(with_cards(&sim, Path::new("j")), Vec::<std::path::PathBuf>::new());
        }
    }
}

#[tokio::test]
async fn numbers_go_on_where_no_segment_is_left() {
    let sim = Sim::new(3);
    let mut highest = 0;
    for run in 0..4 {
        let (journal, recovery) = open(&sim);
        assert!(recovery.events.end_known, "run {run}: {recovery:?}");
        let numbers = settle(&journal, 0..7).await;
        assert_eq!(numbers, (highest + 1..=highest + 7).collect::<Vec<_>>(), "run {run}");
        highest += 7;
        drop(journal);
        assert_eq!(segments(&sim), 0);
    }
}

#[tokio::test]
async fn wherever_the_machine_stops_while_settled_events_are_removed_none_is_lost_or_numbered_twice()
 {
    for closing in [false, true] {
        for calls in 0..24 {
            for seed in 0..8 {
                let sim = Sim::new(seed * 31 + calls + 1);
                let (journal, _) = open(&sim);
                let numbers = settle(&journal, 0..30).await;
                sim.crash_after(calls);
                if closing {
                    let _ = journal.close().await;
                } else {
                    let _ = journal.remove_settled().await;
                }
                sim.crash_after(0);
                drop(journal);
                sim.restart();
                let case = format!("closing: {closing}, {calls} calls, seed {seed}");
                let (journal, recovery) = open(&sim);
                assert_eq!(recovery.events.missing, 0, "{case}: {recovery:?}");
                journal.offer(&[event(100)]).await.unwrap();
                let there = journal.lease(1000, Duration::ZERO).await.unwrap();
                let last = there.last().unwrap();
                assert_eq!(last.event, event(100), "{case}");
                assert!(last.receipt.seq > *numbers.last().unwrap(), "{case}: a number twice");
                let receipts: Vec<_> = there.iter().map(|envelope| envelope.receipt).collect();
                journal.ack(&receipts).await.unwrap();
                journal.close().await.unwrap();
                assert_eq!(segments(&sim), 0, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_segment_that_comes_back_after_its_removal_is_removed_again() {
    let sim = Sim::new(3);
    let (journal, _) = open(&sim);
    journal.offer(&[event(0)]).await.unwrap();
    let first = segment::path(Path::new("j"), 1);
    let mut before = Vec::new();
    sim.open(&first, false).unwrap().read_at(&mut before, 1 << 20, 0).unwrap();
    settle(&journal, 0..0).await;
    drop(journal);
    // The removal was not durable when the power went.
    sim.open(&first, true).unwrap().write_at(&before, 0).unwrap();
    let (journal, recovery) = open(&sim);
    assert_eq!((recovery.events.records, segments(&sim)), (0, 0), "{recovery:?}");
    assert_eq!(settle(&journal, 1..2).await, [2]);
}

#[tokio::test]
async fn dead_letters_keep_their_events_until_they_are_dropped_and_leave_no_card_number_then() {
    let (sim, dead) = (Sim::new(3), Path::new("j/dead"));
    let (journal, _) = open(&sim);
    journal.offer(&[event(0), event(1)]).await.unwrap();
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    let burials: Vec<_> = leased.iter().map(|e| (e.receipt, "bad".to_owned())).collect();
    journal.bury(&burials).await.unwrap();
    journal.close().await.unwrap();
    assert!(with_cards(&sim, Path::new("j")).is_empty(), "the letters hold them");
    let (journal, recovery) = open(&sim);
    assert_eq!((recovery.events.ahead, recovery.events.missing), (0, 0), "{recovery:?}");
    let letters = journal.list(0, 10).await.unwrap();
    assert_eq!((letters.len(), with_cards(&sim, dead).len()), (2, 1));
    let seqs: Vec<u64> = letters.iter().map(|letter| letter.seq).collect();
    journal.drop_letters(&seqs).await.unwrap();
    assert!(with_cards(&sim, dead).is_empty());
    drop(journal);
    let (journal, recovery) = open(&sim);
    assert_eq!(recovery.letters.missing, 0, "{recovery:?}");
    assert!(journal.list(0, 10).await.unwrap().is_empty());
    assert_eq!(settle(&journal, 2..3).await, [3], "numbers go on behind the letters' events");
}

/// Fills segments until the file system has no room for another one. Returns the events accepted.
async fn fill(sim: &Sim, journal: &JournalBuffer) -> usize {
    let mut accepted = 0;
    while segments(sim) < 2 {
        journal.offer(&[event(accepted)]).await.unwrap();
        accepted += 1;
    }
    sim.set_faults(Faults { no_space: 1, ..Faults::default() });
    while journal.offer(&[event(accepted)]).await.is_ok() {
        accepted += 1;
        assert!(accepted < 1_000, "the segments of 4 KiB never fill");
    }
    accepted
}

#[tokio::test]
async fn a_full_disk_frees_every_segment_once_all_events_are_settled() {
    let sim = Sim::new(1);
    let (journal, _) = open(&sim);
    let accepted = fill(&sim, &journal).await;
    assert_eq!(settle(&journal, 0..0).await.len(), accepted);
    journal.checkpoint().unwrap();
    assert_eq!(segments(&sim), 0);
    sim.set_faults(Faults::default());
    assert_eq!(settle(&journal, 0..3).await.len(), 3);
}

#[tokio::test]
async fn a_refused_offer_frees_the_last_segment_when_all_was_settled_before() {
    let sim = Sim::new(1);
    let (journal, _) = open(&sim);
    settle(&journal, 0..3).await;
    journal.checkpoint().unwrap();
    assert_eq!(segments(&sim), 1, "the segment that is written to stays");
    sim.set_faults(Faults { no_space: 1, ..Faults::default() });
    let larger_than_the_rest: Vec<_> = (0..60).map(event).collect();
    let refused = journal.offer(&larger_than_the_rest).await.unwrap_err();
    assert!(matches!(refused, buffer::Error::Full { .. }), "{refused}");
    journal.checkpoint().unwrap();
    assert_eq!(segments(&sim), 0);
}
