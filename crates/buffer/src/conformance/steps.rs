//! Steps the guarantees share.

use std::time::Duration;

use model::Event;
use tokio::time::{Instant, timeout};

use super::{Limits, Order, Subject};
use crate::{Buffer, DeadLetter, Envelope, Receipt};

/// How long anything that must come is waited for. Far past what a healthy backend needs, so that
/// only a broken one meets it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a lease that must come back empty is given.
const GLANCE: Duration = Duration::from_millis(30);

/// An event with a key of its own: where a key is leased to one lease at a time, nothing holds it up.
pub(super) fn event(n: usize) -> Event {
    keyed(n, n)
}

pub(super) fn keyed(n: usize, key: usize) -> Event {
    let (id, key) = (format!("id-{n}"), format!("key-{key}"));
    let payload = format!("{{\"n\":{n}}}");
    Event::new(id.as_bytes(), key.as_bytes(), payload.as_bytes()).expect("within bounds")
}

pub(super) fn events(range: std::ops::Range<usize>) -> Vec<Event> {
    range.map(event).collect()
}

pub(super) async fn offer(buffer: &dyn Buffer, range: std::ops::Range<usize>) {
    buffer.offer(&events(range)).await.expect("there is room");
}

/// Leases exactly `count` events, however many leases that takes.
pub(super) async fn take(buffer: &dyn Buffer, count: usize) -> Vec<Envelope> {
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "only {} of {count} events came", taken.len());
        taken.extend(buffer.lease(count - taken.len(), left).await.expect("it can be leased"));
    }
    assert_eq!(taken.len(), count, "a lease gave more than was asked for");
    taken
}

pub(super) async fn take_one(buffer: &dyn Buffer) -> Envelope {
    take(buffer, 1).await.remove(0)
}

/// Asserts that nothing can be leased just now.
pub(super) async fn nothing_ready(buffer: &dyn Buffer) {
    let leased = buffer.lease(1000, GLANCE).await.expect("it can be leased");
    assert!(leased.is_empty(), "nothing should be ready, but {} came", names(&leased).join(" "));
}

pub(super) async fn ack(buffer: &dyn Buffer, envelopes: &[Envelope]) {
    let acked = buffer.ack(&receipts(envelopes)).await.expect("it can be acked");
    assert_eq!(acked, envelopes.len(), "every lease held should be acked");
}

/// Offers and buries the events of `range`, each with its own reason.
pub(super) async fn bury(buffer: &dyn Buffer, range: std::ops::Range<usize>) {
    offer(buffer, range.clone()).await;
    let mut leased = take(buffer, range.len()).await;
    // Where there is no order, each still gets its own reason.
    leased.sort_by_key(|envelope| range.clone().position(|n| envelope.event == event(n)));
    let burials: Vec<_> = leased
        .iter()
        .zip(range)
        .map(|(envelope, n)| (envelope.receipt, format!("reason {n}")))
        .collect();
    assert_eq!(buffer.bury(&burials).await.expect("it can be buried"), burials.len());
}

/// All dead letters.
pub(super) async fn buried(buffer: &dyn Buffer) -> Vec<DeadLetter> {
    buffer.dead_letters().list(0, usize::MAX).await.expect("they can be listed")
}

pub(super) fn reasons(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.reason.as_str()).collect()
}

/// Lets every lease given until now expire.
pub(super) async fn let_leases_expire(subject: &dyn Subject) {
    let Limits { lease_ms, .. } = subject.limits();
    subject.advance(lease_ms + 1).await;
}

pub(super) fn receipts(envelopes: &[Envelope]) -> Vec<Receipt> {
    envelopes.iter().map(|envelope| envelope.receipt).collect()
}

pub(super) fn names(envelopes: &[Envelope]) -> Vec<String> {
    let name = |e: &Envelope| String::from_utf8_lossy(e.event.id()).into_owned();
    envelopes.iter().map(name).collect()
}

/// Asserts that these came: in this order, or if the subject keeps none over keys, in any.
pub(super) fn came(
    subject: &dyn Subject,
    envelopes: &[Envelope],
    expected: impl IntoIterator<Item = usize>,
) {
    let (mut names, mut expected) = (names(envelopes), names_of(expected));
    if subject.lacks().order != Order::Whole {
        names.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(names, expected);
}

/// The names that [`events`] of this range have.
pub(super) fn names_of(range: impl IntoIterator<Item = usize>) -> Vec<String> {
    range.into_iter().map(|n| format!("id-{n}")).collect()
}

/// Waits for a task that must end by itself.
pub(super) async fn end<T>(task: tokio::task::JoinHandle<T>) -> T {
    timeout(PATIENCE, task).await.expect("it should have ended by now").expect("it did not panic")
}
