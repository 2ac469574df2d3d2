//! The store's guarantees, on SQLite.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use model::clock::Manual;
use model::payment::Tier;
use rusqlite::Connection;
use store::card::Fingerprint;
use store::conformance::{Stored, Subject, leak};
use store::rulesets::Ruleset;
use store::{Claimed, Completion, Load, Row};
use store_sqlite::Options;
use tempfile::TempDir;

struct Sqlite {
    directory: TempDir,
    store: Claimed,
}

impl Sqlite {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path());
        Self { directory, store }
    }

    fn db(&self) -> Connection {
        Connection::open(self.directory.path().join("data/forebay.db")).unwrap()
    }
}

fn open(directory: &Path) -> Claimed {
    let options = Options::at(directory.join("data/forebay.db"));
    store_sqlite::open(options, Arc::new(Manual::at(1_700_000_000_000))).unwrap()
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Claimed {
        self.store.clone()
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = open(self.directory.path());
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
