//! A user of Redis that may do what the printed line says and nothing else.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::place::{events, ids, options, receipts, take, until};
use buffer::moving::Moving;
use buffer::{Buffer, Error};
use buffer_redis::{Options, Poll, RedisBuffer, inspect, purge, rights};
use model::clock::System;
use model::route::{Phase, Route};
use testbed::{Redis, RedisCluster};

/// As the user `worker`.
fn as_worker(options: Options) -> Options {
    let mut options = options;
    options.server.user = Some("worker".to_owned());
    options.server.password = Some("s3cret".to_owned());
    options
}

/// Gives redis-cli the printed line as it is, and sets the password.
fn allow(redis: &Redis, options: &Options) {
    let address = redis.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut cli = Command::new("redis-cli");
    cli.args(["-h", host, "-p", port]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cli = cli.spawn().expect("redis-cli comes with redis-server (Debian: redis-tools)");
    let line = format!("{}\n", rights::line(options));
    cli.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let answer = cli.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "OK", "{line}");
    redis.call(&["ACL", "SETUSER", "worker", ">s3cret"]).unwrap();
}

/// What Redis refused, but for CONFIG, which is not needed.
fn refused(redis: &Redis) -> Vec<String> {
    let log = format!("{:?}", redis.call(&["ACL", "LOG"]).unwrap());
    let entries = log.split("reason").skip(1);
    entries.filter(|entry| !entry.contains("config")).map(str::to_owned).collect()
}

/// Every step of a buffer, and every look at one.
async fn everything(options: &Options) {
    let wait = Duration::from_secs(10);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    for n in 0..20 {
        buffer.offer(&events(n..n + 1)).await.unwrap();
    }
    buffer.offer(&events(20..60)).await.unwrap();
    let leased = take(&buffer, 60).await;
    assert_eq!(buffer.extend(&receipts(&leased[..10]), wait).await.unwrap(), 10);
    assert_eq!(buffer.release(&receipts(&leased[10..20]), Duration::ZERO).await.unwrap(), 10);
    let later = Duration::from_millis(50);
    assert_eq!(buffer.release(&receipts(&leased[20..30]), later).await.unwrap(), 10);
    let bad: Vec<_> = leased[30..40].iter().map(|one| (one.receipt, "bad".to_owned())).collect();
    assert_eq!(buffer.bury(&bad).await.unwrap(), 10);
    assert_eq!(buffer.ack(&receipts(&leased[..10])).await.unwrap(), 10);
    assert_eq!(buffer.ack(&receipts(&leased[40..])).await.unwrap(), 20);

    assert_eq!(inspect::dead(options).await.unwrap().len(), 10);
    assert_eq!(inspect::depth(options).await.unwrap().dead, 10);
    assert_eq!(inspect::events(options, 0, 100).await.unwrap().len(), 20);
    assert_eq!(inspect::distribution(options).await.unwrap().members.len(), 1);
    assert_eq!(inspect::obstacles(options).await.unwrap(), Vec::<String>::new());
    inspect::durability(options).await.unwrap();
    assert!(inspect::process_id(options).await.unwrap().is_some());
    let letters = buffer.dead_letters();
    let seqs: Vec<u64> = letters.list(0, 100).await.unwrap().iter().map(|l| l.seq).collect();
    assert_eq!(letters.replay(&seqs[..5]).await.unwrap(), 5);
    assert_eq!(letters.drop_letters(&seqs[5..]).await.unwrap(), 5);

    // A second process takes shards over, and leases again the events that the first one held.
    let other = RedisBuffer::open(options.clone()).await.unwrap();
    let leased = take(&buffer, 25).await;
    let shared = || async {
        let _ = other.lease(1, Duration::ZERO).await;
        let _ = buffer.lease(0, Duration::ZERO).await;
        inspect::distribution(options).await.unwrap().members.len()
    };
    until("both are members", shared, |members| *members == 2).await;
    assert_eq!(buffer.ack(&receipts(&leased[..20])).await.unwrap(), 20);
    buffer.close().await.unwrap();
    drop(buffer);
    let again = take(&other, 5).await;
    assert_eq!(other.ack(&receipts(&again)).await.unwrap(), 5);
    other.close().await.unwrap();
}

/// Keys move from one buffer to the other.
async fn moves(from: &Options, to: &Options) {
    let open = async |options: &Options| RedisBuffer::open(options.clone()).await.unwrap();
    let moving =
        Moving::new(Arc::new(open(from).await), Arc::new(open(to).await), Arc::new(System));
    moving.offer(&events(0..20)).await.unwrap();
    let leased = take(&moving, 20).await;
    moving.ack(&receipts(&leased)).await.unwrap();
    moving.take(1, Route { before: 0, share: 100, phase: Phase::Open }).await;
    moving.offer(&events(20..40)).await.unwrap();
    let leased = take(&moving, 20).await;
    assert!(ids(&leased).contains(&"id-39".to_owned()));
    moving.ack(&receipts(&leased)).await.unwrap();
    moving.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_printed_line_alone_can_do_all_that_a_buffer_does() {
    let redis = Redis::start().unwrap();
    let both = [false, true].map(|stream| {
        let options = options(&redis.address(), stream, 4);
        as_worker(Options { lease_ms: 1_500, poll: Poll::Blocking, ..options })
    });
    for options in &both {
        redis.call(&["ACL", "DELUSER", "worker"]).unwrap();
        allow(&redis, options);
        everything(options).await;
        purge(options).await.unwrap();
        assert_eq!(refused(&redis), Vec::<String>::new());
    }
    // The rights add up where a user has two buffers.
    allow(&redis, &both[0]);
    moves(&both[0], &both[1]).await;
    for options in &both {
        purge(options).await.unwrap();
    }
    assert_eq!(refused(&redis), Vec::<String>::new());
    assert_eq!(redis.call(&["DBSIZE"]).unwrap().integer(), Some(0), "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_is_enough_on_a_cluster_too() {
    let cluster = RedisCluster::start().unwrap();
    for stream in [false, true] {
        let options = options("127.0.0.1:1", stream, 4);
        let options = as_worker(Options { server: crate::place::cluster(&cluster), ..options });
        for node in 0..cluster.addresses().len() {
            cluster.node(node).call(&["ACL", "DELUSER", "worker"]).unwrap();
            allow(cluster.node(node), &options);
        }
        everything(&options).await;
        purge(&options).await.unwrap();
        for node in 0..cluster.addresses().len() {
            assert_eq!(refused(cluster.node(node)), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_at_once_with_the_line_that_gives_it() {
    let redis = Redis::start().unwrap();
    for stream in [false, true] {
        let options = as_worker(options(&redis.address(), stream, 4));
        let (name, line) = (options.name.clone(), rights::line(&options));
        let check = async |rights: &[&str], told: &str| {
            redis.call(&["ACL", "DELUSER", "worker"]).unwrap();
            let user = ["ACL", "SETUSER", "worker", "on", ">s3cret"];
            redis.call(&[&user[..], rights].concat()).unwrap();
            let opened = RedisBuffer::open(options.clone()).await.err().unwrap();
            let looked = inspect::obstacles(&options).await.unwrap_err();
            for refused in [opened, looked] {
                assert!(matches!(refused, Error::Open(_)), "{refused}");
                let refused = refused.to_string();
                assert!(refused.contains(told) && refused.contains(&line), "{told}: {refused}");
            }
        };
        let (own, beside) = (format!("~{name}"), format!("~{{{name}}}:*"));
        check(&[&own, "+@all"], &format!("has no right to the keys {{{name}}}:*;")).await;
        check(&[&beside, "+@all"], &format!("has no right to the keys {name};")).await;
        check(&["+@all"], &format!("the keys {name}, the keys {{{name}}}:*;")).await;
        let (late, shown) = match stream {
            true => ("-xclaim", "has no right to the command xclaim;"),
            false => ("-lmove", "has no right to the command lmove;"),
        };
        check(&["~*", "+@all", late], shown).await;
        check(&["~*", "+@all", "-eval"], "has no right to the command eval;").await;
        // Without it, some figures are unknown.
        redis.call(&["ACL", "SETUSER", "worker", "+@all", "-info"]).unwrap();
        RedisBuffer::open(options.clone()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_is_enough_for_any_name_and_another_database() {
    let redis = Redis::start().unwrap();
    for (stream, name) in [(false, "my q*x"), (true, "it's \"a\" [\\é?]\t\u{1}^b\r\n")] {
        let mut options = as_worker(options(&redis.address(), stream, 4));
        options.server.db = 1;
        let options =
            Options { name: name.to_owned(), lease_ms: 1_500, poll: Poll::Blocking, ..options };
        redis.call(&["ACL", "DELUSER", "worker"]).unwrap();
        allow(&redis, &options);
        everything(&options).await;
        purge(&options).await.unwrap();
        assert_eq!(refused(&redis), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_to_select_the_database_is_named_at_once() {
    let redis = Redis::start().unwrap();
    let mut options = as_worker(options(&redis.address(), false, 4));
    options.server.db = 1;
    let user = ["ACL", "SETUSER", "worker", "on", ">s3cret", "~*", "+@all", "-select"];
    redis.call(&user).unwrap();
    let line = rights::line(&options);
    assert!(line.contains(" +select "), "{line}");
    let opened = RedisBuffer::open(options.clone()).await.err().unwrap();
    let looked = inspect::obstacles(&options).await.unwrap_err();
    for refused in [opened, looked] {
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        let told = format!(
            "the user worker has no right to the command select; run in redis-cli, on each node: {line}"
        );
        assert!(refused.to_string().contains(&told), "{refused}");
    }
    let looked = inspect::depth(&options).await.unwrap_err().to_string();
    assert!(looked.contains("may not use the command select;"), "{looked}");
    redis.call(&["ACL", "SETUSER", "worker", "+select"]).unwrap();
    RedisBuffer::open(options.clone()).await.unwrap();

    options.server.db = 99;
    let refused = RedisBuffer::open(options).await.err().unwrap();
    let told = matches!(&refused, Error::Open(why) if why.contains("DB index is out of range"));
    assert!(told, "no wait mends it: {refused}");
}
