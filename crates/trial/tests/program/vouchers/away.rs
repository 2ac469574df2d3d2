//! A service that is away: it answers 503, refuses connections, or accepts them and says nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::simulate::Behaviour;
use testbed::{Fault, Proxy};

use super::rig::{Bounds, Layout, Paying, Rig, post};
use crate::running::until;

const VOUCHERS: u64 = 1_000;
const CALLS_MAX: u64 = 50;
/// By then the breaker is open, and stays so for 2 s each time.
const OPENED: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(10);
/// Three probes each time that the breaker has been open for 2 s, and once more at either end.
const PROBES_MAX: u64 = 15;
/// The ramp takes 10 s from a tenth of the limit to all of it.
const RAMP_BEGINS: Duration = Duration::from_secs(2);

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
    let probes = rig.service.audit().calls - opened;
    assert!((1..=PROBES_MAX).contains(&probes), "{probes} calls while the breaker was open");
    for fault in [Fault::Refuse, Fault::HalfOpen] {
        proxy.set(fault);
        sleep(OPENED);
    }
    assert_eq!(rig.rows().0, CALLS_MAX);

    rig.service.change("{\"away\":false}");
    proxy.set(Fault::None);
    until(&true, || rig.rows().0 > CALLS_MAX);
    let began = Instant::now();
    let (mut early, mut late) = (0, 0);
    until(&true, || {
        let under_way = rig.service.audit().under_way;
        let most = if began.elapsed() < RAMP_BEGINS { &mut early } else { &mut late };
        *most = under_way.max(*most);
        rig.rows().0 == CALLS_MAX + VOUCHERS
    });
    assert!(early <= CALLS_MAX / 2 && late > CALLS_MAX / 2, "at first {early}, then {late}");
    rig.settle(CALLS_MAX + VOUCHERS);
    rig.assert_paid_once(CALLS_MAX + VOUCHERS);
    assert_eq!(serving.stop(), 0);
}
