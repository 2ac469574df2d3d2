//! Paused: lease nothing, finish what is held, go on accepting.

use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::Buffer;
use runtime::fleet::OnFailure;
use tokio::time::sleep;

use crate::rig::{Rig, events, fleet, reaches, state};

#[tokio::test(start_paused = true)]
async fn a_paused_pipeline_finishes_what_it_holds_leases_nothing_and_accepts() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.takes_ms.store(1_000, Ordering::SeqCst);
    rig.memory.offer(&events(4, 0, 100)).await.unwrap();
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    rig.until("a batch is under way", |store| store.attempts.load(Ordering::SeqCst) > 0).await;
    fleet.pause("table:a").await.unwrap();
    assert_eq!(state(&fleet, "table:a"), "paused");
    let settled = rig.store.assert_order();
    assert!((1..400).contains(&settled), "what it held, and no more: {settled}");
    assert_eq!(rig.memory.depth().await.unwrap().leased, 0, "it holds nothing");

    rig.memory.offer(&events(4, 100, 50)).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!((rig.store.settled().len(), rig.depth().await), (settled, 600 - settled as u64));
    assert_eq!(rig.memory.depth().await.unwrap().leased, 0, "it leases nothing");

    fleet.resume("table:a").unwrap();
    rig.until("all are settled", |store| store.settled().len() == 600).await;
    assert_eq!(rig.store.assert_order(), 600);
    let stats = &fleet.sources()[0].stats;
    rig.until("all are counted", |_| stats.counts().settled == 600).await;
    assert_eq!(stats.counts().duplicates, 0, "no event was settled twice");
}

#[tokio::test(start_paused = true)]
async fn pauses_under_load_keep_order_and_settle_each_event_once() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.takes_ms.store(3, Ordering::SeqCst);
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    let load = async {
        for number in 0..200 {
            rig.memory.offer(&events(8, number, 1)).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let pauses = async {
        for pause_ms in 0..20 {
            fleet.pause("table:a").await.unwrap();
            sleep(Duration::from_millis(7 * pause_ms)).await;
            fleet.resume("table:a").unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(load, pauses);
    rig.until("all are settled", |store| store.settled().len() == 1_600).await;
    assert_eq!(rig.store.assert_order(), 1_600);
    let stats = fleet.sources()[0].stats.clone();
    rig.until("all are counted", |_| stats.counts().settled == 1_600).await;
    assert_eq!((stats.counts().duplicates, stats.counts().dead), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_waits_to_start_again_can_be_paused() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.is_broken.store(true, Ordering::SeqCst);
    rig.memory.offer(&events(1, 0, 1)).await.unwrap();
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    reaches(&fleet, "table:a", "waiting").await;
    fleet.pause("table:a").await.unwrap();
    let attempts = rig.store.attempts.load(Ordering::SeqCst);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.store.attempts.load(Ordering::SeqCst), attempts);
    rig.store.is_broken.store(false, Ordering::SeqCst);
    fleet.resume("table:a").unwrap();
    rig.until("it is settled", |store| store.settled().len() == 1).await;
}
