//! Erasing a journal on a machine that stops, and beside processes that have it or open it late.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Error};
use buffer_journal::{ERASED, JournalBuffer, Options, erase, erase_on, repair};
use journal::fs::Fs;
use journal::fs::sim::Sim;
use journal::segment;
use model::Event;
use model::clock::{Manual, System};
use tempfile::TempDir;

fn options() -> Options {
    Options { segment_bytes: 4096, checkpoint_ms: 0, ..Options::new("j") }
}

fn on(sim: &Sim) -> Arc<dyn Fs> {
    Arc::new(sim.clone())
}

fn clock() -> Arc<Manual> {
    Arc::new(Manual::at(1_700_000_000_000))
}

fn open(sim: &Sim) -> Result<JournalBuffer, Error> {
    Ok(JournalBuffer::open_on(on(sim), options(), clock())?.0)
}

/// Takes events through it, buries one and drops its letter.
async fn used(journal: &JournalBuffer) {
    let event = |n: usize| Event::new(format!("id-{n}").as_bytes(), b"key", &[b'x'; 900]).unwrap();
    for n in 0..12 {
        journal.offer(&[event(n)]).await.unwrap();
    }
    let leased = journal.lease(12, Duration::ZERO).await.unwrap();
    journal.bury(&[(leased[0].receipt, "bad".to_owned())]).await.unwrap();
    let receipts: Vec<_> = leased[1..].iter().map(|envelope| envelope.receipt).collect();
    assert_eq!(journal.ack(&receipts).await.unwrap(), 11);
    assert_eq!(journal.dead_letters().drop_letters(&[1]).await.unwrap(), 1);
}

/// What is left of a journal.
fn left(sim: &Sim) -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["j", "j/dead"] {
        for path in sim.list(Path::new(dir)).unwrap() {
            names.push(path.strip_prefix("j").unwrap().display().to_string());
        }
    }
    names.retain(|name| !name.contains("LOCK"));
    names
}

#[tokio::test]
async fn wherever_the_machine_stops_the_journal_is_whole_or_erased_and_another_erasure_ends_it() {
    let (mut whole, mut erased) = (0, 0);
    for calls in 0..60 {
        for (seed, power) in [(1, false), (2, true), (3, true)] {
            let sim = Sim::new(seed * 31 + calls + 1);
            let journal = open(&sim).unwrap();
            used(&journal).await;
            journal.close().await.unwrap();
            drop(journal);
            sim.crash_after(calls);
            let answer = erase_on(&on(&sim), &options(), clock());
            if power {
                sim.restart()
            } else {
                sim.kill()
            }
            let case = format!("{calls} calls, seed {seed}");
            match open(&sim) {
                Ok(journal) => {
                    assert!(answer.is_err(), "{case}: it was said to be erased");
                    let depth = journal.depth().await.unwrap();
                    assert_eq!((depth.ready, depth.dead), (0, 0), "{case}");
                    // Its numbers go on, so it is the same journal and not one made anew.
                    let event = Event::new(b"more", b"key", b"{}").unwrap();
                    journal.offer(&[event]).await.unwrap();
                    let leased = journal.lease(1, Duration::ZERO).await.unwrap();
                    assert!(leased[0].receipt.seq > 12, "{case}: it was made anew");
                    assert_eq!(journal.ack(&[leased[0].receipt]).await.unwrap(), 1);
                    whole += 1;
                }
                Err(refused) => {
                    assert!(matches!(refused, Error::Open(_)), "{case}: {refused}");
                    assert!(refused.to_string().contains("delete j/ERASED"), "{case}: {refused}");
                    erased += 1;
                }
            }
            erase_on(&on(&sim), &options(), clock()).unwrap();
            assert!(open(&sim).is_err(), "{case}");
            assert_eq!(left(&sim), [ERASED], "{case}");
        }
    }
    assert!(whole > 0 && erased > 0, "{whole} whole, {erased} erased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_open_or_holds_damage_is_not_erased_and_one_that_is_erased_not_repaired()
{
    let dir = TempDir::new().unwrap();
    let options = Options::new(dir.path());
    let journal = JournalBuffer::open(options.clone(), Arc::new(System)).unwrap().0;
    let refused = erase(&options).await.unwrap_err();
    let process = format!("process {}", std::process::id());
    assert!(matches!(&refused, Error::Held(why) if why.contains(&process)), "{refused}");
    drop(journal);

    let damaged = dir.path().join("quarantine");
    std::fs::create_dir_all(&damaged).unwrap();
    std::fs::write(damaged.join("1-0.bin"), b"?").unwrap();
    let refused = erase(&options).await.unwrap_err();
    assert!(matches!(&refused, Error::Held(why) if why.contains("quarantine")), "{refused}");
    std::fs::remove_dir_all(&damaged).unwrap();

    std::fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    erase(&options).await.unwrap();
    assert!(dir.path().join("notes.txt").exists(), "what others put there stays");
    assert!(!segment::path(dir.path(), 1).exists());
    let disk: Arc<dyn Fs> = Arc::new(journal::fs::disk::Disk);
    assert!(matches!(repair(&disk, &options), Err(Error::Open(_))));
    std::fs::remove_file(dir.path().join(ERASED)).unwrap();
    JournalBuffer::open(options, Arc::new(System)).unwrap();
}

/// As a program of an earlier version opens it, which does not know the mark.
fn open_by_an_older_program(sim: &Sim) -> JournalBuffer {
    sim.remove(&Path::new("j").join(ERASED)).unwrap();
    let journal = open(sim).unwrap();
    let mark = sim.open(&Path::new("j").join(ERASED), true).unwrap();
    journal::fs::write_all_at(&*mark, b"erased", 0).unwrap();
    journal
}

#[tokio::test]
async fn what_an_older_program_accepts_in_an_erased_journal_is_kept_by_the_next_erasure() {
    let mut erased = 0;
    // Erasures that were cut short, and one that was not.
    for calls in (0..60).map(Some).chain([None]) {
        let sim = Sim::new(7);
        let journal = open(&sim).unwrap();
        used(&journal).await;
        drop(journal);
        if let Some(calls) = calls {
            sim.crash_after(calls);
        }
        let _ = erase_on(&on(&sim), &options(), clock());
        sim.kill();
        if open(&sim).is_ok() {
            continue;
        }
        erased += 1;
        let older = open_by_an_older_program(&sim);
        older.offer(&[Event::new(b"late", b"key", b"{}").unwrap()]).await.unwrap();
        drop(older);
        let refused = erase_on(&on(&sim), &options(), clock()).unwrap_err();
        assert!(matches!(&refused, Error::Held(why) if why.contains("1 ready")), "{refused}");
        assert!(refused.to_string().contains("delete j/ERASED"), "{refused}");

        // What it accepted is settled; then nothing is in the way.
        let older = open_by_an_older_program(&sim);
        let leased = older.lease(9, Duration::ZERO).await.unwrap();
        assert_eq!((leased.len(), leased[0].event.id()), (1, &b"late"[..]), "{calls:?} calls");
        assert_eq!(older.ack(&[leased[0].receipt]).await.unwrap(), 1);
        drop(older);
        erase_on(&on(&sim), &options(), clock()).unwrap();
        assert_eq!(left(&sim), [ERASED]);
    }
    assert!(erased > 1, "{erased}");
}

#[tokio::test]
async fn a_letter_that_an_older_program_buried_in_an_erased_journal_is_kept_by_the_next_erasure() {
    let sim = Sim::new(7);
    let journal = open(&sim).unwrap();
    used(&journal).await;
    drop(journal);
    erase_on(&on(&sim), &options(), clock()).unwrap();

    // It settles all it accepted, so that no segment of events is left beside the letter.
    let older = open_by_an_older_program(&sim);
    let event = |id: &[u8]| Event::new(id, b"key", &[b'x'; 900]).unwrap();
    older.offer(&[event(b"late"), event(b"later")]).await.unwrap();
    let leased = older.lease(2, Duration::ZERO).await.unwrap();
    older.bury(&[(leased[0].receipt, "bad".to_owned())]).await.unwrap();
    assert_eq!(older.ack(&[leased[1].receipt]).await.unwrap(), 1);
    older.close().await.unwrap();
    drop(older);
    let is_segment = |name: &String| segment::base(Path::new(name)).is_some();
    let segments: Vec<_> = left(&sim).into_iter().filter(is_segment).collect();
    assert!(segments.iter().all(|name| name.starts_with("dead")), "{segments:?}");

    let refused = erase_on(&on(&sim), &options(), clock()).unwrap_err();
    assert!(matches!(&refused, Error::Held(why) if why.contains("1 dead")), "{refused}");
    assert!(refused.to_string().contains("delete j/ERASED"), "{refused}");

    let older = open_by_an_older_program(&sim);
    let letters = older.dead_letters();
    assert_eq!(letters.drop_letters(&[1, 2, 3]).await.unwrap(), 1);
    drop(older);
    erase_on(&on(&sim), &options(), clock()).unwrap();
    assert_eq!(left(&sim), [ERASED]);
}
