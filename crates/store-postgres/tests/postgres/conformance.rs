//! The store's guarantees, on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use crate::fixture::{self, Database};
use async_trait::async_trait;
use model::payment::Tier;
use store::card::Fingerprint;
use store::conformance::{Stored, Subject, leak};
use store::rulesets::Ruleset;
use store::{Claimed, Completion, Load, Row, Store};

pub(crate) struct Postgres {
    pub(crate) database: Database,
    store: Claimed,
}

impl Postgres {
    pub(crate) async fn new() -> Self {
        let database = Database::new().await;
        let store = fixture::open(&database.options).await;
        Self { database, store }
    }

    async fn ordered(&self, columns: &str, table: &str) -> Vec<Vec<Option<String>>> {
        let schema = &self.database.options.schema;
        let sql = format!("SELECT {columns} FROM {schema}.{table} ORDER BY id");
        self.database.query(&sql).await
    }
}

fn ms(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000)::bigint")
}

fn bytes(hex: &str) -> [u8; 16] {
    u128::from_str_radix(hex, 16).unwrap().to_be_bytes()
}

/// JSON as it was before PostgreSQL set blanks of its own. Its null stands for no text at all.
fn detail(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    if value.is_null() { String::new() } else { value.to_string() }
}

#[async_trait]
impl Subject for Postgres {
    fn store(&self) -> Claimed {
        self.store.clone()
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = fixture::open(&self.database.options).await;
    }

    fn beside(&self) -> Arc<dyn Store> {
        fixture::beside(&self.database.options)
    }

    async fn later(&self, by: Duration) {
        let (schema, s) = (&self.database.options.schema, by.as_secs());
        let older = format!(
            "UPDATE {schema}.processes SET heard_at = heard_at - interval '{s} s',
                 joined_at = joined_at - interval '{s} s'"
        );
        self.database.execute(&older).await;
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql).await;
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.query(sql).await
    }

    async fn stored(&self) -> Vec<Stored> {
        let columns = format!(
            "tx_id, card_number, encode(card_fingerprint, 'hex'), user_id, tier, amount, merchant, \
             category, is_fraud, array_to_json(fraud_rules), fraud_detail, ruleset_version, \
             {}, {}, {}",
            ms("created_at"),
            ms("accepted_at"),
            ms("processed_at")
        );
        let stored = |row: Vec<Option<String>>| {
            let text = |n: usize| row[n].clone().unwrap();
            let number = |n: usize| text(n).parse::<i64>().unwrap();
            Stored {
                row: Row {
                    tx_id: text(0),
                    card_number: text(1),
                    card_fingerprint: Fingerprint(bytes(&text(2))),
                    user_id: text(3),
                    tier: Tier::named(&text(4)).unwrap(),
                    amount: number(5),
                    merchant: text(6),
                    category: text(7),
                    fraud_rules: leak(serde_json::from_str(&text(9)).unwrap()),
                    fraud_detail: row[10].as_deref().map(detail),
                    ruleset_version: number(11),
                    created_at_ms: number(12),
                    accepted_at_ms: number(13),
                },
                is_fraud: text(8) == "t",
                processed_at_ms: row[14].as_deref().map(|ms| ms.parse().unwrap()),
            }
        };
        self.ordered(&columns, "transactions").await.into_iter().map(stored).collect()
    }

    async fn completed(&self) -> Vec<Completion> {
        let columns = format!(
            "pipeline_name, {}, {}, settled, duplicates, dead",
            ms("started_at"),
            ms("completed_at")
        );
        let completed = |row: Vec<Option<String>>| {
            let number = |n: usize| row[n].as_ref().unwrap().parse::<i64>().unwrap();
            let count = |n: usize| u64::try_from(number(n)).unwrap();
            Completion {
                pipeline: row[0].clone().unwrap().into(),
                started_at_ms: number(1),
                completed_at_ms: number(2),
                settled: count(3),
                duplicates: count(4),
                dead: count(5),
            }
        };
        self.ordered(&columns, "pipeline_completion_log").await.into_iter().map(completed).collect()
    }

    async fn loaded(&self) -> Vec<Load> {
        let columns = format!(
            "process, roles, pipeline, buffer, {}, span_ms, lanes, batch_max, settled, finished, \
             batches, failed, peak_per_s, worked_ms, worked_ms_max, backlog_first, backlog_last, \
             backlog_max, oldest_age_ms_max",
            ms("started_at")
        );
        let loaded = |row: Vec<Option<String>>| {
            let text = |n: usize| row[n].clone().unwrap();
            let count = |n: usize| text(n).parse().unwrap();
            Load {
                process: text(0),
                roles: text(1),
                pipeline: text(2),
                buffer: text(3),
                started_at_ms: text(4).parse().unwrap(),
                span_ms: count(5),
                lanes: text(6).parse().unwrap(),
                batch_max: text(7).parse().unwrap(),
                settled: count(8),
                finished: count(9),
                batches: count(10),
                failed: count(11),
                peak_per_s: count(12),
                worked_ms: count(13),
                worked_ms_max: count(14),
                backlog_first: count(15),
                backlog_last: count(16),
                backlog_max: count(17),
                oldest_age_ms_max: count(18),
            }
        };
        self.ordered(&columns, "load_history").await.into_iter().map(loaded).collect()
    }

    async fn rulesets(&self) -> Vec<Ruleset> {
        let schema = &self.database.options.schema;
        let sql = format!(
            "SELECT version, rules, {} FROM {schema}.rulesets ORDER BY version",
            ms("first_used_at")
        );
        let ruleset = |row: Vec<Option<String>>| Ruleset {
            version: row[0].as_ref().unwrap().parse().unwrap(),
            rules: row[1].clone(),
            first_used_at_ms: row[2].as_ref().unwrap().parse().unwrap(),
        };
        self.database.query(&sql).await.into_iter().map(ruleset).collect()
    }
}

store::conformance_suite!(Postgres::new());
