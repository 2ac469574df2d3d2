//! Rows over HTTP: taken, told apart, and read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{Answer, NOW_MS, PATIENCE, Running};
use async_trait::async_trait;
use buffer::Buffer;
use buffer::memory::{self, Memory};
use model::clock::Manual;
use server::{Options, Readiness, Service, events, telemetry};
use store::tables::{Bound, Column, Mode, Name, Record, Takes, Type, Value, Written};
use store::{Table, Target};
use table::{Definition, Front};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the table holds.
#[derive(Default)]
struct Fake {
    rows: Mutex<HashMap<Vec<Value>, Record>>,
    reads: AtomicUsize,
    away: AtomicBool,
}

#[async_trait]
impl Table for Fake {
    async fn write(&self, _: Vec<Record>) -> Result<Vec<Written>, store::Error> {
        unreachable!("nothing is settled here")
    }
    async fn read(&self, key: Vec<Value>) -> Result<Option<Record>, store::Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(store::Error::Unavailable("host db.internal is away".into()));
        }
        Ok(self.rows.lock().unwrap().get(&key).cloned())
    }
    async fn problems(&self) -> Result<Vec<String>, store::Error> {
        Ok(Vec::new())
    }
    async fn bounds(&self) -> Result<Vec<Bound>, store::Error> {
        let bound = |takes, shown: &str| Bound { not_null: true, takes, shown: shown.into() };
        Ok(vec![
            bound(Takes::Whole(-32_768, 32_767), "smallint"),
            bound(Takes::Characters { max: 5, in_key: true }, "character varying(5)"),
            Bound {
                not_null: false,
                ..bound(Takes::Whole(-2_147_483_648, 2_147_483_647), "integer")
            },
            bound(Takes::All, "bigint"),
        ])
    }
    async fn rows(&self) -> Result<u64, store::Error> {
        unreachable!("nothing is counted here")
    }
    async fn create(&self) -> Result<bool, store::Error> {
        Ok(false)
    }
}

/// `shop` and `sku` are the key, `price` a number or null, `version` the version.
fn definition(stamp: bool) -> Definition {
    let column =
        |name: &str, kind, nullable| Column { name: Name::new(name).unwrap(), kind, nullable };
    let target = Target {
        schema: None,
        table: Name::new("prices").unwrap(),
        columns: vec![
            column("shop", Type::Bigint, false),
            column("sku", Type::Text, false),
            column("price", Type::Bigint, true),
            column("version", Type::Bigint, false),
        ],
        keys: vec![0, 1],
        mode: Mode::Upsert { version: 3, stamped: stamp },
    };
    Definition { name: "prices".into(), target }
}

struct Tables {
    running: Running,
    /// What rows are accepted into.
    rows: Arc<dyn Buffer>,
    store: Arc<Fake>,
    /// The tables that the server knows, and the one that it knows first.
    served: server::tables::Tables,
    front: Front,
}

async fn start(events_max: usize) -> Tables {
    start_with(events_max, Options::default()).await
}

async fn start_with(events_max: usize, options: Options) -> Tables {
    let clock = Manual::at(NOW_MS);
    let memory = |events_max| -> Arc<dyn Buffer> {
        let bounds = memory::Options { events_max, ..memory::Options::default() };
        Arc::new(Memory::new(bounds, Arc::new(clock.clone())))
    };
    let (buffer, rows, store) = (memory(10), memory(events_max), Arc::new(Fake::default()));
    let front = Front::new(
        definition(false),
        rows.clone(),
        store.clone(),
        Arc::new(clock.clone()),
        table::Options::default(),
        None,
    );
    front.learn_bounds().await.unwrap();
    let telemetry = telemetry::install().unwrap();
    let clock_of_server = Arc::new(clock.clone());
    let watched = rows.clone();
    let watched = move || vec![("table:prices".to_owned(), watched.clone())];
    let served = server::tables::Tables::default();
    served.add(front.clone());
    let service = Service::new(watched, clock_of_server, telemetry, Readiness::new(), options)
        .with(events::routes(buffer.clone()))
        .with(served.routes());
    let handle = service.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(service.run(listener, stop.clone()));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let running = Running { addr, buffer, clock, handle, stop, task, client };
    Tables { running, rows, store, served, front }
}

impl Tables {
    async fn put(&self, key: &str, body: impl Into<reqwest::Body>) -> Answer {
        let url = self.running.url(&format!("/v1/tables/prices/{key}"));
        let request = self.running.client.put(url).header("content-type", "application/json");
        Answer::of(request.body(body).send().await.unwrap()).await
    }

    async fn post(&self, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
        let url = self.running.url("/v1/tables/prices");
        let request = self.running.client.post(url).header("content-type", kind);
        Answer::of(request.body(body).send().await.unwrap()).await
    }

    async fn get(&self, key: &str) -> Answer {
        self.running.get(&format!("/v1/tables/prices/{key}")).await
    }

    async fn held(&self) -> u64 {
        self.rows.depth().await.unwrap().ready
    }
}

#[tokio::test]
async fn a_row_that_was_put_is_held_and_read_at_once() {
    let tables = start(10).await;
    let answer = tables.put("7,a%2Cb", r#"{"price":12,"version":1}"#).await;
    answer.is(202, include_str!("golden/one_accepted.json"));
    assert_eq!(tables.held().await, 1);
    let row = tables.get("7,a%2Cb").await;
    assert_eq!(row.header("x-forebay-source"), "buffer");
    row.is(200, r#"{"shop":7,"sku":"a,b","price":12,"version":1}"#);
    let event = &tables.rows.lease(1, PATIENCE).await.unwrap()[0].event;
    assert_eq!(event.key(), b"7,a%2Cb");
    assert_eq!(tables.running.ready_events().await, 0, "payments have a buffer of their own");
}

#[tokio::test]
async fn a_bad_row_is_answered_400_with_the_column_and_what_would_be_right() {
    let tables = start(10).await;
    for (key, body, field, expect) in [
        ("7,a", "{}", "version", "is missing; must be a whole number of 64 bits"),
        ("7,a", r#"{"version":"1"}"#, "version", "must be a whole number of 64 bits"),
        ("7,a", r#"{"version":1,"sku":"b"}"#, "sku", "is not the one in the path"),
        ("7,a", r#"{"version":1,"cost":1}"#, "cost", "is no column of this table"),
        ("7,a", "nonsense", "row", "is no JSON object"),
        ("7", r#"{"version":1}"#, "key", "has 1 parts; write shop,sku"),
        ("x,a", r#"{"version":1}"#, "shop", "must be a whole number of 64 bits"),
    ] {
        let answer = tables.put(key, body).await;
        assert_eq!((answer.status, answer.field().as_str()), (400, field), "{body}");
        assert!(answer.body.contains(expect), "{}", answer.body);
    }
    assert_eq!(tables.held().await, 0);
    assert_eq!(tables.get("x,a").await.status, 400);
}

#[tokio::test]
async fn good_rows_of_a_stream_are_accepted_and_each_bad_one_is_told_with_its_line() {
    let tables = start(10).await;
    let lines = [
        r#"{"shop":7,"sku":"a","price":1,"version":1}"#,
        r#"{"shop":7,"sku":"b","price":1}"#,
        "",
        r#"{"shop":7,"sku":"c","version":1}"#,
    ];
    let answer = tables.post("application/x-ndjson", lines.join("\n")).await;
    let problem = "is missing; must be a whole number of 64 bits";
    let error = format!(r#"{{"line":2,"field":"version","problem":"{problem}"}}"#);
    let tally =
        format!(r#"{{"accepted":2,"rejected":1,"errors":[{error}],"errors_truncated":false}}"#);
    answer.is(202, &tally);
    tables.get("7,c").await.is(200, r#"{"shop":7,"sku":"c","price":null,"version":1}"#);
    let one = tables.post("application/json", lines[3]).await;
    one.is(202, include_str!("golden/one_accepted.json"));
    assert_eq!(tables.held().await, 3);
}

#[tokio::test]
async fn a_row_that_a_column_cannot_hold_is_refused_on_every_way_in() {
    let tables = start(10).await;
    let (sku, price) =
        ("is 6 characters; must be at most 5", "must be from -2147483648 to 2147483647");
    for (key, body, field, problem) in [
        ("7,abcdef", r#"{"version":1}"#, "sku", sku),
        ("32768,a", r#"{"version":1}"#, "shop", "must be from -32768 to 32767"),
        ("7,a", r#"{"price":2147483648,"version":1}"#, "price", price),
    ] {
        let answer = tables.put(key, body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"]["field"], field, "{}", answer.body);
        assert!(answer.body.contains(problem), "{}", answer.body);
    }
    let long = r#"{"shop":7,"sku":"abcdef","version":1}"#;
    let one = tables.post("application/json", long).await;
    assert_eq!(one.status, 400, "{}", one.body);
    let lines = [long, r#"{"shop":7,"sku":"abcde","price":2147483647,"version":1}"#];
    let answer = tables.post("application/x-ndjson", lines.join("\n")).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["accepted"], &body["errors"][0]["line"]), (&1.into(), &1.into()));
    assert_eq!(body["errors"][0]["field"], "sku", "{}", answer.body);
    assert_eq!(tables.held().await, 1);
}

#[tokio::test]
async fn a_full_buffer_is_answered_429_and_what_was_accepted_is_read() {
    let tables = start(2).await;
    for sku in ["a", "b"] {
        assert_eq!(tables.put(&format!("7,{sku}"), r#"{"version":1}"#).await.status, 202);
    }
    let full = tables.put("7,c", r#"{"version":1}"#).await;
    full.is(429, include_str!("golden/full.json"));
    assert!(!full.header("retry-after").is_empty());
    assert_eq!(tables.get("7,c").await.status, 404, "what was refused is not read");
    assert_eq!(tables.get("7,b").await.status, 200);
}

#[tokio::test]
async fn a_buffer_of_rows_that_takes_no_more_is_503_and_payments_go_on() {
    let tables = start(2).await;
    tables.rows.close().await.unwrap();
    let refused = tables.put("7,a", r#"{"version":1}"#).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    assert_eq!(tables.running.get("/ready").await.status, 200);
    assert_eq!(tables.running.one(crate::harness::payment("tx-1")).await.status, 202);
}

#[tokio::test]
async fn a_row_of_the_store_is_read_once_and_then_remembered() {
    let tables = start(10).await;
    let key = vec![Value::Bigint(7), Value::Text("a".into())];
    let rest = vec![Value::Bigint(5), Value::Bigint(1)];
    tables.store.rows.lock().unwrap().insert(key.clone(), [key, rest].concat());
    for source in ["store", "cache", "cache"] {
        let row = tables.get("7,a").await;
        assert_eq!(row.header("x-forebay-source"), source);
        row.is(200, r#"{"shop":7,"sku":"a","price":5,"version":1}"#);
    }
    for _ in 0..3 {
        let absent = tables.get("7,b").await;
        absent.is(404, r#"{"error":{"problem":"there is no row of this key"}}"#);
    }
    assert_eq!(tables.store.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_that_is_away_is_503_without_a_word_on_where_it_is() {
    let tables = start(10).await;
    tables.store.away.store(true, Ordering::SeqCst);
    let busy = tables.get("7,a").await;
    assert_eq!((busy.status, busy.header("retry-after")), (503, "5"));
    assert!(!busy.body.contains("db.internal"), "{}", busy.body);
    assert_eq!(tables.put("7,a", r#"{"version":1}"#).await.status, 202, "rows are taken");
    assert_eq!(tables.get("7,a").await.status, 200, "and read");
}

#[tokio::test]
async fn a_row_past_the_bound_or_of_another_type_is_refused() {
    let options = Options { event_bytes_max: 100, ..Options::default() };
    let tables = start_with(10, options).await;
    let long = format!(r#"{{"version":1,"note":"{}"}}"#, "x".repeat(100));
    assert_eq!(tables.put("7,a", long).await.status, 413);
    let url = tables.running.url("/v1/tables/prices/7,a");
    for kind in ["text/plain", "application/x-ndjson"] {
        let request = tables.running.client.put(&url).header("content-type", kind).body("{}");
        assert_eq!(request.send().await.unwrap().status(), 415);
    }
}

#[tokio::test]
async fn what_is_no_table_or_no_method_is_told() {
    let tables = start(10).await;
    let running = &tables.running;
    let unknown = running.get("/v1/tables/others/1").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("there is no such table here"), "{}", unknown.body);
    let request = running.client.post(running.url("/v1/tables/others")).body("{}");
    assert_eq!(request.send().await.unwrap().status(), 404);
    let request = running.client.delete(running.url("/v1/tables/prices/7,a"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, PUT"));
    let plain = crate::harness::start(Options::default()).await;
    assert_eq!(plain.get("/v1/tables/prices/7,a").await.status, 404);
}

#[tokio::test]
async fn a_table_is_served_from_when_it_is_added_until_it_is_removed() {
    let tables = start(10).await;
    let row = r#"{"version":1}"#;
    assert_eq!(tables.put("7,a", row).await.status, 202);
    let unused = tables.served.remove("prices").unwrap();
    // The answer comes before the server lets go of the request.
    tokio::time::timeout(PATIENCE, unused.cancelled()).await.unwrap();
    assert!(tables.served.remove("prices").is_none());
    assert_eq!(tables.put("7,a", row).await.status, 404);
    assert_eq!(tables.get("7,a").await.status, 404);
    // One that changes is there again soon.
    tables.served.expect(["prices".to_owned()]);
    let refused = tables.put("7,a", row).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    assert_eq!(tables.get("7,a").await.status, 503);
    tables.served.expect([]);
    assert_eq!(tables.get("7,a").await.status, 404);
    tables.served.add(tables.front.clone());
    assert_eq!(tables.put("7,b", row).await.status, 202);
    assert_eq!(tables.get("7,b").await.status, 200);
}

#[tokio::test]
async fn metrics_bear_the_tables_name() {
    let tables = start(10).await;
    tables.put("7,a", r#"{"version":1}"#).await;
    tables.get("7,a").await;
    let metrics = tables.running.get("/metrics").await.body;
    for line in [
        "accepted_total{table=\"prices\"} ",
        "buffer_size{buffer=\"table:prices\"} ",
        "table_reads_total{table=\"prices\",from=\"buffer\"} ",
        "table_queries_total{table=\"prices\"} ",
        "http_requests_total{path=\"/v1/tables\",status=\"202\"} ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line} in\n{metrics}");
    }
}
