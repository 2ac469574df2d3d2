//! Dead letters beside the events: a folder whose parts are of different age, and damage in `dead/`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, DeadLetters};
use buffer_journal::{JournalBuffer, Options, Recovery, Sync};
use journal::fs::Fs;
use journal::fs::sim::{Faults, Sim};
use journal::segment;
use model::Event;
use model::clock::Manual;

fn open_as(sim: &Sim, sync: Sync) -> (JournalBuffer, Recovery) {
    let options = Options { sync, segment_bytes: 4096, checkpoint_ms: 0, ..Options::new("j") };
    JournalBuffer::open_on(Arc::new(sim.clone()), options, Arc::new(Manual::at(0))).unwrap()
}

fn open(sim: &Sim) -> (JournalBuffer, Recovery) {
    open_as(sim, Sync::Always)
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Event> {
    numbers.map(|n| Event::new(n.to_string().as_bytes(), b"key", b"{}").unwrap()).collect()
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    events.into_iter().map(|event| String::from_utf8(event.id().to_vec()).unwrap()).collect()
}

/// Leases all, buries those whose number is a multiple of `every`, and leaves the rest.
async fn bury(journal: &JournalBuffer, every: u64) {
    let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
    let bad = leased.iter().filter(|envelope| envelope.receipt.seq % every == 0);
    let burials: Vec<_> = bad.map(|envelope| (envelope.receipt, "bad".to_owned())).collect();
    journal.bury(&burials).await.unwrap();
    let rest: Vec<_> = leased.iter().map(|envelope| envelope.receipt).collect();
    journal.release(&rest, Duration::ZERO).await.unwrap();
}

fn stop(sim: &Sim, journal: JournalBuffer) {
    sim.crash_after(0);
    drop(journal);
    sim.restart();
}

/// The segments in `dir`, in order.
fn segments(sim: &Sim, dir: &str) -> Vec<std::path::PathBuf> {
    let mut paths = sim.list(Path::new(dir)).unwrap();
    paths.retain(|path| segment::base(path).is_some());
    paths.sort();
    paths
}

async fn check_that_new_events_are_served(journal: &JournalBuffer) {
    journal.offer(&events(100..110)).await.unwrap();
    let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
    let there = ids(leased.iter().map(|envelope| &envelope.event));
    let offered = ids(&events(100..110));
    assert!(there.ends_with(&offered), "accepted: {offered:?}, served: {there:?}");
}

#[tokio::test]
async fn new_events_are_served_where_dead_letters_are_newer_than_the_segments() {
    let sim = Sim::new(3);
    let (journal, _) = open(&sim);
    journal.offer(&events(0..4)).await.unwrap();
    drop(journal);
    let (journal, _) = open(&sim);
    journal.offer(&events(4..20)).await.unwrap();
    bury(&journal, 3).await;
    stop(&sim, journal);
    // A backup that took the segments before the second run, and dead/ after it.
    sim.remove(segments(&sim, "j").last().unwrap()).unwrap();
    for slot in ["j/checkpoint-0", "j/checkpoint-1"] {
        sim.remove(Path::new(slot)).unwrap();
    }
    for restarts in 0..3 {
        let (journal, _) = open(&sim);
        check_that_new_events_are_served(&journal).await;
        let letters = journal.list(0, 100).await.unwrap();
        assert_eq!(letters.len(), 6, "restarts: {restarts}");
        stop(&sim, journal);
    }
}

#[tokio::test]
async fn new_events_are_served_after_a_power_loss_that_took_what_sync_os_had_accepted() {
    for seed in 0..16 {
        let sim = Sim::new(seed * 31 + 1);
        let (journal, _) = open_as(&sim, Sync::Os);
        journal.offer(&events(0..40)).await.unwrap();
        bury(&journal, 5).await;
        stop(&sim, journal);
        let (journal, _) = open_as(&sim, Sync::Os);
        check_that_new_events_are_served(&journal).await;
    }
}

/// Bytes of a file, or none.
fn content(sim: &Sim, path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    sim.open(path, false).unwrap().read_at(&mut bytes, 1 << 20, 0).unwrap();
    bytes
}

fn damage(sim: &Sim, path: &Path, what: &[u8]) {
    let bytes = content(sim, path);
    let at = bytes.windows(what.len()).position(|w| w == what).expect("it was written");
    sim.damage(path, at, b"#");
}

/// Buries one letter, which begins a segment, and then 19 at once.
async fn twenty_letters(sim: &Sim) -> JournalBuffer {
    let (journal, _) = open(sim);
    let events: Vec<Event> = (10..30)
        .map(|n: u32| Event::new(format!("event-{n}").as_bytes(), b"key", b"{}").unwrap())
        .collect();
    for some in [&events[..1], &events[1..]] {
        journal.offer(some).await.unwrap();
        bury(&journal, 1).await;
    }
    journal.checkpoint().unwrap();
    journal
}

#[tokio::test]
async fn a_damaged_letter_is_counted_quarantined_and_its_neighbours_are_there() {
    for in_order in [false, true] {
        for n in [10, 17, 29] {
            let sim = Sim::new(9);
            let journal = twenty_letters(&sim).await;
            if in_order {
                drop(journal);
            } else {
                stop(&sim, journal);
            }
            damage(&sim, &segments(&sim, "j/dead")[0], format!("event-{n}").as_bytes());
            let (journal, recovery) = open(&sim);
            let letters = &recovery.letters;
            let expect = format!("letter {n}, closed in order: {in_order}: {letters:?}");
            assert_eq!(letters.missing, 1, "{expect}");
            assert!(letters.damaged_bytes > 60 && letters.torn_bytes == 0, "{expect}");
            assert_eq!(journal.list(0, 100).await.unwrap().len(), 19, "{expect}");
            assert_eq!(sim.list(Path::new("j/dead/quarantine")).unwrap().len(), 1, "{expect}");
            assert_eq!(recovery.events.missing, 0, "{expect}");
        }
    }
}

#[tokio::test]
async fn letters_that_were_dropped_are_not_missing_when_their_bytes_are_damaged() {
    let sim = Sim::new(9);
    let journal = twenty_letters(&sim).await;
    let letters = journal.list(0, 100).await.unwrap();
    journal.drop_letters(&[letters[5].seq]).await.unwrap();
    drop(journal);
    damage(&sim, &segments(&sim, "j/dead")[0], b"event-15");
    let (journal, recovery) = open(&sim);
    assert_eq!(recovery.letters.missing, 0, "{recovery:?}");
    assert_eq!(journal.list(0, 100).await.unwrap().len(), 19);
}

#[tokio::test]
async fn letters_whose_segment_is_gone_are_counted() {
    let sim = Sim::new(9);
    let journal = twenty_letters(&sim).await;
    stop(&sim, journal);
    sim.remove(&segments(&sim, "j/dead")[0]).unwrap();
    let (_, recovery) = open(&sim);
    assert_eq!(recovery.letters.missing, 20, "{recovery:?}");
}

#[tokio::test]
async fn a_letter_that_is_lost_before_its_event_counts_as_done_is_buried_again() {
    let sim = Sim::new(9);
    let (journal, _) = open(&sim);
    journal.offer(&events(10..20)).await.unwrap();
    bury(&journal, 1).await;
    stop(&sim, journal);
    let dead = segments(&sim, "j/dead").remove(0);
    sim.remove(&dead).unwrap();
    let (journal, _) = open(&sim);
    let leased = journal.lease(100, Duration::ZERO).await.unwrap();
    assert_eq!(leased.len(), 10, "nothing is dead and nothing is gone");
}

#[tokio::test]
async fn repairing_mends_the_dead_letters_too_and_reports_a_loss_once() {
    let sim = Sim::new(9);
    let journal = twenty_letters(&sim).await;
    drop(journal);
    damage(&sim, &segments(&sim, "j/dead")[0], b"event-12");
    damage(&sim, &segments(&sim, "j/dead")[0], b"event-29");
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let options = Options { segment_bytes: 4096, ..Options::new("j") };
    let repaired = buffer_journal::repair(&fs, &options).unwrap();
    assert_eq!((repaired.letters.rewritten, repaired.letters.records), (1, 18));
    assert_eq!(repaired.recovery().letters.missing, 2);
    let (journal, recovery) = open(&sim);
    assert_eq!((recovery.letters.missing, recovery.letters.damaged_bytes), (0, 0));
    let there = journal.list(0, 100).await.unwrap();
    let ids = ids(there.iter().map(|letter| &letter.event));
    assert_eq!(there.len(), 18);
    assert!(!ids.contains(&"event-12".to_owned()) && ids.contains(&"event-13".to_owned()));
}

/// Offered and dropped in one step, as far as any start can tell.
#[tokio::test]
async fn a_replay_that_is_cut_short_leaves_each_letter_once_wherever_it_stops() {
    let offered = ids(&events(10..22));
    let seqs = |letters: &[buffer::DeadLetter]| letters.iter().map(|l| l.seq).collect::<Vec<_>>();
    for seed in 0..8 {
        for operations in 0.. {
            let sim = Sim::new(seed * 1_000 + operations);
            let (journal, _) = open(&sim);
            journal.offer(&events(10..22)).await.unwrap();
            bury(&journal, 1).await;
            journal.checkpoint().unwrap();
            let letters = seqs(&journal.list(0, 100).await.unwrap());
            sim.crash_after(operations);
            let replayed = journal.replay(&letters).await;
            stop(&sim, journal);
            // A second crash, at once, must not undo what the first start found.
            for restarts in 0..2 {
                let (journal, _) = open(&sim);
                let letters = journal.list(0, 100).await.unwrap();
                let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
                let mut there = ids(letters.iter().map(|letter| &letter.event));
                there.extend(ids(leased.iter().map(|envelope| &envelope.event)));
                there.sort();
                assert_eq!(there, offered, "seed {seed}, operation {operations}, {restarts}");
                stop(&sim, journal);
            }
            if replayed.is_ok() {
                assert!(operations > 8, "few operations were seen");
                break;
            }
        }
    }
}

fn full() -> Faults {
    Faults { no_space: 1, ..Faults::default() }
}

/// A start must not need space: what drains the disk begins with it.
#[tokio::test]
async fn a_replay_that_is_cut_short_leaves_each_letter_once_where_the_next_start_has_a_full_disk() {
    let offered = ids(&events(10..22));
    for operations in 0.. {
        let sim = Sim::new(operations);
        let (journal, _) = open(&sim);
        journal.offer(&events(10..22)).await.unwrap();
        bury(&journal, 1).await;
        journal.checkpoint().unwrap();
        let letters: Vec<u64> =
            journal.list(0, 100).await.unwrap().iter().map(|letter| letter.seq).collect();
        sim.crash_after(operations);
        let replayed = journal.replay(&letters).await;
        stop(&sim, journal);
        sim.set_faults(full());
        let mut there = Vec::new();
        let (journal, _) = open(&sim);
        let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
        there.extend(ids(leased.iter().map(|envelope| &envelope.event)));
        // All events are settled and their segments are gone: only the letters' log knows of them.
        let receipts: Vec<_> = leased.iter().map(|envelope| envelope.receipt).collect();
        journal.ack(&receipts).await.unwrap();
        journal.remove_settled().await.unwrap();
        stop(&sim, journal);
        let (journal, recovery) = open(&sim);
        assert_eq!((recovery.events.missing, recovery.letters.missing), (0, 0), "{recovery:?}");
        let letters = journal.list(0, 100).await.unwrap();
        there.extend(ids(letters.iter().map(|letter| &letter.event)));
        there.sort();
        assert_eq!(there, offered, "operation {operations}");
        if replayed.is_ok() {
            assert!(operations > 8, "few operations were seen");
            break;
        }
    }
}

#[tokio::test]
async fn letters_are_dropped_on_a_full_disk_and_stay_dropped() {
    let sim = Sim::new(9);
    let journal = twenty_letters(&sim).await;
    let letters: Vec<u64> = journal.list(0, 100).await.unwrap().iter().map(|l| l.seq).collect();
    sim.set_faults(full());
    // The notes fill what is left of the segment; then only the checkpoint has room.
    for letter in &letters[1..] {
        assert_eq!(journal.drop_letters(&[*letter]).await.unwrap(), 1);
    }
    assert_eq!(journal.list(0, 100).await.unwrap().len(), 1);
    stop(&sim, journal);
    let (journal, recovery) = open(&sim);
    assert_eq!(recovery.letters.missing, 0, "{recovery:?}");
    let there = journal.list(0, 100).await.unwrap();
    assert_eq!(ids(there.iter().map(|letter| &letter.event)), ["event-10"]);
    journal.offer(&events(100..110)).await.unwrap();
    bury(&journal, 1).await;
    assert_eq!(journal.list(0, 100).await.unwrap().len(), 11, "a new letter has a new number");
    // A verb that only reads the folder sees the same.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("dead")).unwrap();
    for path in ["j", "j/dead"].iter().flat_map(|of| sim.list(Path::new(of)).unwrap()) {
        std::fs::write(dir.path().join(path.strip_prefix("j").unwrap()), content(&sim, &path))
            .unwrap();
    }
    let read = buffer_journal::inspect::dead(&Options::new(dir.path())).unwrap();
    assert_eq!(read, journal.list(0, 100).await.unwrap());
}
