//! All of a batch is held, or none of it; a full buffer refuses and never forgets. Not covered by a buffer that takes
//! no offers (see [`Lacks::offers`](super::Lacks::offers)).

use super::Subject;
use super::steps::{ack, buried, bury, came, event, events, nothing_ready, offer, reasons, take};
use crate::{Buffer, Class, Classify, Error};

/// Fills the buffer with batches of at most 100.
async fn fill(buffer: &dyn Buffer, events_max: usize) {
    for start in (0..events_max).step_by(100) {
        offer(buffer, start..(start + 100).min(events_max)).await;
    }
}

/// One past the bound is refused, retryably, by an error that names the bound's value.
pub async fn a_full_buffer_refuses_and_names_the_bound(subject: &dyn Subject) {
    let (buffer, events_max) = (subject.open().await, subject.limits().events_max);
    fill(&*buffer, events_max).await;
    let refused = buffer.offer(&[event(events_max)]).await.expect_err("it is full");
    assert_eq!(refused.class(), Class::Retryable);
    let Error::Full { bound, .. } = refused else { panic!("not Full: {refused}") };
    assert!(bound.contains(&events_max.to_string()), "{bound:?} should say {events_max}");
    came(subject, &take(&*buffer, events_max).await, 0..events_max);
}

/// With room for three, a batch of five leaves nothing behind; a batch of three is still taken.
pub async fn a_batch_that_does_not_fit_is_refused_whole(subject: &dyn Subject) {
    let (buffer, events_max) = (subject.open().await, subject.limits().events_max);
    fill(&*buffer, events_max - 3).await;
    let refused = buffer.offer(&events(9000..9005)).await.expect_err("only three fit");
    assert!(matches!(refused, Error::Full { .. }), "not Full: {refused}");
    offer(&*buffer, events_max - 3..events_max).await;
    came(subject, &take(&*buffer, events_max).await, 0..events_max);
    nothing_ready(&*buffer).await;
}

/// A batch that could never fit is rejected for good, not asked to come again.
pub async fn a_batch_larger_than_the_buffer_is_too_many(subject: &dyn Subject) {
    let (buffer, events_max) = (subject.open().await, subject.limits().events_max);
    let refused = buffer.offer(&events(0..events_max + 1)).await.expect_err("it can never fit");
    assert_eq!(refused.class(), Class::Rejected);
    assert!(matches!(refused, Error::TooMany { got, .. } if got == events_max + 1), "{refused}");
    nothing_ready(&*buffer).await;
}

/// What is leased is still held.
pub async fn leasing_frees_no_room_and_acking_does(subject: &dyn Subject) {
    let (buffer, events_max) = (subject.open().await, subject.limits().events_max);
    fill(&*buffer, events_max).await;
    let leased = take(&*buffer, 5).await;
    let refused = buffer.offer(&[event(9000)]).await.expect_err("it is still full");
    assert!(matches!(refused, Error::Full { .. }), "not Full: {refused}");
    ack(&*buffer, &leased).await;
    offer(&*buffer, 9000..9005).await;
    let refused = buffer.offer(&[event(9005)]).await.expect_err("it is full again");
    assert!(matches!(refused, Error::Full { .. }), "not Full: {refused}");
}

/// Never neither offered nor dead.
pub async fn letters_that_find_no_room_stay_dead(subject: &dyn Subject) {
    let (buffer, events_max) = (subject.open().await, subject.limits().events_max);
    bury(&*buffer, 0..2).await;
    for start in (0..events_max).step_by(100) {
        offer(&*buffer, start..(start + 100).min(events_max)).await;
    }
    let seqs: Vec<u64> = buried(&*buffer).await.iter().map(|letter| letter.seq).collect();
    let refused = buffer.dead_letters().replay(&seqs).await.expect_err("the buffer is full");
    assert!(matches!(refused, Error::Full { .. }), "not Full: {refused}");
    assert_eq!(reasons(&buried(&*buffer).await), ["reason 0", "reason 1"]);
    came(subject, &take(&*buffer, events_max).await, 0..events_max);
}

/// Fatally: there is no use in trying again.
pub async fn a_closed_buffer_refuses_offers(subject: &dyn Subject) {
    let buffer = subject.open().await;
    buffer.close().await.expect("it can be closed");
    let refused = buffer.offer(&[event(0)]).await.expect_err("it is closed");
    assert_eq!(refused.class(), Class::Fatal);
    assert!(matches!(refused, Error::Closed), "not Closed: {refused}");
}
