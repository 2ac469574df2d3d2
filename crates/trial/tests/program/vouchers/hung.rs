//! Events whose calls get no answer, and the others.

use lab::simulate::Behaviour;

use super::rig::{Bounds, Layout, OF_A_KEY, Rig, post};
use crate::running::until;

/// Keys whose calls hang.
const HUNG_KEYS: u64 = 30;
const HUNG: u64 = HUNG_KEYS * OF_A_KEY;

fn hung_events_stop_no_others(layout: Layout, others: u64) {
    let behaviour =
        Behaviour { latency_ms: 20, hung_members: "hung".to_owned(), ..Behaviour::default() };
    let bounds = Bounds { calls_min: 1, calls_max: 50, timeout_ms: 1_000, drain_timeout_ms: 5_000 };
    let rig = Rig::start(layout, behaviour, &bounds);
    let serving = rig.serve();
    post(&serving, "hung", HUNG);
    until(&true, || rig.service.audit().under_way >= HUNG_KEYS);
    post(&serving, "first", others);
    until(&others, || rig.rows().0);
    // By now only hung calls are left, which look as if the service were away.
    until(&true, || rig.service.audit().calls >= others + 2 * HUNG_KEYS);
    // Another process takes a part of the buffer, though hung events of it are held.
    let next = rig.is_shared().then(|| rig.serve());
    for done in (others..2 * others).step_by(10) {
        post(&serving, &format!("second{done}-"), 10);
        until(&(done + 10), || rig.rows().0);
    }
    rig.service.change("{\"hung_members\":\"\"}");
    rig.settle(2 * others + HUNG);
    rig.assert_paid_once(2 * others + HUNG);
    next.into_iter().for_each(|next| assert_eq!(next.stop(), 0));
    assert_eq!(serving.stop(), 0);
}

#[test]
fn hung_events_stop_no_others_on_a_journal() {
    hung_events_stop_no_others(Layout::Journal, 200);
}

#[test]
fn hung_events_stop_no_others_on_a_redis_list() {
    hung_events_stop_no_others(Layout::List, 200);
}

#[test]
fn hung_events_stop_no_others_on_a_redis_stream() {
    hung_events_stop_no_others(Layout::Stream, 200);
}

#[test]
fn hung_events_stop_no_others_on_kafka() {
    hung_events_stop_no_others(Layout::Kafka, 200);
}

#[test]
fn hung_events_stop_no_others_on_sqs() {
    hung_events_stop_no_others(Layout::Sqs, 100);
}
