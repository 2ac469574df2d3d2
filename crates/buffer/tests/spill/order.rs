//! Whatever happens when: all that was accepted arrives, each key's events in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::Buffer;
use buffer::memory::Options;
use buffer::spill::Spill;
use model::clock::{Manual, System};

use super::switched::{Rig, Switch, Switched, event, roll, until};

const KEYS: u64 = 6;
const EACH: u64 = 120;
const SEEDS: u64 = 60;

/// Offers one key's events one after the other, each again until it is accepted.
async fn produce(spill: Arc<Spill>, key: u64, mut dice: u64) {
    for n in 0..EACH {
        while spill.offer(&[event(&format!("k{key}-{n:04}"))]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        dice = roll(dice);
        if dice.is_multiple_of(2) {
            tokio::time::sleep(Duration::from_millis(dice % 40)).await;
        }
    }
}

/// Has the primary fail now and then until aborted.
async fn disturb(primary: Arc<Switched>, mut dice: u64) {
    const FAULTS: [Switch; 3] = [Switch::Down, Switch::Unheard, Switch::Held];
    loop {
        dice = roll(dice);
        tokio::time::sleep(Duration::from_millis(dice % 300)).await;
        primary.set(FAULTS[usize::try_from(dice % 3).unwrap()]);
        tokio::time::sleep(Duration::from_millis(dice % 100)).await;
        primary.set(Switch::Up);
    }
}

/// All keys at once through outages, and then everything in order. Returns how many were spilled.
async fn produce_all(
    seed: u64,
    primary: Arc<Switched>,
    local: Arc<Switched>,
    clock: Manual,
) -> u64 {
    let rig = Rig::between(primary, local, clock);
    rig.primary.roll_dice(seed);
    rig.local.roll_dice(seed + 1);
    let disturbing = tokio::spawn(disturb(rig.primary.clone(), roll(seed)));
    let producing: Vec<_> = (0..KEYS)
        .map(|key| tokio::spawn(produce(rig.spill.clone(), key, roll(seed + key))))
        .collect();
    for producer in producing {
        producer.await.unwrap();
    }
    disturbing.abort();
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    assert_whole(&rig.primary, seed).await;
    rig.local.offers.load(Ordering::SeqCst)
}

async fn assert_whole(primary: &Switched, seed: u64) {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in primary.ids().await {
        by_key.entry(id.split('-').next().unwrap().to_owned()).or_default().push(id);
    }
    for key in 0..KEYS {
        let expect: Vec<_> = (0..EACH).map(|n| format!("k{key}-{n:04}")).collect();
        assert_eq!(by_key[&format!("k{key}")], expect, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_whatever_fails_when() {
    let mut spilled = 0;
    for seed in 1..=SEEDS {
        let clock = Manual::at(0);
        let primary = Switched::new(Options::default(), Arc::new(clock.clone()));
        let local = Switched::new(Options::default(), Arc::new(clock.clone()));
        spilled += produce_all(seed, primary, local, clock).await;
    }
    let share = spilled * 100 / (SEEDS * KEYS * EACH);
    assert!((20..=80).contains(&share), "{share} % went by way of the spill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_overtakes_on_several_threads_either() {
    let primary = Switched::new(Options::default(), Arc::new(System));
    let local = Switched::new(Options::default(), Arc::new(System));
    let spilled = produce_all(99, primary, local, Manual::at(0)).await;
    assert!(spilled > 0 && spilled < KEYS * EACH, "{spilled} went by way of the spill");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_left_goes_before_anything_new() {
    let Rig { primary, local, spill, clock } = Rig::new();
    primary.set(Switch::Down);
    spill.offer(&[event("a-1"), event("a-2")]).await.unwrap();
    drop(spill);
    primary.set(Switch::Up);
    let rig = Rig::between(primary, local, clock);
    rig.offer(&["a-3"]).await.unwrap();
    assert_eq!(rig.primary.depth().await.unwrap().ready, 0, "it overtook");
    // What the earlier one had leased comes again.
    rig.clock.advance(60_000);
    rig.until_settled().await;
    rig.offer(&["a-4"]).await.unwrap();
    let ids = rig.primary.ids().await;
    assert_eq!(ids, ["a-1", "a-2", "a-3", "a-4"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_it_is_dropped_between_hand_over_and_ack() {
    let Rig { primary, local, spill, clock } = Rig::new();
    primary.set(Switch::Down);
    spill.offer(&[event("a-1"), event("a-2")]).await.unwrap();
    primary.set(Switch::Held);
    let before = primary.offers.load(Ordering::SeqCst);
    until("the batch is in flight", || primary.offers.load(Ordering::SeqCst) > before).await;
    drop(spill);
    primary.set(Switch::Up);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(primary.depth().await.unwrap().ready, 0, "the dropped one went on");

    clock.advance(60_000);
    let rig = Rig::between(primary, local, clock);
    rig.until_settled().await;
    assert_eq!(rig.primary.ids().await, ["a-1", "a-2"]);
}
