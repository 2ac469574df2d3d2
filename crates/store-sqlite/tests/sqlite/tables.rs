//! Tables of others, in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::Manual;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use store::conformance::tables::Subject;
use store::tables::{Column, Mode, Name, Type};
use store::{Table, Tables, Target};
use store_sqlite::{Options, ReadOnly, Store};
use tempfile::TempDir;

pub(crate) struct Sqlite {
    directory: TempDir,
    store: Store,
}

impl Sqlite {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let options = Options::at(directory.path().join("forebay.db"));
        let store = Store::open(options, Arc::new(Manual::at(1_700_000_000_000))).unwrap();
        Self { directory, store }
    }

    fn db(&self) -> Connection {
        Connection::open(self.directory.path().join("forebay.db")).unwrap()
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn table(&self, target: &Target) -> Result<Arc<dyn Table>, store::Error> {
        self.store.table(target)
    }

    async fn execute(&self, sql: &str) {
        self.db().execute_batch(sql).unwrap();
    }

    async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let db = self.db();
        let mut query = db.prepare(sql).unwrap();
        let columns = query.column_count();
        let value = |value: ValueRef<'_>| match value {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) | ValueRef::Blob(text) => {
                Some(String::from_utf8(text.to_vec()).unwrap())
            }
        };
        let rows = query.query_map([], |row| {
            Ok((0..columns).map(|at| value(row.get_ref_unwrap(at))).collect())
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

store::tables_suite!(Sqlite::new());

fn target(table: &str) -> Target {
    let column =
        |name: &str| Column { name: Name::new(name).unwrap(), kind: Type::Bigint, nullable: false };
    Target {
        schema: None,
        table: Name::new(table).unwrap(),
        columns: vec![column("id"), column("n")],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

#[tokio::test]
async fn no_table_of_the_stores_own_is_anybodys_target() {
    let sqlite = Sqlite::new().await;
    for name in ["transactions", "Transactions", "pipeline_completion_log", "sqlite_schema"] {
        let refused = sqlite.store.table(&target(name)).err().unwrap().to_string();
        assert!(refused.contains("name another"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_only_takes_events_reads_beside_the_one_that_settles() {
    use store::tables::Value::Bigint;
    let sqlite = Sqlite::new().await;
    let table = sqlite.store.table(&target("counts")).unwrap();
    table.create().await.unwrap();
    let reader = ReadOnly::open(&sqlite.directory.path().join("forebay.db")).unwrap();
    let read = reader.table(&target("counts")).unwrap();
    assert_eq!(read.read(vec![Bigint(1)]).await, Ok(None));
    table.write(vec![vec![Bigint(1), Bigint(2)]]).await.unwrap();
    assert_eq!(read.read(vec![Bigint(1)]).await, Ok(Some(vec![Bigint(1), Bigint(2)])));
    let refused = read.write(vec![vec![Bigint(1), Bigint(2)]]).await.unwrap_err();
    assert!(refused.to_string().contains("only reads"), "{refused}");
}
