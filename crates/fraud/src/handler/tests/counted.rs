//! What the metrics say.

use std::collections::BTreeMap;
use std::sync::Mutex;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::*;

/// Counters by name and labels.
#[derive(Default, Clone)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct One {
    counts: Counts,
    name: String,
}

impl CounterFn for One {
    fn increment(&self, by: u64) {
        *self.counts.0.lock().unwrap().entry(self.name.clone()).or_default() += by;
    }

    fn absolute(&self, to: u64) {
        self.counts.0.lock().unwrap().insert(self.name.clone(), to);
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(Arc::new(One { counts: self.clone(), name }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_flagged_payment_is_counted_by_rule_and_once() {
    let counts = Counts::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&counts, || {
        runtime.block_on(async {
            let store = Arc::new(Fake::default());
            let mut lane = open(&store).await.lane();
            store.expect(Fault::Before(StoreError::Unavailable("busy".to_owned())));
            lane.settle(&seconds(0, 6)).await.unwrap_err();
            outcomes(&mut lane, &seconds(0, 6)).await;
            outcomes(&mut lane, &seconds(3, 6)).await;
            let spike = envelope(&payment(1, 6, NOON_MS + 3_600_000, 10_000));
            outcomes(&mut lane, &[spike]).await;
        });
    });
    let got = counts.0.lock().unwrap().clone();
    let expect = [
        ("flagged_payments_total{rule=amount_spike}".to_owned(), 1),
        ("flagged_payments_total{rule=velocity}".to_owned(), 2),
    ];
    assert_eq!(got, BTreeMap::from(expect));
}
