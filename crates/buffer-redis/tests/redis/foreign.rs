//! Foreign producers push plain JSON; what they push is told apart by key and kept in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::place;
use crate::place::{ids, options, owned, receipts, take, until};
use buffer::conformance::foreign as contract;
use buffer::{Buffer, Envelope, foreign};
use buffer_redis::{Layout, Options, RedisBuffer, inspect};
use model::Event;
use model::event::PAYLOAD_BYTES_MAX;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use testbed::Redis;

fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| Redis::start().unwrap())
}

/// What a foreign producer does.
fn push(options: &Options, payload: &str) {
    let name = &options.name;
    match options.layout {
        Layout::List => redis().call(&["LPUSH", name, payload]).unwrap(),
        Layout::Stream { .. } => redis().call(&["XADD", name, "*", "json", payload]).unwrap(),
    };
}

fn both() -> [Options; 2] {
    [false, true].map(|stream| options(&redis().address(), stream, 16))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_producers_push_comes_in_order_beside_our_own_offers() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        for n in 0..40 {
            push(&options, &format!(r#"{{"tx_id":"f-{n:02}","card_number":"card-{}"}}"#, n % 5));
        }
        assert_eq!(buffer.depth().await.unwrap().ready, 40, "the source counts as ready");
        let leased = take(&buffer, 40).await;
        let expected: Vec<String> = (0..40).map(|n| format!("f-{n:02}")).collect();
        assert_eq!(ids(&leased), expected);
        assert_eq!(leased[7].event.key(), b"card-2");
        assert_eq!(leased[7].event.payload(), br#"{"tx_id":"f-07","card_number":"card-2"}"#);

        buffer.offer(&[place::event("own", "card-2")]).await.unwrap();
        push(&options, r#"{"tx_id":"after","card_number":"card-2"}"#);
        assert_eq!(ids(&take(&buffer, 2).await), ["own", "after"]);
        assert_eq!(buffer.depth().await.unwrap().leased, 42);
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 40);
        assert_eq!(buffer.depth().await.unwrap().leased, 2);
    }
}

/// What foreign producers push, in this order, as bytes.
fn push_bytes(options: &Options, payloads: &[Vec<u8>]) {
    let mut connection = redis::Client::open(redis().url()).unwrap().get_connection().unwrap();
    let mut pipe = redis::pipe();
    for payload in payloads {
        match options.layout {
            Layout::List => pipe.cmd("LPUSH").arg(&options.name).arg(payload),
            Layout::Stream { .. } => {
                pipe.cmd("XADD").arg(&options.name).arg("*").arg("json").arg(payload)
            }
        };
    }
    pipe.exec(&mut connection).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_vector_of_foreign_events_has_the_id_and_key_of_the_contract() {
    for options in both() {
        let options = Options { fields: contract::fields(), ..options };
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        let vectors = contract::vectors();
        push_bytes(&options, &vectors.iter().map(|v| v.payload.clone()).collect::<Vec<_>>());
        let peeked = inspect::events(&options, 0, vectors.len()).await.unwrap();
        let peeked: Vec<Event> = peeked.into_iter().map(|one| one.held.event).collect();
        contract::check(&vectors, &peeked);

        let is_long = |vector: &&contract::Vector| vector.payload.len() > PAYLOAD_BYTES_MAX;
        let long = vectors.iter().filter(is_long).count();
        let leased = take(&buffer, vectors.len() - long).await;
        let letters = buffer.dead_letters().list(0, long + 1).await.unwrap();
        let mut came: Vec<Event> = leased.into_iter().map(|envelope| envelope.event).collect();
        came.extend(letters.into_iter().map(|letter| letter.event));
        contract::check(&vectors, &came);
    }
}

const NAMES: [&str; 8] = [
    "\"order.id\":",
    "\"card-no\":",
    "\"order.id\":",
    "\"x\":",
    "\"order\\u002eid\":",
    "\"card-no\" :",
    "\"y\\\"order.id\":",
    "\"\\u0078\":",
];
const VALUES: [&str; 21] = [
    "\"a\"",
    "\"b\\\"\"",
    "\"\\u0041\"",
    "\"\\ud83d\\udcb3\"",
    "\"결\"",
    "\"\\uacb0\\n\"",
    "\"order.id\"",
    "1",
    "0",
    "-1.50",
    "1.",
    "-.5",
    "1e3",
    "12345678901234567890",
    "true",
    "null",
    "{}",
    "[\"order.id\",{\"order.id\":1.0}]",
    "{\"order.id\":1.0,\"card-no\":1}",
    "\"\\\"order.id\\\":1.0\"",
    "{\"x\":{\"card-no\":-1.5}}",
];
const DAMAGE: [&str; 22] = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", "1", "0", "-", ".", "0x1", "\\ud83d", "nan", " ",
    "\n", "\0", "\u{1}", "\u{feff}", "u", "\\n",
];

/// A vector, or an object of the fields with many kinds of values; half of them are damaged.
fn random_payload(rng: &mut StdRng, vectors: &[contract::Vector]) -> Vec<u8> {
    let mut payload = if rng.random_range(0..3) == 0 {
        vectors[rng.random_range(0..vectors.len())].payload.clone()
    } else {
        let count = rng.random_range(0..6);
        let members: Vec<String> = (0..count)
            .map(|_| {
                let name = NAMES[rng.random_range(0..NAMES.len())];
                format!("{name}{}", VALUES[rng.random_range(0..VALUES.len())])
            })
            .collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    payload.truncate(4_000);
    if rng.random_range(0..2) == 0 {
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..=payload.len());
            let end = (at + rng.random_range(0..3)).min(payload.len());
            payload.splice(at..end, DAMAGE[rng.random_range(0..DAMAGE.len())].bytes());
        }
    }
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_bytes_the_script_reads_them_as_the_contract_does() {
    const PAGE: usize = 500;
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let [options, _] = both();
    let options = Options { fields: contract::fields(), ..options };
    let vectors = contract::vectors();
    let payloads: Vec<Vec<u8>> =
        (0..8 * PAGE).map(|_| random_payload(&mut rng, &vectors)).collect();
    push_bytes(&options, &payloads);
    let mut seen: Vec<inspect::Peeked> = Vec::new();
    let mut read = 0;
    while seen.len() < payloads.len() {
        let from = seen.last().map_or(0, |last| last.held.seq + 1);
        let page = inspect::events(&options, from, PAGE).await.unwrap();
        assert!(!page.is_empty(), "only {} of {} events came", seen.len(), payloads.len());
        for (inspect::Peeked { held, .. }, payload) in page.iter().zip(&payloads[seen.len()..]) {
            let expect = foreign::read(payload, &options.fields);
            let shown = payload.escape_ascii();
            assert_eq!(held.event.payload(), payload, "the payload of {shown}");
            assert_eq!(held.event.id(), expect.id, "the id of {shown}");
            assert_eq!(held.event.key(), expect.key, "the key of {shown}");
            read += usize::from(expect.outcome == foreign::Outcome::Read);
        }
        seen.extend(page);
    }
    assert!((PAGE..7 * PAGE).contains(&read), "{read} have an id: the payloads are no good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_hides_neither_id_nor_key() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        push(&options, "\u{feff}{\"tx_id\":\"marked\",\"card_number\":\"card-1\"}");
        let leased = take(&buffer, 1).await;
        assert_eq!(
            (ids(&leased), leased[0].event.key()),
            (vec!["marked".to_owned()], &b"card-1"[..])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_delivered_too_and_stops_nobody() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        let long_id = format!(r#"{{"tx_id":"{}"}}"#, "x".repeat(65));
        let junk = ["not json", "[1,2]", r#"{"tx_id":""}"#, r#"{"tx_id":null}"#, "", &long_id];
        for text in junk {
            push(&options, text);
            push(&options, &format!(r#"{{"tx_id":"good after {}"}}"#, text.len()));
        }
        let mut leased = take(&buffer, 2 * junk.len()).await;
        if options.layout != Layout::List {
            leased.sort_by_key(|envelope| envelope.receipt.seq);
        }
        for (pair, text) in leased.chunks(2).zip(junk) {
            let id = String::from_utf8_lossy(pair[0].event.id()).into_owned();
            assert!(id.starts_with("unread-") && id.len() <= 64, "{id}");
            assert_eq!((pair[0].event.key(), pair[0].event.payload()), (&b""[..], text.as_bytes()));
            assert_eq!(ids(&pair[1..]), [format!("good after {}", text.len())]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_digit_of_a_number_that_is_an_id_is_lost() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        for id in ["7", "9007199254740992", "9007199254740993", "-1.50", "1e3"] {
            push(&options, &format!(r#"{{"note":{{"x":1}}, "tx_id" : {id}, "card_number":4000}}"#));
        }
        let leased = take(&buffer, 5).await;
        assert_eq!(ids(&leased), ["7", "9007199254740992", "9007199254740993", "-1.50", "1e3"]);
        assert!(leased.iter().all(|envelope| envelope.event.key() == b"4000"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_for_an_event_is_buried_or_if_there_is_no_room_delivered_cut_off() {
    for options in both() {
        let options = Options { dead_max: 1, ..options };
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        let long = format!(r#"{{"tx_id":"long","x":"{}"}}"#, "y".repeat(70_000));
        push(&options, &long);
        push(&options, &long);
        push(&options, r#"{"tx_id":"good"}"#);
        let leased = take(&buffer, 2).await;
        assert_eq!(ids(&leased), ["long", "good"]);
        assert_eq!(leased[0].event.payload(), &long.as_bytes()[..65_536]);
        let letters = buffer.dead_letters().list(0, 10).await.unwrap();
        assert_eq!((letters.len(), letters[0].event.payload().len()), (1, 65_536));
        assert_eq!(letters[0].reason, model::event::too_long(long.len()));
        assert_eq!(inspect::dead(&options).await.unwrap(), letters);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_entry_with_several_fields_the_object_is_taken_and_nothing_is_gone() {
    let options = options(&redis().address(), true, 4);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    let body = r#"{"tx_id":"a"}"#;
    redis().call(&["XADD", &options.name, "*", "x", "1", "data", body]).unwrap();
    redis().call(&["XADD", &options.name, "*", "x", "1", "tx_id", "b"]).unwrap();
    let leased = take(&buffer, 2).await;
    assert_eq!(ids(&leased), ["a", "b"]);
    assert_eq!(leased[0].event.payload(), body.as_bytes());
    let whole: serde_json::Value = serde_json::from_slice(leased[1].event.payload()).unwrap();
    assert_eq!(whole, serde_json::json!({ "x": "1", "tx_id": "b" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_entry_was_accepted_when_it_was_added_and_names_its_field() {
    let options = options(&redis().address(), true, 4);
    let layout = Layout::Stream { group: "g".to_owned(), field: Some("body".to_owned()) };
    let options = Options { layout, ..options };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    let body = r#"{"tx_id":"a"}"#;
    let added = redis().call(&["XADD", &options.name, "*", "x", "1", "body", body]).unwrap();
    let added_ms: i64 = added.text().unwrap().split('-').next().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(buffer.depth().await.unwrap().oldest_accepted_ms, Some(added_ms));
    let leased = take(&buffer, 1).await;
    assert_eq!((ids(&leased), leased[0].accepted_at_ms), (vec!["a".to_owned()], added_ms));
    assert_eq!(leased[0].event.payload(), body.as_bytes());
    assert_eq!(buffer.depth().await.unwrap().oldest_accepted_ms, Some(added_ms));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_events_shows_all_of_them_and_changes_nothing() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        buffer.offer(&place::events(0..300)).await.unwrap();
        let leased = take(&buffer, 10).await;
        buffer.release(&receipts(&leased[..2]), Duration::ZERO).await.unwrap();
        buffer.release(&receipts(&leased[2..4]), Duration::from_secs(60)).await.unwrap();
        for n in 300..310 {
            push(&options, &format!(r#"{{"tx_id":"id-{n}"}}"#));
        }
        let before = buffer.depth().await.unwrap();
        let mut held: Vec<inspect::Peeked> = Vec::new();
        loop {
            let from = held.last().map_or(0, |last| last.held.seq + 1);
            let page = inspect::events(&options, from, 37).await.unwrap();
            if page.is_empty() {
                break;
            }
            held.extend(page);
        }
        let names: Vec<String> =
            held.iter().map(|h| String::from_utf8_lossy(h.held.event.id()).into_owned()).collect();
        assert_eq!(names, (0..310).map(|n| format!("id-{n}")).collect::<Vec<_>>());
        let is_leased: Vec<bool> = held.iter().map(|held| held.leased).collect();
        assert_eq!(is_leased, (0..310).map(|n| (4..10).contains(&n)).collect::<Vec<_>>());
        assert_eq!(held[5].held.accepted_at_ms, leased[5].accepted_at_ms);
        assert_eq!(buffer.depth().await.unwrap(), before);

        let seen = inspect::distribution(&options).await.unwrap();
        // Of a list, what is offered is routed when it is claimed.
        let routed = if matches!(options.layout, Layout::List) { 4 } else { 294 };
        assert_eq!(seen.backlog.iter().sum::<u64>(), routed);
        assert_eq!(seen.source, 304 - routed);
        let [member] = &seen.members[..] else { panic!("one member, not {:?}", seen.members) };
        assert_eq!((member.shards.len(), member.events), (16, 6));
        assert!(member.deadline_ms > seen.now_ms);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_is_seen_in_order_before_anybody_leases_and_erased_whole() {
    for options in both() {
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        for from in [0, 10, 20] {
            buffer.offer(&place::events(from..from + 10)).await.unwrap();
        }
        push(&options, r#"{"tx_id":"id-30"}"#);
        let depth = buffer.depth().await.unwrap();
        assert_eq!((depth.ready, depth.oldest_accepted_ms.is_some()), (31, true));
        let mut seen: Vec<inspect::Peeked> = Vec::new();
        loop {
            let from = seen.last().map_or(0, |last| last.held.seq + 1);
            let page = inspect::events(&options, from, 7).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        let id = |one: &inspect::Peeked| String::from_utf8_lossy(one.held.event.id()).into_owned();
        let expected: Vec<String> = (0..31).map(|n| format!("id-{n}")).collect();
        assert_eq!(seen.iter().map(id).collect::<Vec<_>>(), expected);
        let first = seen[0].held.seq;
        assert!(seen.iter().zip(first..).all(|(one, n)| one.held.seq == n && !one.leased));
        let mut leased = take(&buffer, 31).await;
        if options.layout != Layout::List {
            leased.sort_by_key(|envelope| envelope.receipt.seq);
        }
        assert_eq!(ids(&leased), expected, "it has the numbers with which it was seen");
        buffer.offer(&place::events(31..40)).await.unwrap();
        buffer_redis::purge(&options).await.unwrap();
        let left = redis().call(&["KEYS", &format!("*{}*", options.name)]).unwrap();
        assert_eq!(left, testbed::Reply::Array(Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_of_a_key_goes_after_all_that_waits_of_it() {
    for options in both() {
        let options = Options { events_max: 10_000, ..options };
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        let own = |n| place::event(&format!("own-{n}"), "card-1");
        buffer.offer(&[own(0)]).await.unwrap();
        let dead = take(&buffer, 1).await;
        buffer.bury(&[(dead[0].receipt, "bad".to_owned())]).await.unwrap();
        buffer.offer(&(1..5_001).map(own).collect::<Vec<_>>()).await.unwrap();
        let letter = buffer.dead_letters().list(0, 1).await.unwrap()[0].seq;
        assert_eq!(buffer.dead_letters().replay(&[letter]).await.unwrap(), 1);
        push(&options, r#"{"tx_id":"foreign","card_number":"card-1"}"#);
        let mut expected: Vec<String> = (1..5_001).map(|n| format!("own-{n}")).collect();
        expected.extend(["own-0".to_owned(), "foreign".to_owned()]);
        let mut came = Vec::new();
        while came.len() < expected.len() {
            came.extend(ids(&take(&buffer, (expected.len() - came.len()).min(1_500)).await));
        }
        assert_eq!(came, expected);
    }
}

/// Shards are read side by side: whoever waits longest must not wait for those whose shards come first.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_the_oldest_is_in_every_lease_however_small() {
    let options = options(&redis().address(), true, 16);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    for key in 0..16 {
        let of_key = |n| place::event(&format!("{key}-{n}"), &format!("key-{key}"));
        buffer.offer(&(0..10).map(of_key).collect::<Vec<_>>()).await.unwrap();
    }
    let held = inspect::events(&options, 0, 160).await.unwrap();
    let mut waiting: BTreeSet<u64> = held.iter().map(|one| one.held.seq).collect();
    for max in [1, 3, 15, 16, 17, 40, 1, 2] {
        let leased = buffer.lease(max, Duration::from_secs(5)).await.unwrap();
        let oldest = waiting.first().copied();
        assert!(leased.iter().any(|one| Some(one.receipt.seq) == oldest), "{max}: {leased:?}");
        assert!((max.div_ceil(2)..=max).contains(&leased.len()), "{} of {max}", leased.len());
        for one in &leased {
            waiting.remove(&one.receipt.seq);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_or_a_group_that_somebody_deleted_is_made_again_and_what_was_held_is_held() {
    for group_alone in [false, true] {
        let options = options(&redis().address(), true, 4);
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        let events: Vec<_> = (0..10).map(|n| place::event(&format!("id-{n}"), "key")).collect();
        buffer.offer(&events).await.unwrap();
        let first = take(&buffer, 4).await;
        assert_eq!(buffer.release(&receipts(&first[..1]), Duration::ZERO).await.unwrap(), 1);
        for shard in 0..4 {
            let stream = format!("{{{}}}:{shard}", options.name);
            if redis().call(&["XLEN", &stream]).unwrap().integer() == Some(0) {
                redis().call(&["DEL", &stream]).unwrap();
            } else if group_alone {
                redis().call(&["XGROUP", "DESTROY", &stream, "forebay"]).unwrap();
            }
        }
        // What comes again is taken by the very claim that finds the others gone.
        let second = take(&buffer, 7).await;
        assert_eq!(ids(&second)[0], "id-0");
        assert_eq!(ids(&second)[1..], (4..10).map(|n| format!("id-{n}")).collect::<Vec<_>>());
        assert!(buffer.lease(1, Duration::from_millis(50)).await.unwrap().is_empty());
        assert_eq!(buffer.release(&receipts(&second[1..2]), Duration::ZERO).await.unwrap(), 1);
        let again = take(&buffer, 1).await;
        let rest = [&first[1..], &second[..1], &second[2..], &again].concat();
        assert_eq!(buffer.ack(&receipts(&rest)).await.unwrap(), 10);
        let depth = buffer.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased), (0, 0));
        buffer.offer(&place::events(10..20)).await.unwrap();
        assert_eq!(buffer.ack(&receipts(&take(&buffer, 10).await)).await.unwrap(), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_read_with_our_group_keeps_no_other_shard_waiting_and_comes_again() {
    let options = options(&redis().address(), true, 16);
    let options = Options { lease_ms: 3_000, member_ms: 3_000, ..options };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    for n in 0..6 {
        buffer.offer(&[place::event(&format!("id-{n}"), &format!("key-{n}"))]).await.unwrap();
    }
    let oldest = inspect::events(&options, 0, 1).await.unwrap();
    assert_eq!(oldest[0].held.event.id(), b"id-0");
    for shard in 0..16 {
        let stream = format!("{{{}}}:{shard}", options.name);
        let first = redis().call(&["XRANGE", &stream, "-", "+", "COUNT", "1"]).unwrap();
        if format!("{first:?}").contains("id-0") {
            let read = ["XREADGROUP", "GROUP", "forebay", "stranger", "COUNT", "1", "STREAMS"];
            redis().call(&[&read[..], &[&stream, ">"]].concat()).unwrap();
        }
    }
    let mut came = Vec::new();
    for _ in 0..5 {
        let one = buffer.lease(1, Duration::from_millis(200)).await.unwrap();
        assert_eq!(one.len(), 1, "after {came:?}");
        assert_eq!(buffer.ack(&receipts(&one)).await.unwrap(), 1);
        came.extend(ids(&one));
    }
    assert!(!came.contains(&"id-0".to_owned()), "{came:?}");
    let again = take(&buffer, 1).await;
    assert_eq!(ids(&again), ["id-0"]);
    assert_eq!(buffer.ack(&receipts(&again)).await.unwrap(), 1);
    assert_eq!(buffer.depth().await.unwrap().ready, 0);
}

/// Asked for up to a hundred entries that lie idle, Redis passes a thousand that do not, and no
/// more: whoever begins at the first each time never sees what lies behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_read_with_our_group_is_found_behind_however_much_is_leased() {
    let options = options(&redis().address(), true, 1);
    // Whatever is leased here is young, and Redis is asked several times a second.
    let options = Options { lease_ms: 3_600_000, member_ms: 600, ..options };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&place::events(0..1_103)).await.unwrap();
    let leased = take(&buffer, 1_100).await;
    let stream = format!("{{{}}}:0", options.name);
    let read = ["XREADGROUP", "GROUP", "forebay", "stranger", "STREAMS", stream.as_str(), ">"];
    let read = redis().call(&read).unwrap();
    let entries = read.array()[0].array()[1].array();
    let names: Vec<&str> = entries.iter().map(|entry| entry.array()[0].text().unwrap()).collect();
    assert_eq!(names.len(), 3);
    // As if that had been two hours ago.
    let theirs = ["XCLAIM", stream.as_str(), "forebay", "stranger", "0"];
    redis().call(&[&theirs[..], &names, &["IDLE", "7200000", "JUSTID"]].concat()).unwrap();

    // From the first on it does not get that far.
    let ask = ["XAUTOCLAIM", stream.as_str(), "forebay", "stranger", "3600000", "0-0"];
    let told = redis().call(&[&ask[..], &["COUNT", "100", "JUSTID"]].concat()).unwrap();
    assert!(told.array()[1].array().is_empty(), "{told:?}");
    assert_ne!(told.array()[0].text(), Some("0-0"), "there is more behind");
    let again = take(&buffer, 3).await;
    assert_eq!(ids(&again), ["id-1100", "id-1101", "id-1102"]);
    assert_eq!(buffer.ack(&receipts(&[leased, again].concat())).await.unwrap(), 1_103);
    let depth = buffer.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_offers_accepted_together_share_a_key() {
    let options = options(&redis().address(), false, 4);
    let options = Options { events_max: 100_000, ..options };
    let buffer = std::sync::Arc::new(RedisBuffer::open(options.clone()).await.unwrap());
    let mut offers = tokio::task::JoinSet::new();
    for caller in 0..50 {
        let buffer = buffer.clone();
        offers.spawn(async move {
            for n in 0..400 {
                buffer.offer(&[place::event(&format!("{caller}-{n}"), "")]).await.unwrap();
            }
        });
    }
    offers.join_all().await;
    let blocks = redis().call(&["LLEN", &format!("{{{}}}:in", options.name)]).unwrap();
    let blocks = blocks.integer().unwrap();
    assert!(blocks < 15_000, "{blocks} keys for 20,000 events");
    assert_eq!(inspect::distribution(&options).await.unwrap().source, 20_000);
}

/// What two processes were given of foreign events, in turn.
#[derive(Default)]
struct Given {
    /// Which number of each key comes next.
    next: BTreeMap<Vec<u8>, usize>,
    /// Who holds events of a key, and how many.
    holders: BTreeMap<Vec<u8>, (usize, usize)>,
    /// How many each of the two was given.
    counts: [usize; 2],
    wrong: Vec<String>,
}

impl Given {
    fn begin(&mut self, who: usize, leased: &[Envelope]) {
        for envelope in leased {
            let key = envelope.event.key().to_vec();
            let id = String::from_utf8_lossy(envelope.event.id()).into_owned();
            let n: usize = id.rsplit('-').next().unwrap().parse().unwrap();
            let next = self.next.entry(key.clone()).or_default();
            if n != *next {
                self.wrong.push(format!("{who} was given {id} where {next} comes next"));
            }
            *next = n + 1;
            let holder = self.holders.entry(key).or_insert((who, 0));
            if holder.0 != who && holder.1 > 0 {
                self.wrong.push(format!("{who} was given {id} while {} has its key", holder.0));
            }
            *holder = (who, holder.1 + 1);
            self.counts[who] += 1;
        }
    }

    fn end(&mut self, who: usize, leased: &[Envelope]) {
        for envelope in leased {
            let holder = self.holders.get_mut(envelope.event.key()).unwrap();
            if holder.0 == who {
                holder.1 -= 1;
            }
        }
    }

    fn all(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// A process: leases, works a little, acks, until everything was given to somebody.
async fn consume(who: usize, buffer: &RedisBuffer, given: &Mutex<Given>, all: usize) {
    while given.lock().unwrap().all() < all {
        let leased = buffer.lease(20, Duration::from_millis(50)).await.unwrap();
        given.lock().unwrap().begin(who, &leased);
        // The work, during which the other one leases too.
        tokio::time::sleep(Duration::from_millis(2)).await;
        // It is done before it is acked: as soon as it is, the other one may have the key.
        given.lock().unwrap().end(who, &leased);
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), leased.len());
    }
}

const CARDS: usize = 40;

/// One more event of every card.
fn push_round(options: &Options, round: usize) {
    for card in 0..CARDS {
        let id = format!("{card}-{round}");
        push(options, &format!(r#"{{"tx_id":"{id}","card_number":"card-{card}"}}"#));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_get_each_foreign_event_once_and_each_key_in_order_and_one_at_a_time() {
    const ROUNDS: usize = 50;
    for options in both() {
        // A machine that stands still for a moment is not to make strangers of them.
        let options = Options { member_ms: 6_000, lease_ms: 60_000, ..options };
        let first = RedisBuffer::open(options.clone()).await.unwrap();
        let second = RedisBuffer::open(options.clone()).await.unwrap();
        for buffer in [&first, &second] {
            assert!(buffer.lease(1, Duration::ZERO).await.unwrap().is_empty());
        }
        until("they share", || owned(&options), |owned| *owned == [8, 8]).await;

        // So much waits that both find some at once, and the rest comes while they work.
        let waiting = ROUNDS / 5;
        (0..waiting).for_each(|round| push_round(&options, round));
        let pushed = options.clone();
        let producer = tokio::task::spawn_blocking(move || {
            (waiting..ROUNDS).for_each(|round| push_round(&pushed, round));
        });
        let (given, all) = (Mutex::new(Given::default()), CARDS * ROUNDS);
        let work = async {
            tokio::join!(consume(0, &first, &given, all), consume(1, &second, &given, all))
        };
        let done = tokio::time::timeout(place::PATIENCE, work).await;
        producer.await.unwrap();
        let given = given.into_inner().unwrap();
        assert_eq!(given.wrong, Vec::<String>::new());
        assert!(done.is_ok(), "of {all} events came {:?}", given.counts);
        assert_eq!(given.all(), all);
        assert!(given.counts.iter().all(|count| *count > 0), "{:?}", given.counts);
        let depth = first.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased), (0, 0));
    }
}
