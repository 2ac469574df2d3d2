//! The breaker opens, probes and ramps, and no lost permit holds it.

use std::time::{Duration, Instant};

use guard::{Breaker, BreakerOptions, Outcome, Pass, State};
use proptest::prelude::*;

const OPEN: Duration = Duration::from_secs(2);

fn options() -> BreakerOptions {
    BreakerOptions { open: OPEN, ..BreakerOptions::default() }
}

/// Calls once at `now`, if it may.
fn call(breaker: &mut Breaker, outcome: Outcome, now: Instant) -> bool {
    let is_ready = breaker.ready(now).is_ok();
    if is_ready {
        let pass = breaker.pass(now);
        breaker.settle(pass, outcome, now);
    }
    is_ready
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(options(), now);
    while call(&mut breaker, Outcome::Failed, now) {}
    assert_eq!(breaker.state(), State::Open);
    breaker
}

fn passes(breaker: &mut Breaker, now: Instant) -> Vec<Pass> {
    std::iter::from_fn(|| breaker.ready(now).ok().map(|()| breaker.pass(now))).take(1000).collect()
}

#[test]
fn it_opens_at_the_share_of_failures_and_not_before_enough_calls() {
    let now = Instant::now();
    let mut breaker = Breaker::new(options(), now);
    let outcomes = [Outcome::Failed, Outcome::Good];
    for n in 0..19 {
        assert!(call(&mut breaker, outcomes[n % 2], now), "{n} calls are too few");
    }
    assert!(call(&mut breaker, Outcome::Failed, now));
    assert!(!call(&mut breaker, Outcome::Good, now));
    let mut healthy = Breaker::new(options(), now);
    let answers = [Outcome::Rejected, Outcome::Overloaded, Outcome::Abandoned];
    for n in 0..1000 {
        assert!(call(&mut healthy, answers[n % 3], now), "none of these says that it is down");
    }
}

#[test]
fn failures_of_an_earlier_window_do_not_count() {
    let now = Instant::now();
    let mut breaker = Breaker::new(options(), now);
    for n in 0..100 {
        // 19 failures in any window of ten seconds are one too few.
        assert!(call(&mut breaker, Outcome::Failed, now + Duration::from_millis(600) * n), "{n}");
    }
}

#[test]
fn only_as_many_probes_pass_as_are_permitted() {
    let now = Instant::now();
    let mut breaker = opened(now);
    assert_eq!(breaker.ready(now), Err(OPEN));
    let later = now + OPEN;
    let probes = passes(&mut breaker, later);
    assert_eq!((probes.len(), breaker.state()), (3, State::Probing));
    breaker.settle(probes[0], Outcome::Good, later);
    assert_eq!(passes(&mut breaker, later), [], "a good probe is not replaced by another");
    breaker.settle(probes[1], Outcome::Good, later);
    breaker.settle(probes[1], Outcome::Good, later);
    assert_eq!(breaker.state(), State::Probing, "one probe counts once");
    breaker.settle(probes[2], Outcome::Good, later);
    assert_eq!(breaker.state(), State::Ramp);
}

#[test]
fn a_permit_that_is_given_back_unused_can_be_used_again() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let later = now + OPEN;
    for probe in passes(&mut breaker, later) {
        breaker.settle(probe, Outcome::Abandoned, later);
    }
    assert_eq!(passes(&mut breaker, later).len(), 3);
}

#[test]
fn a_permit_that_is_never_given_back_does_not_hold_it() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let lost = passes(&mut breaker, now + OPEN);
    let timeout = options().probe_timeout;
    assert_eq!(breaker.ready(now + OPEN), Err(timeout));
    let late = now + OPEN + timeout;
    assert_eq!(
        breaker.ready(late),
        Err(2 * OPEN),
        "a lost probe counts as failed, and it opens for longer"
    );
    breaker.settle(lost[0], Outcome::Good, late);
    assert_eq!(breaker.state(), State::Open, "an answer that is too late changes nothing");
    assert_eq!(passes(&mut breaker, late + 2 * OPEN).len(), 3);
}

#[test]
fn it_stays_open_for_twice_as_long_each_time_in_a_row_up_to_the_longest() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    for open_s in [2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(breaker.ready(now), Err(Duration::from_secs(open_s)));
        now += Duration::from_secs(open_s);
        assert!(call(&mut breaker, Outcome::TimedOut, now));
    }
}

#[test]
fn after_the_probes_the_use_grows_slowly_and_failures_open_it_again() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let back = now + OPEN;
    for probe in passes(&mut breaker, back) {
        breaker.settle(probe, Outcome::Good, back);
    }
    let shares = [0, 5, 10].map(|s| breaker.usable_permille(back + Duration::from_secs(s)));
    assert_eq!(shares, [100, 550, 1000]);
    let mut failing = breaker.clone();
    while call(&mut failing, Outcome::Failed, back) {}
    assert_eq!(failing.ready(back), Err(2 * OPEN));
    let end = back + Duration::from_secs(10);
    assert!(call(&mut breaker, Outcome::Good, end));
    assert_eq!(breaker.state(), State::Closed);
    while call(&mut breaker, Outcome::Failed, end) {}
    assert_eq!(breaker.ready(end), Err(OPEN), "a closed one begins anew");
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Begin,
    End(prop::sample::Index, Outcome),
    Forget(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        Just(Outcome::Good),
        Just(Outcome::Failed),
        Just(Outcome::TimedOut),
        Just(Outcome::Abandoned)
    ];
    let step = prop_oneof![
        2 => (0..3_000_u64).prop_map(Step::Wait),
        6 => Just(Step::Begin),
        5 => (any::<prop::sample::Index>(), outcome).prop_map(|(at, outcome)| Step::End(at, outcome)),
        1 => any::<prop::sample::Index>().prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// Whatever happens, an open one lets nothing pass, a probing one no more than its probes, and each comes to
    /// let calls pass again.
    #[test]
    fn no_sequence_lets_too_many_pass_or_holds_it_for_ever(steps in steps()) {
        let mut now = Instant::now();
        // Few calls open it, so that most sequences come to probes.
        let mut breaker = Breaker::new(BreakerOptions { calls_min: 4, ..options() }, now);
        let mut under_way: Vec<(Pass, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Begin => {
                    if breaker.ready(now).is_ok() {
                        prop_assert_ne!(breaker.state(), State::Open);
                        under_way.push((breaker.pass(now), breaker.state() == State::Probing));
                    }
                }
                Step::End(at, outcome) if !under_way.is_empty() => {
                    let (pass, _) = under_way.swap_remove(at.index(under_way.len()));
                    breaker.settle(pass, outcome, now);
                }
                Step::Forget(at) if !under_way.is_empty() => {
                    under_way.swap_remove(at.index(under_way.len()));
                }
                Step::End(..) | Step::Forget(_) => {}
            }
            if breaker.state() != State::Probing {
                under_way.retain(|(_, is_probe)| !is_probe);
            }
            prop_assert!(under_way.iter().filter(|(_, is_probe)| *is_probe).count() <= 3);
        }
        let waits = options().open_max + options().probe_timeout;
        let mut tries = 0;
        while let Err(wait) = breaker.ready(now) {
            prop_assert!(wait <= waits, "{wait:?}");
            now += wait.max(Duration::from_nanos(1));
            tries += 1;
            prop_assert!(tries < 4, "it lets nothing pass");
        }
    }
}
