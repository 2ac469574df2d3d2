//! Which processes run: each row as its process wrote it last, until it leaves or falls silent.

use std::time::Duration;

use model::{Class, Classify};

use super::Subject;
use crate::processes::{
    Heard, KEEP_MAX, LIVE_MAX, PIPELINES_BYTES_MAX, Pipeline, Process, TEXT_BYTES_MAX,
};

/// How much later the clock of a store is, at most, than what a test has told it.
const SLACK: Duration = Duration::from_secs(5);

fn process(id: &str, pipelines: &[(&str, &str, u32)]) -> Process {
    let pipeline = |(name, state, lanes): &(&str, &str, u32)| Pipeline {
        name: (*name).to_owned(),
        state: (*state).to_owned(),
        lanes: *lanes,
        calls: 0,
    };
    Process {
        id: id.to_owned(),
        host: "hôst".to_owned(),
        pid: u32::MAX,
        version: "0.1.0".to_owned(),
        roles: "api,worker".to_owned(),
        pipelines: pipelines.iter().map(pipeline).collect(),
    }
}

async fn heard(subject: &dyn Subject) -> Vec<Heard> {
    subject.beside().processes().heard().await.expect("the store answers")
}

/// What a process said last comes back, by id, with its age; nothing of others is changed by it.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_a_process_said_last_comes_back(subject: &mut dyn Subject) {
    let processes = subject.beside().processes();
    assert_eq!(processes.heard().await, Ok(vec![]));
    let pipelines = [("consumer_batch", "ready", 2), ("table:it's \"x\"", "paused", 0)];
    let (mut b, a) = (process("b'\"", &pipelines), process("a", &[]));
    b.pipelines[0].calls = 10_000;
    assert_eq!(processes.heartbeat(&b).await, Ok(()));
    assert_eq!(processes.heartbeat(&a).await, Ok(()));
    subject.later(Duration::from_secs(9)).await;
    let b = Process { roles: "worker".to_owned(), pipelines: b.pipelines[..1].to_vec(), ..b };
    assert_eq!(processes.heartbeat(&b).await, Ok(()));
    let seen = heard(subject).await;
    assert_eq!(seen.iter().map(|one| &one.process).collect::<Vec<_>>(), [&a, &b]);
    let nine = Duration::from_secs(9)..Duration::from_secs(9) + SLACK;
    assert!(nine.contains(&seen[0].ago) && nine.contains(&seen[0].joined_ago), "{seen:?}");
    assert!(seen[1].ago < SLACK && nine.contains(&seen[1].joined_ago), "{seen:?}");
    assert!(seen.iter().all(Heard::is_live));
}

/// A process that left is gone, once.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_process_that_left_is_gone(subject: &mut dyn Subject) {
    let processes = subject.beside().processes();
    for id in ["a", "b"] {
        assert_eq!(processes.heartbeat(&process(id, &[])).await, Ok(()));
    }
    assert_eq!(processes.leave("a").await, Ok(true));
    assert_eq!(processes.leave("a").await, Ok(false));
    let seen = heard(subject).await;
    assert_eq!(seen.iter().map(|one| one.process.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

/// A process that fell silent no longer counts as live, is deleted by another one's heartbeat, and joins anew
/// when it is heard of again.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_process_that_fell_silent_is_deleted_by_another(subject: &mut dyn Subject) {
    let processes = subject.beside().processes();
    let (silent, other) = (process("silent", &[("p", "ready", 1)]), process("other", &[]));
    assert_eq!(processes.heartbeat(&silent).await, Ok(()));
    subject.later(LIVE_MAX + SLACK).await;
    assert_eq!(processes.heartbeat(&other).await, Ok(()));
    let seen = heard(subject).await;
    assert_eq!(seen.iter().map(Heard::is_live).collect::<Vec<_>>(), [true, false], "{seen:?}");
    assert_eq!(processes.heartbeat(&silent).await, Ok(()));
    let seen = heard(subject).await;
    assert!(seen[1].is_live() && seen[1].joined_ago < SLACK, "it joined anew: {seen:?}");
    subject.later(KEEP_MAX - SLACK * 2).await;
    assert_eq!(processes.heartbeat(&other).await, Ok(()));
    assert_eq!(heard(subject).await.len(), 2);
    subject.later(SLACK * 3).await;
    assert_eq!(processes.heartbeat(&other).await, Ok(()));
    let seen = heard(subject).await;
    assert_eq!(seen.iter().map(|one| one.process.id.as_str()).collect::<Vec<_>>(), ["other"]);
}

/// Texts have bounds, and what is out of bounds is not written.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_is_out_of_bounds_of_a_process_is_rejected(subject: &mut dyn Subject) {
    let of = |id: &str, host: &str, pipeline: &str| Process {
        host: host.to_owned(),
        ..process(id, &[(pipeline, "ready", 1)])
    };
    let (long, longer) = ("x".repeat(TEXT_BYTES_MAX), "x".repeat(TEXT_BYTES_MAX + 1));
    let many = "x".repeat(PIPELINES_BYTES_MAX);
    let bad = [
        of("", "h", "p"),
        of(&longer, "h", "p"),
        of("a", &longer, "p"),
        of("a", "h\0", "p"),
        of("a", "h", "p\tq"),
        of("a", "h", "p\nq"),
        of("a", "h", &many),
    ];
    for process in bad {
        let refused = subject.beside().processes().heartbeat(&process).await;
        assert_eq!(refused.expect_err("it is out of bounds").class(), Class::Rejected);
    }
    assert_eq!(subject.beside().processes().heartbeat(&of(&long, &long, "p")).await, Ok(()));
    assert_eq!(heard(subject).await.len(), 1);
}
