//! Loads are kept as they were written, for as long as they are to be kept.

use super::Subject;
use crate::Load;
use crate::loads::TEXT_BYTES_MAX;
use crate::pipelines::NAME_BYTES_MAX;

const MINUTE_MS: i64 = 60_000;
const FIRST_MS: i64 = 1_699_999_980_000;

/// The load of `process` in the minute `minutes` after 2023-11-14T22:13:00Z; every figure is another.
#[must_use]
pub fn load(process: &str, minutes: i64) -> Load {
    Load {
        started_at_ms: FIRST_MS + minutes * MINUTE_MS,
        span_ms: 60_001,
        process: process.to_owned(),
        roles: "api,worker".to_owned(),
        pipeline: "consumer_batch".to_owned(),
        buffer: "journal".to_owned(),
        lanes: 2,
        batch_max: 1_000,
        settled: u64::from(u32::MAX) + 1,
        finished: u64::from(u32::MAX) + 9,
        batches: 321,
        failed: 4,
        peak_per_s: 987,
        worked_ms: 70_002,
        worked_ms_max: 40_003,
        backlog_first: 5,
        backlog_last: 6,
        backlog_max: u64::from(u32::MAX) + 7,
        oldest_age_ms_max: 8,
    }
}

/// A load that no store keeps deletes none of those that are there.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_load_that_is_rejected_deletes_nothing(subject: &mut dyn Subject) {
    let first = load("a:1", 0);
    assert_eq!(subject.store().loads().record(first.clone(), 0).await, Ok(()));
    let of = |pipeline: &str| Load { pipeline: pipeline.to_owned(), ..load("a:1", 9) };
    for bad in [
        Load { finished: u64::MAX, ..load("a:1", 9) },
        load(&"p".repeat(TEXT_BYTES_MAX + 1), 9),
        of(""),
        of("a\0b"),
        of(&"n".repeat(NAME_BYTES_MAX + 1)),
    ] {
        let recorded = subject.store().loads().record(bad, i64::MAX >> 20).await;
        assert!(recorded.is_err(), "{recorded:?}");
    }
    assert_eq!(subject.loaded().await, [first]);
}

/// Every record comes back, equal to what was handed in, those of several processes and pipelines
/// in the same minute too; and they are there after a reopen.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn loads_come_back_as_written(subject: &mut dyn Subject) {
    let table = Load { pipeline: "table:prices \"x\"".to_owned(), ..load("a:1", 0) };
    let all = [load("a:1", 0), load("b'c:2", 0), table, load("a:1", 1)];
    for load in &all {
        assert_eq!(subject.store().loads().record(load.clone(), FIRST_MS).await, Ok(()));
    }
    assert_eq!(subject.loaded().await, all);
    subject.reopen().await;
    assert_eq!(subject.loaded().await, all);
}

/// What began before the bound is deleted, whoever wrote it; what began at it stays.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_began_before_the_bound_is_forgotten(subject: &mut dyn Subject) {
    for (process, minutes) in [("a:1", 0), ("b:2", 0), ("a:1", 1), ("a:1", 2)] {
        assert_eq!(subject.store().loads().record(load(process, minutes), FIRST_MS).await, Ok(()));
    }
    let bound = FIRST_MS + MINUTE_MS;
    assert_eq!(subject.store().loads().record(load("a:1", 3), bound).await, Ok(()));
    assert_eq!(subject.loaded().await, [1, 2, 3].map(|minutes| load("a:1", minutes)));
    assert_eq!(subject.store().loads().record(load("a:1", 4), bound + 1).await, Ok(()));
    assert_eq!(subject.loaded().await, [2, 3, 4].map(|minutes| load("a:1", minutes)));
}
