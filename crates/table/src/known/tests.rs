use model::Event;

use super::*;
use crate::flight::Loaded;

const NOW: EpochMs = 1_000_000;

fn bounds() -> Bounds {
    Bounds {
        pending_max: 3,
        pending_bytes_max: 1 << 20,
        cache_entries_max: 64 * SHARDS,
        cache_bytes_max: 1 << 30,
        cache_ttl_ms: 5_000,
        negative_ttl_ms: 500,
    }
}

fn left(known: &Known, before_ms: EpochMs) {
    for shard in 0..SHARDS {
        while known.some_left(shard, before_ms) {}
    }
}

fn known() -> Known {
    Known::new(bounds())
}

fn pending(row: &str, version: i64) -> Pending {
    let event = Event::new(b"id", b"k", row.as_bytes()).unwrap();
    Pending {
        event,
        version: Some(version),
        accepted_by_ms: NOW,
        newest: false,
        before: Before::Nothing,
    }
}

fn key(text: &str) -> Key {
    text.into()
}

fn row(text: &str, version: i64) -> Loaded {
    Some((Bytes::copy_from_slice(text.as_bytes()), Some(version)))
}

/// What a reader is told at once, if it is told anything at once.
fn told(known: &Known, text: &str, now_ms: EpochMs) -> Option<(Option<String>, Source)> {
    match known.look(&key(text), now_ms) {
        Look::Answer(row, source) => {
            Some((row.map(|row| String::from_utf8(row.to_vec()).unwrap()), source))
        }
        Look::Wait(_) | Look::Load(_) => None,
    }
}

fn buffer(row: &str) -> Option<(Option<String>, Source)> {
    Some((Some(row.to_owned()), Source::Buffer))
}

fn cache(row: &str) -> Option<(Option<String>, Source)> {
    Some((Some(row.to_owned()), Source::Cache))
}

fn load(known: &Known, text: &str) -> Arc<Flight> {
    match known.look(&key(text), NOW) {
        Look::Load(flight) => flight,
        Look::Wait(_) => panic!("a query is under way already"),
        Look::Answer(_, source) => panic!("it is known from {source:?}"),
    }
}

#[test]
fn one_query_is_made_for_all_who_ask_and_its_answer_is_kept_for_a_while() {
    let known = known();
    let flight = load(&known, "a");
    for _ in 0..200 {
        assert!(matches!(known.look(&key("a"), NOW), Look::Wait(_)));
    }
    known.landed(&key("a"), &flight, Ok(row("1", 1)), NOW);
    assert_eq!(told(&known, "a", NOW + 4_999), cache("1"));
    assert_eq!(told(&known, "a", NOW + 5_000), None, "it is asked for again");
}

#[test]
fn that_there_is_no_row_is_remembered_shortly_and_ends_with_a_write() {
    let known = known();
    let flight = load(&known, "a");
    known.landed(&key("a"), &flight, Ok(None), NOW);
    assert_eq!(told(&known, "a", NOW + 499), Some((None, Source::Cache)));
    known.accept(&key("a"), pending("1", 1), NOW);
    assert_eq!(told(&known, "a", NOW + 499), buffer("1"));
    let flight = load(&known, "b");
    known.landed(&key("b"), &flight, Ok(None), NOW);
    assert_eq!(told(&known, "b", NOW + 500), None);
}

#[test]
fn a_failed_query_is_not_remembered() {
    let known = known();
    let flight = load(&known, "a");
    known.landed(&key("a"), &flight, Err(store::Error::Unavailable("down".into())), NOW);
    load(&known, "a");
}

#[test]
fn what_is_pending_and_newer_is_read_and_an_older_write_hides_nothing() {
    let known = known();
    let flight = load(&known, "a");
    known.landed(&key("a"), &flight, Ok(row("5", 5)), NOW);
    known.accept(&key("a"), pending("4", 4), NOW);
    assert_eq!(told(&known, "a", NOW), cache("5"));
    assert_eq!(known.pending(), 1, "it needs room as long as the buffer may hold it");
    known.passed(&key("a"), Some(4));
    assert_eq!((told(&known, "a", NOW), known.pending()), (cache("5"), 0));
    known.accept(&key("a"), pending("7", 7), NOW);
    known.accept(&key("a"), pending("6", 6), NOW);
    known.accept(&key("a"), pending("other 7", 7), NOW);
    assert_eq!(told(&known, "a", NOW), buffer("7"));
    assert_eq!(known.pending(), 1);
}

#[test]
fn a_pending_row_is_held_against_the_store_once() {
    for (stored, expect) in
        [(row("4", 4), buffer("5")), (None, buffer("5")), (row("6", 6), cache("6"))]
    {
        let known = known();
        known.accept(&key("a"), pending("5", 5), NOW);
        let flight = load(&known, "a");
        known.landed(&key("a"), &flight, Ok(stored.clone()), NOW);
        assert_eq!(told(&known, "a", NOW), expect, "{stored:?}");
        // However old what was remembered gets.
        if expect == buffer("5") {
            assert_eq!(told(&known, "a", NOW + 1_000_000), expect);
        }
    }
}

#[test]
fn while_the_store_can_not_be_asked_what_was_accepted_is_the_answer() {
    let known = known();
    known.accept(&key("a"), pending("5", 5), NOW);
    let flight = load(&known, "a");
    let down = Err(store::Error::Unavailable("down".into()));
    known.landed(&key("a"), &flight, down.clone(), NOW);
    let resolved = known.resolve(&key("a"), &flight, down).unwrap();
    assert_eq!(resolved, Ok((Some(Bytes::from_static(b"5")), Source::Buffer)));
}

#[test]
fn what_is_settled_is_no_longer_pending_and_is_remembered() {
    let known = known();
    known.accept(&key("a"), pending("5", 5), NOW);
    known.settled(&key("a"), Some(5), Bytes::from_static(b"5"), NOW);
    assert_eq!((told(&known, "a", NOW), known.pending()), (cache("5"), 0));
    known.accept(&key("a"), pending("7", 7), NOW);
    known.settled(&key("a"), Some(6), Bytes::from_static(b"6"), NOW);
    assert_eq!((told(&known, "a", NOW), known.pending()), (buffer("7"), 1), "7 is not settled yet");
}

#[test]
fn what_was_accepted_after_it_was_settled_needs_no_room() {
    let known = known();
    known.settled(&key("a"), Some(5), Bytes::from_static(b"5"), NOW);
    known.accept(&key("a"), pending("5", 5), NOW);
    assert_eq!((told(&known, "a", NOW), known.pending()), (cache("5"), 0));
}

#[test]
fn a_query_that_was_overtaken_tells_nobody_what_was() {
    let known = known();
    let flight = load(&known, "a");
    known.accept(&key("a"), pending("2", 2), NOW);
    known.settled(&key("a"), Some(2), Bytes::from_static(b"2"), NOW);
    // It had read before the commit, and comes back after it.
    known.landed(&key("a"), &flight, Ok(row("1", 1)), NOW);
    assert_eq!(told(&known, "a", NOW), cache("2"));
    assert_eq!(known.resolve(&key("a"), &flight, Ok(row("1", 1))), None, "look again");
}

/// A write of another process may be read between our commit and the moment it is known here.
#[test]
fn a_settled_row_hides_no_newer_row_that_was_shown_meanwhile() {
    let known = known();
    let flight = load(&known, "a");
    known.landed(&key("a"), &flight, Ok(row("9", 9)), NOW);
    known.accept(&key("a"), pending("7", 7), NOW);
    assert_eq!(told(&known, "a", NOW), cache("9"));
    known.settled(&key("a"), Some(6), Bytes::from_static(b"6"), NOW);
    assert_eq!(told(&known, "a", NOW), cache("9"), "7 is older than what was shown");
    assert_eq!(known.pending(), 1);
    shown_while_the_store_is_away(&known, NOW + 5_000, "9");
}

#[test]
fn a_settled_row_forgets_no_newer_row_that_only_its_pending_row_remembers() {
    for settled in [6, 8] {
        let known = Known::new(Bounds { cache_entries_max: SHARDS, ..bounds() });
        let flight = load(&known, "a");
        known.landed(&key("a"), &flight, Ok(row("9", 9)), NOW);
        known.accept(&key("a"), pending("7", 7), NOW);
        for other in 0..1_000 {
            known.settled(&key(&other.to_string()), Some(1), Bytes::from_static(b"x"), NOW);
        }
        let evicted = known.shard(&key("a")).slot(&key("a")).cached.is_none();
        assert!(evicted, "only the pending row remembers 9");
        known.settled(&key("a"), Some(settled), settled.to_string().into(), NOW);
        shown_while_the_store_is_away(&known, NOW, "9");
    }
}

#[test]
fn a_row_that_may_be_older_than_an_evicted_one_vouches_for_no_later_row() {
    let known = Known::new(Bounds { cache_entries_max: SHARDS, ..bounds() });
    known.settled(&key("a"), Some(9), Bytes::from_static(b"9"), NOW);
    for other in 0..1_000 {
        known.settled(&key(&other.to_string()), Some(1), Bytes::from_static(b"x"), NOW);
    }
    known.accept(&key("a"), pending("7", 7), NOW);
    left(&known, NOW + 1);
    known.accept(&key("a"), pending("8", 8), NOW + 1);
    let flight = load(&known, "a");
    let down = Err(store::Error::Unavailable("down".into()));
    known.landed(&key("a"), &flight, down.clone(), NOW + 1);
    let resolved = known.resolve(&key("a"), &flight, down).unwrap();
    assert!(resolved.is_err(), "9 was shown: {resolved:?}");
}

fn shown_while_the_store_is_away(known: &Known, now_ms: EpochMs, expect: &str) {
    let row = match known.look(&key("a"), now_ms) {
        Look::Answer(row, _) => row,
        Look::Wait(_) => panic!("a query is under way already"),
        Look::Load(flight) => {
            let down = Err(store::Error::Unavailable("down".into()));
            known.landed(&key("a"), &flight, down.clone(), now_ms);
            match known.resolve(&key("a"), &flight, down).unwrap() {
                Ok((row, _)) => row,
                // The reader got no row, so it got no older one.
                Err(_) => return,
            }
        }
    };
    assert_eq!(row.as_deref(), Some(expect.as_bytes()));
}

#[test]
fn what_another_process_settled_is_let_go_of_once_it_has_left_the_buffer() {
    let known = known();
    let flight = load(&known, "a");
    known.landed(&key("a"), &flight, Ok(row("1", 1)), NOW);
    known.accept(&key("a"), pending("2", 2), NOW);
    known.accept(&key("b"), Pending { accepted_by_ms: NOW + 1, ..pending("3", 3) }, NOW);
    left(&known, NOW);
    assert_eq!(told(&known, "a", NOW), buffer("2"), "the buffer may hold it");
    left(&known, NOW + 1);
    assert_eq!(told(&known, "a", NOW), None, "what was remembered is older than it");
    assert_eq!(known.pending(), 1);
    // A later write of a key is let go of in its own time.
    known.accept(&key("b"), Pending { accepted_by_ms: NOW + 5, ..pending("4", 4) }, NOW);
    left(&known, NOW + 5);
    assert_eq!(known.pending(), 1);
    left(&known, NOW + 6);
    assert_eq!(known.pending(), 0);
}

#[test]
fn what_was_buried_is_read_no_more() {
    let known = known();
    known.accept(&key("a"), pending("2", 2), NOW);
    known.passed(&key("a"), Some(2));
    assert_eq!((told(&known, "a", NOW), known.pending()), (None, 0));
}

#[test]
fn pending_rows_have_a_bound_and_writes_of_one_key_take_the_room_of_one() {
    let known = known();
    for version in 0..10 {
        let room = known.room(1, 10).unwrap();
        known.accept(&key("a"), pending("x", version), NOW);
        drop(room);
    }
    assert_eq!(known.pending(), 1);
    assert!(known.room(3, 10).is_none());
    let room = known.room(2, 10).unwrap();
    assert!(known.room(1, 10).is_none());
    drop(room);
    assert!(known.room(2, 1 << 20).is_none(), "bytes have a bound as well");
    assert!(known.room(2, 10).is_some(), "what was refused holds no room");
}

#[test]
fn the_cache_stays_within_its_bounds_and_keeps_what_is_read() {
    let entries = Bounds { cache_entries_max: 2 * SHARDS, ..bounds() };
    let known = Known::new(entries);
    let settle = |n: usize| {
        known.settled(&key(&n.to_string()), Some(1), Bytes::from_static(b"x"), NOW);
    };
    for n in 0..10_000 {
        settle(n);
        told(&known, "0", NOW);
    }
    let sizes: Vec<_> = known.shards.iter().map(|shard| shard.lock().unwrap().sizes()).collect();
    assert!(sizes.iter().all(|&(slots, hand, ..)| hand <= 2 && slots <= 3), "{sizes:?}");
    assert_eq!(told(&known, "0", NOW), cache("x"), "it was read all the time");

    let bytes = Bounds { cache_bytes_max: 1000 * SHARDS, ..bounds() };
    let known = Known::new(bytes);
    for n in 0..1_000 {
        known.settled(&key(&n.to_string()), Some(1), vec![b'x'; 300].into(), NOW);
    }
    let sizes: Vec<_> = known.shards.iter().map(|shard| shard.lock().unwrap().sizes()).collect();
    assert!(sizes.iter().all(|&(_, hand, bytes, _)| bytes <= 1000 && hand <= 2), "{sizes:?}");
}

#[test]
fn nothing_is_left_of_a_key_that_nothing_is_known_of() {
    let known = known();
    for n in 0..1_000 {
        let text = n.to_string();
        known.accept(&key(&text), pending("x", 1), NOW);
        known.passed(&key(&text), Some(1));
        let flight = load(&known, &text);
        known.landed(&key(&text), &flight, Err(store::Error::Unavailable("down".into())), NOW);
    }
    left(&known, NOW + 1);
    let slots: usize = known.shards.iter().map(|shard| shard.lock().unwrap().sizes().0).sum();
    assert_eq!(slots, 0);
}

#[test]
fn without_room_for_a_cache_everything_is_asked_for() {
    let known = Known::new(Bounds { cache_entries_max: 0, ..bounds() });
    known.settled(&key("a"), Some(1), Bytes::from_static(b"x"), NOW);
    assert_eq!(told(&known, "a", NOW), None);
}
