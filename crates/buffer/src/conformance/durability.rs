//! What was accepted is there after the buffer is closed and opened again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::steps::{ack, came, event, names, nothing_ready, offer, take};
use super::{Order, Subject};
use crate::{Buffer, DeadLetter};

async fn reopen(subject: &dyn Subject, buffer: Arc<dyn Buffer>) -> Arc<dyn Buffer> {
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    subject.open().await
}

async fn bury(buffer: &dyn Buffer, n: usize) {
    offer(buffer, n..n + 1).await;
    let burial = [(take(buffer, 1).await[0].receipt, format!("reason {n}"))];
    assert_eq!(buffer.bury(&burial).await.expect("it can be buried"), 1);
}

async fn list(buffer: &dyn Buffer) -> Vec<DeadLetter> {
    buffer.dead_letters().list(0, usize::MAX).await.expect("they can be listed")
}

/// And says what it survives.
pub async fn a_durable_backend_says_so(subject: &dyn Subject) {
    let kind = subject.open().await.kind();
    assert!(kind.durable && !kind.survives.is_empty(), "{kind:?}");
}

/// In order, byte for byte, with the time it was accepted.
pub async fn what_was_accepted_is_there_after_reopening(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..50).await;
    subject.advance(5).await;
    offer(&*buffer, 50..100).await;
    let oldest = buffer.depth().await.expect("it can be read").oldest_accepted_ms;
    subject.advance(5).await;

    let buffer = reopen(subject, buffer).await;
    let depth = buffer.depth().await.expect("it can be read");
    assert_eq!((depth.ready, depth.leased, depth.dead), (100, 0, 0));
    assert_eq!(depth.oldest_accepted_ms, oldest);
    let leased = take(&*buffer, 100).await;
    came(subject, &leased, 0..100);
    let find = |n: usize| leased.iter().find(|envelope| envelope.event == event(n));
    let accepted_at_ms = |n: usize| find(n).expect("byte for byte").accepted_at_ms;
    let ms = |range: std::ops::Range<usize>| range.map(accepted_at_ms).collect::<Vec<_>>();
    let (first, second) = (ms(0..50), ms(50..100));
    if !subject.lacks().oldest {
        assert_eq!(first.iter().min().copied(), oldest);
    }
    assert!(first.iter().max() < second.iter().min(), "{first:?} before {second:?}");
}

/// Holes and all.
pub async fn what_was_acked_does_not_come_back(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..20).await;
    let leased = take(&*buffer, 20).await;
    ack(&*buffer, &leased[..5]).await;
    ack(&*buffer, &leased[8..12]).await;
    ack(&*buffer, &leased[19..]).await;

    let buffer = reopen(subject, buffer).await;
    let mut left = names(&[&leased[5..8], &leased[12..19]].concat());
    assert_eq!(buffer.depth().await.expect("it can be read").ready, left.len() as u64);
    let leased = take(&*buffer, left.len()).await;
    let mut came = names(&leased);
    if subject.lacks().order != Order::Whole {
        left.sort_unstable();
        came.sort_unstable();
    }
    assert_eq!(came, left);
    ack(&*buffer, &leased).await;

    let buffer = reopen(subject, buffer).await;
    nothing_ready(&*buffer).await;
    assert_eq!(buffer.depth().await.expect("it can be read").oldest_accepted_ms, None);
}

/// Nobody is left who holds it.
pub async fn what_was_leased_comes_back_in_order(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..10).await;
    let before = names(&take(&*buffer, 4).await);

    let buffer = reopen(subject, buffer).await;
    let leased = take(&*buffer, 10).await;
    came(subject, &leased, 0..10);
    if buffer.kind().counts_leases {
        for (name, envelope) in names(&leased).into_iter().zip(&leased) {
            let leases = 1 + u32::from(before.contains(&name));
            assert_eq!(envelope.attempt, leases, "the leases of {name:?}");
        }
    }
}

/// New events go behind old ones, and numbers go on.
pub async fn order_and_identity_go_on_where_they_stopped(subject: &dyn Subject) {
    let mut buffer = subject.open().await;
    let mut last_seq = None;
    let mut seqs = BTreeSet::new();
    for round in 0..4 {
        offer(&*buffer, round * 10..round * 10 + 10).await;
        let leased = take(&*buffer, 10).await;
        came(subject, &leased, round * 10..round * 10 + 10);
        if subject.lacks().order == Order::Whole {
            assert!(Some(leased[0].receipt.seq) > last_seq, "numbers must go on");
            last_seq = Some(leased[9].receipt.seq);
        }
        seqs.extend(leased.iter().map(|envelope| envelope.receipt.seq));
        assert_eq!(seqs.len(), round * 10 + 10, "no number is given twice");
        ack(&*buffer, &leased).await;
        buffer = reopen(subject, buffer).await;
    }
}

/// With their reasons, and not as events.
pub async fn dead_letters_survive_and_their_numbers_are_not_reused(subject: &dyn Subject) {
    let buffer = subject.open().await;
    bury(&*buffer, 0).await;
    bury(&*buffer, 1).await;
    let before = list(&*buffer).await;

    let buffer = reopen(subject, buffer).await;
    assert_eq!(list(&*buffer).await, before);
    nothing_ready(&*buffer).await;
    buffer.dead_letters().drop_letters(&[before[1].seq]).await.expect("it can be dropped");

    let buffer = reopen(subject, buffer).await;
    bury(&*buffer, 2).await;
    let after = list(&*buffer).await;
    assert_eq!(after[0], before[0]);
    assert!(after[1].seq > before[1].seq, "{} must be past {}", after[1].seq, before[1].seq);
}

/// And what was replayed is an event.
pub async fn dead_letters_dropped_or_replayed_stay_gone(subject: &dyn Subject) {
    let buffer = subject.open().await;
    bury(&*buffer, 0).await;
    bury(&*buffer, 1).await;
    bury(&*buffer, 2).await;
    let letters = list(&*buffer).await;
    buffer.dead_letters().drop_letters(&[letters[0].seq]).await.expect("it can be dropped");
    if subject.lacks().offers {
        buffer.dead_letters().drop_letters(&[letters[2].seq]).await.expect("it can be dropped");
        offer(&*buffer, 2..3).await;
    } else {
        buffer.dead_letters().replay(&[letters[2].seq]).await.expect("it can be replayed");
    }

    let buffer = reopen(subject, buffer).await;
    assert_eq!(list(&*buffer).await, letters[1..2]);
    came(subject, &take(&*buffer, 1).await, 2..3);
    nothing_ready(&*buffer).await;
}
