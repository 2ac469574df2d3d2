//! A service that is away: it answers 503, refuses connections, or accepts them and says nothing.

use std::thread::sleep;
use std::time::Duration;

use lab::simulate::Behaviour;
use testbed::{Fault, Proxy};

use super::rig::{Bounds, Layout, Paying, Rig, post};
use crate::running::{Serving, until};

const VOUCHERS: u64 = 1_000;
const CALLS_MAX: u64 = 50;
/// By then the breaker is open, and stays so for 2 s each time.
const OPENED: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(10);
/// Three probes each time that the breaker has been open for 2 s, and once more at either end.
const PROBES_MAX: f64 = 15.0;
/// `guard_breaker_state` of a ramp; a breaker that probes or is open shows more.
const RAMP: f64 = 1.0;
const HALF: f64 = CALLS_MAX as f64 / 2.0;
/// One figure may be this much newer than the other.
const STEP: f64 = 5.0;

/// Calls that have ended without an answer of the service.
fn unanswered(serving: &Serving) -> f64 {
    let ended = |outcome| format!("calls_total{{pipeline=\"vouchers\",outcome=\"{outcome}\"}}");
    ["failed", "timed_out"].iter().filter_map(|outcome| serving.metric(&ended(outcome))).sum()
}

/// The state of the breaker, the limit, and calls under way, as the guard shows them.
fn guard(serving: &Serving) -> [f64; 3] {
    let (_, text) = serving.get("/metrics");
    ["breaker_state", "limit", "under_way"].map(|name| {
        let name = format!("guard_{name}{{pipeline=\"vouchers\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    })
}

#[test]
fn a_service_that_is_away_gets_only_probes_and_is_used_again_little_by_little() {
    let latency = Behaviour { latency_ms: 200, ..Behaviour::default() };
    let service = Paying::start(latency);
    let proxy = Proxy::start(&service.address()).unwrap();
    let url = format!("http://{}/pay", proxy.address());
    let bounds = Bounds {
        calls_min: CALLS_MAX,
        calls_max: CALLS_MAX,
        timeout_ms: 1_000,
        drain_timeout_ms: 5_000,
    };
    let rig = Rig::with(Layout::Journal, service, &url, &bounds);
    let serving = rig.serve();
    post(&serving, "before", CALLS_MAX);
    until(&CALLS_MAX, || rig.rows().0);

    rig.service.change("{\"away\":true}");
    post(&serving, "m", VOUCHERS);
    sleep(OPENED);
    let opened = rig.service.audit().calls;
    sleep(AWAY - OPENED);
    let away = (rig.service.audit().calls - opened) as f64;
    let [refused, silent] = [Fault::Refuse, Fault::HalfOpen].map(|fault| {
        let before = unanswered(&serving);
        proxy.set(fault);
        sleep(OPENED);
        let probes = unanswered(&serving) - before;
        until(&true, || unanswered(&serving) > before);
        let [state, ..] = guard(&serving);
        assert!(state > RAMP, "{fault:?}: the breaker lets calls pass: {state}");
        probes
    });
    let probes = [away, refused, silent];
    assert!(
        away >= 1.0 && probes.iter().all(|probes| *probes <= PROBES_MAX),
        "calls while the breaker was open: {probes:?}"
    );
    assert_eq!(rig.rows().0, CALLS_MAX);

    rig.service.change("{\"away\":false}");
    proxy.set(Fault::None);
    until(&true, || guard(&serving)[0] == RAMP);
    let mut limits = Vec::new();
    until(&true, || {
        let [state, limit, under_way] = guard(&serving);
        if state == RAMP && limits.last() != Some(&limit) {
            limits.push(limit);
        }
        assert!(limit > HALF || under_way <= limit + STEP, "{under_way} calls, {limit} allowed");
        limit > HALF
    });
    assert!(limits[0] <= HALF && limits.is_sorted(), "the limits were {limits:?}");
    rig.settle(CALLS_MAX + VOUCHERS);
    rig.assert_paid_one_by_one(CALLS_MAX + VOUCHERS);
    assert_eq!(serving.stop(), 0);
}
