//! A table that refuses a row: with the engine and the handler of tables, against a real server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use buffer::Buffer;
use buffer::memory::{self, Memory};
use engine::{Handle, Options, Service};
use model::Event;
use model::clock::System;
use store::Target;
use store::tables::{Column, Mode, Name, Type};
use testbed::Postgres;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// One server for all tests.
fn shared() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start_with(&[("fsync", "off")]).unwrap())
}

/// A table `t (id bigint, a text, ver bigint)` and the pipeline that writes into it.
struct Pipeline {
    schema: String,
    buffer: Arc<Memory>,
    engine: Handle,
    stop: CancellationToken,
}

impl Pipeline {
    /// `role` is whom the pipeline logs in as.
    fn start(role: &str, prepare: &str) -> Self {
        let server = shared();
        let url = server.url().replace("postgres@", &format!("{role}@"));
        let options = store_postgres::Options::from_url(&url).unwrap();
        let schema = format!("shop_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let sql = format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema};
             CREATE TABLE t (id bigint PRIMARY KEY, a text, ver bigint NOT NULL);
             GRANT USAGE ON SCHEMA {schema} TO public;
             GRANT ALL ON t TO public; {prepare}"
        );
        server.execute(&sql).unwrap();
        let column = |name: &str, kind, nullable| {
            let name = Name::new(name).unwrap();
            Column { name, kind, nullable }
        };
        let target = Target {
            schema: Some(Name::new(&schema).unwrap()),
            table: Name::new("t").unwrap(),
            columns: vec![
                column("id", Type::Bigint, false),
                column("a", Type::Text, true),
                column("ver", Type::Bigint, false),
            ],
            keys: vec![0],
            mode: Mode::Upsert { version: 2, stamped: false },
        };
        let table = store_postgres::beside(options, Arc::new(System))
            .unwrap()
            .tables()
            .table(&target)
            .unwrap();
        let definition = table::Definition { name: "t".into(), target };
        let clock = Arc::new(System);
        let buffer = Arc::new(Memory::new(memory::Options::default(), clock.clone()));
        let stop = CancellationToken::new();
        let service = Service {
            buffer: buffer.clone(),
            handler: Arc::new(table::Handler::new("t", definition, table, None)).into(),
            completions: None,
            clock,
            seed: 7,
            shutdown: stop.clone(),
        };
        let engine = service.start(Options { lanes: 1, ..Options::default() }).unwrap();
        Self { schema, buffer, engine, stop }
    }

    async fn put(&self, rows: &[(i64, &str)]) {
        let event = |&(id, a): &(i64, &str)| {
            let json = format!("{{\"id\":{id},\"a\":\"{a}\",\"ver\":1}}");
            Event::new(format!("e{id}").as_bytes(), id.to_string().as_bytes(), json.as_bytes())
        };
        let events: Vec<Event> = rows.iter().map(|row| event(row).unwrap()).collect();
        self.buffer.offer(&events).await.unwrap();
    }

    fn rows(&self) -> String {
        let sql = format!("SELECT count(*) FROM {}.t", self.schema);
        shared().query(&sql).unwrap()[0][0].clone().unwrap()
    }

    async fn dead(&self) -> Vec<String> {
        let letters = self.buffer.dead_letters().list(0, usize::MAX).await.unwrap();
        letters.into_iter().map(|letter| letter.reason).collect()
    }

    async fn until(&self, what: &str, is: impl AsyncFn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is(self).await {
            assert!(Instant::now() < end, "never: {what}; {:?}", self.engine.stats().counts());
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) -> engine::Summary {
        self.stop.cancel();
        self.engine.join().await.unwrap()
    }
}

fn refusing(when: &str, state: &str) -> String {
    format!(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN IF {when} THEN RAISE EXCEPTION USING ERRCODE = ''{state}'', MESSAGE = ''no''; END IF;
          RETURN NEW; END';
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"
    )
}

/// Two bad rows, then a hundred good ones.
async fn two_bad_rows_are_buried(role: &str, prepare: &str, reason: &str) {
    let pipeline = Pipeline::start(role, prepare);
    pipeline.put(&[(1, "bad"), (2, "bad")]).await;
    sleep(Duration::from_millis(300)).await;
    assert!(pipeline.dead().await.is_empty(), "nothing shows yet that the table takes a row");
    let good: Vec<(i64, &str)> = (3..103).map(|id| (id, "good")).collect();
    pipeline.put(&good).await;
    pipeline.until("all good rows are there", async |it| it.rows() == "100").await;
    pipeline.until("both are buried", async |it| it.dead().await.len() == 2).await;
    for said in pipeline.dead().await {
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(pipeline.end().await.released, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_trigger_refuses_are_buried_and_a_hundred_others_written() {
    for state in ["45000", "AB123", "P0001", "42501"] {
        let trigger = refusing("NEW.a = ''bad''", state);
        two_bad_rows_are_buried("postgres", &trigger, &format!("no [SQLSTATE {state}]")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_row_security_refuses_are_buried_and_a_hundred_others_written() {
    shared().execute("CREATE ROLE ruled LOGIN").unwrap();
    let policy = "ALTER TABLE t ENABLE ROW LEVEL SECURITY;
        CREATE POLICY good ON t USING (true) WITH CHECK (a <> 'bad')";
    two_bad_rows_are_buried("ruled", policy, "SQLSTATE 42501").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_every_row_buries_none_and_is_written_when_it_takes_rows_again() {
    shared().execute("CREATE ROLE revoked LOGIN").unwrap();
    let quota = refusing("true", "P0001");
    for (role, prepare, mend) in [
        ("revoked", "REVOKE INSERT ON t FROM public", "GRANT INSERT ON {}.t TO public"),
        ("postgres", &*quota, "DROP TRIGGER no ON {}.t"),
        ("postgres", "ALTER TABLE t ADD more int NOT NULL", "ALTER TABLE {}.t DROP more"),
    ] {
        let pipeline = Pipeline::start(role, prepare);
        let rows: Vec<(i64, &str)> = (0..300).map(|id| (id, "good")).collect();
        pipeline.put(&rows).await;
        // Each that waits alone has had all its tries, and some more.
        let stats = pipeline.engine.stats();
        pipeline.until("the bound is reached", async |_| stats.refused_waiting() == 100).await;
        pipeline.until("more tries", async |_| stats.counts().failed > 620).await;
        assert_eq!((pipeline.rows(), pipeline.dead().await.len()), ("0".into(), 0), "{prepare}");
        shared().execute(&mend.replace("{}", &pipeline.schema)).unwrap();
        pipeline.until("all rows are there", async |it| it.rows() == "300").await;
        assert!(pipeline.dead().await.is_empty(), "{prepare}");
        assert_eq!(pipeline.end().await.released, 0);
    }
}
