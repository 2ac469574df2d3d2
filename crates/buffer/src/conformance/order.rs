//! Events come out in the order they went in; those that come again go first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::steps::{
    PATIENCE, ack, keyed, let_leases_expire, names, names_of, offer, receipts, take,
};
use super::{Order, Subject};
use crate::Buffer;

/// Across many offers and many leases.
pub async fn events_come_out_in_the_order_they_went_in(subject: &dyn Subject) {
    if subject.lacks().order != Order::Whole {
        return;
    }
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
    if subject.lacks().order != Order::Whole {
        return;
    }
    let buffer = subject.open().await;
    offer(&*buffer, 0..60).await;
    offer(&*buffer, 60..120).await;
    let leased = take(&*buffer, 120).await;
    assert_eq!(names(&leased), names_of(0..120));
    assert!(leased.windows(2).all(|pair| pair[0].receipt.seq < pair[1].receipt.seq));
}

/// Released and expired ones alike, whatever the order they were released in.
pub async fn events_that_come_again_go_before_fresh_ones_lowest_first(subject: &dyn Subject) {
    if subject.lacks().order != Order::Whole {
        return;
    }
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

/// What comes until `count` events have come, by key: names and numbers. Each lease is acked before the
/// next: some give out no more of a key before.
async fn drained(buffer: &dyn Buffer, count: usize) -> BTreeMap<Vec<u8>, Vec<(String, u64)>> {
    let mut by_key: BTreeMap<Vec<u8>, Vec<(String, u64)>> = BTreeMap::new();
    let mut came = 0;
    while came < count {
        let leased = buffer.lease(7, PATIENCE).await.expect("it can be leased");
        assert!(!leased.is_empty(), "only {came} of {count} came");
        for (envelope, name) in leased.iter().zip(names(&leased)) {
            let of_key = by_key.entry(envelope.event.key().to_vec()).or_default();
            of_key.push((name, envelope.receipt.seq));
        }
        came += leased.len();
        ack(buffer, &leased).await;
    }
    by_key
}

/// Of 60 events of seven keys.
fn in_order(by_key: &BTreeMap<Vec<u8>, Vec<(String, u64)>>) {
    for key in 0..7 {
        let of_key = &by_key[format!("key-{key}").as_bytes()];
        let came: Vec<_> = of_key.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(came, names_of((key..60).step_by(7)));
        assert!(of_key.windows(2).all(|pair| pair[0].1 < pair[1].1), "{of_key:?}");
    }
}

/// Whatever else is leased meanwhile, and with what it was leased beside.
pub async fn each_keys_events_come_out_in_the_order_they_went_in(subject: &dyn Subject) {
    if subject.lacks().order == Order::None {
        return;
    }
    let buffer = subject.open().await;
    for start in (0..60).step_by(20) {
        let events: Vec<_> = (start..start + 20).map(|n| keyed(n, n % 7)).collect();
        buffer.offer(&events).await.expect("there is room");
    }
    in_order(&drained(&*buffer, 60).await);
}

/// Some of a key's events are leased and expire, and come in order with those that never were.
pub async fn each_keys_events_that_come_again_go_before_its_fresh_ones(subject: &dyn Subject) {
    if subject.lacks().order == Order::None {
        return;
    }
    let buffer = subject.open().await;
    let events: Vec<_> = (0..60).map(|n| keyed(n, n % 7)).collect();
    buffer.offer(&events).await.expect("there is room");
    let held = buffer.lease(25, PATIENCE).await.expect("it can be leased");
    assert!(!held.is_empty(), "something comes");
    let_leases_expire(subject).await;
    in_order(&drained(&*buffer, 60).await);
}
