//! A buffer that fails: what may pass is tried again, and nothing is lost or done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::Memory;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use engine::{Failure, Options};
use model::Event;

use crate::rig::{Rig, Step, events, one_lane};

/// Fails the first so many calls of a kind, and then works.
#[derive(Default)]
struct Faults {
    lease: AtomicUsize,
    ack: AtomicUsize,
    bury: AtomicUsize,
    corrupt: AtomicUsize,
}

struct Faulty(Arc<Memory>, Faults);

fn faulty(rig: &Rig, faults: Faults) -> Arc<Faulty> {
    Arc::new(Faulty(rig.memory.clone(), faults))
}

fn fails(left: &AtomicUsize) -> Result<(), Error> {
    let one_less = |left: usize| left.checked_sub(1);
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
        Ok(_) => Err(Error::Unavailable("as scripted".to_owned())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl Buffer for Faulty {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.0.offer(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        fails(&self.1.lease)?;
        fails(&self.1.corrupt).map_err(|_| Error::Corrupt("segment 7".to_owned()))?;
        self.0.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        fails(&self.1.ack)?;
        self.0.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.0.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        fails(&self.1.bury)?;
        self.0.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.0.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.0.depth().await
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.0.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn events_whose_ack_failed_come_again_and_are_found_to_be_duplicates() {
    let rig = Rig::with_lease_ms(1000);
    rig.offer(&events(10, 10)).await;
    let buffer = faulty(&rig, Faults { ack: 1.into(), ..Faults::default() });
    let options = Options { lease_ms: 1000, ..one_lane() };
    let handle = rig.start_with(options, buffer, None, |_| Step::Settle);
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.duplicates, counts.redelivered), (100, 100, 100));
    rig.ledger.assert_order(10, 10);
}

#[tokio::test(start_paused = true)]
async fn a_burial_that_fails_is_tried_until_it_is_done() {
    let rig = Rig::new();
    rig.offer(&events(1, 2)).await;
    let buffer = faulty(&rig, Faults { bury: 3.into(), ..Faults::default() });
    let handle = rig.start_with(one_lane(), buffer, None, |batch| match batch.len() {
        1 if batch[0].event.id() == b"k000-0001" => Step::Settle,
        _ => Step::Fail(Failure::Rejected("bad".to_owned())),
    });
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (1, 1));
    assert_eq!(rig.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_cannot_be_leased_from_is_tried_until_it_can() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let buffer = faulty(&rig, Faults { lease: 20.into(), ..Faults::default() });
    let handle = rig.start_with(Options::default(), buffer, None, |_| Step::Settle);
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_buffer_stops_the_engine() {
    let rig = Rig::new();
    let buffer = faulty(&rig, Faults { corrupt: 1.into(), ..Faults::default() });
    let handle = rig.start_with(Options::default(), buffer, None, |_| Step::Settle);
    let error = handle.join().await.unwrap_err();
    let expected = "the pipeline stopped because of its buffer: the buffer is damaged: segment 7";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_closes_under_the_engine_lets_it_finish() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let handle = rig.start(one_lane(), |_| Step::SettleAfter(Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.memory.close().await.unwrap();
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}
