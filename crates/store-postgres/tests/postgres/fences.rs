//! Several processes settle payments of one shard: each finds out that another has.

use std::sync::Arc;
use std::time::Duration;

use store::{Fence, Settlement};
use store_postgres::Options;

use crate::fixture::{count, open, options, rows, session, shared};

/// Far longer than a fence takes that nothing holds up.
const HELD_UP: Duration = Duration::from_millis(500);

fn beside_others(options: &Options) -> Options {
    Options { exclusive: false, ..options.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_shard_was_taken_over_writes_nothing_until_it_takes_a_fence_again() {
    let server = shared();
    let options = beside_others(&options(server));
    let (one, other) = (open(&options).await, open(&options).await);
    let first = one.payments().fence(&[4, 5]).await.unwrap();
    assert_eq!(one.payments().settle_fenced(rows(0..1), &first).await, Ok(Settlement::Settled));
    let taken = other.payments().fence(&[4]).await.unwrap();
    assert_eq!(taken, [Fence { shard: 4, token: 2 }]);
    let refused = Ok(Settlement::Fenced(vec![4]));
    assert_eq!(one.payments().settle_fenced(rows(1..2), &first).await, refused);
    assert_eq!(count(server, &options), "1");
    // Both hold events of the shard: whichever settles, the other one is told.
    let second = one.payments().fence(&[4]).await.unwrap();
    assert_eq!(second, [Fence { shard: 4, token: 3 }]);
    assert_eq!(one.payments().settle_fenced(rows(1..2), &second).await, Ok(Settlement::Settled));
    assert_eq!(other.payments().settle_fenced(rows(2..3), &taken).await, refused);
    // The other shard is still the first one's.
    let left: Vec<Fence> = first.into_iter().filter(|fence| fence.shard == 5).collect();
    assert_eq!(one.payments().settle_fenced(rows(2..3), &left).await, Ok(Settlement::Settled));
    assert_eq!(count(server, &options), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_taken_over_only_when_no_batch_of_its_former_owner_is_under_way() {
    let server = shared();
    let options = beside_others(&options(server));
    let (one, other) = (Arc::new(open(&options).await), Arc::new(open(&options).await));
    let fences = one.payments().fence(&[9]).await.unwrap();
    // A table that is locked holds the batch up after it has read its fence.
    let blocking = session(server).await;
    let lock = format!("BEGIN; LOCK TABLE {}.transactions IN SHARE MODE", options.schema);
    blocking.batch_execute(&lock).await.unwrap();
    let batch = rows(0..1);
    let card = batch[0].card_fingerprint;
    let settling = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.payments().settle_fenced(batch, &fences).await }
    });
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY \"{}\"%'",
        options.schema
    );
    while server.query(&waiting).unwrap()[0][0].as_deref() == Some("0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut taking = tokio::spawn({
        let other = Arc::clone(&other);
        async move { other.payments().fence(&[9]).await }
    });
    assert!(tokio::time::timeout(HELD_UP, &mut taking).await.is_err(), "the batch is under way");
    // Another shard waits for nothing.
    assert_eq!(other.payments().fence(&[8]).await.unwrap().len(), 1);
    blocking.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(taking.await.unwrap(), Ok(vec![Fence { shard: 9, token: 2 }]));
    let histories = other.payments().histories(&[card], 8).await.unwrap();
    assert_eq!(histories[0].count, 1, "what is read after the fence has the batch");
    assert_eq!(settling.await.unwrap(), Ok(Settlement::Settled));
}
