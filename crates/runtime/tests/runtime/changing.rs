//! Pipelines come and go while a fleet runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::{Buffer, Error};
use runtime::fleet::OnFailure;
use runtime::{Entry, Pipeline};
use tokio::time::sleep;

use crate::rig::{Keeping, Rig, events, fleet, reaches};

#[tokio::test(start_paused = true)]
async fn pipelines_added_and_removed_under_load_lose_nothing_and_settle_each_event_once() {
    let (fleet, removed) = fleet();
    let rigs: Vec<Rig> = (0..5).map(|n| Rig::new(&format!("table:{n}"))).collect();
    let (stays, comes_and_goes) = rigs.split_first().unwrap();
    fleet.add(stays.entry(OnFailure::EndProcess)).unwrap();
    let load = async |rig: &Rig| {
        for number in 0..300 {
            rig.memory.offer(&events(4, number, 1)).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    };
    let changes = async |rig: &Rig, stay: Duration| {
        rig.store.takes_ms.store(2, Ordering::SeqCst);
        let (mut settled, mut rounds) = (0, 0);
        while settled < 1_200 {
            fleet.add(rig.keeping(OnFailure::Restart).0).unwrap();
            sleep(stay).await;
            let source =
                fleet.sources().into_iter().find(|source| source.work.pipeline() == rig.name);
            fleet.remove(&rig.name).await.unwrap();
            let counts = source.unwrap().stats.counts();
            assert_eq!((counts.duplicates, counts.dead), (0, 0), "nothing is settled twice");
            settled = rig.store.settled().len();
            rounds += 1;
        }
        rounds
    };
    let all = futures_util::future::join_all(comes_and_goes.iter().zip(3..).map(
        async |(rig, stay_ms)| {
            tokio::join!(load(rig), changes(rig, Duration::from_millis(stay_ms * 7))).1
        },
    ));
    let (rounds, ()) = tokio::join!(all, load(stays));
    stays.until("all are settled", |store| store.settled().len() == 1_200).await;
    for rig in &rigs {
        assert_eq!((rig.store.assert_order(), rig.depth().await), (1_200, 0), "{}", rig.name);
    }
    assert!(rounds.iter().all(|rounds| *rounds > 10), "{rounds:?}");
    assert_eq!(removed.lock().unwrap().len(), rounds.iter().sum::<usize>());
    assert_eq!(fleet.states().len(), 1);
    assert!(!fleet.ended().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_its_pipeline_is_removed() {
    let (rig, (fleet, removed)) = (Rig::new("table:a"), fleet());
    fleet.add(rig.keeping(OnFailure::EndProcess).0).unwrap();
    let taken = fleet.add(rig.keeping(OnFailure::Restart).0).unwrap_err().to_string();
    assert_eq!(taken, "cannot add table:a: a pipeline of this name runs; choose another name");
    let (first, second) = tokio::join!(fleet.remove("table:a"), fleet.remove("table:a"));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(*removed.lock().unwrap(), ["table:a"], "once, though it was removed twice");
    assert!(!fleet.ended().is_cancelled(), "it was removed as asked");
    let unknown = fleet.pause("table:a").await.unwrap_err().to_string();
    assert_eq!(unknown, "no pipeline of the name table:a runs in this process");
    fleet.add(rig.keeping(OnFailure::Restart).0).unwrap();
    reaches(&fleet, "table:a", "ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_only_offers_leases_nothing_and_closes_its_buffer() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let buffer = Keeping::open(&rig.memory);
    let offering = Pipeline::offering("table:a", buffer.clone());
    fleet.add(Entry::pipeline(offering, OnFailure::Restart)).unwrap();
    buffer.offer(&events(2, 0, 2)).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(fleet.sources().is_empty() && rig.store.settled().is_empty());
    assert_eq!(fleet.remove("table:a").await.unwrap().kept, 4);
    assert!(matches!(buffer.offer(&events(1, 9, 1)).await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pipelines_one_after_the_other_leave_no_task_behind() {
    let (fleet, removed) = fleet();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut after_the_first = None;
    for number in 0..1_000 {
        let rig = Rig::new(&format!("table:{number}"));
        fleet.add(rig.entry(OnFailure::EndProcess)).unwrap();
        rig.memory.offer(&events(2, 0, 2)).await.unwrap();
        assert!(fleet.remove(&rig.name).await.unwrap().left.is_empty());
        assert_eq!(rig.store.assert_order(), 4);
        // A task that has ended is gone once it was looked at.
        tokio::task::yield_now().await;
        let alive = *after_the_first.get_or_insert_with(tasks);
        assert!(tasks() <= alive, "{} tasks after {number} pipelines, {alive} after one", tasks());
    }
    assert!(fleet.states().is_empty() && !fleet.ended().is_cancelled());
    assert_eq!(removed.lock().unwrap().len(), 1_000);
}
