//! Dead letters, from burial to drop.

use std::path::Path;
use std::sync::Arc;

use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use model::Event;
use model::clock::System;

use super::running::{Serving, done, json, run, wait};

const BAD: &str = "{\"tx_id\":\"bad\",\"card_number\":\"4000123412341234\",\"user_id\":\"u\",\
                   \"tier\":\"normal\",\"amount\":-1,\"merchant\":\"m\",\"category\":\"c\",\
                   \"created_at\":\"2026-03-02T12:00:00+09:00\"}";

/// Puts events into the journal that no producer of ours would: only HTTP checks them first.
fn offer(dir: &Path, payloads: &[(&str, &str)]) {
    let options = Options::new(dir.join("data/buffer"));
    let (journal, _) = JournalBuffer::open(options, Arc::new(System)).unwrap();
    let event = |(id, payload): &(&str, &str)| {
        Event::new(id.as_bytes(), b"card", payload.as_bytes()).unwrap()
    };
    let events: Vec<_> = payloads.iter().map(event).collect();
    wait(async {
        journal.offer(&events).await.unwrap();
        journal.close().await.unwrap();
    });
}

/// Settles what can be settled.
fn settle(dir: &Path, dead: f64) {
    let serving = Serving::start(dir, &[]);
    serving.until("dead_letters{buffer=\"journal\"}", dead);
    serving.until("buffer_size{buffer=\"journal\"}", 0.0);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_bad_event_is_buried_listed_shown_replayed_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["dead", "list"]).code, 1, "there is no journal yet");
    offer(dir.path(), &[("bad", BAD), ("worse", "not JSON"), ("worst", "not JSON")]);
    settle(dir.path(), 3.0);

    let groups = json(dir.path(), &["dead", "list", "--json"]);
    assert_eq!(groups.as_array().unwrap().len(), 2, "{groups}");
    assert_eq!((&groups[0]["count"], &groups[1]["count"]), (&2.into(), &1.into()));
    assert_eq!(groups[0]["ids"], serde_json::json!(["worse", "worst"]));
    assert!(groups[1]["reason"].as_str().unwrap().starts_with("amount: "), "{groups}");
    let listed = done(dir.path(), &["dead", "list"]);
    assert!(listed.contains("2  event: ") && listed.contains("(worse)"), "{listed}");
    assert_eq!(done(dir.path(), &["dead", "list", "--all"]).lines().count(), 3);

    let seq = groups[1]["seqs"][0].to_string();
    let shown = done(dir.path(), &["dead", "show", &seq]);
    assert!(shown.contains("reason    amount: ") && shown.contains("************1234"), "{shown}");
    assert!(!shown.contains("4000123412341234"), "{shown}");
    let shown = done(dir.path(), &["dead", "show", &seq, "--reveal"]);
    assert!(shown.contains("4000123412341234"), "{shown}");
    assert_eq!(run(dir.path(), &["dead", "show", "999"]).code, 1);

    assert_eq!(done(dir.path(), &["dead", "replay", &seq]), "1 dead letters replayed.\n");
    assert_eq!(json(dir.path(), &["buffer", "stat", "--json"])["pending"], 1);
    settle(dir.path(), 3.0);

    let refused = run(dir.path(), &["dead", "drop", "--reason", "event: "]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("forgets 2 letters for good"), "{}", refused.stderr);
    let dropped = done(dir.path(), &["dead", "drop", "--reason", "event: ", "--yes"]);
    assert_eq!(dropped, "2 dead letters dropped.\n");
    assert_eq!(done(dir.path(), &["dead", "drop", "--all", "--yes"]), "1 dead letters dropped.\n");
    assert_eq!(done(dir.path(), &["dead", "list"]), "No dead letters.\n");
}

#[test]
fn what_a_producer_chose_can_do_nothing_to_the_terminal_it_is_shown_on() {
    let dir = tempfile::tempdir().unwrap();
    let payload = "no JSON \u{1b}]0;title\u{7}\nof two lines";
    offer(dir.path(), &[("\u{1b}[31mred\u{7}\0", payload)]);
    let shown = |args: &[&str]| {
        let text = done(dir.path(), args);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {text:?}");
        assert!(text.contains(r"\u001b[31mred\u0007\u0000"), "{args:?}: {text:?}");
        text
    };
    for peek in [&["buffer", "peek"][..], &["buffer", "peek", "--reveal"]] {
        let peeked = shown(peek);
        assert_eq!(peeked.lines().count(), 1, "{peeked}");
    }
    settle(dir.path(), 1.0);

    shown(&["dead", "list"]);
    assert_eq!(shown(&["dead", "list", "--all"]).lines().count(), 1);
    let letters = json(dir.path(), &["dead", "list", "--all", "--json"]);
    assert_eq!(letters[0]["id"], "\u{1b}[31mred\u{7}\0", "JSON has escapes of its own");
    let told = shown(&["dead", "show", &letters[0]["seq"].to_string(), "--reveal"]);
    assert!(told.contains(r"\u001b]0;title\u0007\nof two lines"), "{told}");
}
