//! The journal against the memory backend as its model, over a medium that writes short, fails to
//! sync, runs out of space, and stops between any two calls, losing what was not synced.
//!
//! What must hold after every restart: each event whose offer was confirmed and that was not acked
//! is there, in order; so is each confirmed dead letter; nothing is there that was never offered.
//! What was acked may come again, and what was refused may be there all the same: effects are deduped.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use buffer::memory::Memory;
use buffer::{Buffer, Envelope, Error, Receipt};
use buffer_journal::{JournalBuffer, Key, Options, Recovery, Sync};
use journal::fs::Fs;
use journal::fs::sim::{Faults, Sim};
use journal::segment;
use model::Event;
use model::clock::Manual;
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Debug, Clone)]
enum Step {
    Offer(usize),
    Lease(usize),
    Ack(usize),
    Release(usize),
    Bury(usize),
    Drop,
    Expire,
    Checkpoint,
    RemoveSettled,
    Reopen,
    /// Power loss after so many more calls to the medium.
    Crash(u64),
    Faults(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..10).prop_map(Step::Offer),
        6 => (1usize..12).prop_map(Step::Lease),
        5 => (0usize..8).prop_map(Step::Ack),
        1 => (0usize..4).prop_map(Step::Release),
        2 => (0usize..3).prop_map(Step::Bury),
        1 => Just(Step::Drop),
        1 => Just(Step::Expire),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::RemoveSettled),
        1 => Just(Step::Reopen),
        3 => (0u64..12).prop_map(Step::Crash),
        1 => (0u8..8).prop_map(Step::Faults),
    ]
}

/// What must be so, as the memory backend and the answers of the journal tell it.
struct World {
    /// Half of the worlds are encrypted.
    key: Key,
    sim: Sim,
    clock: Manual,
    journal: JournalBuffer,
    model: Model,
    held: Vec<Envelope>,
    next: usize,
    offered: BTreeSet<usize>,
    buried: BTreeSet<usize>,
    /// Buried, but a drop of it was begun.
    may_be_dropped: BTreeSet<usize>,
    faulty: bool,
}

/// The memory backend, given every confirmed offer, ack and burial: what it still holds is owed.
struct Model {
    memory: Memory,
    leases: BTreeMap<usize, Receipt>,
}

impl Model {
    fn new() -> Self {
        let options = buffer::memory::Options { lease_ms: i64::MAX / 2, ..Default::default() };
        Self { memory: Memory::new(options, Arc::new(Manual::at(0))), leases: BTreeMap::new() }
    }

    async fn offer(&mut self, events: &[Event]) {
        self.memory.offer(events).await.unwrap();
        self.lease().await;
    }

    async fn lease(&mut self) {
        for envelope in self.memory.lease(usize::MAX, Duration::ZERO).await.unwrap() {
            self.leases.insert(number(&envelope.event), envelope.receipt);
        }
    }

    /// What was never confirmed is not the model's.
    async fn ack(&mut self, n: usize) {
        if let Some(receipt) = self.leases.remove(&n) {
            assert_eq!(self.memory.ack(&[receipt]).await.unwrap(), 1);
        }
    }

    async fn owed(&mut self) -> Vec<usize> {
        let held: Vec<Receipt> = self.leases.values().copied().collect();
        self.memory.release(&held, Duration::ZERO).await.unwrap();
        let there = self.memory.lease(usize::MAX, Duration::ZERO).await.unwrap();
        self.leases = there.iter().map(|e| (number(&e.event), e.receipt)).collect();
        there.iter().map(|e| number(&e.event)).collect()
    }
}

fn open(sim: &Sim, clock: &Manual) -> Result<(JournalBuffer, Recovery), Error> {
    open_with(sim, clock, &Key::None)
}

fn open_with(sim: &Sim, clock: &Manual, key: &Key) -> Result<(JournalBuffer, Recovery), Error> {
    let options = Options {
        key: key.clone(),
        sync: Sync::Always,
        segment_bytes: 4096,
        checkpoint_ms: 0,
        lease_ms: 1000,
        ..Options::new("j")
    };
    JournalBuffer::open_on(Arc::new(sim.clone()), options, Arc::new(clock.clone()))
}

fn event(n: usize) -> Event {
    let payload = vec![b'a' + u8::try_from(n % 26).unwrap(); n * 37 % 300];
    Event::new(n.to_string().as_bytes(), b"key", &payload).unwrap()
}

fn number(event: &Event) -> usize {
    let n = std::str::from_utf8(event.id()).unwrap().parse().unwrap();
    assert_eq!(event, &self::event(n), "content must be as offered");
    n
}

/// A folder with a key file, and the file.
static KEY: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(&[b'5'; 64]).unwrap();
    (dir, path)
});

impl World {
    fn new(seed: u64) -> Self {
        let (sim, clock) = (Sim::new(seed), Manual::at(0));
        let key = if seed.is_multiple_of(2) { Key::None } else { Key::File(KEY.1.clone()) };
        let journal = open_with(&sim, &clock, &key).unwrap().0;
        Self {
            key,
            sim,
            clock,
            journal,
            model: Model::new(),
            held: Vec::new(),
            next: 0,
            offered: BTreeSet::new(),
            buried: BTreeSet::new(),
            may_be_dropped: BTreeSet::new(),
            faulty: false,
        }
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Offer(n) => self.offer(n).await,
            Step::Lease(n) => self.lease(n).await,
            Step::Ack(n) => {
                let done: Vec<Envelope> = self.held.drain(..n.min(self.held.len())).collect();
                let receipts: Vec<_> = done.iter().map(|e| e.receipt).collect();
                self.journal.ack(&receipts).await.unwrap();
                for envelope in &done {
                    self.model.ack(number(&envelope.event)).await;
                }
            }
            Step::Release(n) => {
                let some: Vec<_> =
                    self.held.drain(..n.min(self.held.len())).map(|e| e.receipt).collect();
                self.journal.release(&some, Duration::ZERO).await.unwrap();
            }
            Step::Bury(n) => self.bury(n).await,
            Step::Drop => self.drop_letter().await,
            Step::Expire => {
                self.clock.advance(1001);
                self.held.clear();
            }
            Step::Checkpoint => {
                // A failure is allowed to make acked events come again, and nothing else.
                let _ = self.journal.checkpoint();
            }
            Step::RemoveSettled => {
                let _ = self.journal.remove_settled().await;
            }
            Step::Reopen => {
                let _ = self.journal.close().await;
                self.restart(false).await;
            }
            Step::Crash(calls) => {
                self.sim.crash_after(calls);
                self.faulty = true;
            }
            Step::Faults(kind) => {
                self.faulty |= kind != 0;
                let one_in = |bit: u8, n| if kind & bit == 0 { 0 } else { n };
                self.sim.set_faults(Faults {
                    short_write: one_in(1, 3),
                    failed_sync: one_in(2, 6),
                    no_space: one_in(4, 5),
                });
            }
        }
        if matches!(self.journal.offer(&[]).await, Err(Error::Closed)) {
            self.restart(true).await;
        }
    }

    async fn offer(&mut self, n: usize) {
        let numbers: Vec<usize> = (self.next..self.next + n).collect();
        self.next += n;
        self.offered.extend(&numbers);
        let events: Vec<Event> = numbers.iter().map(|n| event(*n)).collect();
        match self.journal.offer(&events).await {
            Ok(()) => self.model.offer(&events).await,
            Err(Error::Full { .. }) => assert!(self.faulty, "nothing was full"),
            Err(Error::Poisoned(_)) => {
                assert!(self.faulty, "nothing failed");
                self.restart(true).await;
            }
            Err(e) => panic!("{e}"),
        }
    }

    async fn lease(&mut self, n: usize) {
        let leased = self.journal.lease(n, Duration::ZERO).await.unwrap();
        for envelope in &leased {
            assert!(self.offered.contains(&number(&envelope.event)), "never offered");
        }
        self.held.extend(leased);
    }

    async fn bury(&mut self, n: usize) {
        let some: Vec<Envelope> = self.held.drain(..n.min(self.held.len())).collect();
        let burials: Vec<_> = some.iter().map(|e| (e.receipt, "bad".to_owned())).collect();
        match self.journal.bury(&burials).await {
            Ok(_) => {
                for envelope in &some {
                    let n = number(&envelope.event);
                    self.model.ack(n).await;
                    self.buried.insert(n);
                }
            }
            // It may be in the dead letters or not; it is still owed.
            Err(_) => {
                assert!(self.faulty, "nothing failed");
                self.restart(true).await;
            }
        }
    }

    async fn drop_letter(&mut self) {
        let Ok(letters) = self.journal.dead_letters().list(0, 1).await else { return };
        let Some(letter) = letters.first() else { return };
        self.may_be_dropped.insert(number(&letter.event));
        let _ = self.journal.dead_letters().drop_letters(&[letter.seq]).await;
    }

    /// Power loss, or an orderly end, and what is there afterwards.
    async fn restart(&mut self, power_loss: bool) {
        if power_loss {
            self.sim.crash_after(0);
        }
        let old = std::mem::replace(&mut self.journal, open(&Sim::new(1), &self.clock).unwrap().0);
        drop(old);
        self.sim.restart();
        self.faulty = false;
        self.held.clear();
        let (journal, recovery) =
            open_with(&self.sim, &self.clock, &self.key).expect("it opens whatever happened");
        self.journal = journal;
        assert_eq!(
            (recovery.events.missing, recovery.letters.missing),
            (0, 0),
            "a crash loses nothing that was acknowledged: {recovery:?}"
        );
        self.check().await;
    }

    /// Everything owed is there, in the model's order; everything there was offered.
    async fn check(&mut self) {
        let letters = self.journal.dead_letters().list(0, usize::MAX).await.unwrap();
        let dead: BTreeSet<usize> = letters.iter().map(|l| number(&l.event)).collect();
        // A burial that was not confirmed may have happened all the same: then it is one.
        for n in &dead {
            self.model.ack(*n).await;
            self.buried.insert(*n);
        }
        let there = self.journal.lease(usize::MAX, Duration::ZERO).await.unwrap();
        let receipts: Vec<_> = there.iter().map(|e| e.receipt).collect();
        let numbers: Vec<usize> = there.iter().map(|e| number(&e.event)).collect();
        assert!(numbers.iter().all(|n| self.offered.contains(n)), "never offered: {numbers:?}");
        let expected = self.model.owed().await;
        let owed: Vec<usize> = numbers.iter().copied().filter(|n| expected.contains(n)).collect();
        assert_eq!(owed, expected, "accepted and not there, or out of order");
        let depth = self.journal.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased), (0, there.len() as u64));
        self.journal.release(&receipts, Duration::ZERO).await.unwrap();
        for n in &self.buried {
            assert!(dead.contains(n) || self.may_be_dropped.contains(n), "dead letter {n} is gone");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_medium_does_nothing_accepted_is_lost(
        seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed);
            for step in steps {
                world.run(step).await;
            }
            world.restart(true).await;
            world.restart(false).await;
        });
    }
}

/// Fills a journal, then damages its medium, and opens it again.
async fn after_damage(with: impl Fn(&Sim, &[u8])) -> (JournalBuffer, Recovery) {
    let (sim, clock) = (Sim::new(5), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    for n in 0..5 {
        journal.offer(&[event(n * 2), event(n * 2 + 1)]).await.unwrap();
    }
    drop(journal);
    let mut bytes = Vec::new();
    sim.open(Path::new(SEGMENT), false).unwrap().read_at(&mut bytes, 1 << 20, 0).unwrap();
    with(&sim, &bytes);
    let options = Options { segment_bytes: 4096, checkpoint_ms: 0, ..Options::new("j") };
    JournalBuffer::open_on(Arc::new(sim), options, Arc::new(clock)).unwrap()
}

const SEGMENT: &str = "j/00000000000000000001.seg";

fn place_of(bytes: &[u8], n: usize) -> usize {
    let event = event(n);
    bytes.windows(event.as_bytes().len()).position(|w| w == event.as_bytes()).unwrap()
}

#[tokio::test]
async fn damage_in_the_middle_is_counted_and_its_neighbours_are_served() {
    let (journal, recovery) =
        after_damage(|sim, bytes| sim.damage(Path::new(SEGMENT), place_of(bytes, 4), b"X")).await;
    assert_eq!((recovery.events.missing, recovery.events.records), (1, 9));
    assert!(recovery.events.damaged_bytes > 0 && recovery.events.torn_bytes == 0);
    let leased = journal.lease(100, Duration::ZERO).await.unwrap();
    let numbers: Vec<usize> = leased.iter().map(|e| number(&e.event)).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    let depth = journal.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (0, 9));
}

#[tokio::test]
async fn an_acknowledged_end_that_is_damaged_is_counted_too() {
    let (journal, recovery) =
        after_damage(|sim, bytes| sim.damage(Path::new(SEGMENT), place_of(bytes, 9), b"X")).await;
    assert_eq!((recovery.events.missing, recovery.events.records), (1, 9));
    journal.offer(&[event(10)]).await.unwrap();
    let leased = journal.lease(100, Duration::ZERO).await.unwrap();
    assert_eq!(leased.iter().map(|e| number(&e.event)).max(), Some(10));
    assert_eq!(leased.last().unwrap().receipt.seq, 11, "a number is never used twice");
}

#[tokio::test]
async fn a_failed_sync_poisons_and_draining_goes_on() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    journal.offer(&[event(0)]).await.unwrap();
    sim.set_faults(Faults { failed_sync: 1, ..Faults::default() });
    assert!(matches!(journal.offer(&[event(1)]).await, Err(Error::Poisoned(_))));
    sim.set_faults(Faults::default());
    assert!(matches!(journal.offer(&[event(2)]).await, Err(Error::Poisoned(_))), "for good");
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    assert_eq!(leased.len(), 1, "what was durable can be drained, what was not is not shown");
    assert_eq!(journal.ack(&[leased[0].receipt]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_full_disk_refuses_and_draining_frees_it() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    journal.offer(&[event(0)]).await.unwrap();
    sim.set_faults(Faults { no_space: 1, ..Faults::default() });
    // What is reserved can still be filled; then there is no more.
    let mut last = 0;
    let refused = loop {
        last += 1;
        match journal.offer(&[event(last)]).await {
            Ok(()) => assert!(last < 100, "it must fill up"),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    let leased = journal.lease(10, Duration::ZERO).await.unwrap();
    assert_eq!(journal.ack(&[leased[0].receipt]).await.unwrap(), 1, "draining goes on");
    journal.checkpoint().expect("what is done can be written down on a full disk");
    sim.set_faults(Faults::default());
    journal.offer(&[event(200)]).await.unwrap();
    let rest = journal.lease(100, Duration::ZERO).await.unwrap();
    assert_eq!(rest.last().map(|e| number(&e.event)), Some(200));
}

#[tokio::test]
async fn segments_that_are_done_are_removed() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    for n in 0..100 {
        journal.offer(&[event(n)]).await.unwrap();
    }
    let full = journal.bytes();
    let leased = journal.lease(1000, Duration::ZERO).await.unwrap();
    let receipts: Vec<_> = leased.iter().map(|e| e.receipt).collect();
    journal.ack(&receipts).await.unwrap();
    journal.checkpoint().unwrap();
    assert!(full > 10_000 && journal.bytes() < 4096, "{full} then {}", journal.bytes());
}

#[tokio::test]
async fn bytes_held_are_counted_exactly_however_many_segments_come_and_go() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    for n in 0..2000 {
        journal.offer(&[event(n)]).await.unwrap();
        let leased = journal.lease(10, Duration::ZERO).await.unwrap();
        journal.ack(&[leased[0].receipt]).await.unwrap();
        journal.checkpoint().unwrap();
    }
    let base = sim.list(Path::new("j")).unwrap().iter().filter_map(|p| segment::base(p)).max();
    let file = sim.open(&segment::path(Path::new("j"), base.unwrap()), false).unwrap();
    let used = segment::scan(&*file, base.unwrap(), 0, |_, _, _| {}).unwrap().end;
    assert_eq!(journal.bytes(), used);
}

#[tokio::test]
async fn a_segment_that_is_gone_is_counted_wherever_it_was() {
    for lost in 0..3 {
        let (sim, clock) = (Sim::new(7), Manual::at(0));
        let (journal, _) = open(&sim, &clock).unwrap();
        for n in 0..60 {
            journal.offer(&[event(n)]).await.unwrap();
        }
        // Nothing is acked: that the events are there is known all the same.
        journal.checkpoint().unwrap();
        sim.crash_after(0);
        drop(journal);
        sim.restart();
        let mut paths = sim.list(Path::new("j")).unwrap();
        paths.retain(|path| segment::base(path).is_some());
        assert_eq!(paths.len(), 3);
        sim.remove(&paths[lost]).unwrap();
        let (_, recovery) = open(&sim, &clock).unwrap();
        assert!(recovery.events.missing > 5, "{recovery:?}");
        assert_eq!(recovery.events.missing + recovery.events.records, 60, "{recovery:?}");
    }
}

#[tokio::test]
async fn what_is_buried_stays_buried_though_the_process_dies_before_its_checkpoint() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    journal.offer(&[event(0), event(1), event(2)]).await.unwrap();
    let leased = journal.lease(2, Duration::ZERO).await.unwrap();
    let burials: Vec<_> = leased.iter().map(|e| (e.receipt, "bad".to_owned())).collect();
    assert_eq!(journal.bury(&burials).await.unwrap(), 2);
    for dropped in [false, true] {
        sim.crash_after(0);
        let (journal, recovery) = {
            sim.restart();
            open(&sim, &clock).unwrap()
        };
        assert_eq!(recovery.events.records, 1, "dropped: {dropped}");
        let there = journal.lease(10, Duration::ZERO).await.unwrap();
        assert_eq!(there.iter().map(|e| number(&e.event)).collect::<Vec<_>>(), [2]);
        let letters = journal.dead_letters().list(0, 10).await.unwrap();
        assert_eq!(letters.len(), if dropped { 0 } else { 2 });
        let seqs: Vec<u64> = letters.iter().map(|letter| letter.seq).collect();
        journal.dead_letters().drop_letters(&seqs).await.unwrap();
        sim.crash_after(0);
        drop(journal);
    }
}

#[tokio::test]
async fn an_event_damaged_after_it_was_leased_holds_up_nobody() {
    let (sim, clock) = (Sim::new(7), Manual::at(0));
    let (journal, _) = open(&sim, &clock).unwrap();
    journal.offer(&[event(4), event(5)]).await.unwrap();
    let leased = journal.lease(2, Duration::ZERO).await.unwrap();
    let receipts: Vec<_> = leased.iter().map(|e| e.receipt).collect();
    let mut bytes = Vec::new();
    sim.open(Path::new(SEGMENT), false).unwrap().read_at(&mut bytes, 1 << 20, 0).unwrap();
    sim.damage(Path::new(SEGMENT), place_of(&bytes, 4), b"X");
    journal.release(&receipts, Duration::ZERO).await.unwrap();
    let again = journal.lease(2, Duration::ZERO).await.unwrap();
    assert_eq!(again.iter().map(|e| number(&e.event)).collect::<Vec<_>>(), [5]);
    assert_eq!(journal.ack(&[again[0].receipt]).await.unwrap(), 1);
    let depth = journal.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (0, 0));
}
