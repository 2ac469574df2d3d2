//! A closed buffer takes nothing in and hands nothing out, but lets what is held be finished.

use std::sync::Arc;
use std::time::Duration;

use super::Subject;
use super::steps::{PATIENCE, ack, end, nothing_ready, offer, take};

/// Long before their time.
pub async fn closing_ends_waiting_leases(subject: &dyn Subject) {
    let buffer = subject.open().await;
    let waiting = tokio::spawn({
        let buffer = Arc::clone(&buffer);
        async move { buffer.lease(10, PATIENCE * 100).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    buffer.close().await.expect("it can be closed");
    assert!(end(waiting).await.expect("it can be leased").is_empty());
}

/// What is ready stays where it is.
pub async fn a_closed_buffer_leases_nothing(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    buffer.close().await.expect("it can be closed");
    nothing_ready(&*buffer).await;
    assert_eq!(buffer.depth().await.expect("it can be read").ready, 3);
}

/// Closing must not make finished work be done again.
pub async fn what_is_held_can_be_acked_after_closing(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    let leased = take(&*buffer, 3).await;
    buffer.close().await.expect("it can be closed");
    ack(&*buffer, &leased[..2]).await;
    let depth = buffer.depth().await.expect("it can be read");
    assert_eq!((depth.ready, depth.leased), (0, 1));
}

/// Two owners may both close.
pub async fn closing_twice_is_closing_once(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    buffer.close().await.expect("it can be closed");
    buffer.close().await.expect("it can be closed again");
    assert_eq!(buffer.depth().await.expect("it can be read").ready, 1);
}
