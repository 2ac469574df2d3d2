//! Every kind of violation, made by hand.

use std::sync::Arc;

use model::Event;
use model::clock::{EpochMs, Manual};

use super::*;
use crate::generator::{Generator, Options};
use crate::sink::{Error, Fate, Offered, Sink};

const NOW_MS: EpochMs = 1_772_420_400_000;

fn card(number: &str) -> [u8; 16] {
    number.as_bytes().try_into().unwrap()
}

/// What the store would hold of an event.
#[derive(Clone)]
struct Stored {
    tx_id: String,
    amount: i64,
    merchant: String,
    created_at_ms: EpochMs,
    card: [u8; 16],
}

impl Stored {
    fn row(&self) -> Row<'_> {
        let Self { tx_id, amount, merchant, created_at_ms, card } = self;
        Row { tx_id, amount: *amount, merchant, created_at_ms: *created_at_ms, card: *card }
    }
}

fn events(count: usize) -> Vec<Event> {
    let mut generator = Generator::new(&Options::default()).unwrap();
    (0..count).map(|_| generator.event(NOW_MS).0).collect()
}

fn stored(event: &Event) -> Stored {
    let payment = model::Payment::parse(event.payload(), NOW_MS).unwrap();
    Stored {
        tx_id: payment.tx_id.to_string(),
        amount: payment.amount,
        merchant: payment.merchant.to_string(),
        created_at_ms: payment.created_at_ms,
        card: card(&payment.card_number),
    }
}

/// A ledger of ten events of which the first eight were accepted and the last two refused.
fn ledger(events: &[Event]) -> Ledger {
    let mut ledger = Ledger::new(100).with_cards(card);
    let accepted = events.len().min(8);
    let answer = Offered { accepted, refused: events.len() - accepted, ..Offered::default() };
    ledger.record(events, &Ok(answer), NOW_MS);
    ledger
}

/// Audits ten events, of which all accepted ones are settled, after `spoil` had its way.
fn check(
    spoil: impl FnOnce(&mut Vec<Stored>, &mut Vec<Vec<u8>>, &mut Vec<Event>, &[Event]),
    expected: Finding,
) {
    let events = events(10);
    let mut rows: Vec<Stored> = events[..8].iter().map(stored).collect();
    let (mut pending, mut dead) = (Vec::new(), Vec::new());
    spoil(&mut rows, &mut pending, &mut dead, &events);
    let mut audit = Audit::new(ledger(&events), true);
    pending.iter().for_each(|id| audit.pending(id));
    dead.iter().for_each(|event| audit.dead(event, NOW_MS));
    rows.iter().for_each(|stored| audit.settled(&stored.row()));
    let finding = audit.finish();
    let violations = finding.violations();
    assert_eq!(finding.verdict() == Verdict::Ok, violations == 0);
    assert_eq!(finding.examples.len() as u64, violations, "{finding:?}");
    assert_eq!(Finding { examples: Vec::new(), ..finding }, Finding { accepted: 8, ..expected });
}

#[test]
fn all_accepted_settled_once_is_ok() {
    check(|_, _, _, _| {}, Finding::default());
}

#[test]
fn accepted_and_pending_or_dead_is_not_lost() {
    check(
        |rows, pending, dead, events| {
            rows.truncate(6);
            pending.push(events[6].id().to_vec());
            dead.push(events[7].clone());
        },
        Finding::default(),
    );
}

#[test]
fn pending_and_settled_is_a_redelivery_to_come_and_no_violation() {
    check(|_, pending, _, events| pending.push(events[0].id().to_vec()), Finding::default());
}

#[test]
fn what_was_refused_may_be_in_the_store_or_not() {
    check(|rows, _, _, events| rows.push(stored(&events[9])), Finding::default());
}

#[test]
fn accepted_and_nowhere_is_lost() {
    check(
        |rows, _, _, _| {
            rows.remove(3);
        },
        Finding { lost: 1, ..Finding::default() },
    );
}

#[test]
fn a_second_row_for_a_tx_id_is_a_double_effect() {
    check(
        |rows, _, _, _| {
            let first = rows[0].clone();
            rows.extend([first.clone(), first]);
        },
        Finding { double_rows: 2, ..Finding::default() },
    );
}

#[test]
fn a_row_with_another_amount_merchant_time_or_card_is_found() {
    let changed = || Finding { changed_rows: 1, ..Finding::default() };
    check(|rows, _, _, _| rows[0].amount += 1, changed());
    check(|rows, _, _, _| rows[0].merchant.push('x'), changed());
    check(|rows, _, _, _| rows[0].created_at_ms -= 1, changed());
    check(|rows, _, _, _| rows[0].card[15] ^= 1, changed());
}

#[test]
fn a_row_nobody_offered_is_found() {
    check(
        |rows, _, _, _| {
            let mut phantom = rows[0].clone();
            phantom.tx_id.push('x');
            rows.push(phantom);
        },
        Finding { phantom_rows: 1, ..Finding::default() },
    );
}

#[test]
fn a_row_of_what_the_buffer_held_before_the_run_is_no_violation() {
    let events = events(10);
    let mut ledger = ledger(&events[..8]);
    for event in &events[7..9] {
        ledger.earlier(event.id());
    }
    let mut rows: Vec<Stored> = events.iter().map(stored).collect();
    // Of an id that was held before and is offered again, either content may be the one settled.
    rows[7].amount += 1;
    let mut audit = Audit::new(ledger, true);
    rows.iter().for_each(|stored| audit.settled(&stored.row()));
    let finding = audit.finish();
    let expected = Finding { accepted: 8, phantom_rows: 1, ..Finding::default() };
    assert_eq!(Finding { examples: Vec::new(), ..finding }, expected, "the tenth is of nobody");
}

#[test]
fn another_payment_under_a_settled_id_that_is_dead_is_no_double_effect() {
    let events = events(1);
    let other = |amount: i64| {
        let mut payment = model::Payment::parse(events[0].payload(), NOW_MS).unwrap();
        payment.amount = amount;
        let mut json = Vec::new();
        payment.to_json(&mut json);
        payment.event(&json).unwrap()
    };
    let (first, second) = (other(12_300), other(99_999));
    for (offered, began_empty) in
        [(vec![first.clone(), second.clone()], true), (vec![second.clone()], false)]
    {
        let mut ledger = Ledger::new(100).with_cards(card);
        ledger.record(&offered, &Ok(Offered::accepted(offered.len())), NOW_MS);
        let mut audit = Audit::new(ledger, began_empty);
        audit.dead(&second, NOW_MS);
        audit.settled(&stored(&first).row());
        let finding = audit.finish();
        assert_eq!(finding.verdict(), Verdict::Ok, "{finding:?}");
    }
}

#[test]
fn an_event_both_settled_and_dead_is_found() {
    check(
        |_, _, dead, events| dead.push(events[2].clone()),
        Finding { settled_and_dead: 1, ..Finding::default() },
    );
}

#[test]
fn rows_of_earlier_runs_are_no_phantoms_where_the_store_did_not_begin_empty() {
    let events = events(10);
    let mut audit = Audit::new(ledger(&events[..1]), false);
    events.iter().for_each(|event| audit.settled(&stored(event).row()));
    assert_eq!(audit.finish().verdict(), Verdict::Ok);
}

#[test]
fn an_event_offered_again_until_accepted_is_one_event() {
    let events = events(3);
    let mut ledger = Ledger::new(100);
    let refused = Ok(Offered::refused(3, std::time::Duration::ZERO));
    for _ in 0..50 {
        ledger.record(&events, &refused, NOW_MS);
        ledger.record(&events, &Err(Error::Unavailable("away".into())), NOW_MS);
    }
    let partly = Offered { accepted: 1, refused: 2, ..Offered::default() };
    assert_eq!(partly.fates()[0], Fate::Accepted);
    ledger.record(&events, &Ok(partly), NOW_MS);
    ledger.record(&events[1..], &Ok(Offered::accepted(2)), NOW_MS);
    assert_eq!(ledger.len(), 3);
    let finding = Audit::new(ledger, true).finish();
    assert_eq!((finding.accepted, finding.lost), (3, 3));
}

#[test]
fn an_event_replayed_under_the_same_id_counts_once() {
    let events = events(1);
    let mut ledger = Ledger::new(100);
    for _ in 0..3 {
        ledger.record(&events, &Ok(Offered::accepted(1)), NOW_MS);
    }
    let finding = Audit::new(ledger, true).finish();
    assert_eq!((finding.accepted, finding.lost), (1, 1));
}

#[test]
fn events_past_the_bound_are_counted_as_unaudited_and_claimed_nothing_of() {
    let events = events(10);
    let mut ledger = Ledger::new(4);
    ledger.record(&events, &Ok(Offered::accepted(10)), NOW_MS);
    assert_eq!((ledger.len(), ledger.unaudited()), (4, 6));
    let mut audit = Audit::new(ledger, true);
    events.iter().for_each(|event| audit.settled(&stored(event).row()));
    let finding = audit.finish();
    assert_eq!((finding.verdict(), finding.unaudited), (Verdict::Ok, 6));
}

#[test]
fn an_event_takes_as_many_bytes_as_it_says() {
    assert_eq!(EVENT_BYTES, 25);
}

#[tokio::test]
async fn a_recorder_writes_down_what_the_sink_behind_it_answers() {
    struct TakesHalf;
    #[async_trait::async_trait]
    impl Sink for TakesHalf {
        async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
            let accepted = events.len() / 2;
            Ok(Offered { accepted, refused: events.len() - accepted, ..Offered::default() })
        }
    }
    let clock = Arc::new(Manual::at(NOW_MS));
    let mut recorder = Recorder::new(TakesHalf, Ledger::new(100), clock);
    recorder.offer(&events(10)).await.unwrap();
    let finding = Audit::new(recorder.into_parts().0, true).finish();
    assert_eq!((finding.accepted, finding.lost), (5, 5));
}
