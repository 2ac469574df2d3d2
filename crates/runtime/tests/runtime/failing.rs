//! What fails is started again, or ends the process, and says why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buffer::Buffer;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use runtime::fleet::OnFailure;
use runtime::{Reason, State};
use tokio::time::{sleep, timeout};

use crate::rig::{PATIENCE, Rig, events, fleet, reaches, state};

const WHY: &str = "the table:a pipeline stopped: as scripted";

#[tokio::test(start_paused = true)]
async fn an_early_end_of_what_ends_the_process_says_why_and_accepts_until_it_is_stopped() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.is_broken.store(true, Ordering::SeqCst);
    fleet.add(rig.entry(OnFailure::EndProcess)).unwrap();
    reaches(&fleet, "table:a", "ready").await;
    assert!(!fleet.ended().is_cancelled());
    rig.memory.offer(&events(1, 0, 2)).await.unwrap();
    timeout(PATIENCE, fleet.ended().cancelled()).await.unwrap();
    let State::Failed(reason) = fleet.states().remove(0).1 else { panic!("{:?}", fleet.states()) };
    assert!(matches!(reason, Reason::Engine(_)), "{reason:?}");
    assert_eq!(reason.to_string(), WHY);
    assert_eq!(fleet.warnings(), [format!("the pipeline table:a failed: {WHY}")]);
    rig.memory.offer(&events(1, 2, 1)).await.unwrap();
    fleet.wind_down();
    rig.memory.offer(&events(1, 3, 1)).await.unwrap();
    let end = fleet.stop().await.remove(0).end;
    assert_eq!(end.unwrap_err().to_string(), WHY);
    assert_eq!(rig.store.attempts.load(Ordering::SeqCst), 1, "it was not started again");
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_fails_is_started_again_after_bounded_pauses_and_ends_no_process() {
    let (rig, other, (fleet, _)) = (Rig::new("table:a"), Rig::new("payments"), fleet());
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        fleet.add(rig.entry(OnFailure::Restart)).unwrap();
        fleet.add(other.entry(OnFailure::EndProcess)).unwrap();
    });
    reaches(&fleet, "table:a", "ready").await;
    rig.store.is_broken.store(true, Ordering::SeqCst);
    rig.memory.offer(&events(3, 0, 10)).await.unwrap();
    reaches(&fleet, "table:a", "waiting").await;
    let warnings = fleet.warnings();
    assert!(warnings[0].starts_with("the pipeline table:a failed"), "{warnings:?}");
    assert!(warnings[0].contains(WHY), "{warnings:?}");

    sleep(Duration::from_secs(600)).await;
    // Pauses of 0.5 s to 30 s, each shortened to its half at most.
    let restarts = recorded.get("pipeline_restarts_total{pipeline=table:a}");
    assert!((20..=46).contains(&restarts), "{restarts} restarts in ten minutes");
    other.memory.offer(&events(3, 0, 10)).await.unwrap();
    other.until("the other settles", |store| store.settled().len() == 30).await;
    assert!(!fleet.ended().is_cancelled());

    rig.store.is_broken.store(false, Ordering::SeqCst);
    rig.until("all are settled", |store| store.settled().len() == 30).await;
    assert_eq!(rig.store.assert_order(), 30);
    assert_eq!((state(&fleet, "table:a"), fleet.warnings().len()), ("ready", 0));
    assert_eq!(recorded.get("pipeline_restarts_total{pipeline=payments}"), 0);
    let is_in =
        |state: &str| recorded.get(&format!("pipeline_state{{pipeline=table:a,state={state}}}"));
    assert_eq!((is_in("ready"), is_in("waiting")), (1.0_f64.to_bits(), 0.0_f64.to_bits()));
}

/// Values by name and labels; of gauges their bits.
#[derive(Default)]
struct Recorded(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorded {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::SeqCst)
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
