//! Depth says how much is ready, leased and dead, and how old the oldest is.

use std::time::Duration;

use super::steps::{ack, event, let_leases_expire, offer, receipts, take};
use super::{Order, Subject};
use crate::{Buffer, Depth};

async fn depth(buffer: &dyn Buffer) -> Depth {
    buffer.depth().await.expect("it can be read")
}

async fn counts(buffer: &dyn Buffer) -> (u64, u64, u64) {
    let Depth { ready, leased, dead, .. } = depth(buffer).await;
    (ready, leased, dead)
}

/// From offered to gone.
pub async fn every_step_of_an_event_is_counted(subject: &dyn Subject) {
    let buffer = subject.open().await;
    assert_eq!(depth(&*buffer).await, Depth::default());
    offer(&*buffer, 0..10).await;
    assert_eq!(counts(&*buffer).await, (10, 0, 0));
    let leased = take(&*buffer, 6).await;
    assert_eq!(counts(&*buffer).await, (4, 6, 0));
    ack(&*buffer, &leased[..2]).await;
    assert_eq!(counts(&*buffer).await, (4, 4, 0));
    let (now, later) = (&receipts(&leased[2..3]), &receipts(&leased[3..4]));
    buffer.release(now, Duration::ZERO).await.expect("it can be released");
    buffer.release(later, Duration::from_secs(3600)).await.expect("it can be released");
    assert_eq!(counts(&*buffer).await, (6, 2, 0));
    let burial = [(leased[4].receipt, "bad".to_owned())];
    buffer.bury(&burial).await.expect("it can be buried");
    assert_eq!(counts(&*buffer).await, (6, 1, 1));
}

/// Whether or not anybody has come for it.
pub async fn an_expired_lease_counts_as_ready(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    take(&*buffer, 2).await;
    let_leases_expire(subject).await;
    assert_eq!(counts(&*buffer).await, (3, 0, 0));
}

/// Leased ones count, acked and buried ones do not.
pub async fn the_oldest_is_the_first_not_yet_done(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let mut accepted = Vec::new();
    for n in 0..3 {
        buffer.offer(&[event(n)]).await.expect("there is room");
        subject.advance(5).await;
    }
    let mut leased = take(&*buffer, 3).await;
    if subject.lacks().order != Order::Whole {
        leased.sort_by_key(|envelope| envelope.accepted_at_ms);
    }
    accepted.extend(leased.iter().map(|envelope| envelope.accepted_at_ms));
    assert!(accepted.windows(2).all(|pair| pair[0] < pair[1]), "{accepted:?} should ascend");

    assert_eq!(depth(&*buffer).await.oldest_accepted_ms, Some(accepted[0]));
    ack(&*buffer, &leased[1..2]).await;
    assert_eq!(depth(&*buffer).await.oldest_accepted_ms, Some(accepted[0]));
    ack(&*buffer, &leased[..1]).await;
    assert_eq!(depth(&*buffer).await.oldest_accepted_ms, Some(accepted[2]));
    let burial = [(leased[2].receipt, "bad".to_owned())];
    buffer.bury(&burial).await.expect("it can be buried");
    assert_eq!(depth(&*buffer).await.oldest_accepted_ms, None);
}
