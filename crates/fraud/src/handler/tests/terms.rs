//! Where several processes settle, each one's care for a card comes in terms.

use super::*;

fn in_term(term: u64, mut batch: Vec<Envelope>) -> Vec<Envelope> {
    batch.iter_mut().for_each(|envelope| envelope.term = term);
    batch
}

#[tokio::test]
async fn what_was_learnt_in_another_term_is_read_again() {
    let store = Arc::new(Fake::default());
    let mut ours = open(&store).await.lane();
    assert_eq!(outcomes(&mut ours, &in_term(1, seconds(0, 2))).await, "ss");
    // Meanwhile the card was another process's.
    let mut theirs = open(&store).await.lane();
    assert_eq!(outcomes(&mut theirs, &in_term(1, seconds(2, 4))).await, "ss");
    store.calls();
    // Five within the minute, of which we have seen three.
    assert_eq!(outcomes(&mut ours, &in_term(2, seconds(4, 5))).await, "s");
    assert_eq!(store.calls(), "histories settle");
    assert_eq!(flagged(&store), ["tx-4"]);
}

#[tokio::test]
async fn within_a_term_a_card_is_read_once() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    outcomes(&mut lane, &in_term(3, seconds(0, 1))).await;
    outcomes(&mut lane, &in_term(3, seconds(1, 4))).await;
    assert_eq!(store.calls(), "is_empty histories settle settle");
}

/// It was empty when this process looked; another may have settled since.
#[tokio::test]
async fn a_store_that_was_empty_at_the_start_is_still_asked() {
    let store = Arc::new(Fake::default());
    let mut ours = open(&store).await.lane();
    let mut theirs = open(&store).await.lane();
    assert_eq!(outcomes(&mut theirs, &in_term(1, seconds(0, 4))).await, "ssss");
    assert_eq!(outcomes(&mut ours, &in_term(1, seconds(4, 5))).await, "s");
    assert_eq!(flagged(&store), ["tx-4"]);
}

/// Such an event may be in another process's hands than the card's others.
#[tokio::test]
async fn an_event_whose_key_is_not_its_card_is_rejected_where_others_settle_too() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let sent = envelope(&payment(1, 0, NOON_MS, 1_000));
    let keyless = carrying(Event::new(sent.event.id(), b"", sent.event.payload()).unwrap());
    let got = lane.settle(&in_term(1, vec![keyless.clone()])).await.unwrap();
    let Outcome::Rejected(reason) = &got[0] else { panic!("{:?}", got[0]) };
    assert!(reason.starts_with("card_number: is not the key"), "{reason}");
    assert_eq!(outcomes(&mut lane, &[keyless]).await, "s");
}

/// One batch may hold what was leased before and after the card was given away and came back.
#[tokio::test]
async fn a_batch_may_hold_two_terms_of_a_card() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let mut batch = in_term(1, seconds(0, 2));
    batch.extend(in_term(2, seconds(2, 5)));
    assert_eq!(outcomes(&mut lane, &batch).await, "sssss");
    assert_eq!(flagged(&store), ["tx-4"]);
}
