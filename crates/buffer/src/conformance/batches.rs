//! Any size of batch, none included.

use std::time::Duration;

use super::Subject;
use super::steps::{PATIENCE, came, nothing_ready, offer, take};
use crate::Depth;

/// It succeeds, and holds nothing.
pub async fn an_empty_offer_is_nothing(subject: &dyn Subject) {
    let buffer = subject.open().await;
    buffer.offer(&[]).await.expect("an empty offer is fine");
    assert_eq!(buffer.depth().await.expect("it can be read"), Depth::default());
    nothing_ready(&*buffer).await;
}

/// A lease may give fewer than `max`, and never more.
pub async fn max_is_respected(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..100).await;
    let mut all = Vec::new();
    for max in [1, 7, 64, 1000] {
        let leased = buffer.lease(max, PATIENCE).await.expect("it can be leased");
        assert!(!leased.is_empty() && leased.len() <= max, "{} of max {max}", leased.len());
        all.extend(leased);
    }
    all.extend(take(&*buffer, 100 - all.len()).await);
    came(subject, &all, 0..100);
    nothing_ready(&*buffer).await;
}

/// At once, whatever it was told to wait.
pub async fn a_max_of_none_leases_none(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased =
        tokio::time::timeout(Duration::from_secs(5), buffer.lease(0, Duration::from_secs(3600)));
    assert!(leased.await.expect("at once").expect("it can be leased").is_empty());
    assert_eq!(buffer.depth().await.expect("it can be read").ready, 1);
}

/// No receipts, no effect, no error.
pub async fn empty_steps_count_none(subject: &dyn Subject) {
    let buffer = subject.open().await;
    assert_eq!(buffer.ack(&[]).await.expect("nothing to ack"), 0);
    assert_eq!(buffer.release(&[], Duration::ZERO).await.expect("nothing to release"), 0);
    assert_eq!(buffer.extend(&[], Duration::ZERO).await.expect("nothing to extend"), 0);
    assert_eq!(buffer.bury(&[]).await.expect("nothing to bury"), 0);
    assert_eq!(buffer.dead_letters().replay(&[]).await.expect("nothing to replay"), 0);
    assert_eq!(buffer.dead_letters().drop_letters(&[]).await.expect("nothing to drop"), 0);
}
