//! A batch that relies on a fence is settled while the fence is the latest.

use crate::conformance::{Subject, ids, row};
use crate::{Duplicate, Fence, Settlement};

/// A process keeps the fence that it has, and settles under it.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_process_keeps_its_fence_and_settles_under_it(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut taken = store.payments().fence(&[7, 2]).await.expect("fences are taken");
    taken.sort_by_key(|fence| fence.shard);
    assert_eq!(taken.iter().map(|fence| fence.shard).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(store.payments().fence(&[7]).await, Ok(vec![taken[1]]), "it is kept");
    let settled =
        store.payments().settle_fenced(vec![row("tx-1", "4000123400000001", 1, 1_000)], &taken);
    assert_eq!(settled.await, Ok(Settlement::Settled));
    let none: &[Fence] = &[];
    let settled =
        store.payments().settle_fenced(vec![row("tx-2", "4000123400000001", 1, 1_000)], none);
    assert_eq!(settled.await, Ok(Settlement::Settled));
    let again =
        store.payments().settle_fenced(vec![row("tx-1", "4000123400000001", 1, 1_000)], &taken);
    assert_eq!(
        again.await,
        Ok(Settlement::Duplicates(vec![Duplicate { index: 0, differs: Vec::new() }]))
    );
    assert_eq!(ids(subject).await, ["tx-1", "tx-2"]);
}
