//! A PostgreSQL server, harmed in every way there is.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use testbed::Postgres;

fn one(postgres: &Postgres, sql: &str) -> Option<String> {
    postgres.query(sql).unwrap().swap_remove(0).swap_remove(0)
}

/// What the server says to `bytes` over TCP, up to `limit`.
fn answer(postgres: &Postgres, bytes: &[u8], limit: u64) -> Vec<u8> {
    let mut client = TcpStream::connect(postgres.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    client.take(limit).read_to_end(&mut answer).unwrap();
    answer
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A start-up message for `postgres` and `forebay`.
fn hello() -> Vec<u8> {
    let words = b"user\0postgres\0database\0forebay\0\0";
    let length = u32::try_from(words.len() + 8).unwrap().to_be_bytes();
    [&length[..], &[0, 3, 0, 0], words].concat()
}

#[test]
fn it_comes_back_from_a_stop_and_a_kill_with_its_data_on_its_port() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.url();
    assert_eq!(one(&postgres, "SELECT current_database()").as_deref(), Some("forebay"));
    postgres.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (NULL)").unwrap();
    postgres.stop();
    assert!(TcpStream::connect(postgres.address()).is_err());
    postgres.start_again().unwrap();
    let rows = postgres.query("SELECT n FROM t").unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned())], vec![None]]);

    postgres.execute("INSERT INTO t VALUES (2)").unwrap();
    postgres.kill();
    assert!(postgres.execute("SELECT 1").is_err());
    postgres.start_again().unwrap();
    assert_eq!(one(&postgres, "SELECT sum(n) FROM t").as_deref(), Some("3"));
    assert_eq!(postgres.url(), url);
    assert_eq!(answer(&postgres, &hello(), 1), b"R");
}

#[test]
fn two_at_once_share_nothing_and_settings_count() {
    let one_there = Postgres::start().unwrap();
    let other = Postgres::start_with(&[("fsync", "off"), ("max_connections", "20")]).unwrap();
    one_there.execute("CREATE TABLE t (n int)").unwrap();
    let error = other.execute("SELECT * FROM t").unwrap_err().to_string();
    assert!(error.contains("42P01"), "{error}");
    assert_eq!(one(&other, "SHOW fsync").as_deref(), Some("off"));
    assert_eq!(one(&one_there, "SHOW fsync").as_deref(), Some("on"));
    assert_eq!(one(&other, "SHOW max_connections").as_deref(), Some("20"));
    let error = Postgres::start_with(&[("shared_buffers", "lots")]).unwrap_err();
    assert!(format!("{error:#}").contains("shared_buffers"), "{error:#}");
}

#[test]
fn a_paused_one_answers_nothing_even_where_it_was_at_work_until_it_goes_on() {
    let postgres = Postgres::start().unwrap();
    let (say, heard) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            postgres.execute("CREATE SEQUENCE begun; SELECT nextval('begun')").unwrap();
            say.send("begun").unwrap();
            postgres.execute("SELECT pg_sleep(0.2)").unwrap();
            say.send("done").unwrap();
        });
        heard.recv().unwrap();
        while one(&postgres, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            .as_deref()
            == Some("0")
        {
            thread::sleep(Duration::from_millis(1));
        }
        postgres.pause();
        assert!(heard.recv_timeout(Duration::from_millis(600)).is_err());
        postgres.resume();
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "done");
    });
}

#[test]
fn one_with_tls_is_reached_in_no_other_way() {
    let plain = Postgres::start().unwrap();
    assert_eq!(answer(&plain, &SSL_REQUEST, 1), b"N");
    let tls = Postgres::start_tls().unwrap();
    assert_eq!(answer(&tls, &SSL_REQUEST, 1), b"S");
    let refused = String::from_utf8_lossy(&answer(&tls, &hello(), 500)).into_owned();
    assert!(refused.contains("no encryption"), "{refused}");
    assert!(std::fs::read_to_string(tls.ca_file()).unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(one(&tls, "SHOW ssl").as_deref(), Some("on"));
}
