//! Several processes hold events of one shard: a batch relies on a fence in the store.

use super::fake::Other;
use super::*;

fn of_shard(shard: u32, mut batch: Vec<Envelope>) -> Vec<Envelope> {
    for envelope in &mut batch {
        (envelope.term, envelope.shard) = (1, Some(shard));
    }
    batch
}

async fn in_process(process: u32, store: &Arc<Fake>) -> Handler {
    let port: Arc<dyn Payments> = Arc::new(Other { store: Arc::clone(store), process });
    Handler::open(port, &**store, guard(), Ruleset::default(), 1_000).await.unwrap()
}

/// The buffer's server went back in time: it gave the shard away and forgot what the first process
/// holds. So neither the buffer nor a duplicate tells the second one of the first one's payments.
#[tokio::test]
async fn payments_that_another_process_settles_late_are_counted_by_the_new_owner() {
    let store = Arc::new(Fake::default());
    let mut stalled = in_process(1, &store).await.lane();
    let mut owner = in_process(2, &store).await.lane();
    assert_eq!(outcomes(&mut stalled, &of_shard(3, seconds(0, 1))).await, "s");
    assert_eq!(outcomes(&mut owner, &of_shard(3, seconds(1, 2))).await, "s");
    assert_eq!(outcomes(&mut stalled, &of_shard(3, seconds(2, 4))).await, "ss");
    assert_eq!(outcomes(&mut owner, &of_shard(3, seconds(4, 5))).await, "s");
    assert_eq!(flagged(&store), ["tx-4"]);
    // The stalled one, too, reads again what the owner has settled.
    assert_eq!(outcomes(&mut stalled, &of_shard(3, seconds(5, 6))).await, "s");
    assert_eq!(flagged(&store), ["tx-4", "tx-5"]);
}

#[tokio::test]
async fn a_shard_that_stays_with_its_process_is_fenced_once() {
    let store = Arc::new(Fake::default());
    let handler = in_process(1, &store).await;
    let (mut one, mut two) = (handler.lane(), handler.lane());
    store.calls();
    outcomes(&mut one, &of_shard(3, seconds(0, 1))).await;
    outcomes(&mut one, &of_shard(3, seconds(1, 2))).await;
    assert_eq!(store.calls(), "fence histories settle settle");
    // Another lane of the process takes no fence away from the first.
    let other = vec![envelope(&payment(2, 10, NOON_MS, 1))];
    outcomes(&mut two, &of_shard(3, other)).await;
    outcomes(&mut one, &of_shard(3, seconds(2, 3))).await;
    assert_eq!(store.calls(), "fence histories settle settle");
}

/// The shard was taken over and taken back: each lane of the process reads its cards again.
#[tokio::test]
async fn every_lane_of_a_process_reads_its_cards_again_once_the_shard_was_anothers() {
    let store = Arc::new(Fake::default());
    let handler = in_process(1, &store).await;
    let (mut one, mut two) = (handler.lane(), handler.lane());
    let card = |card: usize, from: usize| -> Vec<Envelope> {
        (from..from + 2).map(|nth| envelope(&payment(card, nth, NOON_MS, 1))).collect()
    };
    assert_eq!(outcomes(&mut one, &of_shard(3, card(1, 10))).await, "ss");
    assert_eq!(outcomes(&mut two, &of_shard(3, card(2, 20))).await, "ss");
    let mut other = in_process(2, &store).await.lane();
    assert_eq!(outcomes(&mut other, &of_shard(3, card(1, 12))).await, "ss");
    assert_eq!(outcomes(&mut other, &of_shard(3, card(2, 22))).await, "ss");
    assert_eq!(outcomes(&mut one, &of_shard(3, card(1, 14))).await, "ss");
    assert_eq!(outcomes(&mut two, &of_shard(3, card(2, 24))).await, "ss");
    assert_eq!(flagged(&store), ["tx-14", "tx-15", "tx-24", "tx-25"]);
}

#[tokio::test]
async fn a_batch_of_two_shards_takes_only_the_fence_again_that_was_passed() {
    let store = Arc::new(Fake::default());
    let mut lane = in_process(1, &store).await.lane();
    let both = || {
        let mut batch = of_shard(3, seconds(0, 1));
        batch.extend(of_shard(4, vec![envelope(&payment(2, 10, NOON_MS, 1))]));
        batch
    };
    assert_eq!(outcomes(&mut lane, &both()).await, "ss");
    let mut other = in_process(2, &store).await.lane();
    assert_eq!(outcomes(&mut other, &of_shard(3, seconds(1, 2))).await, "s");
    store.calls();
    let mut batch = of_shard(3, seconds(2, 5));
    batch.extend(of_shard(4, vec![envelope(&payment(2, 11, NOON_MS, 1))]));
    assert_eq!(outcomes(&mut lane, &batch).await, "ssss");
    assert_eq!(store.calls(), "settle fence histories settle");
    assert_eq!(flagged(&store), ["tx-4"]);
}
