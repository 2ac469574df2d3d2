//! A disk that a SQLite store shares with journals: each writer of a journal leaves the store its room.
//!
//! Needs the right to mount a file system in memory; without it the tests are skipped, and fail where
//! `CI=true`.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use model::Event;
use model::clock::System;

use super::running::{Serving, done, run};

/// A small disk, with less than the quarter free that must stay free beside a store.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(disk.path());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no right to mount a tmpfs");
        eprintln!("skipped: no right to mount a tmpfs; run as root");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        std::fs::write(self.path().join("others"), vec![1; 17 << 20]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

const JOURNAL: &str = "journal:./data/buffer?segment_mib=1";
/// How long a verb may take until it has opened the journal.
const OPENS_WITHIN: Duration = Duration::from_secs(30);
const NEEDS: &str = "needs 6291456 bytes free";

fn payment(id: &str) -> String {
    format!(
        "{{\"tx_id\":\"{id}\",\"card_number\":\"4000123412341234\",\"user_id\":\"u\",\
         \"tier\":\"normal\",\"amount\":1500,\"merchant\":\"m\",\"category\":\"coffee\",\
         \"created_at\":\"2026-03-02T12:00:00+09:00\"}}"
    )
}

/// Runs a verb that waits for room. Returns what is pending a second after it has opened the journal.
fn pending_after(disk: &Disk, args: &[&str]) -> serde_json::Value {
    let mut child = super::running::binary(disk.path(), args).spawn().unwrap();
    let holder = format!("process {}", child.id());
    let lock = disk.path().join("data/buffer/LOCK");
    let end = Instant::now() + OPENS_WITHIN;
    while !std::fs::read_to_string(&lock).unwrap().contains(&holder) {
        assert!(Instant::now() < end, "{args:?} does not open the journal");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "{args:?} does not wait");
    let _ = child.kill();
    child.wait().unwrap();
    super::running::json(disk.path(), &["buffer", "stat", "--json"])["pending"].clone()
}

#[test]
fn generate_and_replay_leave_the_store_its_room() {
    let Some(disk) = Disk::mount() else { return };
    let few = ["generate", "--to", JOURNAL, "--count", "5", "--tps", "100"];
    done(disk.path(), &few);
    disk.fill();
    assert_eq!(pending_after(&disk, &few), 5, "generate wrote past the reserve");
    std::fs::write(disk.path().join("p.ndjson"), payment("a") + "\n").unwrap();
    let replay = ["replay", "p.ndjson", "--to", JOURNAL];
    assert_eq!(pending_after(&disk, &replay), 5, "replay wrote past the reserve");
}

#[test]
fn replaying_dead_letters_leaves_the_store_its_room() {
    let Some(disk) = Disk::mount() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options =
            Options { segment_bytes: 1 << 20, ..Options::new(disk.path().join("data/buffer")) };
        let (journal, _) = JournalBuffer::open(options, Arc::new(System)).unwrap();
        let event = Event::new(b"a", b"key", payment("a").as_bytes()).unwrap();
        journal.offer(&[event]).await.unwrap();
        let leased = journal.lease(1, Duration::ZERO).await.unwrap();
        journal.bury(&[(leased[0].receipt, "bad".to_owned())]).await.unwrap();
        journal.close().await.unwrap();
    });
    disk.fill();
    let replay = ["dead", "replay", "--all", "--set"];
    let buffer = format!("buffer={JOURNAL}");
    let refused = run(disk.path(), &[&replay[..], &[&buffer]].concat());
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains(NEEDS), "{}", refused.stderr);
    std::fs::remove_file(disk.path().join("others")).unwrap();
    assert!(done(disk.path(), &[&replay[..], &[&buffer]].concat()).contains("1 dead letters"));
}

#[test]
fn a_spill_leaves_the_store_its_room() {
    let Some(disk) = Disk::mount() else { return };
    disk.fill();
    let buffer = "buffer=redis://127.0.0.1:1/0?list=tx";
    let mut answers = Vec::new();
    for options in ["segment_mib=1", "segment_mib=1&free_min_mib=1"] {
        let spill = format!("spill=journal:{{data}}/spill?{options}");
        let args = ["--roles", "api", "--set", buffer, "--set", &spill];
        let serving = Serving::start(disk.path(), &args);
        answers.push(serving.post("application/json", &payment("a")).0);
        serving.terminate();
    }
    assert_eq!(answers, [429, 202]);
}
