//! What operators want is a row of a store, which may be out of reach.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::Buffer;
use runtime::fleet::OnFailure;
use runtime::{Following, Presence};
use store::pipelines::Wanted;
use store::processes::{Heard, Pipeline, Process};
use store::{Error, Pipelines, Processes};
use tokio::time::sleep;

use crate::rig::{Rig, events, fleet, reaches, state};

/// The rows of a store.
#[derive(Default)]
struct Rows {
    wanted: Mutex<Vec<Wanted>>,
    said: Mutex<Vec<Process>>,
    left: Mutex<Vec<String>>,
    is_away: AtomicBool,
    /// A role without the right to read them.
    is_refused: AtomicBool,
}

fn row(name: &str, paused: bool, lanes: Option<u32>) -> Wanted {
    let reason = "by teller: why".to_owned();
    Wanted { name: name.to_owned(), paused, since_ms: 0, reason, lanes, revision: 1 }
}

impl Rows {
    fn set(&self, rows: Vec<Wanted>) {
        *self.wanted.lock().unwrap() = rows;
    }

    fn answer(&self) -> Result<(), Error> {
        if self.is_refused.load(Ordering::SeqCst) {
            return Err(Error::Fatal("as scripted".to_owned()));
        }
        let away = || Error::Unavailable("as scripted".to_owned());
        if self.is_away.load(Ordering::SeqCst) { Err(away()) } else { Ok(()) }
    }
}

#[async_trait]
impl Pipelines for Rows {
    async fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        self.answer()?;
        Ok(self.wanted.lock().unwrap().clone())
    }

    async fn pause(&self, _: &str, _: &str) -> Result<Wanted, Error> {
        Err(Error::Fatal("tests set the rows".to_owned()))
    }

    async fn resume(&self, _: &str) -> Result<Wanted, Error> {
        Err(Error::Fatal("tests set the rows".to_owned()))
    }

    async fn scale(&self, _: &str, _: Option<u32>) -> Result<Wanted, Error> {
        Err(Error::Fatal("tests set the rows".to_owned()))
    }
}

#[async_trait]
impl Processes for Rows {
    async fn heartbeat(&self, process: &Process) -> Result<(), Error> {
        self.answer()?;
        self.said.lock().unwrap().push(process.clone());
        Ok(())
    }

    async fn leave(&self, id: &str) -> Result<bool, Error> {
        self.left.lock().unwrap().push(id.to_owned());
        Ok(true)
    }

    async fn heard(&self) -> Result<Vec<Heard>, Error> {
        Err(Error::Fatal("tests look at what was said".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_paused_when_it_is_added_leases_no_event_before_it_is_resumed() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let rows = Arc::new(Rows::default());
    rows.set(vec![row("table:a", true, None)]);
    let _following = Following::begin(&fleet, rows.clone()).await.unwrap();
    rig.memory.offer(&events(4, 0, 50)).await.unwrap();
    fleet.add(rig.entry(OnFailure::EndProcess)).unwrap();
    reaches(&fleet, "table:a", "paused").await;
    sleep(Duration::from_secs(600)).await;
    rig.memory.offer(&events(4, 50, 50)).await.unwrap();
    let depth = rig.memory.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (400, 0), "it accepts, and leases nothing");
    let warnings = fleet.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("table:a is paused (by teller: why)"), "{warnings:?}");

    rows.set(vec![row("table:a", false, None)]);
    rig.until("all are settled", |store| store.settled().len() == 400).await;
    assert_eq!((rig.store.assert_order(), fleet.warnings()), (400, Vec::new()));
    assert!(!fleet.ended().is_cancelled(), "a pause is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_out_of_reach_changes_nothing() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let rows = Arc::new(Rows::default());
    rows.is_away.store(true, Ordering::SeqCst);
    let refused = Following::begin(&fleet, rows.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "it is not known what is wanted: {refused}");
    rows.is_away.store(false, Ordering::SeqCst);
    let _following = Following::begin(&fleet, rows.clone()).await.unwrap();
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    reaches(&fleet, "table:a", "ready").await;

    rows.set(vec![row("table:a", true, None)]);
    reaches(&fleet, "table:a", "paused").await;
    rows.is_away.store(true, Ordering::SeqCst);
    rows.set(Vec::new());
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(state(&fleet, "table:a"), "paused", "the last known wish holds");
    rows.is_away.store(false, Ordering::SeqCst);
    reaches(&fleet, "table:a", "ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_read_what_is_wanted_settles_all_the_same() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let rows = Arc::new(Rows::default());
    rows.is_refused.store(true, Ordering::SeqCst);
    let _following = Following::begin(&fleet, rows.clone()).await.unwrap();
    rig.memory.offer(&events(4, 0, 10)).await.unwrap();
    fleet.add(rig.entry(OnFailure::Restart)).unwrap();
    rig.until("all are settled", |store| store.settled().len() == 40).await;
    rows.set(vec![row("table:a", true, None)]);
    rows.is_refused.store(false, Ordering::SeqCst);
    reaches(&fleet, "table:a", "paused").await;
}

#[tokio::test(start_paused = true)]
async fn lanes_change_under_load_and_each_key_stays_in_order() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    rig.store.takes_ms.store(3, Ordering::SeqCst);
    let rows = Arc::new(Rows::default());
    let _following = Following::begin(&fleet, rows.clone()).await.unwrap();
    fleet.add(rig.entry(OnFailure::EndProcess)).unwrap();
    reaches(&fleet, "table:a", "ready").await;
    let work = fleet.sources()[0].work.clone();
    let lanes_of = || fleet.pipelines()[0].lanes;
    let load = async {
        for number in 0..300 {
            rig.memory.offer(&events(8, number, 1)).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let changes = async {
        assert_eq!(work.active(), 2);
        // 9,999 is more than an engine takes: a row of another program harms nothing.
        let lanes = [Some(7), Some(1), Some(9_999), None, Some(3)];
        for (lanes, active) in lanes.into_iter().zip([7, 1, 256, 2, 3]) {
            // One key waits alone when the turn is to end.
            rig.store.refuses.store(true, Ordering::SeqCst);
            rows.set(vec![row("table:a", false, lanes)]);
            sleep(Duration::from_millis(1_100)).await;
            let stats = fleet.sources()[0].stats.clone();
            assert_eq!(stats.refused_waiting(), 1);
            rig.store.refuses.store(false, Ordering::SeqCst);
            rig.until("the lanes are those wanted", |_| work.active() == active).await;
            reaches(&fleet, "table:a", "ready").await;
        }
    };
    tokio::join!(load, changes);
    assert_eq!((lanes_of(), work.lanes().len()), (3, 256));
    rig.until("all are settled", |store| store.settled().len() == 2_400).await;
    assert_eq!(rig.store.assert_order(), 2_400);
    let stats = fleet.sources()[0].stats.clone();
    rig.until("all are counted", |_| stats.counts().settled == 2_400).await;
    assert_eq!((stats.counts().duplicates, stats.counts().dead), (0, 0));
    // A pause keeps the lanes, and a drain ends both.
    rows.set(vec![row("table:a", true, Some(3))]);
    reaches(&fleet, "table:a", "paused").await;
    assert_eq!(lanes_of(), 3);
    rig.memory.offer(&events(8, 300, 5)).await.unwrap();
    assert!(fleet.stop().await[0].end.as_ref().unwrap().left.is_empty());
    assert_eq!(rig.store.assert_order(), 2_440, "its buffer keeps nothing");
}

#[tokio::test(start_paused = true)]
async fn a_process_says_what_changes_at_once_and_otherwise_every_five_seconds() {
    let (rig, (fleet, _)) = (Rig::new("table:a"), fleet());
    let rows = Arc::new(Rows::default());
    let _following = Following::begin(&fleet, rows.clone()).await.unwrap();
    fleet.add(rig.keeping(OnFailure::Restart).0).unwrap();
    let me = Process { id: "host:1:a".to_owned(), ..Process::default() };
    let presence = Presence::begin(&fleet, rows.clone(), me);
    let said = || rows.said.lock().unwrap().clone();
    sleep(Duration::from_secs(60)).await;
    assert!((12..=14).contains(&said().len()), "{}", said().len());
    let pipeline = |state: &str, lanes| Pipeline {
        name: "table:a".to_owned(),
        state: state.to_owned(),
        lanes,
        calls: 0,
    };
    assert_eq!(said().last().unwrap().pipelines, [pipeline("ready", 2)]);
    rows.set(vec![row("table:a", true, Some(5))]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(said().last().unwrap().pipelines, [pipeline("paused", 5)]);
    rows.is_away.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    let before = said().len();
    rows.is_away.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(6)).await;
    assert!(said().len() > before, "it is heard of again");
    presence.leave().await;
    let after = said().len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((said().len(), rows.left.lock().unwrap().len()), (after, 1));
}
