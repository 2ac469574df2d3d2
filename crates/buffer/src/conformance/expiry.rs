//! A lease that is lost comes back, and a worker that lost one can't act on it any more.

use std::time::Duration;

use super::Subject;
use super::steps::{ack, came, let_leases_expire, nothing_ready, offer, receipts, take, take_one};

/// Nobody has to do anything for that.
pub async fn an_expired_lease_comes_again_with_the_next_attempt(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    for attempt in 1..=3 {
        let leased = take(&*buffer, 3).await;
        came(subject, &leased, 0..3);
        assert!(leased.iter().all(|envelope| envelope.attempt == attempt));
        let_leases_expire(subject).await;
    }
}

/// Half its time is not enough to lose it.
pub async fn a_lease_is_held_until_its_deadline(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take(&*buffer, 1).await;
    subject.advance(subject.limits().lease_ms / 2).await;
    nothing_ready(&*buffer).await;
    ack(&*buffer, &leased).await;
}

/// Once another worker has the event, the first one's receipt does nothing.
pub async fn a_stale_receipt_is_passed_over_by_everything(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let stale = [take_one(&*buffer).await.receipt];
    let_leases_expire(subject).await;
    let held = take(&*buffer, 1).await;

    assert_eq!(buffer.ack(&stale).await.expect("it can be acked"), 0);
    assert_eq!(buffer.release(&stale, Duration::ZERO).await.expect("it can be released"), 0);
    let hour = Duration::from_secs(3600);
    assert_eq!(buffer.extend(&stale, hour).await.expect("it can be extended"), 0);
    let burial = [(stale[0], "not mine".to_owned())];
    assert_eq!(buffer.bury(&burial).await.expect("it can be buried"), 0);

    nothing_ready(&*buffer).await;
    ack(&*buffer, &held).await;
}

/// Nobody else holds it, and its effect is settled: to lease it again would be for nothing.
pub async fn an_expired_lease_nobody_took_can_still_be_acked(subject: &dyn Subject) {
    if subject.lacks().late_receipts {
        return;
    }
    let buffer = subject.open().await;
    offer(&*buffer, 0..2).await;
    let leased = take(&*buffer, 2).await;
    let_leases_expire(subject).await;
    ack(&*buffer, &leased).await;
    nothing_ready(&*buffer).await;
}

/// A heartbeat that comes late still keeps what nobody else has taken.
pub async fn an_expired_lease_nobody_took_can_still_be_extended(subject: &dyn Subject) {
    if subject.lacks().late_receipts {
        return;
    }
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take(&*buffer, 1).await;
    let_leases_expire(subject).await;
    let by = Duration::from_secs(3600);
    let extended = buffer.extend(&receipts(&leased), by).await.expect("it can be extended");
    assert_eq!(extended, 1);
    nothing_ready(&*buffer).await;
    ack(&*buffer, &leased).await;
}
