//! Many producers and many workers at once: nothing is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::Event;
use tokio::task::JoinHandle;

use super::{Order, Subject};
use crate::{Buffer, Envelope, Error, Receipt};

const PRODUCERS: usize = 6;
const WORKERS: usize = 4;
/// How long all of it may take, on a machine that a server under test has to share.
const ALL_MAX: Duration = Duration::from_secs(120);

/// Each producer offers its events in batches of 1 to 13, and waits while the buffer is full.
fn produce(buffer: &Arc<dyn Buffer>, producer: usize, each: usize) -> JoinHandle<()> {
    let buffer = Arc::clone(buffer);
    tokio::spawn(async move {
        let mut n = 0;
        while n < each {
            let batch: Vec<Event> = (n..each.min(n + 1 + (n + producer) % 13))
                .map(|n| {
                    let id = format!("p{producer}-{n:04}");
                    Event::new(id.as_bytes(), &id.as_bytes()[..2], b"").expect("within bounds")
                })
                .collect();
            match buffer.offer(&batch).await {
                Ok(()) => n += batch.len(),
                Err(Error::Full { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("an offer failed: {error}"),
            }
        }
    })
}

/// A worker that acks all it leases but every seventh, which it first releases once. Returns what
/// it leased, in order.
fn work(
    buffer: &Arc<dyn Buffer>,
    acked: &Arc<AtomicUsize>,
    all: usize,
) -> JoinHandle<Vec<Envelope>> {
    let (buffer, acked) = (Arc::clone(buffer), Arc::clone(acked));
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while acked.load(Ordering::SeqCst) < all {
            let leased =
                buffer.lease(32, Duration::from_millis(20)).await.expect("it can be leased");
            let (again, done): (Vec<&Envelope>, Vec<&Envelope>) =
                leased.iter().partition(|e| e.receipt.seq % 7 == 0 && e.attempt == 1);
            let again: Vec<Receipt> = again.iter().map(|envelope| envelope.receipt).collect();
            let done: Vec<Receipt> = done.iter().map(|envelope| envelope.receipt).collect();
            let released = buffer.release(&again, Duration::ZERO).await;
            assert_eq!(released.expect("it can be released"), again.len());
            let count = buffer.ack(&done).await.expect("it can be acked");
            assert_eq!(count, done.len(), "a lease that was held was not there to ack");
            acked.fetch_add(count, Ordering::SeqCst);
            seen.extend(leased);
        }
        seen
    })
}

async fn all_that_came(subject: &dyn Subject) -> Vec<Vec<Envelope>> {
    let buffer = subject.open_with_long_leases().await;
    let (acked, each) = (Arc::new(AtomicUsize::new(0)), subject.each());
    let workers: Vec<_> = (0..WORKERS).map(|_| work(&buffer, &acked, PRODUCERS * each)).collect();
    let producers: Vec<_> =
        (0..PRODUCERS).map(|producer| produce(&buffer, producer, each)).collect();
    for producer in producers {
        tokio::time::timeout(ALL_MAX, producer)
            .await
            .expect("it takes too long")
            .expect("no panic");
    }
    let mut seen = Vec::new();
    for worker in workers {
        seen.push(tokio::time::timeout(ALL_MAX, worker).await.expect("events were lost"));
    }
    let depth = buffer.depth().await.expect("it can be read");
    assert_eq!((depth.ready, depth.leased), (0, 0));
    seen.into_iter().map(|worker| worker.expect("it did not panic")).collect()
}

/// Those released were leased twice, all others once, and each was acked once.
pub async fn every_event_is_acked_exactly_once_by_many(subject: &dyn Subject) {
    let mut leases: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for envelope in all_that_came(subject).await.into_iter().flatten() {
        leases.entry(envelope.event.id().to_vec()).or_default().push(envelope.attempt);
    }
    assert_eq!(leases.len(), PRODUCERS * subject.each());
    for (id, mut attempts) in leases {
        attempts.sort_unstable();
        assert!(attempts == [1] || attempts == [1, 2], "{id:?} was leased as {attempts:?}");
    }
}

/// In the buffer's own order, and as seen by each worker.
pub async fn each_producers_order_is_kept_among_many(subject: &dyn Subject) {
    if subject.lacks().order == Order::None {
        return;
    }
    let seen = all_that_came(subject).await;
    let mut by_seq = BTreeMap::new();
    for worker in &seen {
        let mut last: BTreeMap<&[u8], u64> = BTreeMap::new();
        for Envelope { receipt, event, .. } in worker.iter().filter(|e| e.attempt == 1) {
            // Among all, or among those of the key.
            let key = if subject.lacks().order == Order::Whole { b"" } else { event.key() };
            let before = last.insert(key, receipt.seq);
            assert!(before < Some(receipt.seq), "a worker saw fresh ones swap");
        }
        by_seq.extend(worker.iter().map(|e| (e.receipt.seq, e.event.id().to_vec())));
    }
    for producer in 0..PRODUCERS {
        let prefix = format!("p{producer}-").into_bytes();
        let ids: Vec<_> = by_seq.values().filter(|id| id.starts_with(&prefix)).collect();
        assert_eq!(ids.len(), subject.each());
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "producer {producer} lost its order");
    }
}
