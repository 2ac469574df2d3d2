//! Emptiness is told apart from everything else.

use crate::conformance::{Subject, duplicates, row};
use crate::{Completion, Settlement};

/// Neither a batch that was refused nor a completion makes a store other than empty; a payment
/// does, for good.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_store_is_empty_until_something_is_settled(subject: &mut dyn Subject) {
    assert_eq!(subject.store().payments().is_empty().await, Ok(true));
    let repeat = vec![row("a", "4000", 1, 1_000), row("a", "4000", 1, 1_000)];
    let named = subject.store().payments().settle(repeat).await;
    assert_eq!(named, Ok(duplicates([1])));
    let completion = Completion {
        pipeline: "consumer_batch".into(),
        started_at_ms: 1,
        completed_at_ms: 2,
        settled: 0,
        duplicates: 1,
        dead: 0,
    };
    assert_eq!(subject.store().completions().complete(completion).await, Ok(()));
    assert_eq!(subject.store().payments().is_empty().await, Ok(true));
    let settled = subject.store().payments().settle(vec![row("a", "4000", 1, 1_000)]).await;
    assert_eq!(settled, Ok(Settlement::Settled));
    assert_eq!(subject.store().payments().is_empty().await, Ok(false));
    subject.reopen().await;
    assert_eq!(subject.store().payments().is_empty().await, Ok(false));
}
