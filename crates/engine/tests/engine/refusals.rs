//! A store that refuses an event may refuse this row or every row. An event that is refused alone
//! waits, blocks only its own key, and is buried only where the store takes others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use buffer::Envelope;
use engine::{Failure, Options};
use model::Event;
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, holds, id_of, one_lane};
use crate::said::Said;

fn refuse() -> Step {
    Step::Fail(Failure::Refused("no [SQLSTATE AB123]".to_owned()))
}

fn refuse_if(bad: impl Fn(&Envelope) -> bool) -> impl Fn(&[Envelope]) -> Step {
    move |batch| if batch.iter().any(&bad) { refuse() } else { Step::Settle }
}

#[tokio::test(start_paused = true)]
async fn two_refused_events_are_buried_after_attempts_max_and_a_hundred_others_are_settled() {
    let rig = Rig::new();
    rig.offer(&events(102, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope).as_str() < "k002";
    let handle = rig.start(one_lane(), refuse_if(bad));
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 2));
    for letter in rig.dead().await {
        assert_eq!(letter.reason, "no [SQLSTATE AB123]; refused 5 times while others were written");
        let id = String::from_utf8_lossy(letter.event.id()).into_owned();
        let alone = rig.ledger.calls().iter().filter(|call| **call == [id.as_str()]).count();
        assert_eq!(alone, 5, "{id}");
    }
}

/// The lines of the log that warn of a refused event with this id.
async fn warnings_of(id: &str) -> Vec<String> {
    let said = Said::default();
    let _until_the_end = said.listen();
    let rig = Rig::new();
    rig.offer(&[Event::new(id.as_bytes(), b"", b"{}").unwrap()]).await;
    let granted = Arc::new(AtomicBool::new(false));
    let (takes, bad) = (Arc::clone(&granted), id.to_owned());
    let handle = rig.start(one_lane(), move |batch| {
        let refused = !takes.load(Ordering::SeqCst) && holds(batch, &bad);
        if refused { refuse() } else { Step::Settle }
    });
    // Long enough for all its tries: the store has written no other event meanwhile.
    sleep(Duration::from_secs(60)).await;
    granted.store(true, Ordering::SeqCst);
    assert_eq!(rig.finish(handle).await.counts.settled, 1);
    said.lines("the store refuses an event")
}

#[tokio::test(start_paused = true)]
async fn the_warning_of_a_refused_event_has_its_id_on_one_line() {
    let lines = warnings_of(&format!("tx\n{}", "x".repeat(61))).await;
    assert!(lines.len() >= 2 && lines[0].contains("it waits alone"), "{lines:?}");
    let shown = format!(r#"event="tx\\n{}""#, "x".repeat(61));
    assert!(lines.iter().all(|line| line.contains(&shown)), "{shown} in {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn the_warning_of_a_refused_event_shows_no_card_number_of_its_id() {
    let lines = warnings_of("4111111111111111-1").await;
    assert!(lines.len() >= 2 && lines[1].contains("nothing is buried"), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(r#"event="*"#)), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("411111111111")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_every_event_for_an_hour_buries_none_and_keeps_order() {
    let rig = Rig::with_lease_ms(1000);
    rig.offer(&events(300, 4)).await;
    let granted = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&granted);
    let options = Options { lanes: 2, lease_ms: 1000, apart_max: 10, ..Options::default() };
    let handle = rig.start(options, move |_| match takes.load(Ordering::SeqCst) {
        true => Step::Settle,
        false => refuse(),
    });
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(handle.stats().refused_waiting(), 20, "the bound of both lanes");
    assert_eq!((handle.stats().counts().settled, rig.dead().await.len()), (0, 0));
    // 250 ms apart on average in each lane, and less than a hundred attempts to begin with.
    let calls = rig.ledger.calls().len();
    assert!((10_000..40_000).contains(&calls), "{calls} calls in an hour");
    granted.store(true, Ordering::SeqCst);
    let stats = handle.stats();
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (1200, 0));
    assert_eq!((summary.counts.redelivered, stats.refused_waiting()), (0, 0));
    rig.ledger.assert_order(300, 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_blocks_its_own_key_and_no_other_key_of_its_lane() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let calls = AtomicUsize::new(0);
    let handle = rig.start(Options { attempts_max: 50, ..one_lane() }, move |batch| {
        // The store takes this event when it is tried for the 40th time.
        let refused = holds(batch, "k003-0002") && calls.fetch_add(1, Ordering::SeqCst) < 40;
        if refused { refuse() } else { Step::Settle }
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 0));
    rig.ledger.assert_order(10, 10);
    let settled = rig.ledger.settled();
    let blocked: Vec<&str> = settled[92..].iter().map(|id| &id[..4]).collect();
    assert_eq!(blocked, ["k003"; 8], "all other keys are settled before: {settled:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_buried_event_is_settled_in_order_with_what_comes_later() {
    let rig = Rig::new();
    rig.offer(&events(4, 5)).await;
    let bad = |envelope: &Envelope| id_of(envelope) == "k002-0000";
    let handle = rig.start(one_lane(), refuse_if(bad));
    sleep(Duration::from_millis(1)).await;
    rig.offer(&events(4, 10)[20..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (39, 1));
    let k002: Vec<String> =
        rig.ledger.settled().into_iter().filter(|id| id.starts_with("k002")).collect();
    let expected: Vec<String> = (1..10).map(|n| format!("k002-{n:04}")).collect();
    assert_eq!(k002, expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_where_no_other_is_written_waits_until_one_is() {
    let rig = Rig::new();
    rig.offer(&events(1, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope) == "k000-0000";
    let handle = rig.start(one_lane(), refuse_if(bad));
    sleep(Duration::from_secs(600)).await;
    assert_eq!((handle.stats().refused_waiting(), rig.dead().await.len()), (1, 0));
    rig.offer(&events(2, 1)[1..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn more_refused_events_than_may_wait_are_all_buried_and_the_others_settled() {
    let rig = Rig::new();
    rig.offer(&events(300, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope).as_str() < "k200";
    let handle = rig.start(Options { apart_max: 16, ..one_lane() }, refuse_if(bad));
    let stats = handle.stats();
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 200));
    assert_eq!(stats.refused_waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_alone_is_given_back_when_the_engine_stops() {
    let rig = Rig::new();
    rig.offer(&events(3, 3)).await;
    let handle = rig.start(one_lane(), |_| refuse());
    sleep(Duration::from_secs(60)).await;
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.released, rig.depth().await), (9, (9, 0)));
    assert!(rig.dead().await.is_empty());
}

/// Sixty events of one key, of which the first is refused; then five of each of two other keys.
fn hot_and_others() -> Vec<Event> {
    let of = |key: usize, nth: usize| {
        let id = format!("k{key:03}-{nth:04}");
        Event::new(id.as_bytes(), &id.as_bytes()[..4], b"{}").unwrap()
    };
    let hot = (0..60).map(|nth| of(0, nth));
    hot.chain((0..10).map(|nth| of(1 + nth % 2, nth / 2))).collect()
}

fn held(held_max: usize) -> Options {
    Options { held_max, batch_max: held_max / 2, ..one_lane() }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fills_all_room_behind_a_refused_event_keeps_no_other_key_waiting() {
    for lanes in [1, 2] {
        let rig = Rig::new();
        rig.offer(&hot_and_others()).await;
        let bad = |envelope: &Envelope| id_of(envelope) == "k000-0000";
        let handle = rig.start(Options { lanes, ..held(10) }, refuse_if(bad));
        let summary = rig.finish(handle).await;
        assert_eq!((summary.counts.settled, summary.counts.dead), (69, 1));
        let settled = rig.ledger.settled();
        let of = |key: &str| -> Vec<_> {
            settled.iter().filter(|id| id.starts_with(key)).cloned().collect()
        };
        let expected = |key: usize, nths: std::ops::Range<usize>| -> Vec<_> {
            nths.map(|nth| format!("k{key:03}-{nth:04}")).collect()
        };
        assert_eq!(of("k000"), expected(0, 1..60));
        assert_eq!(of("k001"), expected(1, 0..5));
        assert_eq!(of("k002"), expected(2, 0..5));
        assert!(settled[0].as_str() > "k001", "the others come first: {settled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_earlier_events_of_its_key_are_given_back_waits_for_them() {
    let rig = Rig::new();
    rig.offer(&hot_and_others()[..60]).await;
    let granted = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&granted);
    let handle = rig.start(held(10), move |batch| {
        let bad = holds(batch, "k000-0000") && !takes.load(Ordering::SeqCst);
        if bad { refuse() } else { Step::Settle }
    });
    // Until it had all its tries, and what was given back has come again.
    sleep(Duration::from_secs(6)).await;
    assert!(handle.stats().counts().redelivered > 0);
    granted.store(true, Ordering::SeqCst);
    for nth in 60..200 {
        let id = format!("k000-{nth:04}");
        rig.offer(&[Event::new(id.as_bytes(), b"k000", b"{}").unwrap()]).await;
        sleep(Duration::from_millis(17)).await;
    }
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (200, 0));
    rig.ledger.assert_order(1, 200);
}

#[tokio::test(start_paused = true)]
async fn many_hot_keys_with_refused_events_keep_their_order_and_leave_nothing_behind() {
    let mut came_again = 0;
    for seed in 0..8_usize {
        let rig = Rig::new();
        let mut all = events(12, 60);
        all.sort_by(|one, other| one.key().cmp(other.key()));
        rig.offer(&all[..400]).await;
        let calls = AtomicUsize::new(0);
        // Some events are refused for good, and some until they were tried often enough.
        let bad = move |envelope: &Envelope| {
            let id = id_of(envelope);
            let sum = id.bytes().map(usize::from).sum::<usize>() + seed;
            let nth: usize = id[5..].parse().unwrap();
            (nth == 0 && id.as_str() < "k006") || (nth + sum).is_multiple_of(23)
        };
        let slow = move |envelope: &Envelope| {
            let id = id_of(envelope);
            id[5..].parse::<usize>().unwrap() % 17 == seed
        };
        let options = Options { lanes: 1 + seed % 3, ..held(8 + 4 * seed) };
        let handle = rig.start(options, move |batch| {
            let nth = calls.fetch_add(1, Ordering::SeqCst);
            let late = batch.iter().any(slow) && !nth.is_multiple_of(7);
            let good = batch.iter().all(|envelope| envelope.event.key() == b"k900");
            if !good && (batch.iter().any(bad) || late) { refuse() } else { Step::Settle }
        });
        for part in all[400..].chunks(20) {
            sleep(Duration::from_millis(300)).await;
            rig.offer(part).await;
        }
        // What is refused last is buried only once others were written.
        for nth in 0..40 {
            sleep(Duration::from_secs(20)).await;
            let id = format!("k900-{nth:04}");
            rig.offer(&[Event::new(id.as_bytes(), b"k900", b"{}").unwrap()]).await;
        }
        let summary = rig.finish(handle).await;
        assert_eq!(summary.counts.settled + summary.counts.dead, 760, "seed {seed}");
        came_again += summary.counts.redelivered;
        let mut last = std::collections::BTreeMap::new();
        for id in rig.ledger.settled() {
            let before = last.insert(id[..4].to_owned(), id.clone());
            assert!(before.is_none_or(|before| before < id), "seed {seed}: {id} is out of order");
        }
    }
    assert!(came_again > 0, "nothing was given back");
}
