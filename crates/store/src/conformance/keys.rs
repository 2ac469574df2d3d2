//! A store knows the key that its card fingerprints are made with.

use super::{Subject, row};
use crate::Settlement;
use crate::card::Guard;

/// The first key stays, also over a reopening and whatever was settled; every other one is refused.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn the_first_key_stays_and_another_is_refused(subject: &mut dyn Subject) {
    let [first, other] = [[7; 32], [8; 32]].map(|key| Guard::new(&key, false).key_check());
    let same = |subject: &dyn Subject, check| {
        let store = subject.store();
        async move { store.keys().same_key(check).await }
    };
    assert_eq!(same(subject, first).await, Ok(true));
    assert_eq!(same(subject, other).await, Ok(false));
    let settled = subject.store().payments().settle(vec![row("a", "4000", 1, 1_000)]).await;
    assert_eq!(settled, Ok(Settlement::Settled));
    subject.reopen().await;
    assert_eq!(same(subject, other).await, Ok(false));
    assert_eq!(same(subject, first).await, Ok(true));
}

/// A store that was begun before it kept a key takes the first one that it is opened with.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_store_with_payments_and_without_a_key_keeps_the_first(subject: &mut dyn Subject) {
    let settled = subject.store().payments().settle(vec![row("a", "4000", 1, 1_000)]).await;
    assert_eq!(settled, Ok(Settlement::Settled));
    subject.reopen().await;
    let [first, other] = [[7; 32], [8; 32]].map(|key| Guard::new(&key, false).key_check());
    assert_eq!(subject.store().keys().same_key(first).await, Ok(true));
    assert_eq!(subject.store().keys().same_key(other).await, Ok(false));
}
