//! A batch is settled whole, or nothing of it is.

use crate::conformance::{Subject, ids, row};
use crate::{Error, Settlement};

/// All rows of a batch are there, in its order; an empty batch is settled too.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_batch_is_settled_whole(subject: &mut dyn Subject) {
    let rows = (0..100).map(|n| row(&format!("tx-{n}"), "4000123412341234", n, 1_000)).collect();
    assert_eq!(subject.store().payments().settle(rows).await, Ok(Settlement::Settled));
    assert_eq!(subject.store().payments().settle(Vec::new()).await, Ok(Settlement::Settled));
    let expect: Vec<_> = (0..100).map(|n| format!("tx-{n}")).collect();
    assert_eq!(ids(subject).await, expect);
}

/// A row that can't be stored (a negative amount) is the caller's to find: the batch is rejected,
/// its good rows are not there, and the same rows without the bad one go in afterwards.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_batch_with_a_bad_row_writes_nothing(subject: &mut dyn Subject) {
    let good = || row("good", "4000123412341234", 1, 1_000);
    let bad = row("bad", "4000123412341234", -1, 1_000);
    let refused = subject.store().payments().settle(vec![good(), bad]).await;
    assert!(matches!(refused, Err(Error::Refused(_) | Error::Rejected(_))), "{refused:?}");
    assert!(ids(subject).await.is_empty());
    assert_eq!(subject.store().payments().settle(vec![good()]).await, Ok(Settlement::Settled));
    assert_eq!(ids(subject).await, ["good"]);
}
