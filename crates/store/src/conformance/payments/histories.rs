//! What a card did before can be read back exactly as it was settled.

use crate::card::{Fingerprint, Guard};
use crate::conformance::{Subject, row};
use crate::{History, Recent, Row, Settlement};

const CARD: &str = "4000123412341234";
const OTHER: &str = "5000123412341234";

fn fingerprint(card: &str) -> Fingerprint {
    Guard::new(&[7; 32], false).fingerprint(card)
}

async fn settled(subject: &dyn Subject, rows: Vec<Row>) {
    assert_eq!(subject.store().payments().settle(rows).await, Ok(Settlement::Settled));
}

async fn history(subject: &dyn Subject, card: &str, recent_max: usize) -> History {
    let cards = [fingerprint(card)];
    let histories = subject.store().payments().histories(&cards, recent_max).await;
    let [history] = <[_; 1]>::try_from(histories.expect("the store can be read"))
        .expect("one history for each card");
    history
}

fn recent(tx_id: &str, created_at_ms: i64) -> Recent {
    Recent { tx_id: tx_id.into(), created_at_ms }
}

/// Sums are exact where they no longer fit an amount's type, and down to the last KRW.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn amounts_past_64_bits_add_up(subject: &mut dyn Subject) {
    let amounts = [i64::MAX, i64::MAX, i64::MAX - 1, 0, 1, u32::MAX.into(), 1 << 32];
    let rows = amounts.iter().enumerate();
    settled(subject, rows.map(|(n, &amount)| row(&format!("tx-{n}"), CARD, amount, 1)).collect())
        .await;
    let history = history(subject, CARD, 0).await;
    assert_eq!(history.count, 7);
    assert_eq!(history.sum, amounts.iter().map(|&amount| i128::from(amount)).sum::<i128>());
    assert!(history.sum > i128::from(u64::MAX));
    assert_eq!(history.recent, []);
}

/// A card never seen has no payments, also beside one that has; no cards have no histories.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn an_unknown_card_has_an_empty_history(subject: &mut dyn Subject) {
    assert_eq!(history(subject, CARD, 10).await, History::default());
    settled(subject, vec![row("a", OTHER, 5, 1)]).await;
    assert_eq!(history(subject, CARD, 10).await, History::default());
    assert_eq!(subject.store().payments().histories(&[], 10).await, Ok(Vec::new()));
}

/// One answer for each card asked for, in that order, a card asked for twice included.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn answers_come_in_the_order_of_the_cards(subject: &mut dyn Subject) {
    let rows = vec![row("a", CARD, 5, 1), row("b", OTHER, 7, 2), row("c", CARD, 11, 3)];
    settled(subject, rows).await;
    let cards = [OTHER, "6000123412341234", CARD, OTHER].map(fingerprint);
    let histories =
        subject.store().payments().histories(&cards, 5).await.expect("the store can be read");
    let of_other = History { count: 1, sum: 7, recent: vec![recent("b", 2)] };
    let of_card = History { count: 2, sum: 16, recent: vec![recent("a", 1), recent("c", 3)] };
    assert_eq!(histories, [of_other.clone(), History::default(), of_card, of_other]);
}

/// The latest payments are the last by event time; where event times are equal, by order of
/// settling (not by amount, not by id). No more come than asked for, the oldest of them first.
/// Times before 1970 are times.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn the_latest_payments_are_by_event_time_then_settling(subject: &mut dyn Subject) {
    let rows = vec![
        row("late", CARD, 1, 9_000),
        row("z", CARD, 30, 5_000),
        row("m", CARD, 10, 5_000),
        row("first", CARD, 1, -5_000),
    ];
    settled(subject, rows).await;
    settled(subject, vec![row("a", CARD, 20, 5_000), row("b", OTHER, 1, 99_000)]).await;
    let ordered = [
        recent("first", -5_000),
        recent("z", 5_000),
        recent("m", 5_000),
        recent("a", 5_000),
        recent("late", 9_000),
    ];
    for recent_max in 0..8 {
        let history = history(subject, CARD, recent_max).await;
        let from = ordered.len().saturating_sub(recent_max);
        assert_eq!(history.recent, ordered[from..], "recent_max {recent_max}");
        assert_eq!((history.count, history.sum), (5, 62));
    }
    assert_eq!(history(subject, CARD, usize::MAX).await.recent, ordered);
}
