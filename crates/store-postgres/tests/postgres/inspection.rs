//! Reading a store from outside.

use crate::fixture::{open, options, rows, shared};
use store::conformance::loads::load;
use store::{Load, Settlement};
use store_postgres::inspect;
use testbed::Postgres;

#[tokio::test]
async fn a_view_reads_what_a_running_store_has_settled() {
    let options = options(shared());
    let store = open(&options).await;
    let mut settled = rows(0..12_345);
    settled[3].fraud_rules = vec!["velocity", "amount_spike"];
    settled[9_999].fraud_rules = vec!["velocity"];
    assert_eq!(store.payments().settle(settled.clone()).await, Ok(Settlement::Settled));
    let view = inspect::open(&options).await.unwrap();
    let mut seen = Vec::new();
    view.payments(|payment| {
        assert_eq!(payment.processed_at_ms, Some(1_700_000_000_000));
        assert_eq!(payment.accepted_at_ms, payment.created_at_ms + 1);
        assert_eq!(payment.is_fraud, payment.fraud_rules != "[]");
        let rules = payment.fraud_rules.to_owned();
        seen.push((payment.tx_id.to_owned(), payment.amount, payment.card_fingerprint, rules));
    })
    .await
    .unwrap();
    let expect: Vec<_> = settled
        .into_iter()
        .map(|row| {
            let rules = serde_json::to_string(&row.fraud_rules).unwrap();
            (row.tx_id, row.amount, row.card_fingerprint, rules)
        })
        .collect();
    assert_eq!(seen, expect);
    let counts = view.counts().await.unwrap();
    assert_eq!((counts.total, counts.distinct, counts.flagged), (12_345, 12_345, 2));
    let by_rule: Vec<_> = counts.flagged_by_rule.into_iter().collect();
    assert_eq!(by_rule, [("amount_spike".to_owned(), 1), ("velocity".to_owned(), 2)]);
}

#[tokio::test]
async fn loads_are_read_by_pipeline_and_from_a_moment_on() {
    let options = options(shared());
    let store = open(&options).await;
    let view = inspect::open(&options).await.unwrap();
    let all = [load("b:2", 1), load("a:1", 0), load("a:1", 1)];
    for load in &all {
        store.loads().record(load.clone(), 0).await.unwrap();
    }
    let table = Load { pipeline: "table:x".into(), ..load("a:1", 1) };
    store.loads().record(table.clone(), 0).await.unwrap();
    let [late, first, second] = all;
    let (from, pipeline) = (first.started_at_ms, first.pipeline.clone());
    let read = view.loads(&pipeline, from).await.unwrap();
    assert_eq!(read, [first, late.clone(), second.clone()]);
    assert_eq!(view.loads(&pipeline, from + 1).await.unwrap(), [late, second]);
    assert_eq!(view.loads("table:x", from).await.unwrap(), [table]);
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_said() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let store = open(&options).await;
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    let view = inspect::open(&options).await.unwrap();
    assert_eq!(view.check().await, Ok(Vec::new()));
    server
        .execute(&format!(
            "SET search_path = {}; DROP INDEX idx_fds_transactions_created_at;
             ALTER SEQUENCE transactions_id_seq RESTART WITH 5;
             UPDATE transactions SET is_fraud = true WHERE tx_id = 'tx-1';
             UPDATE transactions SET processed_at = NULL WHERE tx_id = 'tx-2';
             ALTER TABLE transactions DROP CONSTRAINT transactions_tx_id_key;
             UPDATE transactions SET tx_id = 'tx-4' WHERE tx_id = 'tx-5';
             ALTER TABLE transactions SET UNLOGGED",
            options.schema
        ))
        .unwrap();
    let found = view.check().await.unwrap().join("\n");
    for problem in [
        "index idx_fds_transactions_created_at is not there",
        "index transactions_tx_id_key is not there",
        "table transactions is unlogged",
        "the sequence behind transactions.id is behind",
        "1 payments are there more than once",
        "1 payments have is_fraud set otherwise",
        "1 payments were not settled by this program",
    ] {
        assert!(found.contains(problem), "{problem}: {found}");
    }
    let counts = view.counts().await.unwrap();
    assert_eq!((counts.total, counts.distinct), (10, 9));
}

#[tokio::test]
async fn settings_that_lose_what_was_settled_are_said() {
    let server = Postgres::start_with(&[("fsync", "off"), ("full_page_writes", "off")]).unwrap();
    let options = options(&server);
    let _store = open(&options).await;
    let view = inspect::open(&options).await.unwrap();
    let found = view.check().await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("fsync is off") && found[1].starts_with("full_page_writes is off")
    );
}
