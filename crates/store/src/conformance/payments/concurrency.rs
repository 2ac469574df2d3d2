//! Writers at the same moment do not undo one another.

use crate::conformance::{Subject, ids, row};
use crate::{Claimed, Row, Settlement};

/// Tasks that settle at once.
const WRITERS: usize = 8;
/// Payments in all.
const PAYMENTS: usize = 200;
/// Payments in a batch.
const BATCH: usize = 10;

/// Several tasks settle overlapping batches, each taking out what it is told are duplicates and
/// trying again: afterwards every payment is there exactly once, and exactly as many rows were
/// reported settled as are there.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn overlapping_batches_settle_each_payment_once(subject: &mut dyn Subject) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(settle_all(subject.store(), writer * PAYMENTS / WRITERS)))
        .collect();
    let mut settled = 0;
    for writer in writers {
        settled += writer.await.expect("a writer does not panic");
    }
    let mut stored = ids(subject).await;
    stored.sort();
    let mut expect: Vec<_> = (0..PAYMENTS).map(|n| format!("tx-{n}")).collect();
    expect.sort();
    assert_eq!(stored, expect);
    assert_eq!(settled, PAYMENTS);
}

/// Settles every payment, beginning at `start` and going round; returns how many rows it was told
/// are settled.
async fn settle_all(store: Claimed, start: usize) -> usize {
    let mut settled = 0;
    for begin in (0..PAYMENTS).step_by(BATCH) {
        let mut rows: Vec<Row> = (begin..begin + BATCH)
            .map(|n| (start + n) % PAYMENTS)
            .map(|n| row(&format!("tx-{n}"), &format!("40001234{n:08}"), 1, 1_000))
            .collect();
        while !rows.is_empty() {
            match store.payments().settle(rows.clone()).await.expect("the store takes good rows") {
                Settlement::Settled => {
                    settled += rows.len();
                    break;
                }
                Settlement::Duplicates(named) => {
                    assert!(!named.is_empty(), "duplicates are named");
                    for duplicate in named.into_iter().rev() {
                        assert!(duplicate.differs.is_empty(), "{duplicate:?}");
                        rows.remove(duplicate.index);
                    }
                }
                Settlement::Fenced(shards) => {
                    panic!("no fence was relied on, but {shards:?} are told")
                }
            }
        }
    }
    settled
}
