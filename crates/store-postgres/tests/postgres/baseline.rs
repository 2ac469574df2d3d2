use std::sync::Arc;
use std::time::Duration;

use model::clock::Manual;
use model::{Class, Classify};
use store::Row;
use store::conformance::row;
use store_postgres::baseline::{self, Connection};
use store_postgres::{Options, migrate};
use testbed::Postgres;

const LIMIT: Duration = Duration::from_secs(60);
const NOW_MS: i64 = 1_700_000_000_000;

/// A server with the schema in it.
async fn server() -> (Postgres, Options) {
    let server = Postgres::start().unwrap();
    let options = Options::from_url(&server.url()).unwrap();
    migrate(&options).await.unwrap();
    (server, options)
}

async fn connection(options: &Options) -> Connection {
    Connection::open(options).await.unwrap()
}

async fn connections(options: &Options, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(connection(options).await);
    }
    connections
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|n| row(&format!("tx-{n}"), "4000123412341234", 7, NOW_MS)).collect()
}

fn one(server: &Postgres, sql: &str) -> String {
    server.query(sql).unwrap()[0][0].clone().unwrap()
}

fn count(server: &Postgres) -> String {
    one(server, "SELECT count(*) FROM fds.transactions")
}

#[tokio::test]
async fn one_by_one_every_row_is_in_with_all_its_columns() {
    let (server, options) = server().await;
    let mut flagged = row("tx-flagged", "4000123412341234", 9, NOW_MS);
    flagged.fraud_rules = vec!["velocity", "amount_spike"];
    flagged.fraud_detail = Some(r#"[{"rule":"velocity"}]"#.into());
    let rows = rows(50).into_iter().chain([flagged]);
    let mut latencies = Vec::new();
    let clock = Manual::at(NOW_MS + 5);
    let outcome = baseline::one_by_one(connection(&options).await, rows, LIMIT, &clock, |took| {
        latencies.push(took)
    })
    .await;
    assert_eq!((outcome.inserted, outcome.duplicates, outcome.failed), (51, 0, 0));
    assert_eq!((count(&server).as_str(), latencies.len()), ("51", 51));
    assert!(latencies.iter().all(|took| *took > Duration::ZERO && *took <= outcome.took));
    let written = "SELECT concat_ws('|', card_number, encode(card_fingerprint, 'hex'), user_id, tier, amount, \
        merchant, category, is_fraud, fraud_rules, fraud_detail, ruleset_version, \
        extract(epoch FROM created_at)::numeric(20,3), extract(epoch FROM accepted_at)::numeric(20,3), \
        extract(epoch FROM processed_at)::numeric(20,3)) \
        FROM fds.transactions WHERE tx_id = 'tx-flagged'";
    let expected = format!(
        "400012******1234|{}|user-1|normal|9|Cafe|coffee|t|{{velocity,amount_spike}}|\
         [{{\"rule\": \"velocity\"}}]|1|1700000000.000|1700000000.001|1700000000.005",
        row("x", "4000123412341234", 1, 1).card_fingerprint
    );
    assert_eq!(one(&server, written), expected);
    let plain = "SELECT is_fraud::text || fraud_rules::text || (fraud_detail IS NULL)::text \
        FROM fds.transactions WHERE tx_id = 'tx-0'";
    assert_eq!(one(&server, plain), "false{}true");
}

#[tokio::test]
async fn a_duplicate_is_counted_and_not_inserted_twice() {
    let (server, options) = server().await;
    let clock = Arc::new(Manual::at(NOW_MS));
    let twice = || rows(40).into_iter().chain(rows(40));
    let mut recorded = 0;
    let outcome =
        baseline::pooled(connections(&options, 4).await, twice(), LIMIT, clock.clone(), |_| {
            recorded += 1
        });
    let outcome = outcome.await;
    assert_eq!((outcome.inserted, outcome.duplicates, outcome.failed), (40, 40, 0));
    assert_eq!((count(&server).as_str(), recorded), ("40", 40));
    let again = baseline::one_by_one(connection(&options).await, twice(), LIMIT, &*clock, |_| {
        recorded += 1
    })
    .await;
    assert_eq!((again.inserted, again.duplicates), (0, 80));
    assert_eq!((count(&server).as_str(), recorded), ("40", 40));
}

/// A trigger holds each insert back until three have come, and fails those that wait in vain. What
/// a sequence counts is seen by all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_has_one_insert_under_way_on_each_connection() {
    let (server, options) = server().await;
    for sql in [
        "CREATE SEQUENCE public.come",
        "CREATE FUNCTION public.meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM nextval('public.come'); FOR attempt IN 1..1000 LOOP \
         IF (SELECT last_value FROM public.come) >= 3 THEN RETURN new; END IF; \
         PERFORM pg_sleep(0.01); END LOOP; RAISE 'nobody else came'; END $$",
        "CREATE TRIGGER meet BEFORE INSERT ON fds.transactions \
         FOR EACH ROW EXECUTE FUNCTION public.meet()",
    ] {
        server.execute(sql).unwrap();
    }
    let clock = Arc::new(Manual::at(NOW_MS));
    let outcome =
        baseline::pooled(connections(&options, 3).await, rows(3), LIMIT, clock, |_| ()).await;
    assert_eq!((outcome.inserted, outcome.failed), (3, 0), "{outcome:?}");
}

#[tokio::test]
async fn after_the_limit_no_insert_begins_and_what_was_done_is_told() {
    let (server, options) = server().await;
    let clock = Arc::new(Manual::at(NOW_MS));
    let limit = Duration::from_millis(300);
    let endless = || (0_u64..).map(|n| row(&format!("tx-{n}"), "4000123412341234", 1, NOW_MS));
    let one =
        baseline::one_by_one(connection(&options).await, endless(), limit, &*clock, |_| ()).await;
    assert!(one.inserted > 0 && one.took >= limit, "{one:?}");
    assert_eq!(count(&server), one.inserted.to_string());
    let many =
        baseline::pooled(connections(&options, 3).await, endless(), limit, clock, |_| ()).await;
    assert!(many.took >= limit && many.failed == 0, "{many:?}");
    assert_eq!(count(&server), (one.inserted + many.inserted).to_string());
}

#[tokio::test]
async fn a_row_that_is_rejected_stops_nobody() {
    let (server, options) = server().await;
    let clock = Arc::new(Manual::at(NOW_MS));
    let mut rows = rows(10);
    rows[3].amount = -1;
    rows[6].created_at_ms = i64::MAX;
    let one =
        baseline::one_by_one(connection(&options).await, rows.clone(), LIMIT, &*clock, |_| ())
            .await;
    assert_eq!((one.inserted, one.failed), (8, 2));
    assert!(matches!(one.failure, Some(store::Error::Refused(_))), "{:?}", one.failure);
    let many = baseline::pooled(connections(&options, 2).await, rows, LIMIT, clock, |_| ()).await;
    assert_eq!((many.inserted, many.duplicates, many.failed), (0, 8, 2));
    assert_eq!(count(&server), "8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_ends_it_and_what_was_answered_is_told() {
    let (server, options) = server().await;
    let clock = Arc::new(Manual::at(NOW_MS));
    let (sender, halfway) = std::sync::mpsc::channel();
    let endless = (0_u64..).map(|n| row(&format!("tx-{n}"), "4000123412341234", 1, NOW_MS));
    let mut recorded = 0_u64;
    let running = tokio::spawn(async move {
        let on_insert = |_| {
            recorded += 1;
            if recorded == 20 {
                sender.send(()).unwrap();
            }
        };
        let outcome =
            baseline::pooled(connections(&options, 3).await, endless, LIMIT, clock, on_insert)
                .await;
        (outcome, recorded)
    });
    halfway.recv().unwrap();
    server.kill();
    let (outcome, recorded) = running.await.unwrap();
    assert_eq!(outcome.inserted, recorded);
    assert!((1..=3).contains(&outcome.failed) && outcome.inserted >= 20, "{outcome:?}");
    assert_eq!(outcome.failure.map(|error| error.class()), Some(Class::Retryable));
    assert!(outcome.took < LIMIT);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_an_error_before_anything_begins() {
    let server = Postgres::start().unwrap();
    let options = Options::from_url(&server.url()).unwrap();
    let error = Connection::open(&options).await.err().unwrap();
    assert_eq!(error.class(), Class::Fatal, "{error}");
}

#[tokio::test]
async fn the_servers_process_can_be_looked_at_while_connected() {
    let server = Postgres::start().unwrap();
    let options = Options::from_url(&server.url()).unwrap();
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let name = baseline::while_connected(&options, name).await.unwrap();
    assert_eq!(name.trim(), "postgres");
}
