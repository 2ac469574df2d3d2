//! `buffer verify` and `buffer repair`.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use model::Event;
use model::clock::System;

use super::running::{done, json, run};

#[test]
fn damage_is_found_told_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let fill = ["generate", "--to", "journal:./data/buffer", "--count", "1000", "--tps", "4000"];
    done(dir.path(), &fill);
    let stat = json(dir.path(), &["buffer", "verify", "--json"]);
    assert_eq!((&stat["pending"], &stat["damaged"]), (&1_000.into(), &false.into()), "{stat}");

    let segment = std::fs::read_dir(dir.path().join("data/buffer")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|extension| extension == "seg").then_some(path)
    });
    let file = std::fs::OpenOptions::new().write(true).open(segment.unwrap()).unwrap();
    file.write_all_at(&[0xff; 64], 4_096).unwrap();
    let found = run(dir.path(), &["buffer", "verify"]);
    assert_eq!(found.code, 1, "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("DAMAGE: segment"), "{}", found.stdout);
    let stat = json(dir.path(), &["buffer", "stat", "--json"]);
    let missing = stat["missing"].as_u64().unwrap();
    assert!((1..10).contains(&missing), "{stat}");

    let repaired = done(dir.path(), &["buffer", "repair"]);
    assert!(repaired.contains("1 segments rewritten"), "{repaired}");
    let stat = json(dir.path(), &["buffer", "stat", "--json"]);
    assert_eq!(stat["pending"].as_u64(), Some(1_000 - missing), "{stat}");
}

#[test]
fn damage_among_the_dead_letters_is_found_reported_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = Options::new(dir.path().join("data/buffer"));
        let (journal, _) = JournalBuffer::open(options, Arc::new(System)).unwrap();
        let event = |n: u32| Event::new(format!("event-{n}").as_bytes(), b"key", b"{}").unwrap();
        journal.offer(&(10..30).map(event).collect::<Vec<_>>()).await.unwrap();
        let leased = journal.lease(20, Duration::ZERO).await.unwrap();
        let burials: Vec<_> = leased.iter().map(|e| (e.receipt, "bad".to_owned())).collect();
        journal.bury(&burials).await.unwrap();
        journal.close().await.unwrap();
    });
    let sound = done(dir.path(), &["buffer", "verify"]);
    assert!(sound.contains("20 records of dead letters in 1 segments"), "{sound}");

    let segment = dir.path().join("data/buffer/dead/00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|w| w == b"event-17").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let found = run(dir.path(), &["buffer", "verify"]);
    assert_eq!(found.code, 1, "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("DAMAGE: dead/ segment"), "{}", found.stdout);
    assert!(found.stdout.contains("DAMAGE: 1 dead letters"), "{}", found.stdout);

    let repaired = done(dir.path(), &["buffer", "repair"]);
    assert!(repaired.contains("1 segments of dead letters rewritten, 19 records"), "{repaired}");
    let stat = json(dir.path(), &["buffer", "verify", "--json"]);
    let counted = (&stat["dead"], &stat["dead_missing"], &stat["damaged"]);
    assert_eq!(counted, (&19.into(), &0.into(), &false.into()), "{stat}");
}

#[test]
fn a_journal_that_is_not_there_and_a_buffer_that_is_none_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["buffer", "stat"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("there is no journal in ./data/buffer yet"), "{}", ran.stderr);
    let ran = run(dir.path(), &["buffer", "stat", "--buffer", "memory:"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cannot be inspected from another process"), "{}", ran.stderr);
}
