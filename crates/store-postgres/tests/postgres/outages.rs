//! What happens when the server, or the link to it, fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fixture::{
    class_of, commit_sleeps, commit_waits, commits_held, commits_sleep, commits_wake, count,
    eventually, open, options, rows, session, shared, through, try_open, until, value,
};
use model::Class;
use store::Settlement;
use store::conformance::duplicates;
use store_postgres::{Options, inspect};
use testbed::{Fault, Postgres, Proxy};

/// Whether this program's sessions are in the middle of something, as the server sees it.
const BUSY: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE application_name = 'forebay' AND state <> 'idle')";

fn all(count: usize) -> Settlement {
    duplicates(0..count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stopped_in_the_middle_of_a_batch_is_an_outage_and_nothing_is_there_twice() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let store = Arc::new(open(&options).await);
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    commits_sleep(&server, &options).await;
    let settling = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.payments().settle(rows(10..20)).await }
    });
    commit_sleeps(&server).await;
    server.stop();
    assert_eq!(class_of(settling.await.unwrap()), Class::Retryable);
    assert_eq!(class_of(store.payments().settle(rows(10..20)).await), Class::Retryable);
    assert_eq!(class_of(store.payments().is_empty().await), Class::Retryable);
    server.start_again().unwrap();
    commits_wake(&server, &options);
    assert_eq!(eventually(&store, &rows(10..20)).await, Ok(Settlement::Settled));
    assert_eq!(eventually(&store, &rows(0..20)).await, Ok(all(20)));
    assert_eq!(count(&server, &options), "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_before_the_commit_has_nothing_of_the_batch() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let store = Arc::new(open(&options).await);
    let _held = commits_held(&server, &options).await;
    let settling = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.payments().settle(rows(0..500)).await }
    });
    commit_waits(&server).await;
    server.kill();
    assert_eq!(class_of(settling.await.unwrap()), Class::Retryable);
    server.start_again().unwrap();
    assert_eq!(count(&server, &options), "0");
    assert_eq!(eventually(&store, &rows(0..500)).await, Ok(Settlement::Settled));
    assert_eq!(count(&server, &options), "500");
}

/// The commit's answer is swallowed; then, in the second round, the server is killed as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_to_be_there_by_the_next_attempt() {
    for kill in [false, true] {
        let server = Postgres::start().unwrap();
        let proxy = Proxy::start(&server.address()).unwrap();
        let direct = Options { statement_timeout_ms: 1_000, ..options(&server) };
        let store = Arc::new(open(&through(&proxy, &direct)).await);
        let held = commits_held(&server, &direct).await;
        let settling = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.payments().settle(rows(0..50)).await }
        });
        commit_waits(&server).await;
        proxy.set(Fault::DropReplies);
        // The proxy says that a fault takes some milliseconds; the commit is let go after that.
        tokio::time::sleep(Duration::from_millis(100)).await;
        held.batch_execute("SELECT pg_advisory_unlock(4711)").await.unwrap();
        let there = format!("SELECT count(*) = 50 FROM {}.transactions", direct.schema);
        until(&server, &there).await;
        assert_eq!(class_of(settling.await.unwrap()), Class::Retryable);
        if kill {
            server.kill();
            server.start_again().unwrap();
        }
        proxy.set(Fault::None);
        assert_eq!(eventually(&store, &rows(0..50)).await, Ok(all(50)));
        assert_eq!(count(&server, &direct), "50");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_half_open_is_an_outage_within_the_bound() {
    let server = Postgres::start().unwrap();
    let proxy = Proxy::start(&server.address()).unwrap();
    let direct = Options { statement_timeout_ms: 500, ..options(&server) };
    let store = open(&through(&proxy, &direct)).await;
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    proxy.set(Fault::HalfOpen);
    // The first finds a connection that is silent, the second can't make one.
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(class_of(store.payments().settle(rows(10..20)).await), Class::Retryable);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    proxy.set(Fault::None);
    let settled = eventually(&store, &rows(10..20)).await.unwrap();
    // What was sent into the silence may have arrived after it.
    assert!(settled == Settlement::Settled || settled == all(10), "{settled:?}");
    assert_eq!(count(&server, &direct), "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen_is_an_outage_within_the_bound() {
    let server = Postgres::start().unwrap();
    let options = Options { statement_timeout_ms: 500, ..options(&server) };
    let store = open(&options).await;
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    server.pause();
    let began = Instant::now();
    assert_eq!(class_of(store.payments().settle(rows(0..10)).await), Class::Retryable);
    assert_eq!(class_of(store.payments().is_empty().await), Class::Retryable);
    assert_eq!(class_of(try_open(&options).await), Class::Retryable);
    assert_eq!(class_of(inspect::open(&options).await), Class::Retryable);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.resume();
    assert_eq!(eventually(&store, &rows(0..10)).await, Ok(all(10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_are_made_anew() {
    let server = shared();
    let proxy = Proxy::start(&server.address()).unwrap();
    let direct = options(server);
    let store = open(&through(&proxy, &direct)).await;
    for n in 0..5 {
        let batch = rows(n * 10..n * 10 + 10);
        assert_eq!(eventually(&store, &batch).await, Ok(Settlement::Settled));
        proxy.cut();
    }
    assert_eq!(eventually(&store, &rows(0..50)).await, Ok(all(50)));
    proxy.set(Fault::Refuse);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(class_of(store.payments().settle(rows(50..60)).await), Class::Retryable);
    proxy.set(Fault::None);
    assert_eq!(eventually(&store, &rows(50..60)).await, Ok(Settlement::Settled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_locked_makes_the_store_unavailable_in_time_and_leaves_nothing_running() {
    let server = Postgres::start().unwrap();
    let options = Options { statement_timeout_ms: 300, ..options(&server) };
    let store = open(&options).await;
    let other = session(&server).await;
    let lock = format!("BEGIN; LOCK TABLE {}.transactions", options.schema);
    other.batch_execute(&lock).await.unwrap();
    let began = Instant::now();
    let refused = store.payments().settle(rows(0..10)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    assert!(refused.to_string().contains("SQLSTATE 57014"), "{refused}");
    assert_eq!(class_of::<()>(Err(refused)), Class::Retryable);
    assert_eq!(class_of(store.payments().is_empty().await), Class::Retryable);
    until(&server, &format!("SELECT NOT ({BUSY})")).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_is_cancelled_on_the_server_long_before_its_timeout() {
    let server = Postgres::start().unwrap();
    let options = options(&server);
    let store = open(&options).await;
    let other = session(&server).await;
    let lock = format!("BEGIN; LOCK TABLE {}.transactions", options.schema);
    other.batch_execute(&lock).await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE application_name = 'forebay' AND wait_event_type = 'Lock')";
    tokio::select! {
        settled = store.payments().settle(rows(0..10)) => panic!("the table is locked: {settled:?}"),
        () = until(&server, waits) => {}
    }
    let began = Instant::now();
    until(&server, &format!("SELECT NOT ({BUSY})")).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    assert_eq!(count(&server, &options), "10");
}

/// More calls than connections: each waits for its turn, or says in time that it had none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_connection_has_an_end() {
    let server = shared();
    let options = Options { pool_max: 1, statement_timeout_ms: 60_000, ..options(server) };
    let store = Arc::new(open(&options).await);
    let batches = (0..20).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.payments().settle(rows(n * 10..n * 10 + 10)).await })
    });
    for batch in batches.collect::<Vec<_>>() {
        assert_eq!(batch.await.unwrap(), Ok(Settlement::Settled));
    }
    store.close().await.unwrap();
    let options = Options { statement_timeout_ms: 200, ..options };
    let store = Arc::new(open(&options).await);
    let other = session(server).await;
    let lock = format!("BEGIN; LOCK TABLE {}.transactions", options.schema);
    other.batch_execute(&lock).await.unwrap();
    let began = Instant::now();
    let calls = (0..12).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.payments().settle(rows(1_000 + n..1_001 + n)).await })
    });
    let mut crowded = 0;
    for call in calls.collect::<Vec<_>>() {
        let error = call.await.unwrap().unwrap_err();
        crowded += usize::from(error.to_string().contains("all 1 connections were in use"));
        assert_eq!(class_of::<()>(Err(error)), Class::Retryable);
    }
    assert!(crowded > 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_waits_for_what_runs_and_refuses_the_rest() {
    let server = shared();
    let options = options(server);
    let store = Arc::new(open(&options).await);
    let calls = (0..8).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.payments().settle(rows(n * 100..n * 100 + 100)).await })
    });
    let calls: Vec<_> = calls.collect();
    tokio::task::yield_now().await;
    let (first, second) = tokio::join!(store.close(), store.close());
    assert_eq!((first, second), (Ok(()), Ok(())));
    let mut settled = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => settled += 100,
            Err(error) => assert_eq!(class_of::<()>(Err(error)), Class::Fatal),
        }
    }
    assert_eq!(count(server, &options), settled.to_string());
    assert_eq!(class_of(store.payments().settle(rows(0..1)).await), Class::Fatal);
    assert_eq!(class_of(store.payments().is_empty().await), Class::Fatal);
    let sessions = format!(
        "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid IN
         (SELECT pid FROM pg_stat_activity WHERE query LIKE '%{}.settling_term%'))",
        options.schema
    );
    assert_eq!(value(server, &sessions), "t");
}
