//! A batch that holds a duplicate writes nothing and names the duplicates.

use super::{Subject, ids, row};
use crate::Settlement;

const CARD: &str = "4000123412341234";

/// Rows settled before are named by index, first and last ones too, and the new ones between them
/// are not written; whatever else differs in the row, the id alone makes it a duplicate.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_payment_settled_before_is_named_and_nothing_is_written(subject: &mut dyn Subject) {
    let before = vec![row("a", CARD, 1, 1_000), row("b", CARD, 2, 2_000)];
    assert_eq!(subject.store().settle(before).await, Ok(Settlement::Settled));
    let again = vec![
        row("b", "5000123412341234", 9, 9_000),
        row("new-1", CARD, 3, 3_000),
        row("new-2", CARD, 4, 4_000),
        row("a", CARD, 1, 1_000),
    ];
    assert_eq!(subject.store().settle(again).await, Ok(Settlement::Duplicates(vec![0, 3])));
    assert_eq!(ids(subject).await, ["a", "b"]);
    assert_eq!(subject.stored().await[1].row, row("b", CARD, 2, 2_000), "the first one stands");
    let rest = vec![row("new-1", CARD, 3, 3_000), row("new-2", CARD, 4, 4_000)];
    assert_eq!(subject.store().settle(rest).await, Ok(Settlement::Settled));
    assert_eq!(ids(subject).await, ["a", "b", "new-1", "new-2"]);
}

/// Within a batch the first one is the payment, and each later one a duplicate. Ids are compared
/// byte for byte: case, blanks and look-alikes make another payment.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_repeat_within_the_batch_is_named(subject: &mut dyn Subject) {
    let rows = ["a", "b", "a", "c", "a", "b"].map(|id| row(id, CARD, 1, 1_000));
    let named = subject.store().settle(rows.to_vec()).await;
    assert_eq!(named, Ok(Settlement::Duplicates(vec![2, 4, 5])));
    assert!(ids(subject).await.is_empty());
    let alike = ["a", "A", "a ", " a", "á", "a\u{301}"].map(|id| row(id, CARD, 1, 1_000));
    assert_eq!(subject.store().settle(alike.to_vec()).await, Ok(Settlement::Settled));
}
