//! A process beside the one that settles uses every family but payments.

use super::loads::load;
use super::{Subject, row};
use crate::Settlement;
use crate::card::Guard;
use crate::moves::Report;

/// What it writes is read by the one that settles, and the other way round. The end of it ends nothing.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_either_process_writes_is_read_by_the_other(subject: &mut dyn Subject) {
    let (store, beside) = (subject.store(), subject.beside());
    let settled = store.payments().settle(vec![row("a", "4000", 1, 1_000)]).await;
    assert_eq!(settled, Ok(Settlement::Settled));
    assert_eq!(store.rulesets().ruleset_version("{\"a\":1}").await, Ok(1));
    assert_eq!(beside.rulesets().ruleset_version("{\"a\":1}").await, Ok(1));
    assert_eq!(beside.rulesets().ruleset_version("{\"a\":2}").await, Ok(2));
    assert_eq!(store.rulesets().ruleset_version("{\"a\":2}").await, Ok(2));
    let [first, other] = [[7; 32], [8; 32]].map(|key| Guard::new(&key, false).key_check());
    assert_eq!(store.keys().same_key(first).await, Ok(true));
    assert_eq!(beside.keys().same_key(other).await, Ok(false));
    assert_eq!(beside.loads().record(load("b:2", 0), 0).await, Ok(()));
    assert_eq!(store.loads().record(load("a:1", 1), 0).await, Ok(()));
    assert_eq!(subject.loaded().await, [load("b:2", 0), load("a:1", 1)]);
    let report = Report { process: "b:2".to_owned(), step: 3, ..Report::default() };
    assert_eq!(beside.moves().report("payments", &report).await, Ok(()));
    let heard = store.moves().reports("payments").await.expect("they can be read");
    assert_eq!(heard.into_iter().map(|heard| heard.report).collect::<Vec<_>>(), [report]);
    assert_eq!(beside.close().await, Ok(()));
    assert!(beside.moves().reports("payments").await.is_err(), "it is closed");
    let settled = store.payments().settle(vec![row("b", "4000", 1, 1_000)]).await;
    assert_eq!(settled, Ok(Settlement::Settled));
}
