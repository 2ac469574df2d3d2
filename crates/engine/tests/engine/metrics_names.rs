//! What an engine does shows in metrics under the names that dashboards ask for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buffer::Buffer;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, one_lane};

#[derive(Default)]
struct Recorded {
    units: Mutex<BTreeMap<String, Unit>>,
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    samples: Arc<Samples>,
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Recorded {
    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        self.units.lock().unwrap().insert(name.as_str().to_owned(), unit.unwrap());
    }

    fn count(&self, name: &str) -> u64 {
        self.counters.lock().unwrap()[name].load(Ordering::SeqCst)
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let counter = Arc::<AtomicU64>::default();
        self.counters.lock().unwrap().insert(key.name().to_owned(), counter.clone());
        Counter::from_arc(counter)
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        assert_eq!(key.name(), "end_to_end_seconds");
        Histogram::from_arc(self.samples.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn everything_counted_is_a_metric_with_a_unit() {
    let (rig, recorded) = (Rig::with_lease_ms(1000), Recorded::default());
    let lost = [model::Event::new(b"k000-0000", b"k000", b"{}").unwrap()];
    rig.offer(&events(10, 1)).await;
    rig.offer(&lost).await;
    rig.memory.lease(3, Duration::ZERO).await.unwrap();
    sleep(Duration::from_millis(1500)).await;

    let bad = vec!["k003-0000".to_owned()];
    let handle = metrics::with_local_recorder(&recorded, || {
        rig.start(engine::Options { linger_ms: 0, ..one_lane() }, move |batch| match batch.len() {
            11 => Step::Fail(engine::Failure::Rejected("bisect".to_owned())),
            _ => Step::Reject(bad.clone()),
        })
    });
    rig.finish(handle).await;

    assert_eq!(recorded.count("processed_tasks_total"), 9);
    assert_eq!(recorded.count("processed_tasks_failed_total"), 1);
    assert_eq!(recorded.count("duplicates_total"), 1);
    assert_eq!(recorded.count("dead_total"), 1);
    assert_eq!(recorded.count("redelivered_total"), 3);
    assert_eq!(*recorded.samples.0.lock().unwrap(), vec![1.5; 9]);
    let units = recorded.units.lock().unwrap();
    let counted = recorded.counters.lock().unwrap();
    assert!(counted.keys().all(|name| units[name] == Unit::Count));
    assert_eq!(units["end_to_end_seconds"], Unit::Seconds);
}
