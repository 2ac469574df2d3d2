//! The history of the load follows pipelines that are added and removed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::Buffer;
use runtime::History;
use runtime::fleet::OnFailure;
use runtime::history::{Book, Options};
use store::{Error, Load, Loads};
use tokio::time::sleep;

use crate::rig::{Rig, events, fleet};
use crate::sharing::{PIPELINE, World};

const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Rows(Mutex<Vec<Load>>);

impl Rows {
    /// How many events each row of this pipeline says were settled.
    fn of(&self, pipeline: &str) -> Vec<u64> {
        let rows = self.0.lock().unwrap();
        rows.iter().filter(|row| row.pipeline == pipeline).map(|row| row.settled).collect()
    }
}

#[async_trait]
impl Loads for Rows {
    async fn record(&self, load: Load, _: i64) -> Result<(), Error> {
        self.0.lock().unwrap().push(load);
        Ok(())
    }
}

/// Less than half of an interval is no row, so each step is well inside of one: they end 40 s after the start, and
/// each minute from there.
#[tokio::test(start_paused = true)]
async fn a_pipeline_has_rows_of_its_own_from_when_it_is_added_until_it_is_removed() {
    let (stays, goes) = (Rig::new("payments"), Rig::new("table:a"));
    let ((fleet, _), rows) = (fleet(), Arc::new(Rows::default()));
    fleet.add(stays.entry(OnFailure::EndProcess)).unwrap();
    let (sources, clock) = (fleet.clone(), stays.clock());
    let (process, roles) = ("host:1".to_owned(), "worker".to_owned());
    let book = Book { loads: rows.clone(), clock, process, roles };
    let options = Options { interval: INTERVAL, keep: Duration::from_secs(3_600) };
    let history = History::start(move || sources.sources(), book, options);
    sleep(INTERVAL * 2).await;
    assert_eq!(rows.of("table:a").len(), 0);
    assert!(rows.of("payments").len() >= 2, "{:?}", rows.of("payments"));

    fleet.add(goes.keeping(OnFailure::Restart).0).unwrap();
    sleep(Duration::from_secs(2)).await;
    goes.memory.offer(&events(4, 0, 5)).await.unwrap();
    sleep(Duration::from_secs(135)).await;
    assert_eq!(rows.of("table:a").iter().sum::<u64>(), 20, "{:?}", rows.of("table:a"));
    let before = rows.of("table:a").len();
    fleet.remove("table:a").await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rows.of("table:a").len(), before + 1, "of what it did last");
    sleep(Duration::from_secs(145)).await;
    assert_eq!(rows.of("table:a").len(), before + 1, "nothing since");

    // The same name again, with counts of its own.
    fleet.add(goes.keeping(OnFailure::Restart).0).unwrap();
    sleep(Duration::from_secs(2)).await;
    goes.memory.offer(&events(4, 5, 2)).await.unwrap();
    sleep(INTERVAL * 2).await;
    assert_eq!(rows.of("table:a").iter().sum::<u64>(), 28, "{:?}", rows.of("table:a"));
    let before = rows.of("payments").len();
    sleep(INTERVAL * 3 / 4).await;
    history.stop().await;
    assert_eq!(rows.of("payments").len(), before + 1, "the interval under way is kept");
    fleet.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_of_a_pipeline_of_calls_has_the_time_of_its_calls_and_no_batches() {
    let (world, rows) = (World::new(), Arc::new(Rows::default()));
    let running = world.start("one").await;
    let (sources, clock) = (running.fleet.clone(), Rig::new(PIPELINE).clock());
    let (process, roles) = ("host:1".to_owned(), "worker".to_owned());
    let book = Book { loads: rows.clone(), clock, process, roles };
    let options = Options { interval: INTERVAL, keep: Duration::from_secs(3_600) };
    let history = History::start(move || sources.sources(), book, options);
    sleep(INTERVAL * 4).await;
    history.stop().await;
    let rows = rows.0.lock().unwrap();
    // 20 calls a second that take 50 ms each: one call at any time.
    let row = &rows[1];
    assert_eq!(
        (row.pipeline.as_str(), row.lanes, row.batch_max, row.batches),
        (PIPELINE, 100, 1, 0)
    );
    assert!((1_190..=1_210).contains(&row.finished), "{row:?}");
    assert!((59_000..=64_000).contains(&row.worked_ms), "{row:?}");
    assert!(row.worked_ms_max.abs_diff(row.worked_ms / 100) <= 1, "{row:?}");
    let said = running.fleet.pipelines();
    assert_eq!((said[0].lanes, said[0].calls), (1, 100));
}
