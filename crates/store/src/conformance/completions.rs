//! Completions are kept as they were written.

use super::Subject;
use crate::Completion;
use crate::pipelines::NAME_BYTES_MAX;

/// Every record comes back, in order, equal to what was handed in; two equal ones are two.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn completions_come_back_as_written(subject: &mut dyn Subject) {
    let first = Completion {
        pipeline: "consumer_batch".into(),
        started_at_ms: 1_700_000_000_123,
        completed_at_ms: 1_700_000_000_456,
        settled: 500,
        duplicates: 3,
        dead: 1,
    };
    let second = Completion { settled: u64::from(u32::MAX) + 1, ..first.clone() };
    for completion in [&first, &second, &second] {
        assert_eq!(subject.store().completions().complete(completion.clone()).await, Ok(()));
    }
    for name in ["", "a\0b", &"n".repeat(NAME_BYTES_MAX + 1)] {
        let bad = Completion { pipeline: name.into(), ..first.clone() };
        assert!(subject.store().completions().complete(bad).await.is_err(), "{name}");
    }
    assert_eq!(subject.completed().await, [first, second.clone(), second]);
}
