//! Foreign producers send plain JSON; it comes beside our own offers.

use std::time::Duration;

use crate::place;
use crate::place::{both, ids, options, receipts, server, take, until};
use buffer::Buffer;
use buffer::conformance::foreign as contract;
use buffer_sqs::{Options, SqsBuffer};
use model::Event;
use model::event::PAYLOAD_BYTES_MAX;

/// What a foreign producer does.
fn send(options: &Options, body: &str) {
    static ONCE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let once = ONCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let fifo = format!(r#","MessageGroupId":"g-{once}","MessageDeduplicationId":"{once}""#);
    let fifo = if options.fifo() { fifo.as_str() } else { "" };
    let (url, body) = (options.queue_url(), serde_json::json!(body));
    let parameters = format!(r#"{{"QueueUrl":"{url}","MessageBody":{body}{fifo}}}"#);
    server().call("SendMessage", &parameters).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_producers_send_comes_beside_our_own_offers() {
    for options in both() {
        let buffer = SqsBuffer::open(options.clone()).await.unwrap();
        for n in 0..20 {
            send(&options, &format!(r#"{{"tx_id":"id-{n}","card_number":"card-{n}"}}"#));
        }
        buffer.offer(&place::events(20..30)).await.unwrap();
        assert_eq!(buffer.depth().await.unwrap().ready, 30);
        let leased = take(&buffer, 30).await;
        assert_eq!(ids(&leased), place::ids_of(0..30));
        let foreign = leased.iter().find(|envelope| envelope.event.id() == b"id-7").unwrap();
        assert_eq!(foreign.event.key(), b"card-7");
        assert_eq!(foreign.event.payload(), br#"{"tx_id":"id-7","card_number":"card-7"}"#);
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 30);
        assert_eq!(buffer.depth().await.unwrap(), buffer::Depth::default());
    }
}

/// SQS takes text alone: no empty body, and the characters of XML 1.0.
fn sqs_takes(vector: &contract::Vector) -> bool {
    let is_taken =
        |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
    let text = std::str::from_utf8(&vector.payload);
    text.is_ok_and(|text| !text.is_empty() && text.chars().all(is_taken))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_vector_of_foreign_events_has_the_id_and_key_of_the_contract() {
    for options in both() {
        // What is leased stays so while the rest is received.
        let fields = contract::fields();
        let options = Options { fields, visibility_ms: 600_000, ..options };
        let buffer = SqsBuffer::open(options.clone()).await.unwrap();
        let mut vectors = contract::vectors();
        let all = vectors.len();
        vectors.retain(sqs_takes);
        assert!(vectors.len() + 20 > all, "SQS takes only {} of {all}", vectors.len());
        for vector in &vectors {
            send(&options, std::str::from_utf8(&vector.payload).unwrap());
        }
        let is_long = |vector: &&contract::Vector| vector.payload.len() > PAYLOAD_BYTES_MAX;
        let long = vectors.iter().filter(is_long).count();
        let leased = take(&buffer, vectors.len() - long).await;
        let mut came: Vec<Event> = leased.into_iter().map(|envelope| envelope.event).collect();
        // A long one is buried when it is received, so receiving goes on.
        let receive = || async {
            let more = buffer.lease(1, Duration::from_millis(100)).await.unwrap();
            assert!(more.is_empty(), "one came twice: {more:?}");
            buffer.depth().await.unwrap().dead
        };
        until("each long one is buried", receive, |dead| *dead == u64::try_from(long).unwrap())
            .await;
        let letters = buffer.dead_letters().list(0, long + 1).await.unwrap();
        came.extend(letters.into_iter().map(|letter| letter.event));
        contract::check(&vectors, &came);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_delivered_too_so_that_it_is_buried_with_a_reason() {
    for options in both() {
        let buffer = SqsBuffer::open(options.clone()).await.unwrap();
        let junk = ["not json", "[1,2]", r#"{"tx_id":""}"#, r#"{"tx_id":null}"#, "x"];
        junk.iter().for_each(|text| send(&options, text));
        let leased = take(&buffer, junk.len()).await;
        for envelope in &leased {
            assert!(envelope.event.id().starts_with(b"unread-"));
            let payload = std::str::from_utf8(envelope.event.payload()).unwrap();
            assert!(junk.contains(&payload) && envelope.event.key().is_empty());
        }
        let burials: Vec<_> =
            leased.iter().map(|envelope| (envelope.receipt, "no JSON".to_owned())).collect();
        assert_eq!(buffer.bury(&burials).await.unwrap(), junk.len());
        let letters = buffer.dead_letters().list(0, 10).await.unwrap();
        assert_eq!(letters.len(), junk.len());
        assert!(letters.iter().all(|letter| letter.reason == "no JSON" && letter.attempts == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_for_an_event_is_buried_cut_off() {
    let options = options(false);
    let buffer = SqsBuffer::open(options.clone()).await.unwrap();
    let long = format!(r#"{{"tx_id":"long","x":"{}"}}"#, "y".repeat(70_000));
    send(&options, &long);
    send(&options, r#"{"tx_id":"good"}"#);
    assert_eq!(ids(&take(&buffer, 1).await), ["good"]);
    let letters = buffer.dead_letters().list(0, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("one letter, not {}", letters.len()) };
    assert_eq!((letter.event.id(), letter.event.payload().len()), (&b"long"[..], 65_536));
    assert_eq!(letter.reason, model::event::too_long(long.len()));
}

/// As a redrive policy of SQS does, or a person at the console.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_into_the_queue_of_dead_letters_is_a_letter_too() {
    let options = options(false);
    let buffer = SqsBuffer::open(options.clone()).await.unwrap();
    let dead = Options { queue: options.dead.clone(), ..options.clone() };
    send(&dead, r#"{"tx_id":"theirs","card_number":"c"}"#);
    let letters = buffer.dead_letters().list(0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.id()), (1, &b"theirs"[..]));
    assert_eq!(buffer.dead_letters().list(0, 10).await.unwrap(), letters, "numbers stay");
    assert_eq!(buffer.dead_letters().replay(&[letters[0].seq]).await.unwrap(), 1);
    assert_eq!(ids(&take(&buffer, 1).await), ["theirs"]);
}
