//! How busy the lanes are, as a scaler sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buffer::Envelope;
use engine::{Failure, Handle, Options};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, one_lane};

/// Keeps gauges alone.
#[derive(Default)]
struct Gauges(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn get(&self, name: &str) -> f64 {
        f64::from_bits(self.0.lock().unwrap()[name].load(Ordering::SeqCst))
    }

    fn is_about(&self, name: &str, expect: f64) {
        let got = self.get(name);
        assert!((got - expect).abs() < 0.02, "{name} is {got}, not {expect}");
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [("pipeline", "test")]);
        let gauge = Arc::<AtomicU64>::default();
        self.0.lock().unwrap().insert(key.name().to_owned(), gauge.clone());
        Gauge::from_arc(gauge)
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn start(
    rig: &Rig,
    gauges: &Gauges,
    options: Options,
    script: impl Fn(&[Envelope]) -> Step + Send + Sync + 'static,
) -> Handle {
    metrics::with_local_recorder(gauges, || rig.start(options, script))
}

#[tokio::test(start_paused = true)]
async fn the_busy_share_is_that_of_the_last_ten_seconds_over_all_lanes() {
    let (rig, gauges) = (Rig::new(), Gauges::default());
    let options = Options { lanes: 4, linger_ms: 0, ..Options::default() };
    let handle = start(&rig, &gauges, options, |_| Step::SettleAfter(Duration::from_secs(6)));
    sleep(Duration::from_millis(20_500)).await;
    gauges.is_about("engine_busy_share", 0.0);
    // One of four lanes, for six seconds; the looks are on the second.
    rig.offer(&events(1, 1)).await;
    sleep(Duration::from_secs(4)).await;
    gauges.is_about("engine_busy_share", 3.5 / 40.0);
    sleep(Duration::from_secs(4)).await;
    gauges.is_about("engine_busy_share", 6.0 / 40.0);
    sleep(Duration::from_secs(10)).await;
    gauges.is_about("engine_busy_share", 0.0);
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_never_waits_is_wholly_busy() {
    let (rig, gauges) = (Rig::new(), Gauges::default());
    rig.offer(&events(1, 100)).await;
    let options = Options { batch_max: 1, ..one_lane() };
    let handle = start(&rig, &gauges, options, |_| Step::SettleAfter(Duration::from_millis(300)));
    sleep(Duration::from_secs(20)).await;
    gauges.is_about("engine_busy_share", 1.0);
    rig.finish(handle).await;
    gauges.is_about("engine_busy_share", 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_makes_no_lane_busy() {
    let (rig, gauges) = (Rig::new(), Gauges::default());
    rig.offer(&events(1, 10)).await;
    let down = Arc::new(AtomicUsize::new(1));
    let script = {
        let down = Arc::clone(&down);
        move |_: &[Envelope]| match down.load(Ordering::SeqCst) {
            0 => Step::Settle,
            _ => Step::Fail(Failure::Unavailable("as scripted".to_owned())),
        }
    };
    let handle = start(&rig, &gauges, one_lane(), script);
    sleep(Duration::from_millis(60_500)).await;
    gauges.is_about("engine_busy_share", 0.0);
    down.store(0, Ordering::SeqCst);
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn how_long_each_lane_worked_and_how_many_batches_it_did_can_be_read() {
    let (rig, gauges) = (Rig::new(), Gauges::default());
    rig.offer(&events(1, 10)).await;
    let options = Options { batch_max: 4, lanes: 3, ..one_lane() };
    let handle = start(&rig, &gauges, options, |_| Step::SettleAfter(Duration::from_millis(300)));
    let work = handle.work();
    sleep(Duration::from_millis(750)).await;
    let under_way: Duration = work.lanes().iter().sum();
    assert!((740..=750).contains(&under_way.as_millis()), "{under_way:?}");
    assert_eq!((work.batches(), work.pipeline()), (2, "test"));
    rig.finish(handle).await;
    // One key is one lane's, and ten events are three batches of at most four.
    let mut worked = work.lanes();
    worked.sort_unstable();
    assert_eq!(worked, [0, 0, 900].map(Duration::from_millis));
    assert_eq!(work.batches(), 3);
}
