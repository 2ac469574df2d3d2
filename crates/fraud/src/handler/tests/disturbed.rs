//! Whatever goes wrong on the way, the store ends up with what an undisturbed run puts there.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::verdicts;

/// One event of the traffic.
#[derive(Debug, Clone)]
enum Sent {
    /// A payment: card, milliseconds since the one before, amount.
    New(usize, i64, i64),
    /// An earlier event once more, counted back from here.
    Again(usize),
    /// Something that is no payment.
    Bad,
}

fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    let step_ms = prop_oneof![6 => 0..9_000_i64, 1 => 60_000..130_000_i64, 1 => -90_000..0_i64];
    let amount = prop_oneof![4 => 0..1_000_i64, 1 => 5_000..20_000_000_i64];
    let sent = prop_oneof![
        12 => (0..4_usize, step_ms, amount).prop_map(|(card, step, amount)| Sent::New(card, step, amount)),
        2 => (0..12_usize).prop_map(Sent::Again),
        1 => Just(Sent::Bad),
    ];
    vec(sent, 0..80)
}

fn fault() -> impl Strategy<Value = Fault> {
    let error = || {
        let said = || "told to".to_owned();
        prop_oneof![
            Just(StoreError::Unavailable(said())),
            Just(StoreError::Rejected(said())),
            Just(StoreError::Refused(said())),
            Just(StoreError::Fatal(said())),
        ]
    };
    prop_oneof![
        4 => Just(Fault::None),
        1 => error().prop_map(Fault::Before),
        1 => Just(Fault::After(StoreError::Unavailable("unheard".to_owned()))),
        1 => Just(Fault::SilentBefore),
        1 => Just(Fault::SilentAfter),
    ]
}

/// What is done after a failure, before the same events come again.
#[derive(Debug, Clone, Copy)]
enum After {
    Nothing,
    NewLane,
    NewProcess,
}

fn after() -> impl Strategy<Value = After> {
    prop_oneof![Just(After::Nothing), Just(After::NewLane), Just(After::NewProcess)]
}

/// The events, and the payments among them that are to be settled, each once.
fn spell_out(traffic: &[Sent]) -> (Vec<(usize, Envelope)>, Vec<Payment<'static>>) {
    let mut at_ms = NOON_MS - 12 * 3_600_000;
    let mut events: Vec<(usize, Envelope)> = Vec::new();
    let mut payments = Vec::new();
    for (nth, sent) in traffic.iter().enumerate() {
        match *sent {
            Sent::New(card, step_ms, amount) => {
                at_ms += step_ms;
                let payment = payment(card, nth, at_ms, amount);
                events.push((card, envelope(&payment)));
                payments.push(payment);
            }
            Sent::Again(back) if back < events.len() => {
                events.push(events[events.len() - 1 - back].clone());
            }
            Sent::Again(_) => {}
            Sent::Bad => events.push((0, carrying(Event::new(b"bad", b"", b"{}").unwrap()))),
        }
    }
    (events, payments)
}

/// A lane with what has been sent to it and how much of that is done.
struct Road {
    lane: Box<dyn Lane>,
    events: Vec<Envelope>,
    done: usize,
}

struct Run {
    store: Arc<Fake>,
    handler: Handler,
    roads: Vec<Road>,
}

impl Run {
    async fn new(events: Vec<(usize, Envelope)>, lanes: usize) -> Self {
        let store = Arc::new(Fake::default());
        let handler = open(&store).await;
        let road = |_| Road { lane: handler.lane(), events: vec![], done: 0 };
        let mut roads: Vec<Road> = (0..lanes).map(road).collect();
        for (card, event) in events {
            roads[card % lanes].events.push(event);
        }
        Self { store, handler, roads }
    }

    /// Sends the next `size` events down a road; false when they have to be sent again.
    async fn step(&mut self, road: usize, size: usize) -> bool {
        let road = &mut self.roads[road];
        let end = (road.done + size).min(road.events.len());
        let batch = &road.events[road.done..end];
        let outcomes = tokio::select! {
            biased;
            outcomes = road.lane.settle(batch) => outcomes,
            () = self.store.silent.notified() => return false,
        };
        let Ok(outcomes) = outcomes else { return false };
        assert_eq!(outcomes.len(), batch.len());
        for (outcome, envelope) in outcomes.iter().zip(batch) {
            let bad = envelope.event.id() == b"bad";
            assert_eq!(matches!(outcome, Outcome::Rejected(_)), bad, "{outcome:?}");
        }
        road.done = end;
        true
    }

    async fn recover(&mut self, road: usize, after: After) {
        match after {
            After::Nothing => {}
            After::NewLane => self.roads[road].lane = self.handler.lane(),
            After::NewProcess => {
                self.handler = open(&self.store).await;
                for road in &mut self.roads {
                    road.lane = self.handler.lane();
                }
            }
        }
    }
}

/// For each settled payment what was said of it, by id.
fn said(rows: &[store::Row]) -> Vec<(String, Vec<&'static str>, Option<String>)> {
    let mut said: Vec<_> = rows
        .iter()
        .map(|row| (row.tx_id.clone(), row.fraud_rules.clone(), row.fraud_detail.clone()))
        .collect();
    said.sort();
    said
}

fn undisturbed(payments: &[Payment<'_>]) -> Vec<(String, Vec<&'static str>, Option<String>)> {
    let verdicts = verdicts(payments, &Ruleset::default()).unwrap();
    let mut said: Vec<_> = payments
        .iter()
        .zip(verdicts)
        .map(|(payment, hits)| {
            let rules = hits.iter().map(|hit| hit.rule.name()).collect();
            let detail = (!hits.is_empty()).then(|| serde_json::to_string(&hits).unwrap());
            (payment.tx_id.to_string(), rules, detail)
        })
        .collect();
    said.sort();
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn verdicts_equal_those_of_an_undisturbed_run(
        traffic in traffic(), lanes in 1..4_usize,
        sizes in vec(1..12_usize, 1..10),
        faults in vec(fault(), 0..40), afters in vec(after(), 1..10),
    ) {
        let (events, payments) = spell_out(&traffic);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = runtime.block_on(async {
            let mut run = Run::new(events, lanes).await;
            for fault in faults.clone() {
                run.store.expect(fault);
            }
            let mut turn = 0;
            while run.roads.iter().any(|road| road.done < road.events.len()) {
                let road = turn % lanes;
                if !run.step(road, sizes[turn % sizes.len()]).await {
                    // Opening may not meet a fault of its own: the process would just start again.
                    let after = afters[turn % afters.len()];
                    let spared = run.store.spare();
                    run.recover(road, after).await;
                    run.store.resume(spared);
                }
                turn += 1;
                assert!(turn < 5_000, "the run does not come to an end");
            }
            run.store.rows()
        });
        prop_assert_eq!(said(&rows), undisturbed(&payments));
    }
}
