//! The store's guarantees, on SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::Manual;
use model::payment::Tier;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use store::card::Fingerprint;
use store::conformance::{Stored, Subject, leak};
use store::rulesets::Ruleset;
use store::{Claimed, Completion, Load, Row, Store};
use store_sqlite::Options;
use tempfile::TempDir;

pub(crate) struct Sqlite {
    directory: TempDir,
    clock: Arc<Manual>,
    store: Claimed,
}

impl Sqlite {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Arc::new(Manual::at(1_700_000_000_000));
        let store = open(directory.path(), &clock);
        Self { directory, clock, store }
    }

    pub(crate) fn db(&self) -> Connection {
        Connection::open(self.directory.path().join("data/forebay.db")).unwrap()
    }
}

fn options(directory: &Path) -> Options {
    Options::at(directory.join("data/forebay.db"))
}

fn open(directory: &Path, clock: &Arc<Manual>) -> Claimed {
    store_sqlite::open(options(directory), clock.clone()).unwrap()
}

fn shown(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8(text.to_vec()).unwrap())
        }
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Claimed {
        self.store.clone()
    }

    fn beside(&self) -> Arc<dyn Store> {
        store_sqlite::beside(options(self.directory.path()), self.clock.clone())
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = open(self.directory.path(), &self.clock);
    }

    async fn later(&self, by: Duration) {
        self.clock.advance(i64::try_from(by.as_millis()).unwrap());
    }

    async fn execute(&self, sql: &str) {
        self.db().execute_batch(sql).unwrap();
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let db = self.db();
        let mut query = db.prepare(sql).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            Ok((0..columns).map(|at| shown(row.get_ref_unwrap(at))).collect())
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    async fn stored(&self) -> Vec<Stored> {
        let db = self.db();
        let mut rows = db.prepare("SELECT * FROM transactions ORDER BY id").unwrap();
        let rows = rows.query_map([], |row| {
            Ok(Stored {
                row: Row {
                    tx_id: row.get("tx_id")?,
                    card_number: row.get("card_number")?,
                    card_fingerprint: Fingerprint(row.get("card_fingerprint")?),
                    user_id: row.get("user_id")?,
                    tier: match row.get_ref("tier")?.as_str()? {
                        "vip" => Tier::Vip,
                        "premium" => Tier::Premium,
                        "normal" => Tier::Normal,
                        other => panic!("no such tier: {other}"),
                    },
                    amount: row.get("amount")?,
                    merchant: row.get("merchant")?,
                    category: row.get("category")?,
                    fraud_rules: leak(
                        serde_json::from_str(row.get_ref("fraud_rules")?.as_str()?).unwrap(),
                    ),
                    fraud_detail: row.get("fraud_detail")?,
                    ruleset_version: row.get("ruleset_version")?,
                    created_at_ms: row.get("created_at")?,
                    accepted_at_ms: row.get("accepted_at")?,
                },
                is_fraud: row.get("is_fraud")?,
                processed_at_ms: row.get("processed_at")?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    async fn completed(&self) -> Vec<Completion> {
        let db = self.db();
        let mut rows = db.prepare("SELECT * FROM pipeline_completion_log ORDER BY id").unwrap();
        let count = |row: &rusqlite::Row<'_>, column: &str| {
            u64::try_from(row.get_unwrap::<_, i64>(column)).unwrap()
        };
        let rows = rows.query_map([], |row| {
            Ok(Completion {
                pipeline: row.get::<_, String>("pipeline_name")?.into(),
                started_at_ms: row.get("started_at")?,
                completed_at_ms: row.get("completed_at")?,
                settled: count(row, "settled"),
                duplicates: count(row, "duplicates"),
                dead: count(row, "dead"),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    async fn loaded(&self) -> Vec<Load> {
        let db = self.db();
        let mut rows = db.prepare("SELECT * FROM load_history ORDER BY id").unwrap();
        let rows = rows.query_map([], |row| {
            let count = |column| u64::try_from(row.get_unwrap::<&str, i64>(column)).unwrap();
            Ok(Load {
                started_at_ms: row.get("started_at")?,
                span_ms: count("span_ms"),
                process: row.get("process")?,
                roles: row.get("roles")?,
                pipeline: row.get("pipeline")?,
                buffer: row.get("buffer")?,
                lanes: row.get("lanes")?,
                batch_max: row.get("batch_max")?,
                settled: count("settled"),
                finished: count("finished"),
                batches: count("batches"),
                failed: count("failed"),
                peak_per_s: count("peak_per_s"),
                worked_ms: count("worked_ms"),
                worked_ms_max: count("worked_ms_max"),
                backlog_first: count("backlog_first"),
                backlog_last: count("backlog_last"),
                backlog_max: count("backlog_max"),
                oldest_age_ms_max: count("oldest_age_ms_max"),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    async fn rulesets(&self) -> Vec<Ruleset> {
        let db = self.db();
        let mut rows = db.prepare("SELECT * FROM rulesets ORDER BY version").unwrap();
        let rows = rows.query_map([], |row| {
            Ok(Ruleset {
                version: row.get("version")?,
                rules: row.get("rules")?,
                first_used_at_ms: row.get("first_used_at")?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

store::conformance_suite!(Sqlite::new());
