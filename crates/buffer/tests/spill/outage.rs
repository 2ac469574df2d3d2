//! What an outage does to offers, and what is left after it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::memory::Options;
use buffer::{Buffer, Error};

use super::switched::{Rig, Switch, event, until};

#[tokio::test(start_paused = true)]
async fn without_an_outage_nothing_is_spilled() {
    let rig = Rig::new();
    rig.offer(&["a-1"]).await.unwrap();
    rig.offer(&["a-2", "b-1"]).await.unwrap();
    assert_eq!(rig.local.offers.load(Ordering::SeqCst), 0);
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2", "b-1"]);
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_across_an_outage() {
    let rig = Rig::new();
    rig.offer(&["a-1"]).await.unwrap();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-2", "a-3"]).await.unwrap();
    rig.offer(&["a-4"]).await.unwrap();
    assert_eq!(rig.spilled().await, 3);
    rig.primary.set(Switch::Up);
    // Behind the others, though the primary would take it.
    rig.offer(&["a-5"]).await.unwrap();
    assert_eq!(rig.spilled().await, 4);
    rig.until_settled().await;
    rig.offer(&["a-6"]).await.unwrap();
    assert_eq!(rig.local.offers.load(Ordering::SeqCst), 3);
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2", "a-3", "a-4", "a-5", "a-6"]);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_is_stood_in_for_until_it_is_given_back() {
    let rig = Rig::new();
    rig.primary.set(Switch::Denied);
    rig.offer(&["a-1"]).await.unwrap();
    rig.offer(&["a-2"]).await.unwrap();
    assert_eq!(rig.spilled().await, 2);
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    rig.offer(&["a-3"]).await.unwrap();
    assert_eq!(rig.local.offers.load(Ordering::SeqCst), 2);
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2", "a-3"]);
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_comes_while_the_last_batch_is_in_flight_goes_behind_it() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1"]).await.unwrap();
    rig.primary.set(Switch::Held);
    let before = rig.primary.offers.load(Ordering::SeqCst);
    until("the batch is in flight", || rig.primary.offers.load(Ordering::SeqCst) > before).await;
    rig.offer(&["a-2"]).await.unwrap();
    assert_eq!(rig.spilled().await, 2);
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_offer_on_its_way_into_the_spill_keeps_the_way_around_it_closed() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1"]).await.unwrap();
    rig.local.set(Switch::Held);
    let slow = tokio::spawn({
        let spill = rig.spill.clone();
        async move { spill.offer(&[event("b-1")]).await }
    });
    until("it is on its way", || rig.local.offers.load(Ordering::SeqCst) == 2).await;
    rig.primary.set(Switch::Up);
    // The spill is emptied meanwhile, and is still not done with.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.spilled().await, 0);
    let next = tokio::spawn({
        let spill = rig.spill.clone();
        async move { spill.offer(&[event("b-2")]).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.local.set(Switch::Up);
    slow.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    rig.until_settled().await;
    assert_eq!(rig.primary.ids().await, ["a-1", "b-1", "b-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_makes_a_duplicate_and_loses_nothing() {
    let rig = Rig::new();
    rig.primary.set(Switch::Unheard);
    rig.offer(&["a-1"]).await.unwrap();
    rig.offer(&["a-2"]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    assert!(rig.primary.depth().await.unwrap().ready > 2);
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_spill_refuses_and_says_that_it_is_the_spill() {
    let rig = Rig::with_local(Options { events_max: 2, ..Options::default() });
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1", "a-2"]).await.unwrap();
    let refused = rig.offer(&["a-3"]).await.unwrap_err();
    assert!(matches!(&refused, Error::Full { bound, .. } if bound.starts_with("spill: ")));
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    rig.offer(&["a-3"]).await.unwrap();
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2", "a-3"]);
}

#[tokio::test(start_paused = true)]
async fn only_an_unavailable_primary_is_stood_in_for() {
    let rig = Rig::new();
    rig.primary.set(Switch::Full);
    assert!(
        matches!(rig.offer(&["a-1"]).await, Err(Error::Full { bound, .. }) if bound == "bound")
    );
    rig.primary.set(Switch::Poisoned);
    assert!(matches!(rig.offer(&["a-1"]).await, Err(Error::Poisoned(_))));
    rig.primary.set(Switch::AtMost(1));
    assert!(matches!(rig.offer(&["a-1", "a-2"]).await, Err(Error::TooMany { .. })));
    assert_eq!(rig.local.offers.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_spill_that_fails_too_is_an_outage_to_the_caller() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.local.set(Switch::Poisoned);
    let refused = rig.offer(&["a-1"]).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(why) if why.starts_with("down; and the spill")));
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    rig.offer(&["a-1"]).await.unwrap();
    assert_eq!(rig.primary.ids().await, ["a-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_too_large_for_the_primary_is_handed_over_in_parts() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    let ids: Vec<String> = (0..300).map(|n| format!("a-{n:03}")).collect();
    rig.offer(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    rig.primary.set(Switch::AtMost(7));
    rig.until_settled().await;
    assert_eq!(rig.primary.ids().await, ids);
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_could_never_hold_is_buried_and_the_others_go_on() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1"]).await.unwrap();
    rig.primary.set(Switch::AtMost(0));
    rig.until_settled().await;
    assert_eq!(rig.spill.spilled().await.unwrap().unwrap().dead, 1);
    rig.primary.set(Switch::Up);
    rig.offer(&["a-2"]).await.unwrap();
    assert_eq!(rig.primary.ids().await, ["a-2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_spilled_counts_as_ready() {
    let rig = Rig::new();
    rig.offer(&["a-1"]).await.unwrap();
    rig.clock.advance(500);
    rig.primary.set(Switch::Down);
    rig.offer(&["a-2", "a-3"]).await.unwrap();
    let depth = rig.spill.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (3, 0));
    assert_eq!(depth.oldest_accepted_ms, Some(1_700_000_000_000));
    let spilled = rig.spill.spilled().await.unwrap().unwrap();
    assert_eq!(spilled.oldest_accepted_ms, Some(1_700_000_000_500));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_hand_over_that_waits_and_leaves_the_spill_whole() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1", "a-2"]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.spill.close().await.unwrap();
    rig.spill.close().await.unwrap();
    assert!(matches!(rig.offer(&["a-3"]).await, Err(Error::Closed)));
    let depth = rig.spill.spilled().await.unwrap().unwrap();
    assert_eq!((depth.ready, depth.leased), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_lets_a_hand_over_under_way_finish() {
    let rig = Rig::new();
    rig.primary.set(Switch::Down);
    rig.offer(&["a-1"]).await.unwrap();
    rig.primary.set(Switch::Held);
    let before = rig.primary.offers.load(Ordering::SeqCst);
    until("the batch is in flight", || rig.primary.offers.load(Ordering::SeqCst) > before).await;
    let closing = tokio::spawn({
        let spill = rig.spill.clone();
        async move { spill.close().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.primary.set(Switch::Up);
    closing.await.unwrap().unwrap();
    assert_eq!((rig.spilled().await, rig.primary.depth().await.unwrap().ready), (0, 1));
}
