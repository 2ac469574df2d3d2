//! kill -9 of a process that has 500 calls under way, several times in a row.

use lab::simulate::{Audit, Behaviour};

use super::rig::{Bounds, Layout, OF_A_KEY, Rig, post};
use crate::running::until;

/// Calls under way when a process is killed.
const CALLS: u64 = 500;
/// Each key has a call under way then, and more behind it.
const VOUCHERS: u64 = CALLS * OF_A_KEY;
const KILLS: u64 = 3;
/// A call that outlives its process is still under way when the next holder has its event, and has ended when that
/// one may call.
const LATENCY_MS: u64 = 1_800;
const BOUNDS: Bounds =
    Bounds { calls_min: CALLS, calls_max: CALLS, timeout_ms: 2_200, drain_timeout_ms: 10_000 };

/// Kills each process once its calls are under way; the last one settles all. What the service has in its ledger.
fn killed(rig: &Rig, kills: u64) -> Audit {
    let mut serving = rig.serve();
    post(&serving, "m", VOUCHERS);
    for _ in 0..kills {
        let begun = rig.service.audit().calls;
        until(&true, || {
            let Audit { calls, under_way, .. } = rig.service.audit();
            calls >= begun + CALLS && under_way >= CALLS
        });
        if rig.is_shared() {
            // The next holder runs already.
            let next = rig.serve();
            serving.kill();
            serving = next;
        } else {
            serving.kill();
            serving = rig.serve();
        }
    }
    rig.settle(VOUCHERS);
    assert_eq!(serving.stop(), 0);
    rig.service.audit()
}

fn kill_9_loses_and_doubles_nothing(layout: Layout) {
    let behaviour = Behaviour { latency_ms: LATENCY_MS, ..Behaviour::default() };
    let rig = Rig::start(layout, behaviour, &BOUNDS);
    killed(&rig, KILLS);
    let audit = rig.assert_paid_one_by_one(VOUCHERS);
    assert!(audit.calls >= VOUCHERS + CALLS, "no call was under way at a kill: {audit:?}");
}

#[test]
fn kill_9_with_500_calls_under_way_loses_and_doubles_nothing_on_a_journal() {
    kill_9_loses_and_doubles_nothing(Layout::Journal);
}

#[test]
fn kill_9_with_500_calls_under_way_loses_and_doubles_nothing_on_redis() {
    kill_9_loses_and_doubles_nothing(Layout::List);
}

#[test]
fn kill_9_with_500_calls_under_way_loses_and_doubles_nothing_on_kafka() {
    kill_9_loses_and_doubles_nothing(Layout::Kafka);
}

fn the_audit_finds_double_effects(layout: Layout) {
    let behaviour =
        Behaviour { latency_ms: LATENCY_MS, honours_keys: false, ..Behaviour::default() };
    let rig = Rig::start(layout, behaviour, &BOUNDS);
    let audit = killed(&rig, 1);
    assert_eq!(rig.rows(), (VOUCHERS, VOUCHERS));
    // Calls that a kill left under way had their effect, and were made again.
    assert!(audit.members_twice >= CALLS, "{audit:?}");
    assert!(audit.effects > audit.members && !audit.twice.is_empty(), "{audit:?}");
}

#[test]
fn the_audit_of_the_service_finds_double_effects_where_it_does_not_honour_keys() {
    the_audit_finds_double_effects(Layout::Journal);
}

#[test]
fn the_audit_of_the_service_finds_double_effects_where_it_does_not_honour_keys_on_redis() {
    the_audit_finds_double_effects(Layout::List);
}
