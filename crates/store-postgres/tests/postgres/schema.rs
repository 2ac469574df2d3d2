//! Making the schema, and leaving everything else alone.

use crate::fixture;
use crate::fixture::{class_of, open, options, rows, session, shared, try_open, value};
use model::{Class, Classify};
use store::conformance::duplicates;
use store::conformance::loads::load;
use store::{Completion, Fence, Row, Settlement};
use store_postgres::{Migrated, Options, inspect, migrate};
use testbed::Postgres;

/// What the last migration leads to.
const VERSION: u32 = 9;
/// What the producer names with ids of its own, as text.
const NAMED_BY_THE_PRODUCER: [&str; 2] = ["tx_id", "user_id"];
/// Whole numbers of fewer than 64 bits, none of which names or counts rows: two percentages, which
/// migration ran, and minutes.
const NARROW: [&str; 4] = [
    "buffer_moves.share",
    "buffer_moves.share_before",
    "schema_version.version",
    "sla_definitions.deadline_minutes",
];
/// Columns that others' programs read, by name and type: ids that no rate of payments exhausts, times that
/// are the same moment for everybody. Of three tables it is the ids alone.
const RELIED_ON: [&str; 20] = [
    "transactions.id bigint",
    "transactions.tx_id text",
    "transactions.card_number text",
    "transactions.amount bigint",
    "transactions.merchant text",
    "transactions.is_fraud boolean",
    "transactions.fraud_rules ARRAY",
    "transactions.created_at timestamp with time zone",
    "transactions.processed_at timestamp with time zone",
    "sla_definitions.id bigint",
    "sla_definitions.pipeline_name text",
    "sla_definitions.sla_type text",
    "sla_definitions.deadline_minutes integer",
    "sla_definitions.owner text",
    "sla_definitions.slack_channel text",
    "sla_definitions.enabled boolean",
    "daily_transaction_summary.id bigint",
    "pipeline_completion_log.id bigint",
    "sla_violations.id bigint",
    "sla_violations.sla_id bigint",
];
/// Indexes that others' queries rely on, as the server tells them. That of the frauds
/// holds frauds alone; those of keys and of what is unique come with the constraints.
const INDEXES_RELIED_ON: [&str; 9] = [
    "CREATE UNIQUE INDEX transactions_pkey ON transactions USING btree (id)",
    "CREATE UNIQUE INDEX transactions_tx_id_key ON transactions USING btree (tx_id)",
    "CREATE INDEX idx_fds_transactions_created_at ON transactions USING btree (created_at)",
    "CREATE INDEX idx_fds_transactions_card_number ON transactions USING btree (card_number)",
    "CREATE INDEX idx_fds_transactions_is_fraud ON transactions USING btree (is_fraud) WHERE is_fraud",
    "CREATE UNIQUE INDEX daily_transaction_summary_pkey ON daily_transaction_summary USING btree (id)",
    "CREATE UNIQUE INDEX pipeline_completion_log_pkey ON pipeline_completion_log USING btree (id)",
    "CREATE UNIQUE INDEX sla_definitions_pkey ON sla_definitions USING btree (id)",
    "CREATE UNIQUE INDEX sla_violations_pkey ON sla_violations USING btree (id)",
];

fn fatal<T: std::fmt::Debug>(result: Result<T, store::Error>, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

async fn rights(options: &Options) -> Vec<String> {
    inspect::open(options).await.unwrap().rights().await.unwrap()
}

/// Everything that is in the schemas named, as text.
fn contents(server: &Postgres, schemas: &[&str]) -> String {
    let schemas = schemas.join("', '");
    let tables = format!(
        "SELECT table_schema, table_name, string_agg(column_name || ' ' || data_type || ' '
             || coalesce(column_default, ''), ', ' ORDER BY ordinal_position)
         FROM information_schema.columns WHERE table_schema IN ('{schemas}')
         GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let indexes =
        format!("SELECT indexdef FROM pg_indexes WHERE schemaname IN ('{schemas}') ORDER BY 1");
    let tables = server.query(&tables).unwrap();
    let mut all = format!("{tables:?} {:?}", server.query(&indexes).unwrap());
    for table in &tables {
        let (schema, name) = (table[0].as_ref().unwrap(), table[1].as_ref().unwrap());
        let rows =
            format!("SELECT string_agg(t::text, ';' ORDER BY t::text) FROM {schema}.{name} AS t");
        all.push_str(&format!("{:?}", server.query(&rows).unwrap()));
    }
    all
}

/// Table, column and type of every column of the schema.
fn columns(server: &Postgres, schema: &str) -> Vec<[String; 3]> {
    let sql = format!(
        "SELECT table_name, column_name, data_type FROM information_schema.columns
         WHERE table_schema = '{schema}' ORDER BY 1, 2"
    );
    let rows = server.query(&sql).unwrap().into_iter();
    rows.map(|row| <[_; 3]>::try_from(row).unwrap().map(Option::unwrap)).collect()
}

#[tokio::test]
async fn a_blank_database_gets_the_schema_and_a_second_run_changes_nothing() {
    let server = shared();
    let options = options(server);
    assert_eq!(migrate(&options).await, Ok(Migrated { from: 0, to: VERSION }));
    let made = contents(server, &[&options.schema]);
    assert!(made.contains("consumer_batch") && made.contains("idx_fds_transactions_card_history"));
    assert_eq!(migrate(&options).await, Ok(Migrated { from: VERSION, to: VERSION }));
    assert_eq!(contents(server, &[&options.schema]), made);
    let daily = format!(
        "SELECT deadline_minutes FROM {}.sla_definitions WHERE sla_type = 'daily' AND id = 2",
        options.schema
    );
    assert_eq!(value(server, &daily), "540");
}

#[tokio::test]
async fn every_id_has_64_bits_and_every_point_in_time_a_time_zone() {
    let server = shared();
    let options = options(server);
    migrate(&options).await.unwrap();
    let mut narrow = Vec::new();
    for [table, column, kind] in columns(server, &options.schema) {
        let name = format!("{table}.{column}");
        let (column, kind) = (column.as_str(), kind.as_str());
        if column == "id" || column.ends_with("_id") {
            let expected = if NAMED_BY_THE_PRODUCER.contains(&column) { "text" } else { "bigint" };
            assert_eq!(kind, expected, "{name}");
        }
        if ["_at", "_by", "_start"].iter().any(|end| column.ends_with(end)) {
            assert_eq!(kind, "timestamp with time zone", "{name}");
        }
        // Whatever its name: such a time is another moment for each who reads it.
        assert!(!kind.ends_with("without time zone"), "{name} is a {kind}");
        if ["smallint", "integer"].contains(&kind) {
            narrow.push(name);
        }
    }
    // One more of them is an id that runs out, or is to be justified above.
    assert_eq!(narrow, NARROW);
}

#[tokio::test]
async fn the_tables_have_the_columns_and_the_indexes_that_others_rely_on() {
    let server = shared();
    let options = options(server);
    let schema = &options.schema;
    migrate(&options).await.unwrap();
    let columns = columns(server, schema);
    let columns = columns.iter().map(|[table, column, kind]| format!("{table}.{column} {kind}"));
    let columns: Vec<_> = columns.collect();
    let has = |what: &&str| columns.iter().any(|column| column == what);
    let missing: Vec<_> = RELIED_ON.into_iter().filter(|column| !has(column)).collect();
    assert!(missing.is_empty(), "{missing:#?} are not among {columns:#?}");

    let sql = format!("SELECT indexdef FROM pg_indexes WHERE schemaname = '{schema}' ORDER BY 1");
    let indexes = server.query(&sql).unwrap().into_iter();
    let indexes = indexes.map(|row| row[0].as_ref().unwrap().replace(&format!("{schema}."), ""));
    let indexes: Vec<_> = indexes.collect();
    let has = |what: &&str| indexes.iter().any(|index| index == what);
    let missing: Vec<_> = INDEXES_RELIED_ON.into_iter().filter(|index| !has(index)).collect();
    assert!(missing.is_empty(), "{missing:#?} are not among {indexes:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_that_start_at_once_make_the_schema_once() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let options = options.clone();
            tokio::spawn(async move { migrate(&options).await })
        })
        .collect();
    let mut made = 0;
    for run in runs {
        let Migrated { from, to } = run.await.unwrap().unwrap();
        made += usize::from(from == 0);
        assert_eq!(to, VERSION);
    }
    assert_eq!(made, 1);
    let shared = Options { exclusive: false, ..options.clone() };
    let stores = tokio::join!(open(&shared), open(&shared), open(&shared), open(&shared));
    assert_eq!(stores.3.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    let versions = format!("SELECT count(*) FROM {}.schema_version", options.schema);
    assert_eq!(value(&server, &versions), VERSION.to_string());
}

#[tokio::test]
async fn a_store_that_is_not_made_is_opened_only_by_who_may_make_it() {
    let server = shared();
    let options = options(server);
    let opened = Options { create: false, ..options.clone() };
    fatal(try_open(&opened).await, "run `forebay store migrate`");
    fatal(inspect::open(&options).await, "run `forebay store migrate`");
    assert_eq!(contents(server, &[&options.schema]), "[] []");
    migrate(&opened).await.unwrap();
    try_open(&opened).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_the_first_version_gets_what_is_missing_and_keeps_what_it_holds() {
    let server = shared();
    let options = options(server);
    let schema = &options.schema;
    let first = include_str!("../../migrations/V1__initial.sql");
    server
        .execute(&format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema}; {first};
             CREATE TABLE schema_version (
                 version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now());
             INSERT INTO schema_version (version) VALUES (1);
             UPDATE sla_definitions SET owner = 'kept'"
        ))
        .unwrap();
    fatal(try_open(&Options { create: false, ..options.clone() }).await, "has version 1");
    assert_eq!(migrate(&options).await, Ok(Migrated { from: 1, to: VERSION }));
    let kept = format!("SELECT count(*) FROM {schema}.sla_definitions WHERE owner = 'kept'");
    assert_eq!(value(server, &kept), "2");
    open(&options).await;
}

#[tokio::test]
async fn versions_of_rules_that_rows_bear_already_are_never_given_to_other_rules() {
    let server = shared();
    let options = options(server);
    let schema = &options.schema;
    migrate(&options).await.unwrap();
    let before = rows(0..3).into_iter().zip([1, 1, 7]);
    let before = before.map(|(row, ruleset_version)| Row { ruleset_version, ..row }).collect();
    assert_eq!(open(&options).await.payments().settle(before).await, Ok(Settlement::Settled));
    server
        .execute(&format!(
            "DROP TABLE {schema}.rulesets, {schema}.pipelines, {schema}.processes, {schema}.buffers_left;
             DROP RULE keep_moves ON {schema}.buffer_moves;
             ALTER TABLE {schema}.buffer_moves DROP COLUMN start_empty, DROP COLUMN start_done;
             ALTER TABLE {schema}.buffer_move_processes DROP COLUMN empty_source, DROP COLUMN empty_target;
             DELETE FROM {schema}.schema_version WHERE version >= 6"
        ))
        .unwrap();
    migrate(&options).await.unwrap();
    let store = open(&options).await;
    assert_eq!(store.rulesets().ruleset_version("{}").await, Ok(8));
    let listed = inspect::open(&options).await.unwrap().rulesets().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.version, one.rules.as_deref())).collect();
    assert_eq!(listed, [(1, None), (7, None), (8, Some("{}"))]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_was() {
    let server = shared();
    let options = options(server);
    migrate(&options).await.unwrap();
    server.execute(&format!("INSERT INTO {}.schema_version VALUES (99)", options.schema)).unwrap();
    let before = contents(server, &[&options.schema]);
    fatal(migrate(&options).await, "has version 99");
    fatal(try_open(&options).await, "has version 99");
    assert_eq!(contents(server, &[&options.schema]), before);
}

#[tokio::test]
async fn a_schema_with_somebody_elses_tables_of_our_names_is_refused_and_left_as_it_was() {
    let server = shared();
    for table in ["transactions", "sla_violations", "schema_version"] {
        let options = options(server);
        let schema = &options.schema;
        server
            .execute(&format!(
                "CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table} (version text);
                 INSERT INTO {schema}.{table} VALUES ('theirs')"
            ))
            .unwrap();
        let before = contents(server, &[schema]);
        fatal(
            migrate(&options).await,
            &format!("holds a table {table} that is not this program's"),
        );
        fatal(try_open(&options).await, "name another schema");
        assert_eq!(contents(server, &[schema]), before);
    }
}

#[tokio::test]
async fn what_others_keep_in_the_same_database_is_not_touched() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let schema = options.schema.clone();
    server
        .execute(&format!(
            "CREATE TABLE public.transactions (id serial PRIMARY KEY, tx_id text UNIQUE, n int);
             INSERT INTO public.transactions (tx_id, n) SELECT 'tx-' || n, n FROM generate_series(0, 99) n;
             CREATE TABLE public.schema_version (version int); INSERT INTO public.schema_version VALUES (7);
             CREATE SCHEMA other; CREATE TABLE other.transactions AS SELECT * FROM public.transactions;
             CREATE SCHEMA {schema}; CREATE TABLE {schema}.notes AS SELECT 'theirs' AS text;
             ALTER ROLE postgres SET search_path = public, other"
        ))
        .unwrap();
    let before = contents(&server, &["public", "other"]);
    let store = open(&options).await;
    assert_eq!(store.payments().settle(rows(0..200)).await, Ok(Settlement::Settled));
    let again = store.payments().settle(rows(0..10)).await;
    assert_eq!(again, Ok(duplicates(0..10)));
    let completion = Completion {
        pipeline: "consumer_batch".into(),
        started_at_ms: 1,
        completed_at_ms: 2,
        settled: 200,
        duplicates: 10,
        dead: 0,
    };
    store.completions().complete(completion).await.unwrap();
    assert_eq!(contents(&server, &["public", "other"]), before);
    assert_eq!(value(&server, &format!("SELECT text FROM {schema}.notes")), "theirs");
    assert_eq!(fixture::count(&server, &options), "200");
}

#[tokio::test]
async fn a_schema_of_everybodys_or_of_the_servers_is_refused_before_anything_is_asked() {
    let nobody = Options::from_url("postgres://me@127.0.0.1:1/forebay").unwrap();
    for schema in ["public", "pg_toast", "information_schema", "Fds", "a\"b", ""] {
        let options = Options { schema: schema.into(), ..nobody.clone() };
        fatal(migrate(&options).await, "schema: ");
        fatal(try_open(&options).await, "schema: ");
        fatal(inspect::open(&options).await, "schema: ");
    }
    // The one that may be is asked for, and nobody is there.
    assert_eq!(class_of(migrate(&nobody).await), Class::Retryable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_has_to_wait_too_long_is_tried_again_later() {
    let server = shared();
    let options = Options { statement_timeout_ms: 200, ..options(server) };
    migrate(&options).await.unwrap();
    let other = session(server).await;
    let lock = format!("BEGIN; LOCK TABLE {}.schema_version", options.schema);
    other.batch_execute(&lock).await.unwrap();
    let late = migrate(&options).await.unwrap_err();
    assert!(late.to_string().contains("SQLSTATE 55P03"), "{late}");
    assert_eq!(late.class(), Class::Retryable);
    other.batch_execute("ROLLBACK").await.unwrap();
    migrate(&options).await.unwrap();
}

#[tokio::test]
async fn what_the_server_does_not_allow_is_fatal_at_the_start_and_says_what_to_do() {
    let server = Postgres::start().unwrap();
    let base = options(&server);
    let no_database = Options { dbname: "nowhere".into(), ..base.clone() };
    fatal(try_open(&no_database).await, "SQLSTATE 3D000]; create the database");
    let no_role = Options { user: "nobody".into(), ..base.clone() };
    fatal(try_open(&no_role).await, "SQLSTATE 28000]; let this role log in");
    server.execute("CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN").unwrap();
    let reader = Options { user: "reader".into(), ..base.clone() };
    fatal(migrate(&reader).await, "SQLSTATE 42501]; grant this role");
    migrate(&base).await.unwrap();
    fatal(try_open(&reader).await, "SQLSTATE 42501]; grant this role");
    // What a role that settles, and changes no schema, has to be granted.
    server
        .execute(&format!(
            "GRANT USAGE ON SCHEMA {0} TO writer; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO writer;
             GRANT INSERT ON {0}.transactions, {0}.pipeline_completion_log, {0}.load_history,
                 {0}.rulesets TO writer;
             GRANT DELETE ON {0}.load_history TO writer;
             GRANT UPDATE ON {0}.settling_term TO writer;
             GRANT INSERT, UPDATE ON {0}.shard_fences TO writer",
            base.schema
        ))
        .unwrap();
    server
        .execute(&format!(
            "CREATE ROLE looker LOGIN; GRANT USAGE ON SCHEMA {0} TO looker;
             GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO looker",
            base.schema
        ))
        .unwrap();
    let writer = Options { user: "writer".into(), create: false, ..base.clone() };
    let store = open(&writer).await;
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    let again = store.payments().settle(rows(2..4)).await;
    assert_eq!(again, Ok(duplicates([0])));
    assert_eq!(store.loads().record(load("a:1", 0), 0).await, Ok(()));
    for _ in 0..2 {
        assert_eq!(store.payments().fence(&[3]).await, Ok(vec![Fence { shard: 3, token: 1 }]));
    }
    assert_eq!(store.rulesets().ruleset_version("{}").await, Ok(1));
    assert_eq!(rights(&writer).await, Vec::<String>::new());
    let of_reader = rights(&Options { user: "looker".into(), ..base.clone() }).await;
    assert_eq!(of_reader.len(), 6, "{of_reader:?}");
    let said = format!("the role has no INSERT on \"{}\".rulesets; grant it", base.schema);
    assert!(of_reader.iter().any(|one| one.ends_with(&said)), "{of_reader:?}");
    // Rules that are recorded need no right to record them.
    server.execute(&format!("REVOKE INSERT ON {}.rulesets FROM writer", base.schema)).unwrap();
    assert_eq!(store.rulesets().ruleset_version("{}").await, Ok(1));
    fatal(store.rulesets().ruleset_version("[]").await, "SQLSTATE 42501]; grant this role");
    // A right that is taken away from a running store is waited for.
    server.execute(&format!("REVOKE INSERT ON {}.transactions FROM writer", base.schema)).unwrap();
    let revoked = store.payments().settle(rows(3..4)).await.unwrap_err();
    assert!(revoked.to_string().contains("SQLSTATE 42501"), "{revoked}");
    assert_eq!(revoked.class(), Class::Retryable);
}

#[tokio::test]
async fn a_password_is_checked_by_the_server_and_shown_by_nobody() {
    let server = Postgres::start().unwrap();
    let hba = value(&server, "SHOW hba_file");
    server
        .execute(&format!(
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE teller SUPERUSER LOGIN PASSWORD 'sesame';
             COPY (VALUES ('local all all trust'), ('host all all all scram-sha-256')) TO '{hba}';
             SELECT pg_reload_conf()"
        ))
        .unwrap();
    let base = Options { user: "teller".into(), ..options(&server) };
    let right = Options { password: Some("sesame".into()), ..base.clone() };
    // The server reads its file a moment after it was told to.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let wrong = Options { password: Some("secret-but-wrong".into()), ..base.clone() };
    let error = loop {
        match try_open(&wrong).await {
            Err(error) => break error,
            Ok(_) => assert!(std::time::Instant::now() < end),
        }
    };
    assert!(error.to_string().contains("SQLSTATE 28P01]; give the right password"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(error.class(), Class::Fatal);
    let remedy = "password missing; give the right password (POSTGRES_PASSWORD, or in the URL)";
    fatal(try_open(&base).await, remedy);
    open(&right).await;
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let server = shared();
    server
        .execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        .unwrap();
    let latin = Options { dbname: "latin".into(), ..options(server) };
    fatal(migrate(&latin).await, "keeps text as LATIN1");
}
