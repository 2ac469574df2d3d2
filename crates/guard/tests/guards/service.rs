//! All guards of one service together.

use std::time::{Duration, Instant};

use guard::{
    Attempt, BreakerOptions, BudgetOptions, Guard, LimitOptions, Options, Outcome, Pace, Refusal,
    State,
};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// A guard of a service that answers in 10 ms.
fn guard(now: Instant) -> Guard {
    let options = Options {
        pace: Pace::per_second(1_000, 1_000),
        limit: LimitOptions { min: 1, max: 100, start: 50 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    };
    let mut guard = Guard::new(options, now - MS * 100);
    // One call after another, until the latency of the service is known.
    for n in 0..10 {
        let [began, ended] = [n, n + 1].map(|n| now - MS * 10 * (10 - n));
        let attempt = guard.start(false, began).expect("nothing is under way");
        guard.finish(attempt, Outcome::Good, None, ended);
    }
    assert_eq!(guard.figures(now).limit, 50);
    guard
}

fn begun(guard: &mut Guard, now: Instant) -> Vec<Attempt> {
    std::iter::from_fn(|| guard.start(false, now).ok()).collect()
}

#[test]
fn an_attempt_that_may_not_begin_uses_nothing_up() {
    let now = Instant::now();
    let mut guard = guard(now);
    let attempts = begun(&mut guard, now);
    assert_eq!((attempts.len(), guard.start(false, now)), (50, Err(Refusal::Full)));
    let saved = guard.figures(now).retries_saved;
    for _ in 0..10_000 {
        assert_eq!(guard.start(true, now), Err(Refusal::Full));
    }
    assert_eq!(guard.figures(now).retries_saved, saved);
    for attempt in attempts {
        guard.finish(attempt, Outcome::Good, None, now);
    }
    assert_eq!(guard.figures(now).under_way, 0);
    assert!(guard.start(true, now).is_ok(), "the rate was not used up either");
}

#[test]
fn a_pause_that_the_service_asks_for_holds_all_calls() {
    let now = Instant::now();
    let mut guard = guard(now);
    let pause = Duration::from_secs(7);
    let attempt = guard.start(false, now).unwrap();
    guard.finish(attempt, Outcome::Overloaded, Some(pause), now);
    let Err(Refusal::TooSoon(wait)) = guard.start(false, now) else { panic!("a call began") };
    assert!(wait >= pause, "{wait:?}");
    assert!(guard.start(false, now + wait).is_ok());
}

#[test]
fn a_service_that_is_away_gets_only_probes_and_comes_back_slowly() {
    let mut now = Instant::now();
    let mut guard = guard(now);
    let tick = Duration::from_millis(100);
    let mut calls_while_away = 0;
    for _ in 0..600 {
        for attempt in begun(&mut guard, now) {
            calls_while_away += 1;
            guard.finish(attempt, Outcome::Failed, None, now);
        }
        now += tick;
    }
    // Those under way open it; then three probes fail after 2, 4, 8 and 16 seconds more each.
    assert_eq!(calls_while_away, 50 + 4 * 3);
    let mut most = Vec::new();
    for _ in 0..600 {
        let attempts = begun(&mut guard, now);
        most.push(attempts.len());
        attempts.into_iter().for_each(|attempt| guard.finish(attempt, Outcome::Good, None, now));
        now += tick;
    }
    let back = most.iter().position(|calls| *calls > 0).unwrap();
    let half = most.iter().position(|calls| *calls >= 25).unwrap();
    assert!(half - back >= 30, "half of all calls after {} ticks", half - back);
    assert_eq!(guard.figures(now).breaker, State::Closed);
    assert!(*most.last().unwrap() >= 50);
}

#[test]
fn retries_are_bounded_while_everything_fails_a_little() {
    let now = Instant::now();
    let mut guard = guard(now);
    let mut retries = 0;
    for n in 0..1_000_u32 {
        let at = now + Duration::from_millis(u64::from(n) * 10);
        let attempt = guard.start(false, at).unwrap();
        guard.finish(attempt, Outcome::Good, None, at);
        for _ in 0..3 {
            if let Ok(attempt) = guard.start(true, at) {
                retries += 1;
                guard.finish(attempt, Outcome::Failed, None, at);
            }
        }
    }
    // A fifth of the calls, what was saved, and one a second.
    assert!((200..=200 + 100 + 11).contains(&retries), "{retries}");
}

#[test]
fn retries_that_never_succeed_do_not_look_like_a_service_that_is_away() {
    let now = Instant::now();
    let mut guard = guard(now);
    let figures = |guard: &Guard, at| (guard.figures(at).breaker, guard.figures(at).limit);
    // Eleven calls a second, of which ten are retries that time out.
    for n in 0..6_000_u64 {
        let at = now + MS * 10 * u32::try_from(n).unwrap();
        let is_retry = n % 100 != 0;
        let Ok(attempt) = guard.start(is_retry, at) else { continue };
        let outcome = if is_retry { Outcome::TimedOut } else { Outcome::Good };
        guard.finish(attempt, outcome, None, at + MS * 10);
        assert_eq!(figures(&guard, at), (State::Closed, 50), "call {n}");
    }
    // First attempts that time out do.
    let at = now + Duration::from_secs(120);
    for attempt in begun(&mut guard, at) {
        guard.finish(attempt, Outcome::TimedOut, None, at + MS * 10);
    }
    assert_eq!(guard.figures(at).breaker, State::Open);
}

/// A guard whose rate is of several processes, as one of them.
fn sharing(now: Instant) -> Guard {
    let options = Options {
        pace: Pace::per_second(100, 30),
        limit: LimitOptions { min: 1_000, max: 1_000, start: 1_000 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    };
    Guard::sharing(options, HEARTBEAT, now)
}

const HEARTBEAT: Duration = Duration::from_secs(10);

#[test]
fn a_shared_rate_is_used_a_heartbeat_after_the_row_and_until_the_view_is_too_old() {
    let now = Instant::now();
    let mut guard = sharing(now);
    assert!(guard.is_shared() && begun(&mut guard, now + HEARTBEAT).is_empty(), "it read nothing");
    guard.heard(2, Duration::ZERO, now, now);
    let read = now + HEARTBEAT - MS;
    guard.heard(2, HEARTBEAT - MS, read, read);
    assert!(begun(&mut guard, read).is_empty());
    let is_in = now + HEARTBEAT;
    assert_eq!(begun(&mut guard, is_in).len(), 0, "it saved nothing up");
    assert_eq!(guard.figures(is_in).per_1000_s, 50_000);
    assert_eq!(begun(&mut guard, is_in + Duration::from_secs(1)).len(), 15, "half of the burst");
    let late = read + HEARTBEAT;
    assert!(begun(&mut guard, late).is_empty());
    assert_eq!((guard.figures(late).processes, guard.figures(late).per_1000_s), (0, 0));
}

#[test]
fn a_process_that_stood_still_saved_nothing_up_and_joins_anew() {
    let now = Instant::now();
    let mut guard = sharing(now);
    guard.heard(1, Duration::ZERO, now, now);
    let read = now + HEARTBEAT;
    guard.heard(1, HEARTBEAT, read, read);
    assert!(begun(&mut guard, read).is_empty());
    // Its row was dropped meanwhile, and the others divide by one process less.
    let woken = read + HEARTBEAT * 10;
    assert!(begun(&mut guard, woken).is_empty());
    guard.heard(2, Duration::ZERO, woken, woken);
    assert!(begun(&mut guard, woken + HEARTBEAT - MS).is_empty());
    guard.heard(2, HEARTBEAT - MS, woken + HEARTBEAT - MS, woken + HEARTBEAT - MS);
    let is_in = woken + HEARTBEAT;
    assert_eq!(begun(&mut guard, is_in).len(), 0);
    assert_eq!(begun(&mut guard, is_in + Duration::from_secs(1)).len(), 15);
    guard.dropped(is_in + Duration::from_secs(2));
    assert!(begun(&mut guard, is_in + Duration::from_secs(2)).is_empty());
}

#[test]
fn a_guard_of_several_pipelines_is_shown_by_one_of_them() {
    let mut guard = sharing(Instant::now());
    assert!(guard.is_shown_by("a") && !guard.is_shown_by("b") && guard.is_shown_by("a"));
    guard.unshow("b");
    assert!(!guard.is_shown_by("b"));
    guard.unshow("a");
    assert!(guard.is_shown_by("b") && !guard.is_shown_by("a"));
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Begin(bool),
    End(prop::sample::Index, Outcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Good),
        2 => Just(Outcome::Failed),
        1 => Just(Outcome::TimedOut),
        1 => Just(Outcome::Overloaded),
        1 => Just(Outcome::Abandoned),
    ];
    let step = prop_oneof![
        2 => (0..3_000_u64).prop_map(Step::Wait),
        6 => any::<bool>().prop_map(Step::Begin),
        5 => (any::<prop::sample::Index>(), outcome).prop_map(|(at, outcome)| Step::End(at, outcome)),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// Each bound holds together with the others, and what ended leaves nothing taken.
    #[test]
    fn all_bounds_hold_together_over_any_sequence(steps in steps()) {
        let mut now = Instant::now();
        let mut guard = guard(now);
        let mut under_way: Vec<Attempt> = Vec::new();
        let (mut denied, mut saved) = (0, i128::from(1_000_u64 * 1_000));
        for step in steps {
            match step {
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    saved = (saved + i128::from(ms) * 1_000).min(1_000_000);
                }
                Step::Begin(is_retry) => match guard.start(is_retry, now) {
                    Ok(attempt) => {
                        under_way.push(attempt);
                        saved -= 1_000;
                        let figures = guard.figures(now);
                        prop_assert!(figures.breaker != State::Open);
                        prop_assert!(figures.under_way <= figures.limit.max(1), "{figures:?}");
                        prop_assert!(saved >= 0, "the rate was exceeded");
                    }
                    Err(Refusal::NoRetry) => {
                        prop_assert!(is_retry);
                        denied += 1;
                    }
                    Err(_) => {}
                },
                Step::End(at, outcome) if !under_way.is_empty() => {
                    let attempt = under_way.swap_remove(at.index(under_way.len()));
                    guard.finish(attempt, outcome, None, now);
                }
                Step::End(..) => {}
            }
            let figures = guard.figures(now);
            prop_assert_eq!(figures.under_way as usize, under_way.len());
            prop_assert_eq!(figures.retries_denied, denied);
        }
        for attempt in under_way {
            guard.finish(attempt, Outcome::Abandoned, None, now);
        }
        prop_assert_eq!(guard.figures(now).under_way, 0);
    }
}
