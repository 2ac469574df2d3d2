//! Where both servers are is told by the variables that other tools read as well.

use std::process::Command;

use testbed::{Postgres, Redis};

use crate::layout::{Layout, NAME};
use crate::process::Process;
use crate::rig::{Rig, binary};
use crate::steps::{CARD, payment, until, wait};

/// Whom PostgreSQL lets in over TCP, and with what: in a URL it would have to be written otherwise.
const ROLE: &str = "teller";
const PASSWORD: &str = "open/sesame: 100% @home?";
/// Neither is what is taken where nothing is said.
const SCHEMA: &str = "payments";
const BATCH_MAX: usize = 10;
/// With one card, so that without a bound they would be one batch.
const PAYMENTS: usize = 200;

/// The command, with variables that name these servers.
fn with_variables(
    mut command: Command,
    redis: &Redis,
    postgres: &Postgres,
    password: &str,
) -> Command {
    let port = |address: String| address.rsplit(':').next().unwrap().to_owned();
    command
        .env("POSTGRES_HOST", "127.0.0.1")
        .env("POSTGRES_PORT", port(postgres.address()))
        .env("POSTGRES_USER", ROLE)
        .env("POSTGRES_PASSWORD", password)
        .env("POSTGRES_DB", "forebay")
        .env("POSTGRES_SCHEMA", SCHEMA)
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", port(redis.address()))
        .env("BATCH_SIZE", BATCH_MAX.to_string());
    command
}

/// A PostgreSQL that asks whoever comes over TCP for a password.
fn guarded() -> Postgres {
    let postgres = Postgres::start().unwrap();
    let rules = postgres.query("SHOW hba_file").unwrap()[0][0].clone().unwrap();
    postgres
        .execute(&format!(
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}';
             GRANT CREATE ON DATABASE forebay TO {ROLE};
             COPY (VALUES ('local all all trust'), ('host all all all scram-sha-256')) TO '{rules}'"
        ))
        .unwrap();
    // The rules are read at the start.
    postgres.stop();
    postgres.start_again().unwrap();
    postgres
}

/// The only figure that a query comes to.
fn figure(postgres: &Postgres, sql: &str) -> usize {
    postgres.query(sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

#[test]
fn by_the_variables_of_other_tools_alone_payments_are_settled_behind_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let (redis, postgres) = (Redis::start().unwrap(), guarded());
    let command = |args: &[&str], password: &str| {
        let mut command = binary(dir.path());
        command.args(args);
        with_variables(command, &redis, &postgres, password)
    };
    let guessed = command(&["store", "migrate"], "a guess").output().unwrap();
    let said = String::from_utf8_lossy(&guessed.stderr).into_owned();
    assert_eq!(guessed.status.code(), Some(1), "{said}");
    assert!(said.contains("give the right password") && !said.contains("a guess"), "{said}");
    let migrated = command(&["store", "migrate"], PASSWORD).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let mut checked = command(&["config", "check", "--set", "http.bind=127.0.0.1:0"], PASSWORD);
    let checked = checked.output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.contains(&format!("list {NAME} at {}", redis.address())), "{said}");
    assert!(said.contains(&format!("{}/forebay, schema {SCHEMA}", postgres.address())), "{said}");

    for n in 0..PAYMENTS {
        let push = payment(&format!("tx-{n}"), CARD, "Cafe");
        redis.call(&["LPUSH", NAME, &push]).unwrap();
    }
    // Where it listens none of them says.
    let serve = command(&["serve", "--bind", "127.0.0.1:0"], PASSWORD);
    let mut server = Process::spawn(serve, dir.path(), "server");
    server.address();
    until("all are settled", || {
        server.must_live();
        figure(&postgres, &format!("SELECT count(*) FROM {SCHEMA}.transactions")) == PAYMENTS
    });
    // The rows of one transaction bear its number.
    let largest = format!(
        "SELECT max(batch.size) FROM \
         (SELECT count(*) AS size FROM {SCHEMA}.transactions GROUP BY xmin::text) AS batch"
    );
    let largest = figure(&postgres, &largest);
    assert!(largest <= BATCH_MAX, "{largest} were settled together");
    server.terminate();
}

#[test]
fn a_file_that_names_other_servers_wins_over_the_variables_of_other_tools() {
    let rig = Rig::start(Layout::List);
    let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let (buffer, store) = (rig.buffer_url(), rig.postgres.url());
    let text =
        format!("buffer = \"{buffer}\"\nstore = \"{store}\"\n[http]\nbind = \"127.0.0.1:0\"\n");
    std::fs::write(rig.dir().join("forebay.toml"), text).unwrap();
    redis.call(&["LPUSH", NAME, &payment("theirs", CARD, "Cafe")]).unwrap();
    rig.redis().call(&["LPUSH", NAME, &payment("ours", CARD, "Cafe")]).unwrap();
    let mut serve = binary(rig.dir());
    serve.arg("serve");
    let serve = with_variables(serve, &redis, &postgres, "unused");
    let mut server = Process::spawn(serve, rig.dir(), "server");
    server.address();
    wait(&rig, 1, 0);
    let settled = rig.postgres.query("SELECT tx_id FROM fds.transactions").unwrap();
    assert_eq!(settled, [[Some("ours".to_owned())]]);
    server.terminate();
    assert_eq!(redis.call(&["KEYS", "*"]).unwrap().array().len(), 1, "no more than was there");
    assert_eq!(redis.call(&["LLEN", NAME]).unwrap().integer(), Some(1));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('fds', 'payments')";
    assert_eq!(figure(&postgres, schemas), 0);
}
