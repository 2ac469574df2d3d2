//! The whole program with a domain that it does not name: tickets, beside payments.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::running::{Serving, done, json, run, until};

/// Posted together.
const BATCH: u64 = 25;
/// Batches that are posted in all while the program is killed.
const BATCHES: u64 = 40;
const KILLS: u64 = 4;

/// The tickets from `from` on, one a line.
fn tickets(from: u64, count: u64) -> String {
    let ticket = |n: u64| format!("{{\"id\":\"t{n}\",\"holder\":\"h{}\",\"amount\":7}}\n", n % 5);
    (from..from + count).map(ticket).collect()
}

fn settled(dir: &Path) -> u64 {
    done(dir, &["tickets", "count"]).trim().parse().unwrap()
}

fn post(serving: &Serving, tickets: &str) -> (u16, String) {
    serving.asked("POST", "/v1/tickets", tickets).expect("it answers")
}

fn of_tickets(all: &Value, key: &str) -> Value {
    let mut all = all.as_array().unwrap().iter();
    all.find(|one| one[key] == "tickets").expect("tickets are in the list").clone()
}

#[test]
fn a_domain_that_was_added_as_the_document_says_settles_once_beside_payments() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serving = Serving::start(dir, &[]);
    assert_eq!(post(&serving, &tickets(0, BATCH)).0, 202);
    // Half of them come again.
    assert_eq!(post(&serving, &tickets(0, BATCH / 2)).0, 202);
    let (status, answer) = post(&serving, "{\"id\":\"t\"}\n");
    assert_eq!(status, 400, "{answer}");
    let to = format!("http://{}", serving.address());
    done(dir, &["generate", "--count", "30", "--tps", "2000", "--to", &to]);
    let processed = "processed_tasks_total{pipeline=\"tickets\"}";
    until(&Some(BATCH as f64), || serving.metric(processed));
    until(&30.into(), || json(dir, &["store", "check", "--json"])["payments"].clone());
    assert_eq!(settled(dir), BATCH);
    let duplicates = "duplicates_total{pipeline=\"tickets\"}";
    until(&Some((BATCH / 2) as f64), || serving.metric(duplicates));
    for (name, value) in [
        ("accepted_total{pipeline=\"tickets\"}", (BATCH + BATCH / 2) as f64),
        ("rejected_total{pipeline=\"tickets\"}", 1.0),
        ("buffer_size{buffer=\"tickets\"}", 0.0),
        ("http_requests_total{path=\"/v1/tickets\",status=\"202\"}", 2.0),
    ] {
        assert_eq!(serving.metric(name), Some(value), "{name}");
    }
    assert_eq!(serving.stop(), 0);
    assert!(done(dir, &["store", "check"]).starts_with("30 payments"));
}

#[test]
fn its_pipeline_is_paused_and_resumed_by_its_name_and_shown_where_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serving = Serving::start(dir, &[]);
    let list = || of_tickets(&json(dir, &["pipeline", "list", "--json"]), "pipeline");
    until(&Value::from("ready"), || list()["processes"][0]["state"].clone());
    done(dir, &["pipeline", "pause", "tickets", "--reason", "a trial"]);
    until(&Value::from("paused"), || list()["processes"][0]["state"].clone());
    assert_eq!(post(&serving, &tickets(0, BATCH)).0, 202);
    let (status, ready) = serving.get("/ready");
    assert!(status == 200 && ready.contains("tickets") && ready.contains("a trial"), "{ready}");
    let stat = || json(dir, &["buffer", "stat", "--pipeline", "tickets", "--json"]);
    assert_eq!((stat()["pending"].clone(), settled(dir)), (BATCH.into(), 0));
    let peeked = done(dir, &["buffer", "peek", "--pipeline", "tickets", "--count", "3", "--json"]);
    assert!(peeked.lines().count() == 3 && peeked.contains("\"id\":\"t0\""), "{peeked}");
    done(dir, &["pipeline", "resume", "tickets"]);
    until(&BATCH, || settled(dir));
    assert_eq!(serving.stop(), 0);
}

#[test]
fn its_keys_are_shown_checked_and_refused_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("forebay.toml"), "[tickets]\namount_max = 9\n").unwrap();
    let shown = json(dir, &["config", "show", "--json"]);
    let of = |key: &str| {
        let entry = shown.as_array().unwrap().iter().find(|entry| entry["key"] == key).unwrap();
        (entry["value"].clone(), entry["from"].clone())
    };
    assert_eq!(of("tickets.amount_max"), (9.into(), "forebay.toml:2".into()));
    assert_eq!(of("tickets.buffer"), ("journal:./data/tickets".into(), "default".into()));
    let (code, stdout, stderr) = run(dir, &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    let promised = "Accepted tickets survive kill -9 and power loss: journal ./data/tickets";
    assert!(code == 0 && stdout.contains(promised), "{stdout}{stderr}");
    for (set, expect) in [
        (
            "tickets.amount_max=0",
            "flag --set: tickets.amount_max is \"0\"; it must be a whole number from 1",
        ),
        (
            "tickets.amount_typical=10",
            "flag --set: tickets.amount_typical is 10; it must be at most tickets.amount_max, which is 9",
        ),
        ("tickets.amount=1", "did you mean tickets.amount_max?"),
        ("tickets.buffer=jurnal:x", "flag --set: tickets.buffer: there is no backend jurnal"),
        ("tickets.buffer=journal:./data/buffer", "buffer of tickets is the same buffer as buffer"),
    ] {
        let (code, stdout, stderr) = run(dir, &["config", "check", "--set", set]);
        assert!(code == 2 && stderr.contains(expect), "{set}: {stdout}{stderr}");
    }
    let (code, _, stderr) = run(dir, &["buffer", "stat", "--pipeline", "others"]);
    let expect = "--pipeline others: there is no such pipeline; there are: consumer_batch, tickets";
    assert!(code == 2 && stderr.contains(expect), "{stderr}");
}

#[test]
fn a_ticket_that_can_not_be_settled_is_a_dead_letter_of_its_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serving = Serving::start(dir, &["--set", "tickets.amount_max=6"]);
    assert_eq!(post(&serving, &tickets(0, 1)).0, 202);
    until(&Some(1.0), || serving.metric("dead_total{pipeline=\"tickets\"}"));
    let letters = json(dir, &["dead", "list", "--all", "--json", "--pipeline", "tickets"]);
    assert!(letters[0]["id"] == "t0" && letters[0]["reason"] == "amount: more than 6", "{letters}");
    assert_eq!(json(dir, &["dead", "list", "--all", "--json"]), Value::Array(Vec::new()));
    assert_eq!(serving.stop(), 0);
    done(dir, &["dead", "replay", "--all", "--pipeline", "tickets"]);
    let serving = Serving::start(dir, &[]);
    until(&1, || settled(dir));
    assert_eq!(serving.stop(), 0);
}

#[test]
fn kill_9_loses_no_accepted_ticket_and_settles_none_twice() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut accepted = BTreeSet::new();
    let mut serving = Serving::start(dir, &[]);
    for batch in 0..BATCHES {
        let lines = tickets(batch * BATCH, BATCH);
        // A batch without an answer is posted again to the next process: some of it may be accepted already.
        while serving.asked("POST", "/v1/tickets", &lines).is_none_or(|(status, _)| status != 202) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        accepted.extend(batch * BATCH..(batch + 1) * BATCH);
        if batch % (BATCHES / KILLS) == BATCHES / KILLS / 2 {
            // Killed while the batch is being settled, whatever it has come to.
            serving.kill();
            serving = Serving::start(dir, &[]);
        }
    }
    until(&(accepted.len() as u64), || settled(dir));
    assert_eq!(serving.stop(), 0);
    let stat = json(dir, &["buffer", "stat", "--pipeline", "tickets", "--json"]);
    assert_eq!((&stat["pending"], &stat["dead"]), (&0.into(), &0.into()), "{stat}");
    let store = rusqlite::Connection::open(dir.join("data/forebay.db")).unwrap();
    let sum: i64 =
        store.query_row("SELECT sum(amount) FROM tickets", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 7 * i64::try_from(accepted.len()).unwrap());
}

#[test]
fn its_pipeline_moves_to_another_journal_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let moving = "[tickets]\nnext_buffer = \"journal:./data/more-tickets\"\n";
    std::fs::write(dir.join("forebay.toml"), moving).unwrap();
    let serving = Serving::start(dir, &[]);
    assert_eq!(post(&serving, &tickets(0, BATCH)).0, 202);
    let lead = ["buffer", "migrate", "--pipeline", "tickets", "--stages", "100", "--json"];
    let moved = json(dir, &lead);
    assert_eq!((&moved["share"], &moved["missing"]), (&100.into(), &0.into()), "{moved}");
    assert_eq!(post(&serving, &tickets(BATCH, BATCH)).0, 202);
    until(&(2 * BATCH), || settled(dir));
    assert_eq!(serving.stop(), 0);
    // The buffer that was left is refused alone, by the name of the pipeline.
    std::fs::write(dir.join("forebay.toml"), "").unwrap();
    let (code, _, stderr) = run(dir, &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    let expect = "forebay buffer migrate --pipeline tickets --rollback";
    assert!(code == 1 && stderr.contains(expect), "{stderr}");
}
