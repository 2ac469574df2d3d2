mod counted;
mod disturbed;
mod fake;
mod fences;
mod terms;

use buffer::{Envelope, Receipt};
use engine::{Failure, Handler as _, Lane, Outcome};
use model::payment::Tier;
use model::{Event, Payment};
use store::Error as StoreError;

use super::*;
use fake::{Fake, Fault};

/// 2026-05-01T12:00:00+09:00.
const NOON_MS: i64 = 1_777_604_400_000;

fn guard() -> Arc<Guard> {
    Arc::new(Guard::new(&[7; 32], false))
}

async fn open(store: &Arc<Fake>) -> Handler {
    open_with(store, Ruleset::default()).await.unwrap()
}

async fn open_with(store: &Arc<Fake>, ruleset: Ruleset) -> Result<Handler, Error> {
    let port: Arc<dyn Payments> = Arc::clone(store) as _;
    Handler::open(port, &**store, guard(), ruleset, 1_000).await
}

fn payment(card: usize, nth: usize, at_ms: i64, amount: i64) -> Payment<'static> {
    Payment {
        tx_id: format!("tx-{nth}").into(),
        card_number: format!("4000{card:012}").into(),
        user_id: "u-1".into(),
        tier: Tier::Normal,
        amount,
        merchant: "m".into(),
        category: "coffee".into(),
        created_at_ms: at_ms,
    }
}

fn envelope(payment: &Payment<'_>) -> Envelope {
    let mut json = Vec::new();
    payment.to_json(&mut json);
    carrying(payment.event(&json).unwrap())
}

fn carrying(event: Event) -> Envelope {
    let receipt = Receipt { seq: 0, epoch: 0 };
    Envelope { receipt, accepted_at_ms: NOON_MS, attempt: 1, term: 0, shard: None, event }
}

/// Payments `from..to` of one card, a second apart.
fn seconds(from: usize, to: usize) -> Vec<Envelope> {
    let at_ms = |nth: usize| NOON_MS + 1_000 * i64::try_from(nth).unwrap();
    (from..to).map(|nth| envelope(&payment(1, nth, at_ms(nth), 1_000))).collect()
}

fn flagged(store: &Fake) -> Vec<String> {
    let rows = store.rows();
    rows.iter().filter(|row| !row.fraud_rules.is_empty()).map(|row| row.tx_id.clone()).collect()
}

async fn outcomes(lane: &mut Box<dyn Lane>, batch: &[Envelope]) -> String {
    match lane.settle(batch).await {
        Ok(outcomes) => outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Settled => 's',
                Outcome::Duplicate => 'd',
                Outcome::Rejected(_) => 'r',
            })
            .collect(),
        Err(failure) => failure.to_string(),
    }
}

#[tokio::test]
async fn a_settled_payment_is_stored_with_its_verdict_and_without_its_card_number() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    assert_eq!(outcomes(&mut lane, &seconds(0, 5)).await, "sssss");
    let rows = store.rows();
    let last = &rows[4];
    assert_eq!(last.fraud_rules, ["velocity"]);
    let detail = r#"[{"rule":"velocity","observed":5,"threshold":5,"basis":{"window_ms":60000}}]"#;
    assert_eq!(last.fraud_detail.as_deref(), Some(detail));
    assert_eq!((rows[3].fraud_rules.len(), &rows[3].fraud_detail), (0, &None));
    assert_eq!(last.card_fingerprint, guard().fingerprint("4000000000000001"));
    assert_eq!(last.card_number, guard().stored("4000000000000001"));
    assert!(!format!("{last:?}").contains("4000000000000001"));
    assert_eq!((last.tx_id.as_str(), last.ruleset_version), ("tx-4", 1));
    assert_eq!((last.created_at_ms, last.accepted_at_ms), (NOON_MS + 4_000, NOON_MS));
}

#[tokio::test]
async fn a_bad_event_is_rejected_by_field_and_its_neighbours_settle() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let mut batch = seconds(0, 2);
    batch.insert(1, carrying(Event::new(b"x", b"", b"{\"tx_id\": \"\"}").unwrap()));
    batch.push(carrying(Event::new(b"y", b"", b"nonsense").unwrap()));
    let got = lane.settle(&batch).await.unwrap();
    assert_eq!((&got[0], &got[2]), (&Outcome::Settled, &Outcome::Settled));
    let Outcome::Rejected(reason) = &got[1] else { panic!("{:?}", got[1]) };
    assert!(reason.starts_with("tx_id: is 0 bytes"), "{reason}");
    let Outcome::Rejected(reason) = &got[3] else { panic!("{:?}", got[3]) };
    assert!(reason.starts_with("event: is not JSON"), "{reason}");
    assert_eq!(store.rows().len(), 2);
}

#[tokio::test]
async fn a_batch_without_a_good_event_does_not_reach_the_store() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    store.calls();
    assert_eq!(outcomes(&mut lane, &[]).await, "");
    let bad = carrying(Event::new(b"y", b"", b"nonsense").unwrap());
    assert_eq!(outcomes(&mut lane, &[bad]).await, "r");
    assert_eq!(store.calls(), "");
}

#[tokio::test]
async fn event_time_is_held_against_the_time_of_acceptance() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let mut old = envelope(&payment(1, 0, NOON_MS, 1_000));
    old.accepted_at_ms = NOON_MS - model::payment::AHEAD_MS_MAX - 1;
    assert_eq!(outcomes(&mut lane, &[old.clone()]).await, "r");
    old.accepted_at_ms += 1;
    assert_eq!(outcomes(&mut lane, &[old]).await, "s");
}

#[tokio::test]
async fn an_empty_store_is_not_asked_for_histories() {
    let store = Arc::new(Fake::default());
    let handler = open(&store).await;
    let (mut one, mut two) = (handler.lane(), handler.lane());
    outcomes(&mut one, &seconds(0, 2)).await;
    let other = [envelope(&payment(2, 7, NOON_MS, 1)), envelope(&payment(3, 8, NOON_MS, 1))];
    outcomes(&mut two, &other).await;
    assert_eq!(store.calls(), "is_empty settle settle");
}

#[tokio::test]
async fn a_batch_of_unknown_cards_asks_for_all_histories_at_once() {
    let store = Arc::new(Fake::default());
    outcomes(&mut open(&store).await.lane(), &seconds(0, 4)).await;
    let mut lane = open(&store).await.lane();
    store.calls();
    let mut batch = seconds(4, 6);
    batch.push(envelope(&payment(2, 7, NOON_MS, 1)));
    assert_eq!(outcomes(&mut lane, &batch).await, "sss");
    assert_eq!(outcomes(&mut lane, &seconds(8, 9)).await, "s");
    assert_eq!(store.calls(), "histories settle settle");
    assert_eq!(flagged(&store), ["tx-4", "tx-5", "tx-8"]);
}

#[tokio::test]
async fn a_lane_made_after_another_began_reads_back_what_that_one_settled() {
    let store = Arc::new(Fake::default());
    let handler = open(&store).await;
    let mut lane = handler.lane();
    outcomes(&mut lane, &seconds(0, 4)).await;
    let mut stand_in = handler.lane();
    assert_eq!(outcomes(&mut stand_in, &seconds(4, 5)).await, "s");
    assert_eq!(flagged(&store), ["tx-4"]);
}

#[tokio::test]
async fn what_is_twice_in_a_batch_is_told_without_a_second_round() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let mut batch = seconds(0, 4);
    batch.insert(2, batch[1].clone());
    assert_eq!(outcomes(&mut lane, &batch).await, "ssdss");
    assert_eq!(store.calls(), "is_empty settle");
    assert_eq!(flagged(&store), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_that_comes_again_is_a_duplicate_and_counts_once() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    assert_eq!(outcomes(&mut lane, &seconds(0, 3)).await, "sss");
    assert_eq!(outcomes(&mut lane, &seconds(1, 4)).await, "dds");
    assert_eq!(outcomes(&mut lane, &seconds(0, 4)).await, "dddd");
    assert_eq!(outcomes(&mut lane, &seconds(4, 5)).await, "s");
    assert_eq!(flagged(&store), ["tx-4"]);
}

#[tokio::test]
async fn another_payment_of_a_settled_id_is_rejected_by_the_fields_that_differ() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let first = payment(1, 0, NOON_MS, 12_300);
    assert_eq!(outcomes(&mut lane, &[envelope(&first)]).await, "s");
    let dearer = payment(1, 0, NOON_MS, 99_999);
    let got = lane.settle(&[envelope(&dearer), envelope(&first)]).await.unwrap();
    let reason = "tx_id: another payment has this id and differs in amount; give each payment its \
                  own id";
    assert_eq!(got, [Outcome::Rejected(reason.into()), Outcome::Duplicate]);
    let elsewhere = Payment { merchant: "n".into(), ..payment(2, 0, NOON_MS + 1, 12_300) };
    let got = lane.settle(&[envelope(&elsewhere)]).await.unwrap();
    let Outcome::Rejected(reason) = &got[0] else { panic!("{:?}", got[0]) };
    assert!(reason.contains("differs in card_number, merchant, created_at;"), "{reason}");
    assert_eq!(store.rows().len(), 1);
}

#[tokio::test]
async fn another_payment_of_an_id_of_the_same_batch_is_rejected_with_all_its_copies() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    let of = |amount: i64| envelope(&payment(1, 0, NOON_MS, amount));
    let batch = [of(12_300), of(99_999), of(12_300), of(99_999), of(99_999)];
    assert_eq!(outcomes(&mut lane, &batch).await, "srdrr");
    // Now all of the batch are compared with what is settled.
    let batch = [of(99_999), of(99_999), of(12_300), of(12_300)];
    assert_eq!(outcomes(&mut lane, &batch).await, "rrdd");
    assert_eq!(store.rows().iter().map(|row| row.amount).collect::<Vec<_>>(), [12_300]);
    // The card has one payment, and the fifth fires.
    assert_eq!(outcomes(&mut lane, &seconds(1, 5)).await, "ssss");
    assert_eq!(flagged(&store), ["tx-4"]);
}

#[tokio::test]
async fn the_same_id_on_another_card_is_rejected_and_leaves_that_card_as_it_was() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    outcomes(&mut lane, &seconds(0, 3)).await;
    let mut batch = seconds(3, 4);
    batch.push(envelope(&payment(2, 0, NOON_MS, 1)));
    assert_eq!(outcomes(&mut lane, &batch).await, "sr");
    let others: Vec<_> = (10..15).map(|nth| envelope(&payment(2, nth, NOON_MS, 1))).collect();
    assert_eq!(outcomes(&mut lane, &others).await, "sssss");
    assert_eq!(flagged(&store), ["tx-14"]);
}

#[tokio::test]
async fn a_card_is_read_back_when_the_store_takes_what_the_lane_remembers() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    assert_eq!(outcomes(&mut lane, &seconds(0, 4)).await, "ssss");
    // Somebody deletes rows behind the lane's back; the store is right, and the lane notices.
    store.clear();
    assert_eq!(outcomes(&mut lane, &seconds(3, 4)).await, "s");
    assert_eq!(outcomes(&mut lane, &seconds(4, 5)).await, "s");
    assert_eq!(flagged(&store), Vec::<String>::new());
}

#[tokio::test]
async fn failures_keep_their_class_and_leave_no_trace() {
    let said = || "no".to_owned();
    for (error, expect) in [
        (StoreError::Unavailable(said()), Failure::Unavailable(said())),
        (StoreError::Refused(said()), Failure::Refused(said())),
        (StoreError::Rejected(said()), Failure::Rejected(said())),
        (StoreError::Fatal(said()), Failure::Fatal(said())),
    ] {
        let store = Arc::new(Fake::default());
        let mut lane = open(&store).await.lane();
        outcomes(&mut lane, &seconds(0, 3)).await;
        store.expect(Fault::Before(error.clone()));
        assert_eq!(lane.settle(&seconds(3, 4)).await, Err(expect.clone()));
        // This time it is the history that can't be read.
        store.expect(Fault::Before(error));
        assert_eq!(lane.settle(&seconds(3, 4)).await, Err(expect));
        assert_eq!(outcomes(&mut lane, &seconds(3, 5)).await, "ss");
        assert_eq!(flagged(&store), ["tx-4"]);
    }
}

#[tokio::test]
async fn a_commit_that_went_through_unheard_is_not_applied_again() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    store.expect(Fault::After(StoreError::Unavailable("timed out".to_owned())));
    assert_eq!(outcomes(&mut lane, &seconds(0, 3)).await, "unavailable: timed out");
    assert_eq!(outcomes(&mut lane, &seconds(0, 5)).await, "dddss");
    assert_eq!(flagged(&store), ["tx-4"]);
    assert_eq!(store.rows().len(), 5);
}

#[tokio::test]
async fn a_call_dropped_half_way_leaves_the_lane_as_the_store_is() {
    for fault in [Fault::SilentBefore, Fault::SilentAfter] {
        let store = Arc::new(Fake::default());
        let mut lane = open(&store).await.lane();
        outcomes(&mut lane, &seconds(0, 1)).await;
        store.expect(fault);
        let batch = seconds(1, 3);
        tokio::select! {
            biased;
            got = lane.settle(&batch) => panic!("answered {got:?}"),
            () = store.silent.notified() => {}
        }
        let committed = store.rows().len() == 3;
        let rest = outcomes(&mut lane, &seconds(3, 5)).await;
        assert_eq!(rest, "ss");
        let expect: &[&str] = if committed { &["tx-4"] } else { &[] };
        assert_eq!(flagged(&store), expect);
    }
}

#[tokio::test]
async fn a_store_that_names_no_duplicate_is_not_asked_for_ever() {
    let store = Arc::new(Fake::default());
    let mut lane = open(&store).await.lane();
    store.expect(Fault::Nonsense);
    let got = lane.settle(&seconds(0, 1)).await;
    assert!(matches!(got, Err(Failure::Fatal(_))), "{got:?}");
}

#[tokio::test]
async fn the_pipeline_is_named_as_the_reference_has_it() {
    assert_eq!(open(&Arc::new(Fake::default())).await.pipeline(), "consumer_batch");
}

#[tokio::test]
async fn a_bad_ruleset_and_an_unreadable_store_are_refused_at_the_start() {
    let mut ruleset = Ruleset::default();
    ruleset.velocity.window_ms = 0;
    let got = open_with(&Arc::new(Fake::default()), ruleset).await;
    assert!(matches!(got, Err(Error::Ruleset { field: "velocity.window_ms", .. })));
    let error = StoreError::Unavailable("busy".to_owned());
    let store = Arc::new(Fake::scripted([Fault::Before(error.clone())]));
    let got = open_with(&store, Ruleset::default()).await;
    assert_eq!(got.err(), Some(Error::Store(error)));
}

#[tokio::test]
async fn rows_bear_the_version_that_the_content_of_the_rules_has_in_the_store() {
    let store = Arc::new(Fake::default());
    let mut stricter = Ruleset::default();
    stricter.velocity.payments_min = 4;
    for (nth, ruleset) in [Ruleset::default(), stricter, Ruleset::default()].into_iter().enumerate()
    {
        let mut lane = open_with(&store, ruleset).await.unwrap().lane();
        assert_eq!(outcomes(&mut lane, &seconds(nth, nth + 1)).await, "s");
    }
    let versions: Vec<_> = store.rows().iter().map(|row| row.ruleset_version).collect();
    assert_eq!(versions, [1, 2, 1]);
}
