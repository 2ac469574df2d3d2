//! All end inside one deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::Buffer;
use runtime::fleet::OnFailure;
use tokio::time::{Instant, sleep};

use crate::rig::{DRAIN_TIMEOUT, Rig, events, fleet, reaches, state};

/// The last steps of an engine take two seconds each, at most.
const LAST_STEPS: Duration = Duration::from_secs(4);

#[tokio::test(start_paused = true)]
async fn components_that_hang_end_together_inside_one_deadline() {
    let (fleet, _) = fleet();
    let rigs: Vec<Rig> = (0..6).map(|n| Rig::new(&format!("table:{n}"))).collect();
    for (n, rig) in rigs.iter().enumerate() {
        rig.store.takes_ms.store(1_000_000_000, Ordering::SeqCst);
        rig.memory.offer(&events(4, 0, 5)).await.unwrap();
        let entry = match n % 2 {
            0 => rig.entry(OnFailure::Restart),
            _ => rig.keeping(OnFailure::Restart).0,
        };
        fleet.add(entry).unwrap();
        rig.until("a batch is under way", |store| store.attempts.load(Ordering::SeqCst) > 0).await;
    }
    let began = Instant::now();
    let stopped = fleet.stop().await;
    assert!(
        (DRAIN_TIMEOUT..DRAIN_TIMEOUT + LAST_STEPS).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    for (n, stopped) in stopped.into_iter().enumerate() {
        let remains = stopped.end.unwrap();
        let (kept, left) = (remains.kept, remains.left.len());
        assert_eq!((kept, left), if n % 2 == 0 { (0, 20) } else { (20, 0) }, "{}", stopped.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_winds_down_keeps_its_earlier_deadline() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.takes_ms.store(1_000_000_000, Ordering::SeqCst);
    rig.memory.offer(&events(4, 0, 5)).await.unwrap();
    fleet.add(rig.keeping(OnFailure::Restart).0).unwrap();
    rig.until("a batch is under way", |store| store.attempts.load(Ordering::SeqCst) > 0).await;
    let began = Instant::now();
    fleet.wind_down();
    sleep(DRAIN_TIMEOUT / 2).await;
    assert_eq!(fleet.stop().await[0].end.as_ref().unwrap().kept, 20);
    assert!(began.elapsed() < DRAIN_TIMEOUT + LAST_STEPS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_keeps_accepts_while_its_pipeline_winds_down_and_is_closed_at_the_end() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let (entry, buffer) = rig.keeping(OnFailure::Restart);
    fleet.add(entry).unwrap();
    reaches(&fleet, "table:a", "ready").await;
    fleet.wind_down();
    reaches(&fleet, "table:a", "draining").await;
    sleep(Duration::from_secs(1)).await;
    buffer.offer(&events(2, 0, 3)).await.unwrap();
    assert_eq!(fleet.stop().await[0].end.as_ref().unwrap().kept, 6);
    assert!(buffer.offer(&events(1, 9, 1)).await.is_err());
    assert!(rig.store.settled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_buffer_that_keeps_nothing_holds_is_settled_before_it_is_closed() {
    let (fleet, _) = fleet();
    let names = ["table:ready", "table:paused", "table:waiting"];
    let rigs = names.map(Rig::new);
    rigs[2].store.is_broken.store(true, Ordering::SeqCst);
    for rig in &rigs {
        fleet.add(rig.entry(OnFailure::Restart)).unwrap();
        reaches(&fleet, &rig.name, "ready").await;
    }
    fleet.pause("table:paused").await.unwrap();
    for rig in &rigs {
        rig.store.takes_ms.store(100, Ordering::SeqCst);
        rig.memory.offer(&events(4, 0, 100)).await.unwrap();
    }
    reaches(&fleet, "table:waiting", "waiting").await;
    rigs[2].store.is_broken.store(false, Ordering::SeqCst);
    fleet.wind_down();
    assert_eq!(state(&fleet, "table:paused"), "paused", "others may still offer to it");
    for stopped in fleet.stop().await {
        assert!(stopped.end.unwrap().left.is_empty(), "{}", stopped.name);
    }
    for rig in &rigs {
        assert_eq!(rig.store.assert_order(), 400, "{}", rig.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_settled_in_time_is_left() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.is_broken.store(true, Ordering::SeqCst);
    rig.memory.offer(&events(4, 0, 5)).await.unwrap();
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    reaches(&fleet, "table:a", "waiting").await;
    let began = Instant::now();
    let remains = fleet.stop().await.remove(0).end.unwrap();
    assert_eq!((remains.left.len(), remains.kept), (20, 0));
    assert!(began.elapsed() < DRAIN_TIMEOUT + LAST_STEPS, "{:?}", began.elapsed());
}
