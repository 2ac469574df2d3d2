//! Events of other producers that give the name of their id twice.

use testbed::{Redis, Sqs};

use super::running::{Serving, json};

/// One that is good, and two that give their id twice, once with an escape in its name.
fn events() -> [String; 3] {
    let event = |id: &str, names: &str| {
        format!(
            "{{\"tx_id\":\"{id}\",\"card_number\":\"4000123412341234\",\"user_id\":\"u\",\
             \"tier\":\"normal\",\"amount\":1500,\"merchant\":\"m\",\"category\":\"coffee\",\
             \"created_at\":\"2026-03-02T12:00:00+09:00\",{names}}}"
        )
    };
    [
        event("good", r#""order":"o1""#),
        event("twice", r#""order":"o2","order":"o3""#),
        event("escaped", r#""order":"o4","ord\u0065r":"o5""#),
    ]
}

/// `send` puts events into `buffer` as another producer does.
fn check(buffer: &str, send: impl Fn(&str)) {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &["--buffer", buffer]);
    for event in events() {
        send(&event);
    }
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
    serving.until("dead_total{pipeline=\"consumer_batch\"}", 2.0);
    assert!(serving.terminate().0.success());
    let letters = json(dir.path(), &["dead", "list", "--all", "--json", "--buffer", buffer]);
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.starts_with("event: gives a field twice, at line 1"), "{reason}");
    }
}

#[test]
fn in_a_list_they_become_dead_letters() {
    let redis = Redis::start().unwrap();
    check(&format!("{}/0?list=tx_queue&id=order", redis.url()), |event| {
        redis.call(&["LPUSH", "tx_queue", event]).unwrap();
    });
}

#[test]
fn in_a_stream_they_become_dead_letters() {
    let redis = Redis::start().unwrap();
    check(&format!("{}/0?stream=tx_stream&group=fds&id=order", redis.url()), |event| {
        redis.call(&["XADD", "tx_stream", "*", "payload", event]).unwrap();
    });
}

#[test]
fn in_a_queue_of_sqs_they_become_dead_letters() {
    let sqs = Sqs::start().unwrap();
    let options = "region=us-east-1&create=true&id=order";
    check(&format!("{}/payments?{options}", sqs.url()), |event| {
        let url = format!("http://{}/123456789012/payments", sqs.address());
        let body = serde_json::Value::from(event);
        let parameters = format!(r#"{{"QueueUrl":"{url}","MessageBody":{body}}}"#);
        sqs.call("SendMessage", &parameters).unwrap();
    });
}
