//! The limit against a simulated service: servers that take 50 ms each, and a queue before them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use guard::{Limit, LimitOptions, Outcome, Started};
use proptest::prelude::*;

const TAKES_US: u64 = 50_000;
const SECOND_US: u64 = 1_000_000;

/// A service that answers `servers` calls at once. More of them wait, or are refused.
struct Service {
    servers: usize,
    refuses: bool,
    /// Of 1,000 calls that have to wait, so many are refused.
    refused_permille: u64,
    timeout_us: u64,
    hung_permille: u64,
}

impl Service {
    fn new(servers: usize) -> Self {
        Self {
            servers,
            refuses: false,
            refused_permille: 0,
            timeout_us: 5 * SECOND_US,
            hung_permille: 0,
        }
    }
}

/// Callers that always have another call, behind the limit.
struct Run {
    began: Instant,
    now_us: u64,
    limit: Limit,
    wanted: usize,
    service: Service,
    waiting: VecDeque<(u64, Started)>,
    busy: usize,
    ends: BinaryHeap<Reverse<(u64, u64, bool)>>,
    calls: HashMap<u64, (Started, Outcome)>,
    answers: u64,
    good: u64,
    random: u64,
}

impl Run {
    fn new(options: LimitOptions, wanted: usize, service: Service) -> Self {
        let began = Instant::now();
        Self {
            began,
            now_us: 0,
            limit: Limit::new(options, began),
            wanted,
            service,
            waiting: VecDeque::new(),
            busy: 0,
            ends: BinaryHeap::new(),
            calls: HashMap::new(),
            answers: 0,
            good: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_micros(self.now_us)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Answered calls in a second, over `for_s` seconds.
    fn run(&mut self, for_s: u64) -> f64 {
        let (end, before) = (self.now_us + for_s * SECOND_US, self.good);
        loop {
            self.begin();
            let Some(Reverse((at, id, serves))) = self.ends.pop() else {
                panic!("nothing is under way")
            };
            if at > end {
                self.ends.push(Reverse((at, id, serves)));
                self.now_us = end;
                return (self.good - before) as f64 / for_s as f64;
            }
            self.now_us = at;
            self.end(id, serves);
        }
    }

    fn begin(&mut self) {
        while (self.limit.under_way() as usize) < self.wanted && self.limit.ready(1000) {
            let started = self.limit.start(self.now());
            let hangs = self.random(1000) < self.service.hung_permille;
            let has_room = self.busy < self.service.servers;
            let refused = !has_room
                && (self.service.refuses || self.random(1000) < self.service.refused_permille);
            if hangs {
                let ends = self.now_us + self.service.timeout_us;
                self.answer(started, Outcome::TimedOut, ends, false);
            } else if refused {
                // The caller waits a little before it calls again: it holds its place so long.
                let ends = self.now_us + 1_000 + self.random(9_000);
                self.answer(started, Outcome::Overloaded, ends, false);
            } else if has_room {
                self.serve(started, self.now_us);
            } else {
                self.waiting.push_back((self.now_us, started));
            }
        }
    }

    fn serve(&mut self, started: Started, asked_us: u64) {
        self.busy += 1;
        let jitter = self.random(TAKES_US / 5);
        let ends = self.now_us + TAKES_US - TAKES_US / 10 + jitter;
        let is_late = ends > asked_us + self.service.timeout_us;
        self.answer(started, if is_late { Outcome::TimedOut } else { Outcome::Good }, ends, true);
    }

    fn answer(&mut self, started: Started, outcome: Outcome, ends: u64, serves: bool) {
        self.answers += 1;
        let id = self.answers;
        self.calls.insert(id, (started, outcome));
        self.ends.push(Reverse((ends, id, serves)));
    }

    fn end(&mut self, id: u64, serves: bool) {
        let (started, outcome) = self.calls.remove(&id).expect("each call ends once");
        let now = self.now();
        self.limit.finish(started, outcome, now);
        self.good += u64::from(outcome == Outcome::Good);
        if serves {
            self.busy -= 1;
            while self.busy < self.service.servers {
                let Some((asked, started)) = self.waiting.pop_front() else { break };
                self.serve(started, asked);
            }
        }
    }
}

fn options(start: u32) -> LimitOptions {
    LimitOptions { min: 1, max: 10_000, start }
}

/// Calls that a service of so many servers answers in a second.
fn best(servers: usize) -> f64 {
    servers as f64 * SECOND_US as f64 / TAKES_US as f64
}

#[test]
fn it_finds_what_the_service_can_do_from_either_side() {
    for (name, start) in [("from below", 10), ("from above", 5_000)] {
        let mut run = Run::new(options(start), 10_000, Service::new(200));
        run.run(10);
        let share = run.run(10) / best(200);
        let limit = run.limit.limit();
        assert!(share > 0.95 && (200..=400).contains(&limit), "{name}: {share:.3} at {limit}");
    }
}

#[test]
fn it_follows_a_capacity_that_halves_and_doubles() {
    let mut run = Run::new(options(100), 10_000, Service::new(400));
    run.run(20);
    for servers in [200, 400, 800, 100] {
        run.service.servers = servers;
        run.run(10);
        let share = run.run(5) / best(servers);
        assert!(share > 0.9, "{servers} servers: {share:.3} of the best at {}", run.limit.limit());
    }
}

#[test]
fn it_finds_what_a_service_can_do_that_refuses_the_rest() {
    let service = Service { refuses: true, ..Service::new(200) };
    let mut run = Run::new(options(10), 10_000, service);
    run.run(10);
    let share = run.run(10) / best(200);
    let limit = run.limit.limit();
    assert!(share > 0.9 && limit < 300, "{share:.3} at {limit}");
}

/// Ten minutes of a little too much: each window is a little slow, and some calls are refused.
#[test]
fn mild_overload_does_not_let_it_creep_up() {
    for (name, refused_permille) in [("slower", 0), ("slower, some refused", 20)] {
        let service = Service { refused_permille, ..Service::new(100) };
        let mut run = Run::new(options(110), 10_000, service);
        let mut highest = 0;
        run.run(20);
        for _ in 0..580 {
            run.run(1);
            highest = highest.max(run.limit.limit());
        }
        assert!(highest <= 200, "{name}: it crept up to {highest}");
        let share = run.run(10) / best(100);
        assert!(share > 0.9, "{name}: {share:.3} of the best");
    }
}

#[test]
fn single_hung_calls_do_not_lower_it() {
    let service = Service { hung_permille: 10, timeout_us: 500_000, ..Service::new(1_000) };
    let mut run = Run::new(LimitOptions { max: 500, ..options(500) }, 500, service);
    run.run(10);
    // A slot that hangs for ten round trips once in a hundred calls: 1 / (0.99 + 0.01 × 10) = 0.92.
    let share = run.run(20) / best(500);
    assert!(share > 0.85, "{share:.3}");
}

/// The first latency that it sees is that of an overload: a service that is smaller than the first attempts.
#[test]
fn a_first_latency_of_an_overload_is_not_believed_for_ever() {
    let mut run = Run::new(options(100), 10_000, Service::new(2));
    run.run(120);
    let limit = run.limit.limit();
    let share = run.run(10) / best(2);
    assert!(share > 0.9 && limit <= 8, "{share:.3} at {limit}");
}

#[test]
fn it_grows_only_while_it_is_used() {
    let mut run = Run::new(options(50), 20, Service::new(1_000));
    run.run(60);
    assert_eq!(run.limit.limit(), 50, "20 calls at once say nothing about 50");
    run.wanted = 1_000;
    run.run(5);
    assert!(run.limit.limit() > 500, "{}", run.limit.limit());
}

#[test]
fn the_latency_is_that_of_one_attempt_and_not_of_its_retries() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    let mut limit = Limit::new(options(10), now);
    let mut at = now;
    let mut attempt = |outcome, takes| {
        let started = limit.start(at);
        at += takes;
        limit.finish(started, outcome, at);
        limit.limit()
    };
    for _ in 0..100 {
        attempt(Outcome::Good, ms(50));
    }
    // Now each event has a first attempt that fails after a second, and a retry that is answered in 50 ms.
    for event in 0..100 {
        attempt(Outcome::Failed, ms(1_000));
        let limit = attempt(Outcome::Good, ms(50));
        assert_eq!(limit, 10, "no answer of event {event} took longer than one before");
    }
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds_and_counts_exactly(
        steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), 0..2_000_u64), 0..600),
        (min, max, start) in (0..50_u32, 1..500_u32, 0..600_u32),
    ) {
        let mut now = Instant::now();
        let mut limit = Limit::new(LimitOptions { min, max, start }, now);
        let mut under_way = Vec::new();
        let outcomes = [Outcome::Good, Outcome::TimedOut, Outcome::Failed, Outcome::Overloaded, Outcome::Abandoned];
        for (step, at, ms) in steps {
            now += Duration::from_millis(ms);
            if step < 2 {
                if limit.ready(1000) {
                    under_way.push(limit.start(now));
                    prop_assert!(limit.under_way() <= limit.limit());
                }
            } else if !under_way.is_empty() {
                let started = under_way.swap_remove(at.index(under_way.len()));
                limit.finish(started, outcomes[at.index(outcomes.len())], now);
            }
            prop_assert_eq!(limit.under_way() as usize, under_way.len());
            prop_assert!((min.clamp(1, max)..=max).contains(&limit.limit()));
        }
    }
}
