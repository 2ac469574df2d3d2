//! The simulated service, called over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use lab::simulate::{Audit, Behaviour, Handle, Options, start};
use outbound::{Answer, Client, Failure};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const LONGEST: Duration = Duration::from_secs(20);

struct Simulated {
    handle: Handle,
    client: Client,
}

impl Simulated {
    async fn start(behaviour: Behaviour) -> Self {
        Self::with(behaviour, None).await
    }

    async fn with(behaviour: Behaviour, ledger: Option<std::path::PathBuf>) -> Self {
        let options = Options {
            behaviour,
            ledger,
            member_field: "member".to_owned(),
            order_field: None,
            seed: 1,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handle = start(listener, options, Arc::new(model::clock::System)).unwrap();
        let client =
            Client::new(outbound::Options { calls_max: 1000, ..Default::default() }).unwrap();
        Self { handle, client }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("http://{}{path}", self.handle.address);
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(url).body(body).unwrap();
        self.client.send(request, LONGEST).await.unwrap()
    }

    async fn call(&self, member: &str, key: &str, longest: Duration) -> Result<u16, Failure> {
        let request = Request::post(format!("http://{}/pay", self.handle.address))
            .header("idempotency-key", key)
            .body(Bytes::from(json!({ "member": member }).to_string()))
            .unwrap();
        self.client.send(request, longest).await.map(|answer| answer.status.as_u16())
    }

    async fn audit(&self) -> Audit {
        let answer = self.ask(Method::GET, "/ledger/audit", Value::Null).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn change(&self, fields: Value) -> Answer {
        self.ask(Method::PUT, "/behaviour", fields).await
    }
}

fn quick() -> Behaviour {
    Behaviour { latency_ms: 1, ..Behaviour::default() }
}

#[tokio::test]
async fn a_key_has_one_effect_if_keys_are_honoured_and_each_call_has_one_if_not() {
    let simulated = Simulated::start(quick()).await;
    for _ in 0..3 {
        assert_eq!(simulated.call("a", "k1", LONGEST).await.unwrap(), 200);
    }
    assert_eq!(simulated.audit().await.effects, 1);
    simulated.change(json!({ "honours_keys": false })).await;
    simulated.call("a", "k1", LONGEST).await.unwrap();
    let audit = simulated.audit().await;
    assert_eq!((audit.effects, audit.members_twice, audit.calls_of_a_key_max), (2, 1, 4));
    assert_eq!(audit.twice, ["a"], "a member that was paid twice is named");
    // Another key for the same member is another effect: a ledger by key would not show it.
    simulated.change(json!({ "honours_keys": true })).await;
    simulated.call("b", "k2", LONGEST).await.unwrap();
    simulated.call("b", "k3", LONGEST).await.unwrap();
    assert_eq!(simulated.audit().await.twice, ["a", "b"]);
}

#[tokio::test]
async fn a_call_that_the_client_gives_up_still_has_its_effect() {
    let simulated = Simulated::start(Behaviour { latency_ms: 300, ..Behaviour::default() }).await;
    let failure = simulated.call("a", "k", Duration::from_millis(100)).await.unwrap_err();
    assert!(!failure.is_unsent());
    while simulated.audit().await.effects == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(simulated.ask(Method::GET, "/calls/k", Value::Null).await.status.as_u16(), 200);
    assert_eq!(simulated.ask(Method::GET, "/calls/other", Value::Null).await.status.as_u16(), 404);
}

#[tokio::test]
async fn each_failure_has_the_effect_that_it_says() {
    let cases = [
        (json!({ "refused_permille": 1000, "retry_after_s": 7 }), Some(429), 0),
        (json!({ "fail_before_permille": 1000 }), Some(500), 0),
        (json!({ "fail_after_permille": 1000 }), Some(500), 1),
        (json!({ "cut_permille": 1000 }), None, 1),
        (json!({ "away": true }), Some(503), 0),
    ];
    for (fields, status, effects) in cases {
        let simulated = Simulated::start(quick()).await;
        assert_eq!(simulated.change(fields.clone()).await.status.as_u16(), 200);
        assert_eq!(simulated.call("a", "k", LONGEST).await.ok(), status, "{fields}");
        assert_eq!(simulated.audit().await.effects, effects, "{fields}");
    }
}

#[tokio::test]
async fn a_stored_failure_is_repeated_for_its_key_alone() {
    let simulated = Simulated::start(Behaviour { stored_failure_permille: 1000, ..quick() }).await;
    assert_eq!(simulated.call("a", "k1", LONGEST).await.unwrap(), 500);
    simulated.change(json!({ "stored_failure_permille": 0 })).await;
    assert_eq!(simulated.call("a", "k1", LONGEST).await.unwrap(), 500);
    assert_eq!(simulated.call("a", "k2", LONGEST).await.unwrap(), 200);
}

#[tokio::test]
async fn hung_calls_get_no_answer_and_half_of_them_have_their_effect() {
    let simulated =
        Simulated::start(Behaviour { hang_permille: 1000, hang_ms: 60_000, ..quick() }).await;
    let calls = (0..100).map(|n| {
        let (simulated, name) = (&simulated, n.to_string());
        async move { simulated.call(&name, &name, Duration::from_millis(500)).await }
    });
    assert!(join_all(calls).await.iter().all(Result::is_err));
    let effects = simulated.audit().await.effects;
    assert!((25..=75).contains(&effects), "{effects} of 100");
}

#[tokio::test]
async fn members_whose_names_begin_so_hang_and_no_others() {
    let hung_members = "hung".to_owned();
    let simulated = Simulated::start(Behaviour { hung_members, ..quick() }).await;
    let longest = Duration::from_millis(300);
    assert!(simulated.call("hung-1", "k1", longest).await.is_err());
    assert_eq!(simulated.call("a-hung", "k2", LONGEST).await.unwrap(), 200);
    let audit = simulated.audit().await;
    assert_eq!((audit.effects, audit.under_way), (1, 1));
    simulated.change(json!({ "hung_members": "" })).await;
    assert_eq!(simulated.call("hung-1", "k1", LONGEST).await.unwrap(), 200);
}

#[tokio::test]
async fn beyond_its_capacity_the_latency_grows_and_the_capacity_can_be_changed() {
    let behaviour = Behaviour { latency_ms: 50, capacity: 5, ..Behaviour::default() };
    let simulated = Simulated::start(behaviour).await;
    let mut took = Vec::new();
    for (round, (capacity, least_ms)) in
        [(5, 200), (20, 50), (2, 500), (5, 200)].into_iter().enumerate()
    {
        simulated.change(json!({ "capacity": capacity })).await;
        let began = Instant::now();
        let calls = (0..20).map(|n| {
            let (simulated, name) = (&simulated, format!("{round}-{n}"));
            async move { simulated.call(&name, &name, LONGEST).await.unwrap() }
        });
        join_all(calls).await;
        took.push(began.elapsed());
        let least = Duration::from_millis(least_ms);
        assert!(began.elapsed() >= least, "{capacity} at once: {took:?}");
    }
    assert!(took[1] < took[2], "a greater capacity is quicker: {took:?}");
    assert_eq!(simulated.audit().await.effects, 80);
}

#[tokio::test]
async fn overlapping_calls_for_one_member_are_counted() {
    let simulated = Simulated::start(Behaviour { latency_ms: 100, ..Behaviour::default() }).await;
    let (one, two, three) = (
        simulated.call("a", "k1", LONGEST),
        simulated.call("a", "k2", LONGEST),
        simulated.call("b", "k3", LONGEST),
    );
    let _ = tokio::join!(one, two, three);
    simulated.call("b", "k4", LONGEST).await.unwrap();
    assert_eq!(simulated.audit().await.overlaps, 1);
}

#[tokio::test]
async fn the_ledger_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let first = Simulated::with(quick(), Some(path.clone())).await;
    first.call("a", "k", LONGEST).await.unwrap();
    drop(first);
    let second = Simulated::with(quick(), Some(path)).await;
    second.call("a", "k", LONGEST).await.unwrap();
    let audit = second.audit().await;
    assert_eq!((audit.effects, audit.members, audit.members_twice), (1, 1, 0));
}

#[tokio::test]
async fn a_bad_request_and_a_bad_behaviour_are_named() {
    let simulated = Simulated::start(quick()).await;
    let said = |answer: Answer| {
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.status.as_u16(), text)
    };
    let checks = [
        (Method::POST, "/pay", json!({ "other": 1 }), 400, "member: must be a string or a number"),
        (Method::PUT, "/behaviour", json!({ "latency": 1 }), 400, "unknown field `latency`"),
        (
            Method::PUT,
            "/behaviour",
            json!({ "capacity": 0 }),
            400,
            "capacity: must be 1 to 1000000",
        ),
        (Method::GET, "/nothing", Value::Null, 404, "there are POST"),
    ];
    for (method, path, body, status, expected) in checks {
        let (got, text) = said(simulated.ask(method, path, body).await);
        assert!(got == status && text.contains(expected), "{got} {text}");
    }
    assert_eq!(simulated.audit().await.effects, 0);
}
