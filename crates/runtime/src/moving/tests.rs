//! The follower, over a store in memory that fails when a test wants it to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use buffer::memory::{Memory, Options};
use buffer::{Buffer, Error};
use model::Event;
use model::clock::{Clock, System};
use model::route::{Phase, Route};
use store::Moves;
use store::moves::{Buffers, Heard, Recorded, Report, Start, Step};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::following::{ABANDONED, LEAVE_MAX, LOOK_EVERY, REPORT_EVERY, follow};
use super::leading::Leader;
use super::ledger::{BoxError, Evidence, Ledger, Settled};
use super::left::left_behind;
use super::spelled::{identity, payments};
use super::way::Way;
use crate::pipeline::Companion;

const PIPELINE: &str = "payments";

/// The recorded move of each pipeline, and whether the store is out of reach.
#[derive(Default)]
struct Kept {
    recorded: Mutex<BTreeMap<String, Recorded>>,
    left: Mutex<Vec<String>>,
    reported: Mutex<Vec<(Instant, Report)>>,
    /// Each step that was taken, in order.
    taken: Mutex<Vec<Step>>,
    away: AtomicBool,
    /// Whether the store takes reports and never answers.
    silent: AtomicBool,
}

impl Kept {
    fn there(&self) -> Result<(), store::Error> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(store::Error::Unavailable("away".to_owned())),
            false => Ok(()),
        }
    }

    fn set(&self, buffers: Buffers, number: u64, share: u8, phase: Phase) {
        let step = Step { number, route: Route { before: 0, share, phase } };
        self.set_of(PIPELINE, buffers, step);
    }

    fn set_of(&self, pipeline: &str, buffers: Buffers, step: Step) {
        let recorded = Recorded { pipeline: pipeline.to_owned(), buffers, step };
        self.recorded.lock().unwrap().insert(pipeline.to_owned(), recorded);
    }

    /// What was reported last.
    fn last(&self) -> Report {
        self.reported.lock().unwrap().last().unwrap().1.clone()
    }

    fn step(&self) -> Step {
        self.recorded.lock().unwrap()[PIPELINE].step
    }
}

#[async_trait]
impl Moves for Kept {
    async fn recorded(&self, pipeline: &str) -> Result<Option<Recorded>, store::Error> {
        self.there()?;
        Ok(self.recorded.lock().unwrap().get(pipeline).cloned())
    }

    async fn all(&self) -> Result<Vec<Recorded>, store::Error> {
        self.there()?;
        Ok(self.recorded.lock().unwrap().values().cloned().collect())
    }

    async fn left(&self, _: &str) -> Result<Vec<String>, store::Error> {
        self.there()?;
        Ok(self.left.lock().unwrap().clone())
    }

    async fn begin(&self, first: &Recorded, _: Start) -> Result<bool, store::Error> {
        self.there()?;
        let was = self.recorded.lock().unwrap().get(&first.pipeline).map(|was| was.step.number);
        let follows = was.unwrap_or(0) + 1 == first.step.number;
        if follows {
            self.set_of(&first.pipeline, first.buffers.clone(), first.step);
            self.taken.lock().unwrap().push(first.step);
        }
        Ok(follows)
    }

    async fn advance(&self, pipeline: &str, step: Step) -> Result<bool, store::Error> {
        self.there()?;
        let mut recorded = self.recorded.lock().unwrap();
        let recorded = recorded.get_mut(pipeline).unwrap();
        let next = recorded.step.number + 1 == step.number;
        if next {
            recorded.step = step;
            self.taken.lock().unwrap().push(step);
        }
        Ok(next)
    }

    async fn rename(&self, _: &str, _: &Buffers) -> Result<bool, store::Error> {
        panic!("no follower renames a move")
    }

    async fn start(&self, _: &str) -> Result<Option<Start>, store::Error> {
        Ok(None)
    }

    async fn report(&self, _: &str, report: &Report) -> Result<(), store::Error> {
        self.there()?;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.reported.lock().unwrap().push((Instant::now(), report.clone()));
        Ok(())
    }

    async fn reports(&self, _: &str) -> Result<Vec<Heard>, store::Error> {
        let reported = self.reported.lock().unwrap();
        let last: BTreeMap<_, _> = reported.iter().map(|said| (&said.1.process, said)).collect();
        let heard = |(when, report): &(Instant, Report)| {
            let ago_ms = u64::try_from(when.elapsed().as_millis()).unwrap();
            Heard { report: report.clone(), ago_ms }
        };
        Ok(last.into_values().map(heard).collect())
    }

    async fn forget(&self, _: &str, _: &str) -> Result<bool, store::Error> {
        Ok(false)
    }

    async fn sweep(&self, _: &str) -> Result<(), store::Error> {
        Ok(())
    }
}

fn way(target: &str) -> Way {
    let of = |text: &str| identity(text).unwrap();
    Way::new(payments(), of("redis://h?list=a"), of(target))
}

fn memory() -> Arc<dyn Buffer> {
    Arc::new(Memory::new(Options::default(), Arc::new(System)))
}

fn event() -> Event {
    Event::new(b"id", b"card", b"{}").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hold_lasts_while_the_store_is_away_and_is_rolled_back_when_it_is_there_again() {
    let kept = Arc::new(Kept::default());
    let way = way("redis://h?list=b");
    let buffers = way.buffers();
    let (source, target) = (memory(), memory());
    let follow = follow(source.clone(), target.clone(), kept.clone(), way, "h:1", Arc::new(System));
    let (moving, follower) = follow.await.unwrap();
    kept.set(buffers, 1, 100, Phase::Hold);
    tokio::time::sleep(LOOK_EVERY * 2).await;
    assert_eq!(kept.last().step, 1, "the hold is confirmed");
    kept.away.store(true, Ordering::SeqCst);
    // The next phase may have begun since: neither buffer is known to be the right one.
    tokio::time::sleep(ABANDONED * 3).await;
    let refused = moving.offer(&[event()]).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    for buffer in [&source, &target] {
        assert_eq!(buffer.depth().await.unwrap().ready, 0);
    }
    kept.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(LOOK_EVERY * 3).await;
    assert_eq!(kept.step().route, Route { before: 0, share: 0, phase: Phase::Open });
    moving.offer(&[event()]).await.unwrap();
    assert_eq!(source.depth().await.unwrap().ready, 1);
    Box::new(follower).stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_move_between_other_buffers_is_not_followed_and_refuses_a_start() {
    let kept = Arc::new(Kept::default());
    let follow_to = async |target: &str| {
        follow(memory(), memory(), kept.clone(), way(target), "h:1", Arc::new(System)).await
    };
    let (moving, follower) = follow_to("redis://h?list=b").await.unwrap();
    kept.set(way("redis://h?list=c").buffers(), 1, 100, Phase::Drain);
    tokio::time::sleep(REPORT_EVERY * 4).await;
    assert_eq!(moving.step().await, 0);
    let last = kept.last();
    assert!(last.step == 0 && !last.ended, "{last:?}");
    let refused = follow_to("redis://h?list=b").await.err().unwrap().to_string();
    assert!(refused.contains("list=b") && refused.contains("list=c"), "{refused}");
    // The process that has these buffers joins.
    let (joined, other) = follow_to("redis://H:6379/0?list=c&events_max=5").await.unwrap();
    assert_eq!(joined.step().await, 1);
    Box::new(follower).stop().await;
    Box::new(other).stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_up_the_end_of_a_process_for_a_bounded_time() {
    let kept = Arc::new(Kept::default());
    let way = way("redis://h?list=b");
    let follow = follow(memory(), memory(), kept.clone(), way, "h:1", Arc::new(System));
    let (_, follower) = follow.await.unwrap();
    kept.silent.store(true, Ordering::SeqCst);
    let began = Instant::now();
    Box::new(follower).stop().await;
    assert!((LEAVE_MAX..LEAVE_MAX * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_buffer_that_a_finished_move_left_is_told_from_where_it_ended() {
    let kept = Kept::default();
    let said = async |list: &str| {
        let buffer = identity(&format!("redis://H:6379/0?list={list}")).unwrap();
        left_behind(&kept, &payments(), &buffer).await.unwrap().unwrap_or_default()
    };
    let buffers = way("redis://h?list=b").buffers();
    let unknown = Buffers { target: "new://b".to_owned(), ..buffers.clone() };
    assert_eq!(said("a").await, "", "there was no move");
    for (buffers, share, left, end) in [
        (&buffers, 100, "a", "list=b"),
        (&buffers, 0, "b", "list=a"),
        (&unknown, 100, "a", "new://b"),
    ] {
        kept.set(buffers.clone(), 1, share, Phase::Open);
        let told = said(left).await;
        assert!(told.contains("WAS LEFT") && told.contains(&format!("{end}. To settle")), "{told}");
        let whole = if left == "a" { "b" } else { "a" };
        assert_eq!((said(whole).await, said("other").await), Default::default());
    }
    kept.set(buffers.clone(), 1, 100, Phase::Drain);
    for list in ["a", "b"] {
        assert!(said(list).await.contains("MAY WAIT IN ANOTHER BUFFER"), "{list}");
    }
    // The buffer where it ended has taken the address of the one that was left.
    let same = Buffers { target: buffers.source.clone(), ..buffers };
    kept.set(same, 1, 100, Phase::Open);
    assert_eq!(said("a").await, "");
}

#[tokio::test]
async fn a_buffer_that_an_earlier_move_left_is_told_from_where_the_last_one_ended() {
    let kept = Kept::default();
    let said = async |list: &str| {
        let buffer = identity(&format!("redis://H:6379/0?list={list}")).unwrap();
        left_behind(&kept, &payments(), &buffer).await.unwrap().unwrap_or_default()
    };
    let named = |list: &str| format!("redis://h:6379/0?list={list}");
    // From x to a, and then from a to b.
    *kept.left.lock().unwrap() = vec![named("x"), "new://unknown".to_owned()];
    kept.set(Buffers { source: named("a"), target: named("b") }, 4, 100, Phase::Open);
    let told = said("x").await;
    for expect in ["WAS LEFT", "an earlier move", "set buffer to redis://h:6379/0?list=b"] {
        assert!(told.contains(expect), "{expect}: {told}");
    }
    assert!(said("a").await.contains("WAS LEFT"));
    assert_eq!((said("b").await, said("other").await), Default::default());
    // Back to x: it holds all that was accepted.
    *kept.left.lock().unwrap() = vec![named("a"), named("x")];
    kept.set(Buffers { source: named("b"), target: named("x") }, 7, 100, Phase::Open);
    assert_eq!(said("x").await, "");
    assert!(said("a").await.contains("an earlier move"));
    // On the way there, both hold events.
    kept.set(Buffers { source: named("b"), target: named("x") }, 6, 100, Phase::Drain);
    assert!(said("x").await.contains("MAY WAIT IN ANOTHER BUFFER"));
    assert!(said("a").await.contains("list=x is unfinished"));
}

#[tokio::test(start_paused = true)]
async fn a_process_follows_the_moves_of_its_own_pipeline_alone() {
    let kept = Arc::new(Kept::default());
    let step = |share| Step { number: 1, route: Route { before: 0, share, phase: Phase::Drain } };
    let other = way("redis://h?list=other").buffers();
    kept.set_of("table:prices", other, step(50));
    let way = way("redis://h?list=b");
    let buffers = way.buffers();
    let follow = follow(memory(), memory(), kept.clone(), way, "h:1", Arc::new(System));
    let (moving, follower) = follow.await.unwrap();
    tokio::time::sleep(LOOK_EVERY * 3).await;
    assert_eq!(moving.step().await, 0, "the other pipeline's move is none of its own");
    kept.set_of(PIPELINE, buffers, step(100));
    tokio::time::sleep(LOOK_EVERY * 3).await;
    assert_eq!(moving.step().await, 1);
    Box::new(follower).stop().await;
}

/// Time that follows tokio's, so that pausing one pauses the other.
struct Paused(Instant);

impl Clock for Paused {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000 + self.uptime_ms()
    }

    fn uptime_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// A store that nothing is settled into.
struct Empty;

#[async_trait]
impl Ledger for Empty {
    async fn settled(&self) -> Result<Settled, BoxError> {
        Ok(Settled::default())
    }

    fn evidence(&self) -> Evidence {
        Evidence::Events
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_takes_each_step_after_the_last_process_has_done_the_one_before() {
    let (kept, clock) = (Arc::new(Kept::default()), Arc::new(Paused(Instant::now())));
    let held = |clock: &Arc<Paused>| -> Arc<dyn Buffer> {
        Arc::new(Memory::new(Options::default(), clock.clone()))
    };
    let (source, target) = (held(&clock), held(&clock));
    let join = async |process| {
        let (source, target) = (source.clone(), target.clone());
        let way = way("redis://h?list=b");
        follow(source, target, kept.clone(), way, process, clock.clone()).await.unwrap()
    };
    let [(one, first), (_, second)] = [join("h:1").await, join("h:2").await];
    one.offer(&[event()]).await.unwrap();
    let way = way("redis://h?list=b");
    let leader = Leader::new(kept.clone(), way, Box::new(Empty), CancellationToken::new(), drop);
    let leading = tokio::spawn(async move { leader.go_to(100).await });
    let phases = || -> Vec<Phase> {
        kept.taken.lock().unwrap().iter().map(|step| step.route.phase).collect()
    };
    tokio::time::sleep(ABANDONED).await;
    // The old buffer holds an event of a key that moves.
    assert_eq!(phases(), [Phase::Hold, Phase::Drain]);
    let leased = source.lease(1, LOOK_EVERY).await.unwrap();
    source.ack(&[leased[0].receipt]).await.unwrap();
    assert_eq!(leading.await.unwrap().unwrap(), 2);
    assert_eq!(phases(), [Phase::Hold, Phase::Drain, Phase::Open]);
    // Each step was reported by both before the next one was taken.
    let steps = |process: &str| -> Vec<u64> {
        let reported = kept.reported.lock().unwrap();
        let of = reported.iter().filter(|(_, report)| report.process.starts_with(process));
        let mut steps: Vec<u64> = of.map(|(_, report)| report.step).collect();
        steps.dedup();
        steps
    };
    for process in ["h:1:", "h:2:"] {
        assert_eq!(steps(process)[..3], [0, 1, 2], "{process}");
    }
    for follower in [first, second] {
        Box::new(follower).stop().await;
    }
}
