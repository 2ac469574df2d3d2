//! One rate over processes that come, go, die and stand still.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guard::{Pace, Rate, Shared};
use proptest::prelude::*;

const HEARTBEAT_MS: u64 = 5_000;
/// Rows of processes that stopped writing are dropped after so long.
const DROPPED_MS: u64 = 15_000;
const TICK_MS: u64 = 100;
const TOTAL: Pace = Pace { per_1000_s: 100_000, burst: 30 };

struct Process {
    shared: Shared,
    rate: Rate,
    /// When it next writes its row, and reads all of them a moment later.
    next_ms: u64,
    still_until_ms: u64,
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
    /// The last writing of each row.
    rows: BTreeMap<u8, u64>,
    cannot_read_until_ms: u64,
    /// How many calls began in each tick.
    begun: Vec<u64>,
}

impl World {
    fn tick(&mut self, began: Instant) {
        let now_ms = self.now_ms;
        let now = began + Duration::from_millis(now_ms);
        self.rows.retain(|_, written| now_ms < *written + DROPPED_MS);
        let mut calls = 0;
        for (id, process) in &mut self.processes {
            if now_ms < process.still_until_ms {
                continue;
            }
            if now_ms >= process.next_ms && now_ms >= self.cannot_read_until_ms {
                process.next_ms = now_ms + HEARTBEAT_MS - 2 * TICK_MS;
                if self.rows.insert(*id, now_ms).is_none() {
                    process.shared.dropped();
                    process.shared.joined(now);
                }
                process.shared.seen(u32::try_from(self.rows.len()).expect("few rows"), now);
            }
            process.rate.set(process.shared.pace(now), now);
            calls += std::iter::from_fn(|| process.rate.take(now).ok()).count() as u64;
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
                    shared: Shared::new(TOTAL, Duration::from_millis(HEARTBEAT_MS)),
                    rate: Rate::empty(Pace { per_1000_s: 0, burst: 1 }, now),
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
