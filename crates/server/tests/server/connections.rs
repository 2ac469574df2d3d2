//! What clients may do with connections.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Gate, Gated, Running, payment, start, start_with};
use buffer::memory;
use server::Options;
use tokio::io::AsyncWriteExt as _;

fn head(extra: &str) -> String {
    format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{extra}\r\n")
}

async fn still_serves(server: &Running) {
    assert_eq!(server.one(payment("still")).await.status, 202);
    assert_eq!(server.drain().await, ["still"]);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_and_holds_nobody_else_up() {
    let options = Options { header_read_timeout: Duration::from_millis(200), ..Options::default() };
    let server = start(options).await;
    let mut slow = server.connect().await;
    slow.send("POST /v1/events HTTP/1.1\r\nhost:").await;
    server.until("a connection", async |server| server.handle.connections() >= 1).await;
    still_serves(&server).await;
    slow.rest().await;
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408_and_holds_nobody_else_up() {
    let options = Options { body_idle_timeout: Duration::from_millis(200), ..Options::default() };
    let server = start(options).await;
    let mut slow = server.connect().await;
    slow.send(head("content-length: 200\r\n") + "{").await;
    still_serves(&server).await;
    assert!(slow.rest().await.starts_with("HTTP/1.1 408 "));
    assert_eq!(server.ready_events().await, 0);
}

#[tokio::test]
async fn a_connection_past_the_bound_is_told_503_and_the_next_one_after_a_close_is_served() {
    let server = start(Options { connections_max: 2, ..Options::default() }).await;
    let (first, second) = (server.connect().await, server.connect().await);
    server.until("two connections", async |server| server.handle.connections() == 2).await;

    let mut third = server.connect().await;
    third.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let told = third.rest().await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("\r\nretry-after: 1\r\n"), "{told}");
    let body = told.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, include_str!("golden/connections.json").trim_end());

    drop(first);
    server.until("a free place", async |server| server.handle.connections() == 1).await;
    assert_eq!(server.get("/ping").await.status, 200);
    drop(second);
}

/// What a client is answered that sends `request` and then closes its sending half, while the buffer
/// still writes; and what the buffer holds afterwards.
async fn half_closed(request: String) -> (String, Vec<String>) {
    let gate = Gate::shut();
    let server = start_with(Options::default(), memory::Options::default(), |memory| Gated {
        memory,
        gate: Arc::clone(&gate),
    })
    .await;
    let mut raw = server.connect().await;
    raw.send(request).await;
    raw.0.shutdown().await.unwrap();
    server.until("an offer", async |_| gate.waiting() == 1).await;
    // By the time that this is answered, the server has seen the end of the other connection.
    assert_eq!(server.get("/ping").await.status, 200);
    gate.passes.add_permits(1);
    let answer = raw.rest().await;
    (answer, server.drain().await)
}

#[tokio::test]
async fn a_client_that_closes_its_sending_half_gets_its_answer() {
    let json = payment("half-closed");
    let request = head(&format!("content-length: {}\r\n", json.len())) + &json;
    let (answer, held) = half_closed(request).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer:?}");
    assert_eq!(held, ["half-closed"]);
}

#[tokio::test]
async fn a_stream_whose_client_closes_its_sending_half_gets_its_answer() {
    let lines = format!("{}\n{}\n", payment("first"), payment("second"));
    let chunked = format!("{:x}\r\n{lines}\r\n0\r\n\r\n", lines.len());
    let head = head("transfer-encoding: chunked\r\n").replace("/json", "/x-ndjson");
    let (answer, held) = half_closed(head + &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer:?}");
    assert_eq!(held, ["first", "second"]);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_not_an_event() {
    let server = start(Options::default()).await;
    let json = payment("short");
    let mut raw = server.connect().await;
    raw.send(head(&format!("content-length: {}\r\n", json.len() + 1)) + &json).await;
    raw.0.shutdown().await.unwrap();
    assert!(!raw.rest().await.starts_with("HTTP/1.1 202 "));
    still_serves(&server).await;
}

#[tokio::test]
async fn bytes_after_the_announced_body_are_not_part_of_the_event() {
    let server = start(Options::default()).await;
    let json = payment("long");
    let mut raw = server.connect().await;
    raw.send(head(&format!("content-length: {}\r\n", json.len())) + &json + "}{ junk\r\n\r\n")
        .await;
    let answers = raw.rest().await;
    assert!(answers.starts_with("HTTP/1.1 202 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 "), "{answers}");
    assert_eq!(server.drain().await, ["long"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn two_lengths_in_one_head_are_refused() {
    let server = start(Options::default()).await;
    let json = payment("smuggled");
    for extra in [
        format!("content-length: {}\r\ncontent-length: 3\r\n", json.len()),
        format!("content-length: {}x\r\n", json.len()),
        "content-length: -1\r\n".to_owned(),
    ] {
        let mut raw = server.connect().await;
        raw.send(head(&extra) + &json).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{extra} {answer}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let server = start(Options::default()).await;
    let json = payment("asked");
    let mut raw = server.connect().await;
    raw.send(head(&format!("content-length: {}\r\nexpect: 100-continue\r\n", json.len()))).await;
    assert!(raw.up_to("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    raw.send(json).await;
    assert!(raw.up_to("}").await.starts_with("HTTP/1.1 202 "));
    assert_eq!(server.drain().await, ["asked"]);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_too_much_is_told_not_to() {
    let server = start(Options::default()).await;
    let mut raw = server.connect().await;
    raw.send(head("content-length: 70000\r\nexpect: 100-continue\r\n")).await;
    assert!(raw.rest().await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn an_answer_is_seen_even_if_the_client_is_still_sending() {
    let server = start(Options::default()).await;
    let mut raw = server.connect().await;
    let body = vec![b'x'; 2_000_000];
    raw.send(head(&format!("content-length: {}\r\n", body.len()))).await;
    raw.send(body).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn garbage_and_huge_heads_are_refused() {
    let server = start(Options::default()).await;
    for (sent, status) in [
        ("\u{16}\u{3}\u{1} this is no HTTP\r\n\r\n".to_owned(), "400"),
        (head(&format!("x: {}\r\n", "y".repeat(1_000_000))), "431"),
        (head(&"x: y\r\n".repeat(1000)), "431"),
    ] {
        let mut raw = server.connect().await;
        raw.send(sent).await;
        let answer = raw.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = start(Options::default()).await;
    let mut raw = server.connect().await;
    for n in 0..3 {
        let json = payment(&format!("tx-{n}"));
        raw.send(head(&format!("content-length: {}\r\n", json.len())) + &json).await;
        let answer = raw.up_to("}").await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 202 "));
        assert!(!answer.contains("\r\nserver:"), "{answer}");
        assert!(!answer.contains("\r\naccess-control"), "{answer}");
    }
    assert_eq!(server.drain().await, ["tx-0", "tx-1", "tx-2"]);
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut() {
    let options = Options {
        answer_stall_timeout: Duration::from_millis(200),
        header_read_timeout: crate::harness::PATIENCE,
        ..Options::default()
    };
    let server = start(options).await;
    let mut deaf = server.connect().await;
    // More answers than the sockets' buffers hold, asked for until the server reads no further.
    let ask = async {
        let asks = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
        while tokio::io::AsyncWriteExt::write_all(&mut deaf.0, asks.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(crate::harness::PATIENCE, ask).await.expect("never cut");
    server.until("the end", async |server| server.handle.connections() == 0).await;
    still_serves(&server).await;
}
