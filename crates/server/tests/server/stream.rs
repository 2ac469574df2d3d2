//! Streams of events over HTTP.

use std::time::Duration;

use crate::harness::{
    Gate, Gated, Running, bad_payment, payment, payment_of, start, start_holding, start_with,
};
use buffer::memory;
use futures_util::StreamExt as _;
use server::Options;
use tokio::sync::mpsc;

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("tx-{n:05}")).collect()
}

fn lines(ids: &[String]) -> String {
    ids.iter().map(|id| payment(id) + "\n").collect()
}

/// A body that is sent piece by piece as the test says; it ends when the sender is dropped.
fn by_hand() -> (mpsc::UnboundedSender<String>, reqwest::Body) {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (sender, reqwest::Body::wrap_stream(pieces.map(Ok::<_, std::io::Error>).boxed()))
}

fn chunked(text: &str, chunk_bytes: usize) -> reqwest::Body {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        text.as_bytes().chunks(chunk_bytes).map(|chunk| Ok(chunk.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn good_lines_are_accepted_and_each_bad_line_is_told_with_its_number() {
    let server = start(Options::default()).await;
    let body = [
        payment("tx-1"),
        bad_payment("tx-2"),
        String::new(),
        payment("tx-4") + "\r",
        payment_of(64 * 1024 + 1),
        bad_payment("tx-6"),
    ]
    .join("\n");
    server.lines(body).await.is(202, include_str!("golden/stream_mixed.json"));
    assert_eq!(server.drain().await, ["tx-1", "tx-4"]);
}

#[tokio::test]
async fn thousands_of_lines_cut_anywhere_come_out_whole_and_in_order() {
    let server = start(Options::default()).await;
    let ids = ids(0..5000);
    for (content_type, chunk_bytes) in
        [("application/x-ndjson", 1009), ("application/jsonl", 65_536)]
    {
        let answer = server.post(content_type, chunked(&lines(&ids), chunk_bytes)).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &5000.into()));
        let events = server.drain_events().await;
        assert_eq!(events.len(), 5000);
        for (event, id) in events.iter().zip(&ids) {
            assert_eq!(event.payload(), payment(id).as_bytes());
        }
    }
}

#[tokio::test]
async fn the_longest_line_is_accepted() {
    let server = start(Options::default()).await;
    let body = format!("{}\r\n{}\n", payment_of(64 * 1024), payment_of(64 * 1024));
    assert_eq!(server.lines(chunked(&body, 777)).await.json()["accepted"], 2);
}

#[tokio::test]
async fn an_endless_line_is_one_rejected_line_and_the_stream_goes_on() {
    let server = start(Options::default()).await;
    let body = format!("{}\n{}\n{}\n", payment("a"), "x".repeat(10_000_000), payment("b"));
    let answer = server.lines(chunked(&body, 65_536)).await.json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&2.into(), &1.into()));
    assert_eq!(answer["errors"][0]["line"], 2);
    assert_eq!(server.drain().await, ["a", "b"]);
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_accepted_is_answered_400_with_the_lines() {
    let server = start(Options::default()).await;
    let body = format!("{}\n{}", bad_payment("a"), bad_payment("b"));
    server.lines(body).await.is(400, include_str!("golden/stream_all_bad.json"));
}

#[tokio::test]
async fn a_stream_of_nothing_is_accepted_as_nothing() {
    let server = start(Options::default()).await;
    for body in ["", "\n\r\n \n"] {
        server.lines(body).await.is(202, include_str!("golden/stream_empty.json"));
    }
}

#[tokio::test]
async fn all_rejected_lines_are_counted_and_only_so_many_listed() {
    let server = start(Options::default()).await;
    let body: String = (0..2500).map(|_| bad_payment("a") + "\n").collect();
    let answer = server.lines(body + &payment("b")).await.json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&1.into(), &2500.into()));
    assert_eq!(answer["errors_truncated"], true);
    let listed: Vec<u64> =
        answer["errors"].as_array().unwrap().iter().map(|e| e["line"].as_u64().unwrap()).collect();
    assert_eq!(listed, (1..=100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn no_line_error_repeats_a_card_number() {
    let server = start(Options::default()).await;
    let body = [
        payment("a").replace("normal", crate::harness::CARD),
        crate::harness::CARD.to_owned(),
        payment("b").replace("12000", &format!("\"{}\"", crate::harness::CARD)),
    ];
    let answer = server.lines(body.join("\n")).await;
    assert_eq!((answer.status, &answer.json()["rejected"]), (400, &3.into()));
    assert!(!answer.body.contains("4000"), "{answer:?}");
}

#[tokio::test]
async fn a_full_buffer_is_answered_429_with_the_line_to_resume_at() {
    // Batches of two lines, and a place too few for lines 5 and 6: line 5 begins the batch that is
    // refused, and what is wrong with line 7 is left for the request that resumes.
    let options = Options { batch_lines_max: 2, ..Options::default() };
    let server = start_holding(5, options).await;
    let body = [
        payment("l1"),
        bad_payment("l2"),
        payment("l3"),
        payment("l4"),
        payment("l5"),
        payment("l6"),
        bad_payment("l7"),
        payment("l8"),
    ];
    server.one(payment("before")).await;
    let answer = server.lines(body.join("\n")).await;
    answer.is(429, include_str!("golden/stream_full.json"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(server.drain().await, ["before", "l1", "l3", "l4"]);
}

#[tokio::test]
async fn resuming_where_the_answer_says_loses_nothing_and_repeats_nothing() {
    let server = start_holding(1700, Options::default()).await;
    let ids = ids(0..5000);
    let (mut from, mut settled, mut refusals) = (0, Vec::new(), 0);
    loop {
        let answer = server.lines(chunked(&lines(&ids[from..]), 4001)).await;
        settled.extend(server.drain().await);
        if answer.status == 202 {
            break;
        }
        assert_eq!(answer.status, 429);
        from += usize::try_from(answer.json()["resume_at_line"].as_u64().unwrap()).unwrap() - 1;
        refusals += 1;
    }
    assert!(refusals > 0, "the buffer never was full");
    assert_eq!(settled, ids);
}

#[tokio::test]
async fn a_batch_larger_than_the_buffer_takes_at_once_is_offered_in_pieces() {
    let server = start_holding(10, Options::default()).await;
    let answer = server.lines(lines(&ids(0..25))).await;
    let accepted = answer.json()["accepted"].as_u64().unwrap();
    assert_eq!(answer.status, 429);
    assert!(accepted > 0);
    assert_eq!(answer.json()["resume_at_line"], accepted + 1);
    assert_eq!(server.drain().await.len() as u64, accepted);
}

#[tokio::test]
async fn a_line_that_the_buffer_could_never_hold_is_one_rejected_line() {
    let bounds = memory::Options { bytes_max: 1000, ..memory::Options::default() };
    let server = start_with(Options::default(), bounds, |memory| memory).await;
    let body = [payment("a"), payment_of(2000), bad_payment("c"), payment("d")].join("\n");
    let answer = server.lines(body).await.json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&2.into(), &2.into()));
    assert_eq!(
        (&answer["errors"][0]["line"], &answer["errors"][1]["line"]),
        (&2.into(), &3.into())
    );
    assert_eq!(server.drain().await, ["a", "d"]);
}

#[tokio::test]
async fn lines_of_a_stream_that_pauses_are_offered_before_it_ends() {
    let server = start(Options::default()).await;
    let (sender, body) = by_hand();
    let answer = server.lines(body);
    let mut answer = std::pin::pin!(answer);
    sender.send(payment("a") + "\n" + &payment("b")[..20]).unwrap();
    tokio::select! {
        early = &mut answer => panic!("answered before the end: {early:?}"),
        () = server.until("the first line", async |server| server.ready_events().await == 1) => {}
    }
    sender.send(payment("b")[20..].to_owned()).unwrap();
    drop(sender);
    assert_eq!(answer.await.json()["accepted"], 2);
    assert_eq!(server.drain().await, ["a", "b"]);
}

#[tokio::test]
async fn a_stream_that_stops_coming_is_answered_408_with_the_line_to_resume_at() {
    let options = Options { body_idle_timeout: Duration::from_millis(100), ..Options::default() };
    let server = start(options).await;
    let (sender, body) = by_hand();
    sender.send(payment("a") + "\n" + &payment("b")[..20]).unwrap();
    server.lines(body).await.is(408, include_str!("golden/stream_stalled.json"));
    assert_eq!(server.drain().await, ["a"]);
}

#[tokio::test]
async fn a_stream_that_takes_too_long_is_answered_408_however_busy_it_is() {
    let options = Options { request_timeout: Duration::from_millis(200), ..Options::default() };
    let server = start(options).await;
    let endless = futures_util::stream::unfold(0, async |n: u64| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(payment(&format!("tx-{n}")) + "\n"), n + 1))
    });
    let answer = server.lines(reqwest::Body::wrap_stream(endless)).await;
    let accepted = answer.json()["accepted"].as_u64().unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(answer.json()["resume_at_line"], accepted + 1);
    assert_eq!(server.drain().await.len() as u64, accepted);
}

#[tokio::test]
async fn a_stream_past_its_bound_is_answered_413_announced_or_not() {
    let options = Options { ndjson_bytes_max: 1000, ..Options::default() };
    let server = start(options).await;
    let body = lines(&ids(0..20));
    let golden = include_str!("golden/stream_too_large.json");
    server.lines(body.clone()).await.is(413, golden);
    server.lines(chunked(&body, 1001)).await.is(413, golden);
    let answer = server.lines(lines(&ids(0..5))).await;
    assert_eq!((answer.status, server.ready_events().await), (202, 5));
}

#[tokio::test]
async fn streams_past_the_bound_are_answered_503_and_single_events_are_not() {
    let server = start(Options { streams_max: 1, ..Options::default() }).await;
    let (sender, body) = by_hand();
    let first = server.lines(body);
    let mut first = std::pin::pin!(first);
    sender.send(payment("a") + "\n").unwrap();
    tokio::select! {
        early = &mut first => panic!("answered before the end: {early:?}"),
        () = server.until("the first line", async |server| server.ready_events().await == 1) => {}
    }
    assert_eq!(server.lines(payment("b")).await.status, 503);
    assert_eq!(server.one(payment("c")).await.status, 202);
    drop(sender);
    assert_eq!(first.await.status, 202);
    assert_eq!(server.lines(payment("d")).await.status, 202);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_lines_and_harms_nobody() {
    let server = start(Options::default()).await;
    let mut raw = server.connect().await;
    let piece = payment("a") + "\n" + &payment("b")[..20];
    raw.send(format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{piece}\r\n",
        piece.len()
    ))
    .await;
    server.until("the first line", async |server| server.ready_events().await == 1).await;
    drop(raw);
    server.until("the end", async |server| server.handle.connections() == 0).await;
    assert_eq!(server.drain().await, ["a"]);
    assert_eq!(server.one(payment("c")).await.status, 202);
}

#[tokio::test]
async fn a_stream_is_not_read_on_while_its_batch_is_being_offered() {
    let gate = Gate::shut();
    let options = Options { batch_lines_max: 1, ..Options::default() };
    let server: Running = start_with(options, memory::Options::default(), |memory| Gated {
        memory,
        gate: gate.clone(),
    })
    .await;
    let answer = server.lines(lines(&ids(0..3)));
    let mut answer = std::pin::pin!(answer);
    for offer in 1..=3 {
        tokio::select! {
            early = &mut answer => panic!("answered before the offers returned: {early:?}"),
            () = server.until("an offer", async |_| gate.waiting() == offer) => {}
        }
        assert_eq!(server.ready_events().await, offer as u64 - 1);
        gate.passes.add_permits(1);
    }
    assert_eq!(answer.await.json()["accepted"], 3);
}
