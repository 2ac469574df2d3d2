//! One life: start, ready, drain, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use runtime::fleet::OnFailure;
use runtime::{Component, Entry, Life, Reason, Remains, State, Turn, restart};
use tokio::time::{Instant, timeout};

use crate::rig::{DRAIN_TIMEOUT, PATIENCE, fleet, state};

/// Counts its turns and its ends.
#[derive(Default)]
struct Counts {
    turns: AtomicUsize,
    closed: AtomicUsize,
}

struct Counting {
    counts: Arc<Counts>,
    /// How many of the first turns panic.
    panics: usize,
}

#[async_trait]
impl Component for Counting {
    fn name(&self) -> Arc<str> {
        "counting".into()
    }

    fn keeps(&self) -> bool {
        true
    }

    async fn work(&mut self, turn: &mut Turn) -> Result<(), Reason> {
        let turns = self.counts.turns.fetch_add(1, Ordering::SeqCst);
        assert!(turns >= self.panics, "turn {turns}");
        turn.ready();
        turn.over().await;
        Ok(())
    }

    async fn close(&mut self) -> Result<Remains, Reason> {
        self.counts.closed.fetch_add(1, Ordering::SeqCst);
        Ok(Remains { kept: 3, ..Remains::default() })
    }
}

fn counting(panics: usize) -> (Counting, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Counting { counts: counts.clone(), panics }, counts)
}

#[tokio::test(start_paused = true)]
async fn a_component_that_is_stopped_twice_ends_once_and_both_calls_get_the_same() {
    let (component, counts) = counting(0);
    let life = Life::start(Box::new(component), None, 7, None);
    life.until(|state| matches!(state, State::Ready)).await;
    let by = Instant::now() + DRAIN_TIMEOUT;
    let (first, second) = tokio::join!(life.stop(by), life.stop(by));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.kept, &first), (3, &second));
    assert_eq!(life.stop(by).await.unwrap(), first, "also long afterwards");
    assert!(matches!(life.state(), State::Stopped) && life.ended().is_cancelled());
    assert_eq!((counts.turns.load(Ordering::SeqCst), counts.closed.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_stopped_twice_ends_once() {
    let (fleet, _) = fleet();
    let (component, counts) = counting(0);
    fleet.add(Entry::new(component, OnFailure::Restart)).unwrap();
    let (first, second) = tokio::join!(fleet.stop(), fleet.stop());
    assert_eq!((first[0].end.as_ref().unwrap().kept, second.len()), (3, 1));
    assert_eq!(counts.closed.load(Ordering::SeqCst), 1);
    assert!(fleet.ended().is_cancelled());
    let (late, _) = counting(0);
    let refused = fleet.add(Entry::new(late, OnFailure::Restart)).unwrap_err().to_string();
    assert_eq!(refused, "cannot change counting: this process is stopping");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_panics_says_so_and_is_closed_when_it_is_stopped() {
    let (component, counts) = counting(1);
    let life = Life::start(Box::new(component), None, 7, None);
    let failed = life.until(|state| matches!(state, State::Failed(_)));
    timeout(PATIENCE, failed).await.unwrap();
    assert!(life.ended().is_cancelled());
    assert_eq!(counts.closed.load(Ordering::SeqCst), 0, "others may still use it");
    let reason = life.stop(Instant::now() + DRAIN_TIMEOUT).await.unwrap_err();
    assert!(matches!(&reason, Reason::Panicked(said) if said == "turn 0"), "{reason}");
    assert_eq!(counts.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_panics_is_started_again_where_it_may() {
    let (component, counts) = counting(3);
    let life = Life::start(Box::new(component), Some(restart::Options::default()), 7, None);
    timeout(PATIENCE, life.until(|state| matches!(state, State::Ready))).await.unwrap();
    assert_eq!(counts.turns.load(Ordering::SeqCst), 4);
    assert!(life.stop(Instant::now() + DRAIN_TIMEOUT).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_taken_back_at_once_keeps_nobody_waiting() {
    let (fleet, _) = fleet();
    let (component, _) = counting(0);
    fleet.add(Entry::new(component, OnFailure::Restart)).unwrap();
    for _ in 0..100 {
        let paused = fleet.pause("counting");
        let resumed = async {
            tokio::task::yield_now().await;
            fleet.resume("counting").unwrap();
        };
        let (paused, ()) = tokio::join!(paused, resumed);
        paused.unwrap();
    }
    crate::rig::reaches(&fleet, "counting", "ready").await;
    assert_eq!(state(&fleet, "counting"), "ready");
}
