//! What was finished is recorded, interval by interval, and nothing is left out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::Options;
use store::{Completion, Completions, Error};
use tokio::time::sleep;

use crate::rig::{EPOCH_MS, Rig, Step, events, one_lane};

#[derive(Default)]
struct Log {
    records: Mutex<Vec<Completion>>,
    failures_left: AtomicUsize,
}

#[async_trait]
impl Completions for Log {
    async fn complete(&self, completion: Completion) -> Result<(), Error> {
        let left = self.failures_left.load(Ordering::SeqCst);
        if left > 0 {
            self.failures_left.store(left - 1, Ordering::SeqCst);
            return Err(Error::Unavailable("busy".to_owned()));
        }
        self.records.lock().unwrap().push(completion);
        Ok(())
    }
}

fn start(rig: &Rig, log: &Arc<Log>) -> engine::Handle {
    let options = Options { completion_interval_ms: 10_000, ..one_lane() };
    let bad = vec!["k003-0000".to_owned()];
    rig.start_with(options, rig.memory.clone(), Some(log.clone()), move |_| {
        Step::Reject(bad.clone())
    })
}

#[tokio::test(start_paused = true)]
async fn one_record_is_written_for_each_interval_in_which_something_was_finished() {
    let (rig, log) = (Rig::new(), Arc::new(Log::default()));
    let handle = start(&rig, &log);
    sleep(Duration::from_secs(1)).await;
    rig.offer(&events(10, 1)).await;
    sleep(Duration::from_secs(3)).await;
    rig.offer(&events(10, 1)).await;
    sleep(Duration::from_secs(20)).await;
    rig.offer(&events(20, 1)).await;
    rig.finish(handle).await;

    let records = log.records.lock().unwrap().clone();
    let counts: Vec<_> = records.iter().map(|r| (r.settled, r.duplicates, r.dead)).collect();
    assert_eq!(counts, [(9, 9, 2), (10, 9, 1)], "the second of three intervals has none");
    let Completion { ref pipeline, started_at_ms, completed_at_ms, .. } = records[0];
    assert_eq!(&**pipeline, "test");
    assert!((1000..1100).contains(&(started_at_ms - EPOCH_MS)), "{started_at_ms}");
    assert!((4000..4100).contains(&(completed_at_ms - EPOCH_MS)), "{completed_at_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_is_part_of_the_next() {
    let (rig, log) = (Rig::new(), Arc::new(Log::default()));
    log.failures_left.store(2, Ordering::SeqCst);
    let handle = start(&rig, &log);
    rig.offer(&events(10, 1)).await;
    sleep(Duration::from_secs(15)).await;
    rig.offer(&events(10, 1)).await;
    sleep(Duration::from_secs(30)).await;
    rig.finish(handle).await;
    let records = log.records.lock().unwrap().clone();
    let counts: Vec<_> = records.iter().map(|r| (r.settled, r.duplicates, r.dead)).collect();
    assert_eq!(counts, [(9, 9, 2)]);
    assert!(records[0].started_at_ms < EPOCH_MS + 1000);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_did_nothing_records_nothing() {
    let (rig, log) = (Rig::new(), Arc::new(Log::default()));
    let handle = start(&rig, &log);
    sleep(Duration::from_secs(60)).await;
    rig.finish(handle).await;
    assert!(log.records.lock().unwrap().is_empty());
}
