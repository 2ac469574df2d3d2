//! Events come out in the order they went in; those that come again go first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Subject;
use super::steps::{ack, let_leases_expire, names, names_of, offer, receipts, take};
use crate::Envelope;

/// Asserts that each key's events of `0..count` are there, once each and in order, and that their
/// numbers rise.
fn in_order_by_key(came: &[Envelope], count: usize) {
    let mut sorted = names(came);
    sorted.sort();
    let mut all = names_of(0..count);
    all.sort();
    assert_eq!(sorted, all);
    let mut last: BTreeMap<&[u8], (usize, u64)> = BTreeMap::new();
    for envelope in came {
        let id = String::from_utf8_lossy(envelope.event.id());
        let n: usize = id.trim_start_matches("id-").parse().expect("the suite's own name");
        let before = last.insert(envelope.event.key(), (n, envelope.receipt.seq));
        let rises = before.is_none_or(|(m, seq)| m < n && seq < envelope.receipt.seq);
        assert!(rises, "{before:?} came before {n} of the same key");
    }
}

/// Whatever lies in between, across many offers and many leases.
pub async fn each_keys_events_come_out_in_the_order_they_went_in(subject: &dyn Subject) {
    let buffer = subject.open().await;
    for n in 0..50 {
        offer(&*buffer, n..n + 1).await;
    }
    offer(&*buffer, 50..100).await;
    let mut came = Vec::new();
    for count in [1, 2, 3, 50, 44] {
        came.extend(take(&*buffer, count).await);
    }
    in_order_by_key(&came, 100);
}

/// All of a key's events that are leased expire, and come in order with those that never were.
pub async fn each_keys_events_that_come_again_go_before_its_fresh_ones(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..60).await;
    take(&*buffer, 25).await;
    let_leases_expire(subject).await;
    let came = take(&*buffer, 60).await;
    in_order_by_key(&came, 60);
    ack(&*buffer, &came).await;
}

/// Across many offers and many leases.
pub async fn events_come_out_in_the_order_they_went_in(subject: &dyn Subject) {
    let buffer = subject.open().await;
    for n in 0..100 {
        offer(&*buffer, n..n + 1).await;
    }
    let mut came = Vec::new();
    for count in [1, 2, 3, 50, 44] {
        came.extend(names(&take(&*buffer, count).await));
    }
    assert_eq!(came, names_of(0..100));
}

/// Within one offer.
pub async fn a_batch_keeps_its_inner_order(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..60).await;
    offer(&*buffer, 60..120).await;
    let leased = take(&*buffer, 120).await;
    assert_eq!(names(&leased), names_of(0..120));
    assert!(leased.windows(2).all(|pair| pair[0].receipt.seq < pair[1].receipt.seq));
}

/// Released and expired ones alike, whatever the order they were released in.
pub async fn events_that_come_again_go_before_fresh_ones_lowest_first(subject: &dyn Subject) {
    let buffer = subject.open().await;
    offer(&*buffer, 0..6).await;
    let leased = take(&*buffer, 4).await;
    let_leases_expire(subject).await;
    let (first, third) = (leased[0].receipt, leased[2].receipt);
    buffer.release(&[third], Duration::ZERO).await.expect("it can be released");
    buffer.release(&[first], Duration::ZERO).await.expect("it can be released");
    assert_eq!(names(&take(&*buffer, 3).await), names_of(0..3));
    assert_eq!(names(&take(&*buffer, 3).await), names_of(3..6));
    assert_eq!(buffer.ack(&receipts(&leased)).await.expect("it can be acked"), 0);
}
