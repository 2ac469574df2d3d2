//! A released event comes again, when its delay is over.

use std::time::Duration;

use super::steps::{ack, came, let_leases_expire, nothing_ready, offer, take, take_one};
use super::{Order, Subject};

/// With no delay, and as its next attempt.
pub async fn a_released_event_comes_again_at_once(subject: &dyn Subject) {
    let buffer = subject.open().await;
    // Where there is an order, it comes before another one.
    let count = if subject.lacks().order == Order::Whole { 2 } else { 1 };
    offer(&*buffer, 0..count).await;
    let leased = take_one(&*buffer).await;
    let released = buffer.release(&[leased.receipt], Duration::ZERO).await;
    assert_eq!(released.expect("it can be released"), 1);
    let again = take_one(&*buffer).await;
    assert_eq!((again.receipt.seq, again.attempt), (leased.receipt.seq, 2));
    assert_ne!(again.receipt.epoch, leased.receipt.epoch, "each lease has an epoch of its own");
    assert_eq!(again.event, leased.event);
    assert_eq!(again.accepted_at_ms, leased.accepted_at_ms);
}

/// Others pass it meanwhile, and the lease it was under no longer matters.
pub async fn a_delayed_event_comes_when_its_delay_is_over_and_not_before(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let delay_ms = subject.limits().lease_ms * 2;
    offer(&*buffer, 0..2).await;
    let leased = take_one(&*buffer).await;
    let delay = Duration::from_millis(delay_ms);
    buffer.release(&[leased.receipt], delay).await.expect("it can be released");
    let other = take(&*buffer, 1).await;
    came(subject, &[leased.clone(), other[0].clone()], 0..2);
    ack(&*buffer, &other).await;
    let_leases_expire(subject).await;
    nothing_ready(&*buffer).await;
    subject.advance(delay_ms).await;
    assert_eq!(take_one(&*buffer).await.event, leased.event);
}

/// Whether or not the event has been leased again.
pub async fn a_receipt_is_spent_once_released(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let spent = [take_one(&*buffer).await.receipt];
    buffer.release(&spent, Duration::from_secs(3600)).await.expect("it can be released");
    assert_eq!(buffer.ack(&spent).await.expect("it can be acked"), 0);
    let released = buffer.release(&spent, Duration::ZERO).await.expect("it can be released");
    assert_eq!(released, 0, "a second release must not shorten the delay");
    nothing_ready(&*buffer).await;
}
