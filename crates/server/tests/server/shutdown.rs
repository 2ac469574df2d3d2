//! What becomes of requests when the server is told to stop.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Answer, Gate, Gated, PATIENCE, Running, payment, start, start_with};
use buffer::memory;
use server::{Error, Options};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A server, and a request to it that waits at the gate.
async fn with_one_in_flight(options: Options) -> (Running, Arc<Gate>, JoinHandle<Option<u16>>) {
    let gate = Gate::shut();
    let server = start_with(options, memory::Options::default(), |memory| Gated {
        memory,
        gate: Arc::clone(&gate),
    })
    .await;
    let request = server.client.post(server.url("/v1/events"));
    let request = request.header("content-type", "application/json").body(payment("tx-1"));
    let answer = tokio::spawn(async move {
        let response = request.send().await.ok()?;
        Some(Answer::of(response).await.status)
    });
    server.until("an offer", async |_| gate.waiting() == 1).await;
    (server, gate, answer)
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_new_connections_are_not_taken() {
    let (mut server, gate, answer) = with_one_in_flight(Options::default()).await;
    server.stop.cancel();
    server.until("closed", async |server| TcpStream::connect(server.addr).await.is_err()).await;
    assert!(!server.handle.readiness().is_ready());
    assert!(!server.task.is_finished());
    gate.passes.add_permits(1);
    assert_eq!(answer.await.unwrap(), Some(202));
    let result = tokio::time::timeout(PATIENCE, &mut server.task).await.expect("never returns");
    result.unwrap().unwrap();
    assert_eq!(server.handle.connections(), 0);
    assert_eq!(server.drain().await, ["tx-1"]);
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut_and_counted() {
    let options = Options { grace: Duration::from_millis(100), ..Options::default() };
    let (server, gate, answer) = with_one_in_flight(options).await;
    server.stop.cancel();
    let result = tokio::time::timeout(PATIENCE, server.task).await.expect("never returns").unwrap();
    assert!(matches!(result, Err(Error::Cut { connections: 1, .. })), "{result:?}");
    assert_eq!(answer.await.unwrap(), None);
    drop(gate);
}

#[tokio::test]
async fn while_load_balancers_are_given_time_to_notice_ready_says_503_and_events_are_refused() {
    let options = Options { drain_delay: PATIENCE, ..Options::default() };
    let server = start(options).await;
    server.get("/ready").await.is(200, include_str!("golden/ready.json"));
    server.stop.cancel();
    server.until("not ready", async |server| !server.handle.readiness().is_ready()).await;
    server.get("/ready").await.is(503, include_str!("golden/stopping.json"));
    server.one(payment("tx-1")).await.is(503, include_str!("golden/not_taken.json"));
    assert_eq!(server.ready_events().await, 0);
    server.task.abort();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_stop() {
    let server = start(Options::default()).await;
    let mut idle = server.connect().await;
    idle.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(idle.up_to("pong").await.starts_with("HTTP/1.1 200 "));
    let _silent = server.connect().await;
    server.until("two connections", async |server| server.handle.connections() == 2).await;
    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    let result = tokio::time::timeout(PATIENCE, server.task).await.expect("never returns");
    result.unwrap().unwrap();
}
