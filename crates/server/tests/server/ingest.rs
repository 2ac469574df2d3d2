//! One event over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{
    Answer, CARD, Failing, Gate, Gated, payment, payment_of, start, start_holding,
};
use crate::harness::{Running, start_with};
use buffer::memory;
use server::Options;

const EVENT_BYTES_MAX: usize = 64 * 1024;

#[tokio::test]
async fn one_event_is_accepted_and_held_byte_for_byte() {
    let server = start(Options::default()).await;
    let json = payment("tx-1");
    server.one(json.clone()).await.is(202, include_str!("golden/one_accepted.json"));
    let events = server.drain_events().await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].id(), events[0].key()), (&b"tx-1"[..], CARD.as_bytes()));
    assert_eq!(events[0].payload(), json.as_bytes());
}

#[tokio::test]
async fn a_byte_order_mark_in_front_of_an_event_or_of_lines_is_passed_over() {
    let server = start(Options::default()).await;
    assert_eq!(server.one(format!("\u{feff}{}", payment("tx-1"))).await.status, 202);
    let lines = format!("\u{feff}{}\n{}\n", payment("tx-2"), payment("tx-3"));
    assert_eq!(server.lines(lines).await.status, 202);
    let events = server.drain_events().await;
    let payloads: Vec<_> = events.iter().map(|event| event.payload().to_vec()).collect();
    assert_eq!(payloads, ["tx-1", "tx-2", "tx-3"].map(|id| payment(id).into_bytes()));
}

#[tokio::test]
async fn the_same_id_again_is_accepted_again() {
    let server = start(Options::default()).await;
    for _ in 0..2 {
        assert_eq!(server.one(payment("tx-1")).await.status, 202);
    }
    assert_eq!(server.drain().await, ["tx-1", "tx-1"]);
}

#[tokio::test]
async fn a_202_comes_only_after_the_buffer_has_the_event() {
    let gate = Gate::shut();
    let server = start_with(Options::default(), memory::Options::default(), |memory| Gated {
        memory,
        gate: gate.clone(),
    })
    .await;
    let answer = server.one(payment("tx-1"));
    let mut answer = std::pin::pin!(answer);
    // The answer is polled together with the server until the offer waits at the gate.
    tokio::select! {
        early = &mut answer => panic!("answered before the offer returned: {early:?}"),
        () = server.until("an offer", async |_| gate.waiting() == 1) => {}
    }
    let early = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
    assert!(early.is_err(), "answered before the offer returned: {early:?}");
    gate.passes.add_permits(1);
    assert_eq!(answer.await.status, 202);
}

#[tokio::test]
async fn a_bad_event_is_answered_400_with_the_field_and_never_with_the_card() {
    let server = start(Options::default()).await;
    let good = payment("tx-1");
    for (json, field) in [
        (good.replace("12000", "-1"), "amount"),
        (good.replace("12000", "9223372036854775808"), "amount"),
        (good.replace("tx-1", &"x".repeat(65)), "tx_id"),
        (good.replace(r#""tx_id":"tx-1","#, ""), "tx_id"),
        (good.replace(CARD, "4000-card-5678"), "card_number"),
        (good.replace("normal", CARD), "tier"),
        (good.replace(&crate::harness::NOW_MS.to_string(), "1000"), "created_at"),
        (good[..good.len() - 1].to_owned(), "event"),
        (CARD.to_owned(), "event"),
        (String::new(), "event"),
    ] {
        let answer = server.one(json.clone()).await;
        assert_eq!((answer.status, answer.field().as_str()), (400, field), "{json} {answer:?}");
        assert!(!answer.body.contains("4000"), "{answer:?}");
    }
    server.one(good.replace("12000", "-1")).await.is(400, include_str!("golden/one_bad.json"));
    assert_eq!(server.ready_events().await, 0);
}

#[tokio::test]
async fn times_are_held_against_the_clock_passed_in() {
    let server = start(Options::default()).await;
    let (year_ms, tomorrow) = (365 * 86_400_000, crate::harness::NOW_MS + 2 * 86_400_000);
    let json = payment("tx-1").replace(&crate::harness::NOW_MS.to_string(), &tomorrow.to_string());
    assert_eq!(server.one(json.clone()).await.field(), "created_at");
    server.clock.advance(year_ms);
    assert_eq!(server.one(json).await.status, 202);
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_answered_400_naming_the_event() {
    let server = start(Options::default()).await;
    let mut json = payment("tx-1").into_bytes();
    let at = json.windows(3).position(|window| window == b"m-1").unwrap();
    json[at] = 0xff;
    let answer = server.one(json).await;
    assert_eq!((answer.status, answer.field().as_str()), (400, "event"), "{answer:?}");
}

#[tokio::test]
async fn the_longest_event_is_accepted_and_one_byte_more_is_answered_413() {
    let server = start(Options::default()).await;
    assert_eq!(server.one(payment_of(EVENT_BYTES_MAX)).await.status, 202);
    assert_eq!(server.one(chunked(payment_of(EVENT_BYTES_MAX), 1000)).await.status, 202);

    let golden = include_str!("golden/too_large.json");
    server.one(payment_of(EVENT_BYTES_MAX + 1)).await.is(413, golden);
    server.one(chunked(payment_of(EVENT_BYTES_MAX + 1), 1000)).await.is(413, golden);
    assert_eq!(server.ready_events().await, 2);
}

fn chunked(text: String, chunk_bytes: usize) -> reqwest::Body {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        text.as_bytes().chunks(chunk_bytes).map(|chunk| Ok(chunk.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn an_event_announced_as_huge_is_refused_before_it_is_sent() {
    let server = start(Options::default()).await;
    let mut raw = server.connect().await;
    raw.send(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 99999999999\r\n\r\n",
    )
    .await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn another_type_or_a_compressed_body_is_answered_415_saying_what_is_right() {
    let server = start(Options::default()).await;
    for content_type in ["text/plain", "application/xml", "application/json; charset=euc-kr"] {
        let answer = server.post(content_type, payment("tx-1")).await;
        answer.is(415, include_str!("golden/media.json"));
    }
    let request = server.client.post(server.url("/v1/events")).body(payment("tx-1"));
    Answer::of(request.send().await.unwrap()).await.is(415, include_str!("golden/media.json"));

    let request = server.client.post(server.url("/v1/events")).body(payment("tx-1"));
    let request =
        request.header("content-type", "application/json").header("content-encoding", "gzip");
    let answer = Answer::of(request.send().await.unwrap()).await;
    answer.is(415, include_str!("golden/compressed.json"));
    assert_eq!(server.ready_events().await, 0);

    let answer = server.post("application/json; charset=utf-8", payment("tx-1")).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405_with_allow() {
    let server = start(Options::default()).await;
    server.get("/nowhere").await.is(404, include_str!("golden/not_found.json"));
    let answer = server.get("/v1/events").await;
    answer.is(405, include_str!("golden/not_allowed.json"));
    assert_eq!(answer.header("allow"), "POST");
    for path in ["/ping", "/ready", "/metrics"] {
        let answer = Answer::of(server.client.delete(server.url(path)).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
        let answer = Answer::of(server.client.head(server.url(path)).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn a_full_buffer_is_answered_429_and_what_was_accepted_stays() {
    let server = start_holding(3, Options::default()).await;
    let mut accepted = Vec::new();
    for n in 0..5 {
        let id = format!("tx-{n}");
        let answer = server.one(payment(&id)).await;
        if answer.status == 202 {
            accepted.push(id);
            continue;
        }
        answer.is(429, include_str!("golden/full.json"));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(accepted.len(), 3);
    assert_eq!(server.drain().await, accepted);
    assert_eq!(server.one(payment("tx-9")).await.status, 202);
}

/// A server of which every offer fails with `error`.
async fn failing(error: fn() -> buffer::Error) -> Running {
    start_with(Options::default(), memory::Options::default(), |memory| {
        Failing::always(memory, error)
    })
    .await
}

#[tokio::test]
async fn retry_after_is_in_whole_seconds_rounded_up() {
    let server = failing(|| buffer::Error::Full {
        bound: "bytes_max = 1 TiB of /secret/path".into(),
        retry_after: Duration::from_millis(2001),
    })
    .await;
    let answer = server.one(payment("tx-1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "3"));
    assert!(!answer.body.contains("secret"), "{answer:?}");
}

#[tokio::test]
async fn a_buffer_out_of_reach_is_answered_503_without_its_secrets_and_stays_ready() {
    let server = failing(|| buffer::Error::Unavailable("redis://:secret@host".into())).await;
    let answer = server.one(payment("tx-1")).await;
    answer.is(503, include_str!("golden/unavailable.json"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(server.get("/ready").await.status, 200);
}

#[tokio::test]
async fn a_buffer_that_denies_a_right_takes_events_again_once_it_is_given_back() {
    static DENIED: AtomicBool = AtomicBool::new(true);
    let server = start_with(Options::default(), memory::Options::default(), |memory| {
        Failing::while_set(memory, || buffer::Error::Open("user secret: NOPERM".into()), &DENIED)
    })
    .await;
    server.one(payment("tx-1")).await.is(503, include_str!("golden/unavailable.json"));
    assert_eq!(server.get("/ready").await.status, 200);
    DENIED.store(false, Ordering::SeqCst);
    assert_eq!(server.one(payment("tx-1")).await.status, 202);
    assert_eq!(server.drain().await, ["tx-1"]);
}

#[tokio::test]
async fn a_poisoned_buffer_is_answered_503_and_ready_says_so() {
    let server = failing(|| buffer::Error::Poisoned("/secret/segment".into())).await;
    server.get("/ready").await.is(200, include_str!("golden/ready.json"));
    let answer = server.one(payment("tx-1")).await;
    answer.is(503, include_str!("golden/unavailable.json"));
    server.get("/ready").await.is(503, include_str!("golden/not_ready.json"));
    assert_eq!(server.one(payment("tx-1")).await.status, 503);
    assert_eq!(server.get("/ping").await.body, "pong");
}

#[tokio::test]
async fn an_event_larger_than_the_buffer_could_ever_hold_is_answered_413() {
    let server = failing(|| buffer::Error::TooMany { got: 2, max: 1 }).await;
    let answer = server.one(payment("tx-1")).await;
    assert_eq!((answer.status, answer.field().as_str()), (413, "event"));
}

#[tokio::test]
async fn a_buffer_that_is_only_read_is_answered_403_and_does_not_say_where_it_reads() {
    let server = failing(|| buffer::Error::Unsupported("the topic secret".to_owned())).await;
    let answer = server.one(payment("tx-1")).await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("events cannot be sent here"), "{}", answer.body);
    assert!(!answer.body.contains("secret"), "{}", answer.body);
}

#[tokio::test]
async fn a_closed_buffer_is_answered_503() {
    let server = start(Options::default()).await;
    server.buffer.close().await.unwrap();
    let answer = server.one(payment("tx-1")).await;
    answer.is(503, include_str!("golden/unavailable.json"));
    assert_ne!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_buffer_that_never_answers_is_answered_503_after_the_bound() {
    let gate = Gate::shut();
    let options = Options { offer_timeout: Duration::from_millis(50), ..Options::default() };
    let server =
        start_with(options, memory::Options::default(), |memory| Gated { memory, gate }).await;
    let answer = server.one(payment("tx-1")).await;
    answer.is(503, include_str!("golden/unavailable.json"));
}

#[tokio::test]
async fn while_a_part_is_not_ready_events_are_answered_503() {
    let server = start(Options::default()).await;
    server.handle.readiness().block("journal", "is being recovered");
    let answer = server.one(payment("tx-1")).await;
    answer.is(503, include_str!("golden/not_taken.json"));
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(server.lines(payment("tx-1")).await.status, 503);
    server.handle.readiness().clear("journal");
    assert_eq!(server.one(payment("tx-1")).await.status, 202);
}
