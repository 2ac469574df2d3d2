//! How the link is protected.

use crate::fixture;
use crate::fixture::{open, options_at, rows, shared, try_open, value};
use model::{Class, Classify};
use store::Settlement;
use store_postgres::{Options, SslMode, inspect};
use testbed::Postgres;

async fn refused(options: &Options, says: &str) {
    let error = try_open(options).await.unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.class(), Class::Fatal, "{error}");
}

#[tokio::test]
async fn a_server_with_tls_is_reached_by_each_mode_that_takes_it_as_it_is() {
    let server = Postgres::start_tls().unwrap();
    let base = options_at(&server.url());
    let verified =
        Options { sslmode: SslMode::VerifyFull, ca_file: Some(server.ca_file()), ..base.clone() };
    let by_name =
        Options { hosts: vec![("localhost".into(), base.hosts[0].1)], ..verified.clone() };
    let preferred = Options { sslmode: SslMode::Prefer, ..base.clone() };
    let required = Options { sslmode: SslMode::Require, ..base.clone() };
    for (nth, options) in (0..).zip([&verified, &by_name, &preferred, &required]) {
        let store = open(options).await;
        let settled = store.payments().settle(rows(nth * 10..nth * 10 + 10)).await;
        assert_eq!(settled, Ok(Settlement::Settled), "{options:?}");
        let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'forebay'";
        assert_eq!(value(&server, encrypted), "t", "{options:?}");
        assert_eq!(inspect::open(options).await.unwrap().check().await, Ok(Vec::new()));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused_by_verify_full() {
    let server = Postgres::start_tls().unwrap();
    let other = Postgres::start_tls().unwrap();
    let base = Options { sslmode: SslMode::VerifyFull, ..options_at(&server.url()) };
    let another_authority = Options { ca_file: Some(other.ca_file()), ..base.clone() };
    refused(&another_authority, "TLS").await;
    // Whether this machine trusts nobody, or others.
    let no_authority = Options { ca_file: None, ..base.clone() };
    assert_eq!(fixture::class_of(try_open(&no_authority).await), Class::Fatal);
    // It leads to the same server, but no certificate can be made out to it.
    let another_name = Options {
        hosts: vec![("127.1".into(), base.hosts[0].1)],
        ca_file: Some(server.ca_file()),
        ..base.clone()
    };
    refused(&another_name, "TLS").await;
    let no_file = Options { ca_file: Some("/nowhere/ca.pem".into()), ..base };
    refused(&no_file, "ca_file: /nowhere/ca.pem").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required_and_reached_where_it_is_preferred() {
    let base = options_at(&shared().url());
    let required = Options { sslmode: SslMode::Require, ..base.clone() };
    refused(&required, "server does not support TLS").await;
    let preferred = Options { sslmode: SslMode::Prefer, ..base.clone() };
    open(&preferred).await.close().await.unwrap();
    let disabled = Options { sslmode: SslMode::Disable, ..base };
    open(&disabled).await.close().await.unwrap();
    let server = Postgres::start_tls().unwrap();
    let disabled = Options { sslmode: SslMode::Disable, ..options_at(&server.url()) };
    refused(&disabled, "SQLSTATE 28000").await;
}
