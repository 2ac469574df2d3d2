//! Pipelines on the journal, opened, used and removed one after the other, leave nothing behind in their
//! process: no task, no thread, no file, no metric series, no memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Buffer, Envelope};
use buffer_journal::JournalBuffer;
use engine::{Failure, Handler, Lane, Outcome};
use model::Event;
use model::clock::System;
use runtime::fleet::{OnFailure, Options};
use runtime::pipeline::Settling;
use runtime::{Entry, Fleet, Pipeline, restart};

const PIPELINES: usize = 1_000;
/// What is compared with the end is read after so many: caches and pools are full by then.
const WARM: usize = 100;
/// Chains of pipelines, one after the other, that run side by side: a removal waits for a lease under way.
const CHAINS: usize = 8;
/// How much more memory the process may have at the end, in KiB. A leak of 64 KiB for each pipeline would be
/// more than three times as much.
const GROWS_KIB_MAX: u64 = 16 * 1024;

struct Counting {
    name: String,
    settled: Arc<AtomicU64>,
}

impl Handler for Counting {
    fn pipeline(&self) -> &str {
        &self.name
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(Self { name: String::new(), settled: self.settled.clone() })
    }
}

#[async_trait]
impl Lane for Counting {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        self.settled.fetch_add(batch.len() as u64, Ordering::SeqCst);
        Ok(vec![Outcome::Settled; batch.len()])
    }
}

/// What the process has.
#[derive(Debug, Clone, Copy)]
struct Held {
    tasks: usize,
    threads: usize,
    files: usize,
    series: usize,
    memory_kib: u64,
}

fn held(telemetry: &server::Telemetry) -> Held {
    let entries = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let shown = telemetry.render();
    Held {
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        threads: entries("/proc/self/task"),
        files: entries("/proc/self/fd"),
        series: shown.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count(),
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

async fn one(fleet: &Fleet, folder: &Path, number: usize) {
    let name = format!("table:{number}");
    let options = buffer_journal::Options {
        segment_bytes: 1024 * 1024,
        ..buffer_journal::Options::new(folder.join(number.to_string()))
    };
    let (journal, _) =
        tokio::task::block_in_place(|| JournalBuffer::open(options, Arc::new(System))).unwrap();
    let (buffer, settled): (Arc<dyn Buffer>, _) = (Arc::new(journal), Arc::default());
    let settling = Settling {
        handler: Arc::new(Counting { name: name.clone(), settled: Arc::clone(&settled) }).into(),
        options: engine::Options::default(),
        completions: None,
        clock: Arc::new(System),
        seed: 1,
    };
    let pipeline = Pipeline::new(buffer.clone(), settling).unwrap();
    fleet.add(Entry::pipeline(pipeline, OnFailure::Restart)).unwrap();
    let event = |n: u8| Event::new(&[n], b"key", b"{}").unwrap();
    buffer.offer(&[event(1), event(2)]).await.unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while settled.load(Ordering::SeqCst) < 2 {
        assert!(tokio::time::Instant::now() < end, "{name} does not settle");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fleet.remove(&name).await.unwrap().kept, 0);
    std::fs::remove_dir_all(folder.join(number.to_string())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pipelines_one_after_the_other_leave_nothing_behind() {
    let telemetry = server::telemetry::install().unwrap();
    let options = Options {
        drain_timeout: Duration::from_secs(10),
        restarts: restart::Options::default(),
        seed: 1,
    };
    let fleet = Fleet::new(options, server::telemetry::end_series);
    let folder = tempfile::tempdir().unwrap();
    let run = async |numbers: std::ops::Range<usize>| {
        let chain = async |first: usize| {
            for number in (numbers.start + first..numbers.end).step_by(CHAINS) {
                one(&fleet, folder.path(), number).await;
            }
        };
        futures_util::future::join_all((0..CHAINS).map(chain)).await;
        // A task or a thread that has just ended is gone a moment later.
        tokio::time::sleep(Duration::from_millis(500)).await;
        held(&telemetry)
    };
    let warm = run(0..WARM).await;
    let end = run(WARM..PIPELINES).await;
    assert!(end.tasks <= warm.tasks + 2, "{warm:?}, at the end {end:?}");
    // Threads for blocking calls end only after they were idle for ten seconds.
    assert!(end.threads <= warm.threads + 8, "{warm:?}, at the end {end:?}");
    assert!(end.files <= warm.files + 2, "{warm:?}, at the end {end:?}");
    assert_eq!(end.series, warm.series, "{warm:?}, at the end {end:?}");
    let most = warm.memory_kib + GROWS_KIB_MAX;
    assert!(end.memory_kib <= most, "{warm:?}, at the end {end:?}");
    println!("after {WARM} pipelines {warm:?}, after {PIPELINES} {end:?}");
    assert!(fleet.states().is_empty());
}
