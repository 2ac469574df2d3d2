//! Two buffers as one: the conformance suite where all goes one way, and what holds while it changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Subject};
use buffer::memory::{Memory, Options};
use buffer::moving::{Done, Moving};
use buffer::{Buffer, Envelope, Error, Receipt};
use model::Event;
use model::clock::{Clock, Manual, System};
use model::route::{Phase, Route};

const LEASE_MS: i64 = 1000;
const LIMITS: Limits = Limits { events_max: 500, lease_ms: LEASE_MS.unsigned_abs(), dead_max: 10 };
const NONE: Duration = Duration::ZERO;

fn memory(clock: Arc<dyn Clock>) -> Arc<Memory> {
    let Limits { events_max, dead_max, .. } = LIMITS;
    let options = Options { events_max, lease_ms: LEASE_MS, dead_max, ..Options::default() };
    Arc::new(Memory::new(options, clock))
}

fn at(before: u8, share: u8, phase: Phase) -> Route {
    Route { before, share, phase }
}

struct AllToOne(Manual, u8);

#[async_trait]
impl Subject for AllToOne {
    async fn open(&self) -> Arc<dyn Buffer> {
        let clock: Arc<dyn Clock> = Arc::new(self.0.clone());
        let moving = Moving::new(memory(clock.clone()), memory(clock.clone()), clock);
        moving.take(1, at(self.1, self.1, Phase::Open)).await;
        Arc::new(moving)
    }

    async fn advance(&self, by_ms: u64) {
        self.0.advance(i64::try_from(by_ms).unwrap());
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        Lacks { erasing: true, ..Lacks::default() }
    }
}

mod all_to_the_source {
    use super::*;
    buffer::conformance!(AllToOne(Manual::at(1_700_000_000_000), 0));
}

mod all_to_the_target {
    use super::*;
    buffer::conformance!(AllToOne(Manual::at(1_700_000_000_000), 100));
}

/// Both buffers and what makes one of them, on a clock that stands.
struct Both {
    clock: Manual,
    source: Arc<Memory>,
    target: Arc<Memory>,
    moving: Arc<Moving>,
}

fn both() -> Both {
    let clock = Manual::at(1_700_000_000_000);
    let of: Arc<dyn Clock> = Arc::new(clock.clone());
    let (source, target) = (memory(of.clone()), memory(of.clone()));
    let moving = Arc::new(Moving::new(source.clone(), target.clone(), of));
    Both { clock, source, target, moving }
}

fn event(n: usize) -> Event {
    Event::new(format!("id-{n}").as_bytes(), format!("card-{n}").as_bytes(), b"{}").unwrap()
}

fn events(n: std::ops::Range<usize>) -> Vec<Event> {
    n.map(event).collect()
}

async fn ready(buffer: &dyn Buffer) -> u64 {
    buffer.depth().await.unwrap().ready
}

fn receipts(leased: &[Envelope]) -> Vec<Receipt> {
    leased.iter().map(|envelope| envelope.receipt).collect()
}

#[tokio::test]
async fn a_batch_is_split_by_key_and_everything_finds_its_way_back() {
    let Both { source, target, moving, .. } = both();
    moving.take(1, at(50, 50, Phase::Open)).await;
    moving.offer(&events(0..200)).await.unwrap();
    let (left, right) = (ready(&*source).await, ready(&*target).await);
    assert!(left + right == 200 && left > 60 && right > 60, "{left} and {right}");

    let mut leased = Vec::new();
    while leased.len() < 200 {
        leased.extend(moving.lease(50, NONE).await.unwrap());
    }
    assert_eq!(moving.lease(50, NONE).await.unwrap().len(), 0);
    assert_eq!(moving.extend(&receipts(&leased), Duration::from_secs(9)).await.unwrap(), 200);
    assert_eq!(moving.release(&receipts(&leased[..20]), NONE).await.unwrap(), 20);
    let bad: Vec<_> =
        leased[20..26].iter().map(|envelope| (envelope.receipt, "bad".to_owned())).collect();
    assert_eq!(moving.bury(&bad).await.unwrap(), 6);
    assert_eq!(moving.ack(&receipts(&leased[26..])).await.unwrap(), 174);
    assert_eq!(moving.ack(&receipts(&leased)).await.unwrap(), 0);
    let depth = moving.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.dead), (20, 0, 6));
    let [at_source, at_target] = moving.done();
    assert_eq!((at_source.offered, at_target.offered), (left, right));
    assert_eq!(at_source.done + at_target.done, 180);
}

#[tokio::test]
async fn dead_letters_of_both_are_listed_replayed_and_dropped() {
    let Both { source, target, moving, .. } = both();
    moving.take(1, at(50, 50, Phase::Open)).await;
    moving.offer(&events(0..12)).await.unwrap();
    let mut leased = Vec::new();
    while leased.len() < 12 {
        leased.extend(moving.lease(12, NONE).await.unwrap());
    }
    let bad: Vec<_> = leased.iter().map(|envelope| (envelope.receipt, "bad".to_owned())).collect();
    moving.bury(&bad).await.unwrap();
    let letters = moving.dead_letters();
    let (mut seqs, mut from) = (Vec::new(), 0);
    loop {
        let page = letters.list(from, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.seq + 1;
        seqs.extend(page.iter().map(|letter| letter.seq));
    }
    assert_eq!(seqs.len(), 12);
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(letters.replay(&seqs[..6]).await.unwrap(), 6);
    assert_eq!(letters.drop_letters(&seqs[6..]).await.unwrap(), 6);
    assert_eq!(letters.drop_letters(&seqs).await.unwrap(), 0);
    assert_eq!(ready(&*source).await + ready(&*target).await, 6);
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_a_key_that_moves_waits_and_is_refused_if_that_takes_long() {
    let Both { target, moving, .. } = both();
    moving.take(1, at(0, 100, Phase::Hold)).await;
    let refused = moving.offer(&[event(1)]).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    let held = {
        let moving = moving.clone();
        tokio::spawn(async move { moving.offer(&[event(2)]).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!held.is_finished());
    moving.take(2, at(0, 100, Phase::Drain)).await;
    held.await.unwrap().unwrap();
    assert_eq!(ready(&*target).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_moved_to_waits_until_the_other_has_done_what_it_held() {
    let Both { clock, moving, .. } = both();
    moving.offer(&events(0..10)).await.unwrap();
    moving.take(1, at(0, 50, Phase::Hold)).await;
    moving.take(2, at(0, 50, Phase::Drain)).await;
    clock.advance(3_000);
    moving.offer(&events(0..100)).await.unwrap();
    assert!(!moving.is_drained().await.unwrap());
    let first = moving.lease(10, NONE).await.unwrap();
    let ids: Vec<_> = first.iter().map(|envelope| envelope.event.id().to_vec()).collect();
    assert_eq!(ids, events(0..10).iter().map(|event| event.id().to_vec()).collect::<Vec<_>>());
    // Leased is not done.
    assert!(!moving.is_drained().await.unwrap());
    let held = moving.depths().await.map(Result::unwrap);
    assert!(held[1].ready > 20, "{held:?}");
    let more = moving.lease(100, NONE).await.unwrap();
    assert_eq!(u64::try_from(more.len()).unwrap(), held[0].ready, "the target's stay");
    moving.ack(&receipts(&first)).await.unwrap();
    // What the source has accepted since is of keys that stay there.
    assert!(moving.is_drained().await.unwrap());
    let rest = moving.lease(100, NONE).await.unwrap();
    assert_eq!(u64::try_from(rest.len()).unwrap(), held[1].ready);
    moving.take(3, at(0, 50, Phase::Open)).await;
    assert_eq!(moving.ack(&receipts(&[more, rest].concat())).await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn one_that_looks_empty_is_drained_when_it_has_for_a_while() {
    let Both { moving, .. } = both();
    moving.take(1, at(0, 100, Phase::Drain)).await;
    assert!(!moving.is_drained().await.unwrap());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(moving.is_drained().await.unwrap());
}

#[tokio::test]
async fn an_earlier_step_is_passed_over() {
    let Both { target, moving, .. } = both();
    moving.take(5, at(100, 100, Phase::Open)).await;
    moving.take(4, at(0, 0, Phase::Open)).await;
    assert_eq!(moving.step().await, 5);
    moving.offer(&[event(1)]).await.unwrap();
    assert_eq!(ready(&*target).await, 1);
    assert_eq!(moving.done()[1], Done { offered: 1, done: 0 });
}

#[tokio::test]
async fn a_backlog_in_one_does_not_hide_the_other() {
    let Both { source, target, moving, .. } = both();
    source.offer(&events(0..400)).await.unwrap();
    target.offer(&[event(400)]).await.unwrap();
    for _ in 0..2 {
        let leased = moving.lease(10, NONE).await.unwrap();
        if leased.iter().any(|envelope| envelope.event.id() == b"id-400") {
            return;
        }
    }
    panic!("only the backlog came");
}

const KEYS: usize = 40;

/// Offers the next number of every fourth key from `first` on until it is done; how many there were.
async fn count_up(moving: Arc<Moving>, done: Arc<AtomicBool>, first: usize) -> i64 {
    let mut n = 0;
    while !done.load(Ordering::SeqCst) {
        let keys = (first..KEYS).step_by(4);
        let batch: Vec<Event> = keys
            .map(|key| {
                let (id, key) = (format!("{key}:{n:06}"), format!("card-{key}"));
                Event::new(id.as_bytes(), key.as_bytes(), b"").unwrap()
            })
            .collect();
        while let Err(error) = moving.offer(&batch).await {
            assert!(matches!(error, Error::Full { .. }), "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        n += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    n
}

/// Producers that count up for each key while the share goes up and down; workers see each key's
/// numbers ascend, and all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_stays_in_order_while_the_share_changes() {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let moving = Arc::new(Moving::new(memory(clock.clone()), memory(clock.clone()), clock.clone()));
    let (done, all) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> =
        (0..4).map(|first| tokio::spawn(count_up(moving.clone(), done.clone(), first))).collect();
    let worker = {
        let (moving, all) = (moving.clone(), all.clone());
        tokio::spawn(async move {
            let mut last: BTreeMap<String, i64> = BTreeMap::new();
            loop {
                let leased = moving.lease(64, Duration::from_millis(500)).await.unwrap();
                if leased.is_empty() && all.load(Ordering::SeqCst) {
                    return last;
                }
                for envelope in &leased {
                    let id = String::from_utf8(envelope.event.id().to_vec()).unwrap();
                    let (key, n) = id.split_once(':').unwrap();
                    let n: i64 = n.parse().unwrap();
                    let before = last.entry(key.to_owned()).or_insert(-1);
                    // A batch that was refused half way comes again from its beginning.
                    assert!(n <= *before + 1, "{key}: {n} came after {before}");
                    *before = n.max(*before);
                }
                moving.ack(&receipts(&leased)).await.unwrap();
            }
        })
    };
    let mut step = 0;
    let mut before = 0;
    for share in [50, 100, 20] {
        for phase in [Phase::Hold, Phase::Drain, Phase::Open] {
            step += 1;
            moving.take(step, at(before, share, phase)).await;
            while phase == Phase::Drain && !moving.is_drained().await.unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        before = share;
    }
    done.store(true, Ordering::SeqCst);
    let mut offered = Vec::new();
    for producer in producers {
        offered.push(producer.await.unwrap());
    }
    all.store(true, Ordering::SeqCst);
    let last = worker.await.unwrap();
    for key in 0..KEYS {
        assert_eq!(last[&key.to_string()] + 1, offered[key % 4], "of card {key}");
    }
}
