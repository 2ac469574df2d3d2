//! A lease waits for its first event, and no longer than it must.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Subject;
use super::steps::{PATIENCE, end, let_leases_expire, offer, take_one};
use crate::{Buffer, Envelope};

/// A lease that would wait far longer than any test does. That it waits by the time the next step
/// is taken is likely, not certain; what is asserted holds either way.
async fn waiting_lease(buffer: &Arc<dyn Buffer>, max: usize) -> JoinHandle<Vec<Envelope>> {
    let buffer = Arc::clone(buffer);
    let waiting =
        tokio::spawn(
            async move { buffer.lease(max, PATIENCE * 100).await.expect("it can be leased") },
        );
    tokio::time::sleep(Duration::from_millis(20)).await;
    waiting
}

/// And then comes back with nothing.
pub async fn an_empty_buffer_keeps_a_lease_waiting_as_long_as_asked(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let (started, wait) = (Instant::now(), Duration::from_millis(60));
    assert!(buffer.lease(10, wait).await.expect("it can be leased").is_empty());
    assert!(started.elapsed() >= wait, "it came back after {:?}", started.elapsed());
}

/// Though it would have waited much longer.
pub async fn an_offer_wakes_a_waiting_lease(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let waiting = waiting_lease(&buffer, 10).await;
    offer(&*buffer, 0..3).await;
    let mut came = end(waiting).await;
    assert!(!came.is_empty());
    while came.len() < 3 {
        came.push(take_one(&*buffer).await);
    }
}

/// Nobody sleeps on while there is an event for them.
pub async fn one_offer_wakes_as_many_as_it_feeds(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(waiting_lease(&buffer, 1).await);
    }
    offer(&*buffer, 0..4).await;
    for lease in waiting {
        assert_eq!(end(lease).await.len(), 1);
    }
}

/// What one worker gives back, another has at once.
pub async fn a_release_wakes_a_waiting_lease(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let held = take_one(&*buffer).await;
    let waiting = waiting_lease(&buffer, 10).await;
    buffer.release(&[held.receipt], Duration::ZERO).await.expect("it can be released");
    assert_eq!(end(waiting).await.len(), 1);
}

/// Without anybody doing anything.
pub async fn a_delay_that_ends_wakes_a_waiting_lease(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let held = take_one(&*buffer).await;
    let delay_ms = subject.limits().lease_ms;
    let delay = Duration::from_millis(delay_ms);
    buffer.release(&[held.receipt], delay).await.expect("it can be released");
    let waiting = waiting_lease(&buffer, 10).await;
    subject.advance(delay_ms + 1).await;
    assert_eq!(end(waiting).await.len(), 1);
}

/// The worker that held it may be gone.
pub async fn an_expiry_wakes_a_waiting_lease(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let held = take_one(&*buffer).await;
    let waiting = waiting_lease(&buffer, 10).await;
    let_leases_expire(subject).await;
    let came = end(waiting).await;
    assert_eq!((came.len(), came[0].receipt.seq), (1, held.receipt.seq));
}
