//! A pooler between us and the server, and settings that a role or a database has otherwise.

use std::time::{Duration, Instant};

use model::Class;
use store::tables::{Column, Mode, Name, Type, Value, Written};
use store::{Settlement, Target};
use store_postgres::{Options, inspect};
use testbed::{Fault, PgBouncer, Postgres, Proxy};

use crate::fixture::{beside, class_of, count, open, options, options_at, rows, through, try_open};

const IGNORES: (&str, &str) = ("ignore_startup_parameters", "options,extra_float_digits");

/// A server whose database commits without waiting for the disk, and reads only, by default.
fn careless() -> Postgres {
    let server = Postgres::start().unwrap();
    for setting in [
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
        "timezone = 'Asia/Seoul'",
        "search_path = pg_temp, public",
        "default_transaction_read_only = on",
    ] {
        server.execute(&format!("ALTER DATABASE forebay SET {setting}")).unwrap();
    }
    server
}

fn target(table: &str) -> Target {
    let column = |name: &str| {
        let name = Name::new(name).unwrap();
        Column { name, kind: Type::Bigint, nullable: false }
    };
    Target {
        schema: None,
        table: Name::new(table).unwrap(),
        columns: vec![column("id"), column("ver")],
        keys: vec![0],
        mode: Mode::Upsert { version: 1, stamped: false },
    }
}

/// A trigger keeps what the settling transaction is set to.
fn watched(server: &Postgres, table: &str) {
    let sql = format!(
        "BEGIN READ WRITE;
         CREATE TABLE IF NOT EXISTS public.seen (setting text, value text);
         CREATE OR REPLACE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.seen SELECT name, current_setting(name) FROM unnest(ARRAY[
            ''synchronous_commit'', ''transaction_isolation'', ''transaction_read_only'',
            ''session_replication_role'', ''timezone'']) AS name;
          RETURN NULL; END';
         CREATE TRIGGER see AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION public.see();
         COMMIT"
    );
    server.execute(&sql).unwrap();
}

fn seen(server: &Postgres) -> Vec<String> {
    let sql = "SELECT DISTINCT setting || '=' || value FROM public.seen ORDER BY 1";
    server.query(sql).unwrap().into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// Settles a payment and writes a row; each transaction was set as the guarantees need it.
async fn settles_as_promised(server: &Postgres, options: &Options) {
    let store = open(options).await;
    watched(server, &format!("{}.transactions", options.schema));
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    let sql = "BEGIN READ WRITE;
        CREATE TABLE public.mine (id bigint PRIMARY KEY, ver bigint NOT NULL); COMMIT";
    server.execute(sql).unwrap();
    watched(server, "public.mine");
    let table = beside(options).tables().table(&target("mine")).unwrap();
    assert_eq!(table.problems().await, Ok(Vec::new()));
    let row = vec![Value::Bigint(1), Value::Bigint(1)];
    assert_eq!(table.write(vec![row]).await, Ok(vec![Written::Written]));
    assert_eq!(
        seen(server),
        [
            "session_replication_role=origin",
            "synchronous_commit=on",
            "timezone=UTC",
            "transaction_isolation=read committed",
            "transaction_read_only=off",
        ]
    );
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_or_a_database_has_by_default_weakens_no_commit() {
    let server = careless();
    settles_as_promised(&server, &options(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_sessions_that_drops_settings_each_session_is_set_again() {
    let server = careless();
    let pooler = PgBouncer::start(&server, &[("pool_mode", "session"), IGNORES]).unwrap();
    let options = options_at(&pooler.url());
    settles_as_promised(&server, &options).await;
    // What was settled survives the server's death.
    server.kill();
    server.start_again().unwrap();
    assert_eq!(count(&server, &options), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_of_sessions_a_store_has_one_process_alone() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let pooler = PgBouncer::start(&server, &[("pool_mode", "session"), IGNORES]).unwrap();
    let alone = Options { exclusive: true, ..options_at(&pooler.url()) };
    let store = open(&alone).await;
    let error = try_open(&alone).await.unwrap_err();
    assert!(error.to_string().contains("another process settles into this store"), "{error}");
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused_by_every_way_in() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let direct = options(&server);
    open(&direct).await.close().await.unwrap();
    server.execute("CREATE TABLE mine (id bigint PRIMARY KEY, ver bigint NOT NULL)").unwrap();
    for mode in ["transaction", "statement"] {
        for round_robin in ["0", "1"] {
            let settings = [("pool_mode", mode), ("server_round_robin", round_robin), IGNORES];
            let pooler = PgBouncer::start(&server, &settings).unwrap();
            let options = Options { schema: direct.schema.clone(), ..options_at(&pooler.url()) };
            let table = beside(&options).tables().table(&target("mine")).unwrap();
            for refused in [
                try_open(&Options { exclusive: true, ..options.clone() }).await.map(drop),
                try_open(&options).await.map(drop),
                inspect::open(&options).await.map(drop),
                beside(&options).moves().recorded("payments").await.map(drop),
                store_postgres::migrate(&options).await.map(drop),
                table.problems().await.map(drop),
            ] {
                let error = refused.unwrap_err();
                let said = error.to_string();
                assert!(said.contains("set pool_mode = session"), "{mode}: {said}");
                assert_eq!(class_of::<()>(Err(error)), Class::Fatal);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_takes_no_settings_is_refused_with_what_to_write() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let pooler = PgBouncer::start(&server, &[("pool_mode", "session")]).unwrap();
    let error = try_open(&options_at(&pooler.url())).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("ignore_startup_parameters = options"), "{said}");
    assert_eq!(class_of::<()>(Err(error)), Class::Fatal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_set_as_needed_is_refused_in_words() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let sql = "CREATE ROLE copies LOGIN SUPERUSER; CREATE ROLE bound LOGIN;
        ALTER ROLE copies SET session_replication_role = replica;
        ALTER ROLE bound SET session_replication_role = replica;
        GRANT CREATE ON DATABASE forebay TO bound";
    server.execute(sql).unwrap();
    // A superuser may set it back.
    open(&options_at(&server.url().replace("postgres@", "copies@"))).await;
    let bound = options_at(&server.url().replace("postgres@", "bound@"));
    let error = try_open(&bound).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("session_replication_role is replica, not origin"), "{said}");
    assert_eq!(class_of::<()>(Err(error)), Class::Fatal);
}

/// One way of a message to the server, or back.
const WAY: Duration = Duration::from_millis(50);

/// How many round trips the quickest of some calls took: a busy machine slows some of them, never all.
async fn round_trips(mut call: impl AsyncFnMut(i64)) -> u128 {
    let mut least = Duration::MAX;
    for n in 0..6 {
        let began = Instant::now();
        call(n).await;
        least = least.min(began.elapsed());
    }
    least.as_millis() / (2 * WAY.as_millis())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_in_a_transaction_costs_no_round_trip() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    server.execute("CREATE TABLE mine (id bigint PRIMARY KEY, ver bigint NOT NULL)").unwrap();
    let proxy = Proxy::start(&server.address()).unwrap();
    let options = through(&proxy, &options(&server));
    for exclusive in [true, false] {
        let store = open(&Options { exclusive, ..options.clone() }).await;
        proxy.set(Fault::Delay(WAY));
        let settles = round_trips(async |n| {
            let from = n * 10 + i64::from(exclusive) * 1_000;
            assert_eq!(
                store.payments().settle(rows(from..from + 10)).await,
                Ok(Settlement::Settled)
            );
        });
        assert_eq!(settles.await, 2, "as a COPY needs");
        proxy.set(Fault::None);
        store.close().await.unwrap();
    }
    let table = beside(&options).tables().table(&target("mine")).unwrap();
    proxy.set(Fault::Delay(WAY));
    let writes = round_trips(async |n| {
        let row = vec![Value::Bigint(n), Value::Bigint(1)];
        assert_eq!(table.write(vec![row]).await, Ok(vec![Written::Written]));
    });
    assert_eq!(writes.await, 2, "the rows, and the commit once each is accounted for");
}
