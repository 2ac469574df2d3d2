//! A buried event is a dead letter, and no longer in the buffer.

use super::Subject;
use super::steps::{ack, let_leases_expire, names, nothing_ready, offer, receipts, take, take_one};
use crate::{DeadLetter, Error};

/// With all that was known of it.
pub async fn a_buried_event_is_a_dead_letter_and_never_comes_again(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..2).await;
    let first = take(&*buffer, 2).await;
    let_leases_expire(subject).await;
    let leased = take(&*buffer, 2).await;
    let burial = [(leased[0].receipt, "amount: must not be negative".to_owned())];
    assert_eq!(buffer.bury(&burial).await.expect("it can be buried"), 1);
    assert_eq!(buffer.bury(&burial).await.expect("it can be buried"), 0, "once is enough");

    let letters = buffer.dead_letters().list(0, 10).await.expect("they can be listed");
    let [letter] = &letters[..] else { panic!("one letter was buried, not {}", letters.len()) };
    let DeadLetter { reason, buried_at_ms, accepted_at_ms, attempts, event: buried, .. } = letter;
    assert_eq!((reason.as_str(), *attempts), ("amount: must not be negative", 2));
    let before = first.iter().find(|envelope| envelope.event == leased[0].event);
    assert_eq!(buried, &leased[0].event);
    assert_eq!(Some(*accepted_at_ms), before.map(|envelope| envelope.accepted_at_ms));
    assert!(buried_at_ms >= accepted_at_ms);

    let_leases_expire(subject).await;
    assert_eq!(names(&take(&*buffer, 1).await), names(&leased[1..]));
    nothing_ready(&*buffer).await;
}

/// The others of the same call are.
pub async fn a_stale_receipt_is_not_buried(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    let leased = take(&*buffer, 3).await;
    ack(&*buffer, &leased[..1]).await;
    let burials: Vec<_> =
        leased.iter().map(|envelope| (envelope.receipt, "bad".to_owned())).collect();
    assert_eq!(buffer.bury(&burials).await.expect("it can be buried"), 2);
    assert_eq!(buffer.ack(&receipts(&leased)).await.expect("it can be acked"), 0);
    assert_eq!(buffer.depth().await.expect("it can be read").dead, 2);
}

/// A burial that finds no room must not lose the event.
pub async fn full_dead_letters_refuse_and_the_event_stays_leased(subject: &dyn Subject) {
    let (buffer, dead_max) = (subject.open().await, subject.limits().dead_max);
    for n in 0..dead_max {
        offer(&*buffer, n..n + 1).await;
        let burial = [(take_one(&*buffer).await.receipt, "bad".to_owned())];
        assert_eq!(buffer.bury(&burial).await.expect("there is room"), 1);
    }
    offer(&*buffer, dead_max..dead_max + 1).await;
    let leased = take(&*buffer, 1).await;
    let burial = [(leased[0].receipt, "bad".to_owned())];
    let refused = buffer.bury(&burial).await.expect_err("the dead letters are full");
    assert!(matches!(refused, Error::Full { .. }), "not Full: {refused}");
    assert_eq!(buffer.depth().await.expect("it can be read").dead, dead_max as u64);
    nothing_ready(&*buffer).await;

    let seqs: Vec<u64> = buffer
        .dead_letters()
        .list(0, 1)
        .await
        .expect("they can be listed")
        .iter()
        .map(|letter| letter.seq)
        .collect();
    buffer.dead_letters().drop_letters(&seqs).await.expect("they can be dropped");
    assert_eq!(buffer.bury(&burial).await.expect("there is room again"), 1);
}
