//! A store opened again has all that was settled, and knows it.

use crate::Settlement;
use crate::card::Guard;
use crate::conformance::{Subject, duplicates, row};

const CARD: &str = "4000123412341234";

/// Rows, dedupe marks, histories and the order of settling outlive the process.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn everything_is_there_after_a_reopen(subject: &mut dyn Subject) {
    let cards = [Guard::new(&[7; 32], false).fingerprint(CARD)];
    let rows = |ids: std::ops::Range<i64>| -> Vec<_> {
        ids.map(|n| row(&format!("tx-{n}"), CARD, n, 1_000)).collect()
    };
    assert_eq!(subject.store().payments().settle(rows(0..300)).await, Ok(Settlement::Settled));
    let stored = subject.stored().await;
    let histories = subject.store().payments().histories(&cards, 10).await;
    subject.reopen().await;
    assert_eq!(subject.stored().await, stored);
    assert_eq!(subject.store().payments().histories(&cards, 10).await, histories);
    let named = subject.store().payments().settle(rows(299..301)).await;
    assert_eq!(named, Ok(duplicates([0])));
    assert_eq!(subject.store().payments().settle(rows(300..301)).await, Ok(Settlement::Settled));
    let history =
        subject.store().payments().histories(&cards, 1).await.expect("the store can be read");
    assert_eq!(history[0].recent[0].tx_id, "tx-300", "settled last, so it is the latest");
}
