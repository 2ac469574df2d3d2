//! A leased event is one worker's alone, and an acked one is done for good.

use super::steps::{
    ack, came, let_leases_expire, names, nothing_ready, offer, receipts, take, take_one,
};
use super::{Order, Subject};
use crate::Receipt;

/// As long as the lease lasts.
pub async fn a_leased_event_is_leased_to_nobody_else(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    let leased = take(&*buffer, 2).await;
    assert!(leased.iter().all(|envelope| envelope.attempt == 1), "first leases are attempt 1");
    let other = take(&*buffer, 1).await;
    came(subject, &[leased, other].concat(), 0..3);
    nothing_ready(&*buffer).await;
}

/// Not even after every deadline has passed.
pub async fn an_acked_event_never_comes_again(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..10).await;
    let leased = take(&*buffer, 10).await;
    ack(&*buffer, &leased).await;
    let_leases_expire(subject).await;
    nothing_ready(&*buffer).await;
}

/// Acks need not follow the order of leases, and leave the others alone.
pub async fn acks_may_come_in_any_order(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..10).await;
    let mut leased = take(&*buffer, 10).await;
    leased.reverse();
    let (odd, even): (Vec<_>, Vec<_>) =
        leased.into_iter().partition(|envelope| envelope.receipt.seq % 2 == 1);
    ack(&*buffer, &odd).await;
    let_leases_expire(subject).await;
    let mut left = names(&even);
    left.reverse();
    let mut came = names(&take(&*buffer, even.len()).await);
    if subject.lacks().order != Order::Whole {
        left.sort_unstable();
        came.sort_unstable();
    }
    assert_eq!(came, left);
    nothing_ready(&*buffer).await;
}

/// In one call as in two.
pub async fn a_receipt_acked_twice_counts_once(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..2).await;
    let (first, second) = (take_one(&*buffer).await.receipt, take_one(&*buffer).await.receipt);
    assert_eq!(buffer.ack(&[first, first]).await.expect("it can be acked"), 1);
    assert_eq!(buffer.ack(&[first, second]).await.expect("it can be acked"), 1);
    assert_eq!(buffer.ack(&[second]).await.expect("it can be acked"), 0);
}

/// A receipt the buffer never gave acts on nothing, and spoils nothing beside it.
pub async fn an_unknown_receipt_is_passed_over(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take(&*buffer, 1).await;
    let unknown = Receipt { seq: leased[0].receipt.seq + 1_000_000, epoch: 1 };
    let wrong_epoch = Receipt { epoch: leased[0].receipt.epoch + 1, ..leased[0].receipt };
    let mut all = vec![unknown, wrong_epoch];
    all.extend(receipts(&leased));
    assert_eq!(buffer.ack(&all).await.expect("it can be acked"), 1);
}
