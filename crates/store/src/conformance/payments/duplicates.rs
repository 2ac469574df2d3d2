//! A batch that holds a duplicate writes nothing and names the duplicates.

use model::payment::Tier;

use crate::conformance::{Subject, duplicates, ids, row};
use crate::payments::COMPARED;
use crate::{Duplicate, Row, Settlement};

const CARD: &str = "4000123412341234";
const OTHER_CARD: &str = "5000123412341234";

/// Rows settled before are named by index, first and last ones too, and the new ones between them
/// are not written.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_payment_settled_before_is_named_and_nothing_is_written(subject: &mut dyn Subject) {
    let before = vec![row("a", CARD, 1, 1_000), row("b", CARD, 2, 2_000)];
    assert_eq!(subject.store().payments().settle(before).await, Ok(Settlement::Settled));
    let again = vec![
        row("b", CARD, 2, 2_000),
        row("new-1", CARD, 3, 3_000),
        row("new-2", CARD, 4, 4_000),
        row("a", CARD, 1, 1_000),
    ];
    assert_eq!(subject.store().payments().settle(again).await, Ok(duplicates([0, 3])));
    assert_eq!(ids(subject).await, ["a", "b"]);
    let rest = vec![row("new-1", CARD, 3, 3_000), row("new-2", CARD, 4, 4_000)];
    assert_eq!(subject.store().payments().settle(rest).await, Ok(Settlement::Settled));
    assert_eq!(ids(subject).await, ["a", "b", "new-1", "new-2"]);
}

/// Within a batch the first one is the payment, and each later one a duplicate. Ids are compared
/// byte for byte: case, blanks and look-alikes make another payment.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_repeat_within_the_batch_is_named(subject: &mut dyn Subject) {
    let rows = ["a", "b", "a", "c", "a", "b"].map(|id| row(id, CARD, 1, 1_000));
    let named = subject.store().payments().settle(rows.to_vec()).await;
    assert_eq!(named, Ok(duplicates([2, 4, 5])));
    assert!(ids(subject).await.is_empty());
    let alike = ["a", "A", "a ", " a", "á", "a\u{301}"].map(|id| row(id, CARD, 1, 1_000));
    assert_eq!(subject.store().payments().settle(alike.to_vec()).await, Ok(Settlement::Settled));
}

/// A row whose id is taken is compared field by field, byte for byte and to the millisecond, with
/// the stored row, or else with the first row of the batch. When it was accepted, how its card
/// number is masked, and what screening said of it make no difference.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn another_payment_of_a_taken_id_is_named_with_the_fields_that_differ(
    subject: &mut dyn Subject,
) {
    let first = row("a", CARD, 12_300, 1_700_000_000_123);
    let same = Row {
        card_number: CARD.into(),
        fraud_rules: vec!["velocity"],
        fraud_detail: Some("[]".into()),
        ruleset_version: 7,
        accepted_at_ms: 9_000,
        ..first.clone()
    };
    // Each of them differs in the field of `COMPARED` that has its place.
    let others = [
        Row { card_fingerprint: row("a", OTHER_CARD, 1, 1).card_fingerprint, ..first.clone() },
        Row { user_id: "User-1".into(), ..first.clone() },
        Row { tier: Tier::Vip, ..first.clone() },
        Row { amount: 99_999, ..first.clone() },
        Row { merchant: "Cafe ".into(), ..first.clone() },
        Row { category: "cof\u{301}fee".into(), ..first.clone() },
        Row { created_at_ms: first.created_at_ms + 1, ..first.clone() },
    ];
    let all = Row { accepted_at_ms: 1, ..others[3].clone() };
    let all = Row { merchant: "\"'\\ 좋아요 😀".into(), created_at_ms: 1, ..all };
    let mut again = vec![first.clone(), same];
    again.extend(others);
    again.push(all);
    again.push(row("b", CARD, 1, 1));
    let differs = COMPARED.map(|field| vec![field]);
    let differs = std::iter::once(Vec::new()).chain(differs);
    let differs = differs.chain([vec!["amount", "merchant", "created_at"]]);
    let named = |from: usize| {
        let all = differs.clone().enumerate();
        let all = all.map(|(nth, differs)| Duplicate { index: from + nth, differs });
        Ok(Settlement::Duplicates(all.collect()))
    };
    assert_eq!(subject.store().payments().settle(again.clone()).await, named(1), "within a batch");
    assert!(ids(subject).await.is_empty());
    assert_eq!(
        subject.store().payments().settle(vec![first.clone()]).await,
        Ok(Settlement::Settled)
    );
    assert_eq!(
        subject.store().payments().settle(again.split_off(1)).await,
        named(0),
        "after it was settled"
    );
    assert_eq!(subject.stored().await[0].row, first, "the first one stands");
    assert_eq!(ids(subject).await, ["a"]);
}
