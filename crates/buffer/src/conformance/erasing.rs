//! A buffer is erased only while it holds nothing and nobody has it, and is not made anew afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::Subject;
use super::steps::{PATIENCE, ack, event, offer, take};
use crate::Error;

/// Whether it can be erased. One that cannot says so, and stays.
async fn can_be(subject: &dyn Subject) -> bool {
    if !subject.lacks().erasing {
        return true;
    }
    let refused = subject.erase().await.expect_err("it is said to lack this").to_string();
    assert!(refused.contains("cannot erase"), "{refused}");
    false
}

/// Takes events through it, and lets go of it.
async fn used(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..3).await;
    let leased = take(&*buffer, 3).await;
    ack(&*buffer, &leased).await;
    buffer.close().await.expect("it can be closed");
}

async fn is_refused(subject: &dyn Subject) {
    let refused = match subject.try_open().await {
        Ok(_) => panic!("an erased buffer was made anew"),
        Err(refused) => refused,
    };
    assert!(matches!(refused, Error::Open(_)), "not Open: {refused}");
    let text = refused.to_string();
    assert!(text.contains("erased") && text.contains("anew"), "what to do is not said: {text}");
}

/// For a process that starts with old settings.
pub async fn an_erased_buffer_is_not_made_anew(subject: &dyn Subject) {
    used(subject).await;
    if can_be(subject).await {
        subject.erase().await.expect("it holds nothing");
        is_refused(subject).await;
        is_refused(subject).await;
    }
}

/// As when the answer to the first was lost.
pub async fn erasing_twice_is_erasing_once(subject: &dyn Subject) {
    used(subject).await;
    if can_be(subject).await {
        subject.erase().await.expect("it holds nothing");
        subject.erase().await.expect("it is erased");
        is_refused(subject).await;
    }
}

/// Refused with a reason, and all of it is there afterwards.
async fn is_kept(subject: &dyn Subject, why: &str) {
    let refused = subject.erase().await.expect_err("it holds something");
    assert!(matches!(refused, Error::Held(_)), "not Held: {refused}");
    assert!(refused.to_string().contains(why), "{why} is not named: {refused}");
}

/// None of them is forgotten.
pub async fn a_buffer_that_holds_an_event_is_not_erased(subject: &dyn Subject) {
    let buffer = subject.open_with_long_leases().await;
    offer(&*buffer, 0..1).await;
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    if !can_be(subject).await {
        return;
    }
    is_kept(subject, "ready").await;

    let buffer = subject.open_with_long_leases().await;
    let leased = take(&*buffer, 1).await;
    assert_eq!(leased[0].event, event(0));
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    is_kept(subject, "1").await;

    let buffer = subject.open_with_long_leases().await;
    let leased = take(&*buffer, 1).await;
    let receipts = [leased[0].receipt];
    buffer.release(&receipts, PATIENCE * 100).await.expect("it can be released");
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    is_kept(subject, "1").await;

    let buffer = subject.open_with_long_leases().await;
    let depth = buffer.depth().await.expect("it can be read");
    assert_eq!(depth.ready + depth.leased, 1, "{depth:?}");
}

/// Until it is dropped.
pub async fn a_buffer_that_holds_a_dead_letter_is_not_erased(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..1).await;
    let leased = take(&*buffer, 1).await;
    let burial = [(leased[0].receipt, "bad".to_owned())];
    assert_eq!(buffer.bury(&burial).await.expect("it can be buried"), 1);
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    if !can_be(subject).await {
        return;
    }
    is_kept(subject, "dead letters").await;

    let buffer = subject.open().await;
    let letters = buffer.dead_letters().list(0, 9).await.expect("they can be listed");
    assert_eq!(letters.len(), 1);
    buffer.dead_letters().drop_letters(&[letters[0].seq]).await.expect("it can be dropped");
    buffer.close().await.expect("it can be closed");
    drop(buffer);
    subject.erase().await.expect("it holds nothing");
    is_refused(subject).await;
}

/// Until it lets go of it.
pub async fn a_buffer_that_a_worker_has_is_not_erased(subject: &dyn Subject) {
    let buffer = subject.open().await;
    assert!(buffer.lease(1, Duration::from_millis(20)).await.expect("it can be leased").is_empty());
    if can_be(subject).await {
        is_kept(subject, "process").await;
        offer(&*buffer, 0..1).await;
        let leased = take(&*buffer, 1).await;
        ack(&*buffer, &leased).await;
        buffer.close().await.expect("it can be closed");
        drop(buffer);
        subject.erase().await.expect("nobody has it");
        is_refused(subject).await;
    }
}

/// The offer is refused, or the buffer is kept with what was accepted.
pub async fn what_is_accepted_while_a_buffer_is_erased_is_kept(subject: &dyn Subject) {
    let buffer = subject.open().await;
    if !can_be(subject).await {
        return;
    }
    let offering = tokio::spawn({
        let buffer = Arc::clone(&buffer);
        async move { buffer.offer(&[event(0)]).await }
    });
    let erased = subject.erase().await;
    let offered = offering.await.expect("the task ends");
    match (&offered, &erased) {
        (Ok(()), Err(Error::Held(_))) => {
            assert_eq!(take(&*buffer, 1).await[0].event, event(0));
        }
        (Err(Error::Open(_)), Ok(())) => is_refused(subject).await,
        _ => panic!("offered: {offered:?}, erased: {erased:?}"),
    }
}
