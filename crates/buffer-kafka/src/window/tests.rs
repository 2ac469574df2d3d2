use std::time::Duration;

use model::Event;

use super::*;

fn told(offset: i64) -> Told {
    let id = offset.to_string();
    let event = Event::new(id.as_bytes(), b"key", b"{}").unwrap();
    Told { place: Place { partition: 0, offset }, accepted_at_ms: offset, event, unfit: None }
}

fn with(offsets: std::ops::Range<i64>) -> (Window, Instant) {
    let mut window = Window::default();
    window.assign(0, offsets.start, BTreeSet::new());
    offsets.for_each(|offset| window.ingest(told(offset), false));
    (window, Instant::now())
}

fn lease(window: &mut Window, now: Instant) -> Vec<Receipt> {
    let leased = window.lease(100, now, now + Duration::from_secs(30));
    leased.iter().map(|envelope| envelope.receipt).collect()
}

fn committed(window: &mut Window) -> (i64, String) {
    let progress = window.progress(None, false).remove(0);
    (progress.low, progress.metadata)
}

#[test]
fn the_watermark_stays_below_what_is_not_done() {
    let (mut window, now) = with(10..20);
    let receipts = lease(&mut window, now);
    assert_eq!(window.progress(None, false), []);
    assert_eq!(window.ack(&receipts[3..5]), 2);
    assert_eq!(committed(&mut window), (10, "f1:3.2".to_owned()));
    assert_eq!(window.ack(&receipts[..3]), 3);
    assert_eq!(committed(&mut window), (15, String::new()));
    assert_eq!(window.ack(&receipts), 5);
    assert_eq!(committed(&mut window), (20, String::new()));
}

#[test]
fn a_burial_moves_the_watermark_only_once_it_is_durable() {
    let (mut window, now) = with(0..2);
    let receipts = lease(&mut window, now);
    window.ack(&receipts[1..]);
    let burials = window.begin_bury([receipts[0], receipts[0]].into_iter());
    assert_eq!(burials.len(), 1);
    assert_eq!(committed(&mut window).0, 0);
    assert_eq!(window.ack(&receipts[..1]), 0, "it is being buried");
    assert_eq!(window.end_bury(&burials, false), 0);
    assert_eq!(window.progress(None, false), []);
    let burials = window.begin_bury(receipts.iter().copied());
    assert_eq!(window.end_bury(&burials, true), 1);
    assert_eq!(committed(&mut window).0, 2);
}

#[test]
fn after_a_partition_was_lost_its_receipts_do_nothing_though_it_came_back() {
    let (mut window, now) = with(0..3);
    let stale = lease(&mut window, now);
    let burials = window.begin_bury(stale[..1].iter().copied());
    window.lose(&[0]);
    window.assign(0, 0, BTreeSet::new());
    (0..3).for_each(|offset| window.ingest(told(offset), false));
    let envelopes = window.lease(100, now, now + Duration::from_secs(30));
    assert!(envelopes.iter().all(|envelope| envelope.term == 2 && envelope.attempt == 1));
    assert_eq!(window.end_bury(&burials, true), 0);
    assert_eq!(window.ack(&stale) + window.extend(&stale, now) + window.release(&stale, now), 0);
    assert_eq!(window.counts(now).leased, 3);
}

#[test]
fn nothing_more_is_leased_of_a_partition_that_goes_and_what_is_held_can_be_acked() {
    let (mut window, now) = with(0..4);
    let leased = window.lease(2, now, now + Duration::from_secs(1));
    window.begin_revoke(&[0]);
    assert_eq!(lease(&mut window, now), []);
    assert_eq!(window.held_by_leases(&[0], now), 2);
    assert_eq!(window.held_by_leases(&[0], now + Duration::from_secs(2)), 0);
    assert_eq!(window.ack(&[leased[0].receipt]), 1);
    assert_eq!(committed(&mut window).0, 1);
}

#[test]
fn what_an_earlier_owner_acked_is_not_given_again_and_gaps_hold_nothing_up() {
    let mut window = Window::default();
    window.assign(0, 5, BTreeSet::from([6, 9]));
    // 7 is no record: a marker of a transaction, or compacted away.
    [5, 6, 8, 9, 10].into_iter().for_each(|offset| window.ingest(told(offset), false));
    window.ingest(told(8), false);
    let now = Instant::now();
    let envelopes = window.lease(100, now, now + Duration::from_secs(1));
    let offsets: Vec<u64> = envelopes.iter().map(|envelope| envelope.receipt.seq).collect();
    assert_eq!(offsets, [5, 8, 10]);
    let receipts: Vec<_> = envelopes.iter().map(|envelope| envelope.receipt).collect();
    window.ack(&receipts[..1]);
    assert_eq!(committed(&mut window).0, 8);
    window.ack(&receipts);
    assert_eq!(committed(&mut window).0, 11);
}

#[test]
fn what_lies_in_the_wrong_partition_is_done_here_once_it_lies_in_the_right_one() {
    let (mut window, now) = with(0..1);
    window.ingest(told(1), true);
    window.ingest(told(2), false);
    let misplaced = window.begin_reroute(10);
    assert_eq!(misplaced.len(), 1);
    let receipts = lease(&mut window, now);
    assert_eq!(receipts.len(), 2);
    window.ack(&receipts);
    assert_eq!(committed(&mut window).0, 1);
    window.end_reroute(&misplaced, false);
    let misplaced = window.begin_reroute(10);
    window.end_reroute(&misplaced, true);
    assert_eq!(committed(&mut window).0, 3);
    assert_eq!((window.bytes(), window.counts(now)), (0, Counts::default()));
}

#[test]
fn offsets_without_a_record_are_passed_over_and_what_is_held_before_them_stays() {
    let (mut window, now) = with(0..2);
    let receipts = lease(&mut window, now);
    window.ack(&receipts[1..]);
    window.pass_to(0, 5);
    assert_eq!(window.positions(), [(0, 5)]);
    assert_eq!(committed(&mut window), (0, "f1:1.1".to_owned()));
    window.ack(&receipts[..1]);
    assert_eq!(committed(&mut window), (5, String::new()));
    window.pass_to(0, 3);
    assert_eq!(window.positions(), [(0, 5)], "a position never goes back");
    window.pass_to(0, 6);
    assert_eq!(committed(&mut window), (6, String::new()), "a gap alone is committed, too");
    window.pass_to(7, 9);
    assert_eq!(window.positions(), [(0, 6)], "another process has that partition");
}

#[test]
fn offsets_without_a_record_are_counted_once_and_done_ones_are_none() {
    let mut window = Window::default();
    window.assign(0, 10, BTreeSet::from([12, 15]));
    window.pass_to(0, 14);
    assert_eq!(window.empty(), 3, "10, 11 and 13");
    window.pass_to(0, 14);
    window.pass_to(0, 16);
    assert_eq!(window.empty(), 4, "and 14");
    // What is gone from the topic may have been events.
    window.skip_to(0, 30);
    window.pass_to(0, 31);
    window.lose_all();
    assert_eq!(window.empty(), 5);
}

/// Of a source, where the engine cannot keep the order by a term.
#[test]
fn events_of_a_source_wait_behind_a_delayed_one_of_their_key_and_partition() {
    let mut window = Window::new(Mode::Source);
    let now = Instant::now();
    let told = |partition: i32, offset: i64, key: &str| Told {
        place: Place { partition, offset },
        event: Event::new(offset.to_string().as_bytes(), key.as_bytes(), b"{}").unwrap(),
        ..told(offset)
    };
    for partition in 0..2 {
        window.assign(partition, 0, BTreeSet::new());
        for (offset, key) in [(0, "a"), (1, "b"), (2, "a"), (3, ""), (4, "a")] {
            window.ingest(told(partition, offset, key), false);
        }
    }
    let next = |window: &mut Window, at: Instant| {
        let leased = window.lease(1, at, at + Duration::from_secs(30)).pop()?;
        Some((leased.receipt.seq >> 48, leased.receipt.seq & 0xffff, leased.receipt))
    };
    let (partition, offset, first) = next(&mut window, now).unwrap();
    assert_eq!((partition, offset), (0, 0));
    let later = now + Duration::from_secs(5);
    assert_eq!(window.release(&[first], later), 1);
    let mut came = Vec::new();
    while let Some((partition, offset, _)) = next(&mut window, now) {
        came.push((partition, offset));
    }
    assert_eq!(came, [(0, 1), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    let after: Vec<_> =
        std::iter::from_fn(|| next(&mut window, later)).map(|(_, offset, _)| offset).collect();
    assert_eq!(after, [0, 2, 4]);
    // A partition that is lost takes along what waits.
    window.lose_all();
    assert_eq!(next(&mut window, later), None);
}

#[test]
fn an_expired_event_that_waits_is_not_leased_again_once_its_holder_uses_the_receipt() {
    let now = Instant::now();
    let at = |seconds: u64| now + Duration::from_secs(seconds);
    // Of two events of one key the first is delayed and the lease of the second is over.
    let waiting = || {
        let mut window = Window::new(Mode::Source);
        window.assign(0, 0, BTreeSet::new());
        (0..2).for_each(|offset| window.ingest(told(offset), false));
        let leased = window.lease(2, now, at(1));
        assert_eq!(window.release(&[leased[0].receipt], at(10)), 1);
        assert_eq!(window.lease(2, at(2), at(30)).len(), 0);
        (window, [leased[1].receipt])
    };
    let leased = |window: &mut Window, at: Instant| -> Vec<u64> {
        let until = at + Duration::from_secs(60);
        window.lease(2, at, until).iter().map(|envelope| envelope.receipt.seq).collect()
    };
    let (mut window, _) = waiting();
    assert_eq!(leased(&mut window, at(10)), [0, 1]);

    let (mut window, second) = waiting();
    assert_eq!(window.extend(&second, at(40)), 1);
    assert_eq!(leased(&mut window, at(10)), [0], "the second is leased until 40");
    assert_eq!(window.ack(&second), 1);

    let (mut window, second) = waiting();
    assert_eq!(window.release(&second, at(20)), 1);
    assert_eq!(leased(&mut window, at(10)), [0], "the second is delayed until 20");
    assert_eq!(leased(&mut window, at(20)), [1]);

    let (mut window, second) = waiting();
    let burials = window.begin_bury(second.into_iter());
    assert_eq!(leased(&mut window, at(10)), [0], "the second is being buried");
    assert_eq!(window.end_bury(&burials, true), 1);
}
