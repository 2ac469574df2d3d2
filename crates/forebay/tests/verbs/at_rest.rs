//! What the files of a journal hold of payments.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::running::{Serving, binary, done, json, ran, run};

const CARD: &str = "4000123412341234";
/// What `serve` promises, in seconds.
const REMOVED_WITHIN: Duration = Duration::from_secs(15);

fn payments(numbers: std::ops::Range<u32>) -> String {
    let line = |n| {
        format!(
            "{{\"tx_id\":\"tx-{n}\",\"card_number\":\"{CARD}\",\"user_id\":\"u\",\"tier\":\"normal\",\
             \"amount\":1500,\"merchant\":\"m\",\"category\":\"coffee\",\
             \"created_at\":\"2026-03-02T12:00:00+09:00\"}}\n"
        )
    };
    numbers.map(line).collect()
}

/// Files anywhere below `dir` that hold `text`.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

fn post(serving: &Serving, numbers: std::ops::Range<u32>) {
    let (status, answer) = serving.post("application/x-ndjson", &payments(numbers));
    assert_eq!(status, 202, "{answer}");
}

#[test]
fn no_card_number_stays_in_the_data_folder_once_all_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let serving = Serving::start(dir.path(), &[]);
    post(&serving, 0..100);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 100.0);
    let settled = Instant::now();
    while !holding(&data, CARD).is_empty() {
        let files = holding(&data, CARD);
        assert!(settled.elapsed() < REMOVED_WITHIN, "card numbers stay in {files:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    post(&serving, 100..200);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 200.0);
    let (ended, printed) = serving.terminate();
    assert!(ended.success());
    assert!(printed.contains("in plain text until 15 s after"), "{printed}");
    assert_eq!(holding(&data, CARD), Vec::<PathBuf>::new(), "after an orderly end");
    let verified = run(dir.path(), &["buffer", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
}

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

fn key_file(dir: &Path, name: &str, key: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(dir.join(name)).unwrap();
    writeln!(file, "{key}").unwrap();
}

#[test]
fn with_a_key_no_payment_is_in_a_file_in_plain_text_and_each_verb_takes_the_key() {
    let dir = tempfile::tempdir().unwrap();
    key_file(dir.path(), "key", KEY);
    key_file(dir.path(), "other", OTHER);
    let data = dir.path().join("data");
    let with = |name: &str| format!("buffer=journal:./data/buffer?key_file=./{name}");
    let (with_key, with_other) = (with("key"), with("other"));
    let serving = Serving::start(dir.path(), &["--roles", "api", "--set", &with_key]);
    post(&serving, 0..50);
    assert_eq!(holding(&data, CARD), Vec::<PathBuf>::new(), "while it waits");
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    assert!(printed.contains("encrypted, with the keys in ./key"), "{printed}");
    for text in [CARD, "tx-", "merchant"] {
        assert_eq!(holding(&data, text), Vec::<PathBuf>::new(), "{text}");
    }

    for verb in [["buffer", "stat"], ["buffer", "peek"], ["buffer", "verify"], ["buffer", "repair"]]
    {
        let mut args = verb.to_vec();
        let refused = run(dir.path(), &args);
        assert_eq!(refused.code, 1, "{verb:?}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains("no key is given"), "{verb:?}: {}", refused.stderr);
        args.extend(["--set", &with_other]);
        let refused = run(dir.path(), &args);
        assert!(
            refused.stderr.contains("not among the keys given"),
            "{verb:?}: {}",
            refused.stderr
        );
        assert!(!refused.stderr.contains(&OTHER[..8]), "{verb:?}: {}", refused.stderr);
        let mut args = verb.to_vec();
        args.extend(["--set", &with_key]);
        done(dir.path(), &args);
    }
    let said = done(dir.path(), &["buffer", "stat", "--set", &with_key]);
    assert!(said.contains("encrypted with key"), "{said}");
    let mut by_variable = binary(dir.path(), &["buffer", "stat", "--json"]);
    let stat = ran(&by_variable.env("FOREBAY_JOURNAL_KEY", KEY).output().unwrap());
    assert!(stat.stdout.contains("\"pending\": 50"), "{}{}", stat.stdout, stat.stderr);

    let refused = run(dir.path(), &["serve", "--bind", "127.0.0.1:0", "--set", &with_other]);
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("not among the keys given"), "{}", refused.stderr);
    let serving = Serving::start(dir.path(), &["--set", &with_key]);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 50.0);
    assert!(serving.terminate().0.success());
    let stat = json(dir.path(), &["buffer", "stat", "--json"]);
    assert_eq!(stat["segments"].as_array().map(Vec::len), Some(0), "no key is needed: {stat}");
}

#[test]
fn a_spill_is_encrypted_with_the_key_that_its_url_names() {
    let dir = tempfile::tempdir().unwrap();
    key_file(dir.path(), "key", KEY);
    let nothing_there = "buffer=redis://127.0.0.1:1/0?list=tx";
    let spill = "spill=journal:{data}/spill?key_file=./key";
    let args = ["--roles", "api", "--set", nothing_there, "--set", spill];
    let serving = Serving::start(dir.path(), &args);
    post(&serving, 0..50);
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    assert!(printed.contains("50 accepted events wait in the spill"), "{printed}");
    assert_eq!(holding(&dir.path().join("data"), CARD), Vec::<PathBuf>::new());
}
