//! All guards of one service together.

use std::time::{Duration, Instant};

use guard::{
    Attempt, BreakerOptions, BudgetOptions, Guard, LimitOptions, Options, Outcome, Pace, Refusal,
    State,
};

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
                guard.finish(attempt, Outcome::Good, None, at);
            }
        }
    }
    // A fifth of the calls, what was saved, and one a second.
    assert!((200..=200 + 100 + 11).contains(&retries), "{retries}");
}
