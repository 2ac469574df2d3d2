//! Extending moves a lease's deadline to a time counted from now.

use std::time::Duration;

use super::Subject;
use super::steps::{ack, let_leases_expire, nothing_ready, offer, receipts, take, take_one};

/// Every lease named, and no other.
pub async fn an_extended_lease_outlives_its_first_deadline(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    let leased = take(&*buffer, 3).await;
    let by = Duration::from_millis(subject.limits().lease_ms * 4);
    let extended = buffer.extend(&receipts(&leased[..2]), by).await.expect("it can be extended");
    assert_eq!(extended, 2);
    let_leases_expire(subject).await;
    let lost = take(&*buffer, 1).await;
    assert_eq!(lost[0].receipt.seq, leased[2].receipt.seq);
    nothing_ready(&*buffer).await;
    ack(&*buffer, &leased[..2]).await;
}

/// It is longer, not endless.
pub async fn an_extended_lease_expires_at_its_new_deadline(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take_one(&*buffer).await;
    let by_ms = subject.limits().lease_ms * 2;
    let by = Duration::from_millis(by_ms);
    buffer.extend(&[leased.receipt], by).await.expect("it can be extended");
    subject.advance(by_ms + 1).await;
    assert_eq!(take_one(&*buffer).await.attempt, 2);
}

/// Extended twice and then acked, neither deadline brings it back.
pub async fn an_extended_lease_once_acked_never_comes_again(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..2).await;
    let leased = take(&*buffer, 2).await;
    let lease_ms = subject.limits().lease_ms;
    for by_ms in [lease_ms * 3, lease_ms * 2] {
        let by = Duration::from_millis(by_ms);
        let extended = buffer.extend(&receipts(&leased), by).await.expect("it can be extended");
        assert_eq!(extended, 2);
    }
    ack(&*buffer, &leased[..1]).await;
    subject.advance(lease_ms * 2 + 1).await;
    assert_eq!(take_one(&*buffer).await.receipt.seq, leased[1].receipt.seq);
    nothing_ready(&*buffer).await;
    subject.advance(lease_ms).await;
    assert_eq!(take_one(&*buffer).await.receipt.seq, leased[1].receipt.seq);
    nothing_ready(&*buffer).await;
}

/// The new deadline counts from now, even when that is sooner than the old one.
pub async fn a_lease_can_be_cut_short(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take_one(&*buffer).await;
    buffer.extend(&[leased.receipt], Duration::ZERO).await.expect("it can be extended");
    assert_eq!(take_one(&*buffer).await.attempt, 2);
}

/// Acked or released, there is no lease left to extend.
pub async fn a_spent_receipt_cannot_be_extended(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..2).await;
    let leased = take(&*buffer, 2).await;
    ack(&*buffer, &leased[..1]).await;
    let released = buffer.release(&receipts(&leased[1..]), Duration::ZERO).await;
    assert_eq!(released.expect("it can be released"), 1);
    let hour = Duration::from_secs(3600);
    assert_eq!(buffer.extend(&receipts(&leased), hour).await.expect("it can be extended"), 0);
    assert_eq!(take_one(&*buffer).await.receipt.seq, leased[1].receipt.seq);
}
