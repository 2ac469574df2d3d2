//! SIGSTOP beyond the lease while another process takes over, and SIGTERM with calls under way.

use std::thread::sleep;
use std::time::Duration;

use lab::simulate::Behaviour;

use super::rig::{Bounds, Layout, OF_A_KEY, Rig, post};
use crate::running::{Serving, until};

const CALLS: u64 = 500;
/// Each key has a call under way, and more behind it.
const VOUCHERS: u64 = CALLS * OF_A_KEY;
const LATER: u64 = 200;

fn count(serving: &Serving, name: &str) -> u64 {
    let name = format!("{name}{{pipeline=\"vouchers\"}}");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    serving.metric(&name).map_or(0, |value| value as u64)
}

fn a_stopped_process_records_nothing_twice(layout: Layout) {
    let behaviour = Behaviour { latency_ms: 1_000, ..Behaviour::default() };
    let bounds =
        Bounds { calls_min: CALLS, calls_max: CALLS, timeout_ms: 2_000, drain_timeout_ms: 10_000 };
    let rig = Rig::start(layout, behaviour, &bounds);
    let stopped = rig.serve();
    post(&stopped, "m", VOUCHERS);
    until(&true, || rig.service.audit().under_way >= CALLS);
    stopped.pause();
    let next = rig.serve();
    // It has to wait until the leases of the other one have ended.
    until(&(VOUCHERS, VOUCHERS), || rig.rows());
    stopped.resume();
    // The answers that it got before it was stopped are recorded already.
    until(&true, || count(&stopped, "duplicates_total") > 0);
    post(&stopped, "later", LATER);
    rig.settle(VOUCHERS + LATER);
    rig.assert_paid_one_by_one(VOUCHERS + LATER);
    let both = || [&stopped, &next].map(|one| count(one, "processed_tasks_total")).iter().sum();
    until(&(VOUCHERS + LATER), both);
    assert_eq!((stopped.stop(), next.stop()), (0, 0));
}

#[test]
fn a_process_that_was_stopped_beyond_its_leases_records_nothing_twice_on_redis() {
    a_stopped_process_records_nothing_twice(Layout::List);
}

#[test]
fn a_process_that_was_stopped_beyond_its_leases_records_nothing_twice_on_kafka() {
    a_stopped_process_records_nothing_twice(Layout::Kafka);
}

fn a_drain_ends_its_calls_and_begins_no_other(layout: Layout) {
    let behaviour = Behaviour { latency_ms: 500, ..Behaviour::default() };
    // The drain has time for the calls under way, and for no more.
    let bounds =
        Bounds { calls_min: 100, calls_max: 100, timeout_ms: 2_500, drain_timeout_ms: 2_600 };
    let rig = Rig::start(layout, behaviour, &bounds);
    let vouchers = 500;
    let mut serving = rig.serve();
    post(&serving, "m", vouchers);
    for _ in 0..2 {
        let begun = rig.service.audit().calls;
        until(&true, || rig.service.audit().calls >= begun + 100);
        if rig.is_shared() {
            let next = rig.serve();
            assert_eq!(serving.stop(), 0);
            serving = next;
        } else {
            assert_eq!(serving.stop(), 0);
            serving = rig.serve();
        }
    }
    rig.settle(vouchers);
    let audit = rig.assert_paid_one_by_one(vouchers);
    assert_eq!(audit.calls, vouchers, "a call was abandoned: {audit:?}");
    assert_eq!(serving.stop(), 0);
}

#[test]
fn a_drain_ends_its_calls_and_begins_no_other_on_a_journal() {
    a_drain_ends_its_calls_and_begins_no_other(Layout::Journal);
}

#[test]
fn a_drain_ends_its_calls_and_begins_no_other_on_redis() {
    a_drain_ends_its_calls_and_begins_no_other(Layout::List);
}

/// How long the process is stopped, beyond the time-out of its calls.
const STOPPED: Duration = Duration::from_secs(4);

#[test]
fn the_only_process_of_a_journal_goes_on_after_it_was_stopped_beyond_its_leases() {
    let behaviour = Behaviour { latency_ms: 1_000, ..Behaviour::default() };
    let bounds =
        Bounds { calls_min: CALLS, calls_max: CALLS, timeout_ms: 2_000, drain_timeout_ms: 10_000 };
    let rig = Rig::start(Layout::Journal, behaviour, &bounds);
    let serving = rig.serve();
    post(&serving, "m", VOUCHERS);
    until(&true, || rig.service.audit().under_way >= CALLS);
    serving.pause();
    sleep(STOPPED);
    let while_stopped = rig.service.audit();
    assert_eq!(while_stopped.under_way, 0, "{while_stopped:?}");
    serving.resume();
    rig.settle(VOUCHERS);
    rig.assert_paid_one_by_one(VOUCHERS);
    assert_eq!(serving.stop(), 0);
}
