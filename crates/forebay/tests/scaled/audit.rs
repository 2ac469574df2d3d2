//! What was accepted against what is in PostgreSQL and among the dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use buffer::{Buffer, DeadLetter};
use fraud::Ruleset;
use model::{Event, Payment};

use crate::load::Offered;
use crate::process::Process;
use crate::rig::Rig;

/// How long settling what is left may take once nothing is disturbed any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// Verdicts by `tx_id`: the names of the rules, in rule order.
pub(crate) type Verdicts = BTreeMap<String, String>;

/// Waits until nothing is pending, and compares.
pub(crate) fn check(rig: &mut Rig, runtime: &tokio::runtime::Runtime, offered: &Offered) {
    let buffer = runtime.block_on(rig.layout.open(&rig.addresses()));
    wait_until_settled(rig, runtime, &*buffer);
    let (expected, bad) = expected(&offered.accepted, &Ruleset::default());
    assert!(bad.len() + offered.rejected > 0, "the load should hold bad payments");

    let rows = rows(rig);
    let total: usize = rows.values().map(Vec::len).sum();
    assert_eq!(total, rows.len(), "a tx_id is settled more than once");
    let settled: Verdicts =
        rows.into_iter().map(|(id, mut verdicts)| (id, verdicts.remove(0))).collect();
    let missing: Vec<_> = expected.keys().filter(|id| !settled.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} accepted and lost: {missing:?}", missing.len());
    let phantoms: Vec<_> = settled.keys().filter(|id| !expected.contains_key(*id)).collect();
    assert!(phantoms.is_empty(), "{} never accepted: {phantoms:?}", phantoms.len());
    let differ: Vec<_> = expected
        .iter()
        .filter(|(id, verdict)| settled[*id] != **verdict)
        .map(|(id, verdict)| format!("{id}: {verdict} expected, {} found", settled[id]))
        .collect();
    assert!(differ.is_empty(), "{} judged otherwise: {differ:#?}", differ.len());

    let letters = runtime.block_on(buffer.dead_letters().list(0, usize::MAX)).unwrap();
    check_letters(&letters, &bad, |id| offered.times(id) * rig.sends_max);
    let flagged = settled.values().filter(|verdict| **verdict != "{}").count();
    let (settled, dead, letters) = (settled.len(), bad.len(), letters.len());
    println!("{settled} settled, {flagged} flagged, {dead} dead in {letters} letters");
    assert!(flagged > 20, "only {flagged} flagged: too few to compare");
}

/// Each bad event is a dead letter and nothing else is, and none is one more often than the buffer may have
/// held it. Whatever fails, a burial that is made again adds no letter: its receipt is void once it was done,
/// or the letter is known by the place of its event. So only an offer that was made again does.
fn check_letters(letters: &[DeadLetter], bad: &BTreeSet<String>, held_max: impl Fn(&str) -> usize) {
    let mut dead: BTreeMap<String, usize> = BTreeMap::new();
    for letter in letters {
        *dead.entry(id(&letter.event)).or_default() += 1;
    }
    let gone: Vec<_> = bad.iter().filter(|id| !dead.contains_key(*id)).collect();
    assert!(gone.is_empty(), "{} bad ones are no dead letters: {gone:?}", gone.len());
    let buried = letters.iter().filter(|letter| !bad.contains(&id(&letter.event)));
    let buried: Vec<_> = buried.map(|l| (id(&l.event), l.reason.as_str(), l.attempts)).collect();
    assert!(buried.is_empty(), "{} good ones are dead letters: {buried:?}", buried.len());
    let often: Vec<_> = dead.iter().filter(|(id, times)| **times > held_max(id.as_str())).collect();
    assert!(often.is_empty(), "{} are buried more often than offered: {often:?}", often.len());
    for letter in letters {
        let named = ["card_number: ", "merchant: "].iter().any(|f| letter.reason.starts_with(f));
        assert!(named, "a reason names the field: {}", letter.reason);
    }
}

/// Waits until nothing is pending.
pub(crate) fn wait_until_settled(
    rig: &mut Rig,
    runtime: &tokio::runtime::Runtime,
    buffer: &dyn Buffer,
) {
    let end = Instant::now() + SETTLED_WITHIN;
    loop {
        rig.workers.iter_mut().for_each(Process::must_live);
        let depth = runtime.block_on(buffer.depth());
        if depth.as_ref().is_ok_and(|depth| depth.ready + depth.leased == 0) {
            return;
        }
        let logs: Vec<_> = rig.workers.iter().map(Process::log).collect();
        assert!(Instant::now() < end, "not settled in time: {depth:?}\n{}", logs.join("\n"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the rules say of the payments in the order of acceptance, and the ids of what is none.
pub(crate) fn expected(accepted: &[Event], ruleset: &Ruleset) -> (Verdicts, BTreeSet<String>) {
    let now_ms = model::clock::Clock::now_ms(&model::clock::System);
    let (mut payments, mut bad) = (Vec::new(), BTreeSet::new());
    for event in accepted {
        match Payment::parse(event.payload(), now_ms) {
            Ok(payment) => payments.push(payment),
            Err(_) => {
                bad.insert(id(event));
            }
        }
    }
    let verdicts = fraud::verdicts(&payments, ruleset).unwrap();
    let named = payments.iter().zip(verdicts).map(|(payment, hits)| {
        let names: Vec<_> = hits.iter().map(|hit| hit.rule.name()).collect();
        (payment.tx_id.to_string(), format!("{{{}}}", names.join(",")))
    });
    (named.collect(), bad)
}

/// Every row's verdict, by `tx_id`: as many as there are rows.
fn rows(rig: &Rig) -> BTreeMap<String, Vec<String>> {
    let rows = rig.postgres.query("SELECT tx_id, fraud_rules::text FROM fds.transactions").unwrap();
    let mut by_id: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let [id, rules] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
        by_id.entry(id).or_default().push(rules);
    }
    by_id
}

pub(crate) fn id(event: &Event) -> String {
    String::from_utf8(event.id().to_vec()).unwrap()
}
