//! What is spilled shows in metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::switched::{Rig, Switch};

/// Keeps counters, and gauges as the bits of their numbers.
#[derive(Default)]
struct Recorded(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorded {
    fn register(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [("buffer", "memory")]);
        let value = Arc::<AtomicU64>::default();
        self.0.lock().unwrap().insert(key.name().to_owned(), value.clone());
        value
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::SeqCst)
    }

    fn gauges(&self) -> (f64, f64) {
        let gauge = |name| f64::from_bits(self.get(name));
        (gauge("buffer_spill_size"), gauge("buffer_spill_age_seconds"))
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Count));
    }

    fn describe_gauge(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert!(unit.is_some());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shows_in_how_much_is_spilled_and_for_how_long() {
    let recorded = Recorded::default();
    let rig = metrics::with_local_recorder(&recorded, Rig::new);
    rig.offer(&["a-1"]).await.unwrap();
    assert_eq!(recorded.gauges(), (0.0, 0.0));
    rig.primary.set(Switch::Down);
    rig.offer(&["a-2", "a-3"]).await.unwrap();
    rig.clock.advance(90_000);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(recorded.gauges(), (2.0, 90.0));
    rig.primary.set(Switch::Up);
    rig.until_settled().await;
    assert_eq!(recorded.gauges(), (0.0, 0.0));
    assert_eq!(recorded.get("buffer_spilled_total"), 2);
}
