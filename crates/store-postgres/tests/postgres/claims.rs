//! Who may settle into a store.

use std::sync::Arc;

use crate::fixture;
use crate::fixture::{class_of, count, eventually, open, options, rows, shared, through, try_open};
use model::Class;
use store::{Claimed, Settlement};
use store_postgres::Options;
use testbed::{Fault, Proxy};

const SHARES: bool = false;
const ALONE: bool = true;

fn with(options: &Options, exclusive: bool) -> Options {
    Options { exclusive, connect_timeout_ms: 300, ..options.clone() }
}

async fn refused(options: &Options, exclusive: bool) {
    let error = try_open(&with(options, exclusive)).await.unwrap_err();
    assert!(error.to_string().contains("another process settles into this store"), "{error}");
    assert_eq!(class_of::<()>(Err(error)), Class::Fatal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_one_process_has_for_itself_is_opened_by_no_other() {
    let options = options(shared());
    let store = open(&with(&options, ALONE)).await;
    refused(&options, ALONE).await;
    refused(&options, SHARES).await;
    // Another schema is another store.
    open(&with(&fixture::options(shared()), ALONE)).await;
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    store.close().await.unwrap();
    let store = open(&with(&options, ALONE)).await;
    assert_eq!(store.payments().settle(rows(3..6)).await, Ok(Settlement::Settled));
    // Dropped, not closed: the lock is let go a moment later.
    drop(store);
    let options = Options { connect_timeout_ms: 10_000, ..with(&options, SHARES) };
    try_open(&options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_store_settle_each_payment_once() {
    let options = options(shared());
    let options = with(&options, SHARES);
    let stores = [open(&options).await, open(&options).await].map(Arc::new);
    refused(&options, ALONE).await;
    let settling: Vec<_> =
        (0..6).map(|n| tokio::spawn(settle_all(Arc::clone(&stores[n % 2]), n))).collect();
    let mut settled = 0;
    for settling in settling {
        settled += settling.await.unwrap();
    }
    assert_eq!(settled, 300);
    assert_eq!(count(shared(), &options), "300");
    for store in stores {
        store.close().await.unwrap();
    }
    open(&with(&options, ALONE)).await;
}

/// Settles 300 payments in overlapping batches; how many it was told are settled.
async fn settle_all(store: Arc<Claimed>, seed: usize) -> usize {
    let mut settled = 0;
    for begin in (0..300_i64).step_by(10 + seed) {
        let mut batch = rows(begin..(begin + 20).min(300));
        while !batch.is_empty() {
            match eventually(&store, &batch).await.unwrap() {
                Settlement::Settled => {
                    settled += batch.len();
                    break;
                }
                Settlement::Duplicates(named) => {
                    assert!(!named.is_empty());
                    named.into_iter().rev().for_each(|one| drop(batch.remove(one.index)));
                }
                Settlement::Fenced(shards) => panic!("{shards:?}"),
            }
        }
    }
    settled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_lost_is_taken_again() {
    let server = shared();
    let options = options(server);
    for exclusive in [ALONE, SHARES] {
        let store = open(&with(&options, exclusive)).await;
        let holders = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE
             '%\"{}\".settling_term SET%' AND pid <> pg_backend_pid()",
            options.schema
        );
        assert_eq!(server.query(&holders).unwrap(), [[Some("t".to_owned())]]);
        // Until this is noticed, the batch's own look at the term stands in for the lock.
        let start = if exclusive { 0 } else { 100 };
        for n in start..start + 50 {
            let settled = eventually(&store, &rows(n..n + 1)).await;
            assert_eq!(settled, Ok(Settlement::Settled));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        if exclusive {
            refused(&options, SHARES).await;
        } else {
            refused(&options, ALONE).await;
        }
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_while_another_settled_never_settles_again() {
    for exclusive in [ALONE, SHARES] {
        let server = shared();
        let direct = options(server);
        let proxy = Proxy::start(&server.address()).unwrap();
        let old = open(&with(&through(&proxy, &direct), ALONE)).await;
        assert_eq!(old.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
        proxy.set(Fault::Refuse);
        let new = Options { connect_timeout_ms: 10_000, ..with(&direct, exclusive) };
        let new = open(&new).await;
        assert_eq!(new.payments().settle(rows(3..6)).await, Ok(Settlement::Settled));
        assert_eq!(class_of(old.payments().settle(rows(6..9)).await), Class::Retryable);
        new.close().await.unwrap();
        proxy.set(Fault::None);
        let error = eventually(&old, &rows(6..9)).await.unwrap_err();
        assert!(error.to_string().contains("or has meanwhile"), "{error}");
        assert_eq!(class_of::<()>(Err(error)), Class::Fatal);
        assert_eq!(count(server, &direct), "6");
        old.close().await.unwrap();
    }
}

/// However long it takes until the loss of the lock is noticed here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_itself_finds_out_that_the_term_is_anothers() {
    let server = shared();
    let options = options(server);
    let store = open(&with(&options, ALONE)).await;
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    server
        .execute(&format!("UPDATE {}.settling_term SET term = term + 1", options.schema))
        .unwrap();
    assert_eq!(class_of(store.payments().settle(rows(3..6)).await), Class::Fatal);
    assert_eq!(count(server, &options), "3");
}
