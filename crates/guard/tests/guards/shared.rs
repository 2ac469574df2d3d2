//! One rate over processes that come, go, die and stand still.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Options, Outcome, Pace};
use proptest::prelude::*;

const HEARTBEAT_MS: u64 = 5_000;
/// Rows of processes that stopped writing are dropped after so long.
const DROPPED_MS: u64 = 15_000;
const TICK_MS: u64 = 100;
const TOTAL: Pace = Pace { per_1000_s: 100_000, burst: 30 };

struct Process {
    guard: Guard,
    /// When it next writes its row, and reads all of them a moment later.
    next_ms: u64,
    still_until_ms: u64,
}

/// Only the rate bounds the calls.
fn options() -> Options {
    Options {
        pace: TOTAL,
        limit: LimitOptions { min: 1_000, max: 1_000, start: 1_000 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Come(u8),
    Go(u8),
    Kill(u8),
    Stand(u8, u64),
    CannotRead(u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_u8).prop_map(Step::Come),
        1 => (0..3_u8).prop_map(Step::Go),
        1 => (0..3_u8).prop_map(Step::Kill),
        1 => (0..3_u8, 0..40_000_u64).prop_map(|(id, ms)| Step::Stand(id, ms)),
        1 => (0..20_000_u64).prop_map(Step::CannotRead),
        4 => (0..20_000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Default)]
struct World {
    now_ms: u64,
    processes: BTreeMap<u8, Process>,
    /// Since when each row is there, and its last writing.
    rows: BTreeMap<u8, (u64, u64)>,
    cannot_read_until_ms: u64,
    /// How many calls began in each tick.
    begun: Vec<u64>,
}

impl World {
    fn tick(&mut self, began: Instant) {
        let now_ms = self.now_ms;
        let now = began + Duration::from_millis(now_ms);
        self.rows.retain(|_, (_, written)| now_ms < *written + DROPPED_MS);
        let mut calls = 0;
        for (id, process) in &mut self.processes {
            if now_ms < process.still_until_ms {
                continue;
            }
            if now_ms >= process.next_ms && now_ms >= self.cannot_read_until_ms {
                process.next_ms = now_ms + HEARTBEAT_MS - 2 * TICK_MS;
                let (joined_ms, written_ms) = self.rows.entry(*id).or_insert((now_ms, now_ms));
                *written_ms = now_ms;
                let joined_ago = Duration::from_millis(now_ms - *joined_ms);
                let processes = u32::try_from(self.rows.len()).expect("few rows");
                process.guard.heard(processes, joined_ago, now, now);
            }
            while let Ok(attempt) = process.guard.start(false, now) {
                process.guard.finish(attempt, Outcome::Good, None, now);
                calls += 1;
            }
        }
        self.begun.push(calls);
        self.now_ms += TICK_MS;
    }

    fn step(&mut self, step: &Step, began: Instant) {
        let now = began + Duration::from_millis(self.now_ms);
        match *step {
            Step::Come(id) => {
                // A new process has a row of its own, whatever its predecessor left.
                let id = (0..20)
                    .map(|n| id + 3 * n)
                    .find(|id| !self.rows.contains_key(id))
                    .expect("few rows");
                self.processes.entry(id).or_insert_with(|| Process {
                    guard: Guard::sharing(options(), Duration::from_millis(HEARTBEAT_MS), now),
                    next_ms: self.now_ms,
                    still_until_ms: 0,
                });
            }
            // It stops calling before it removes its row.
            Step::Go(id) => {
                if self.processes.remove(&id).is_some() {
                    self.rows.remove(&id);
                }
            }
            Step::Kill(id) => drop(self.processes.remove(&id)),
            Step::Stand(id, ms) => {
                if let Some(process) = self.processes.get_mut(&id) {
                    process.still_until_ms = self.now_ms + ms;
                }
            }
            Step::CannotRead(ms) => self.cannot_read_until_ms = self.now_ms + ms,
            Step::Wait(ms) => (0..ms / TICK_MS).for_each(|_| self.tick(began)),
        }
    }
}

proptest! {
    #[test]
    fn the_sum_over_processes_that_come_and_go_never_exceeds_the_rate(steps in steps()) {
        let began = Instant::now();
        let mut world = World::default();
        for step in &steps {
            world.step(step, began);
        }
        // Over any stretch of time: no more than the rate gives, and one burst.
        let mut most_saved = i128::from(TOTAL.burst) * 1_000_000;
        let full = most_saved;
        for calls in &world.begun {
            most_saved = (most_saved + i128::from(TOTAL.per_1000_s) * i128::from(TICK_MS)).min(full);
            most_saved -= i128::from(*calls) * 1_000_000;
            prop_assert!(most_saved >= 0, "the rate was exceeded: {:?}", world.begun);
        }
    }

    #[test]
    fn live_processes_come_to_use_the_whole_rate(processes in 1..=3_u8) {
        let began = Instant::now();
        let mut world = World::default();
        (0..processes).for_each(|id| world.step(&Step::Come(id), began));
        world.step(&Step::Wait(20_000), began);
        let before: u64 = world.begun.iter().sum();
        world.step(&Step::Wait(20_000), began);
        let used = world.begun.iter().sum::<u64>() - before;
        prop_assert!((1_990..=2_010).contains(&used), "{used} of 2,000");
    }
}
