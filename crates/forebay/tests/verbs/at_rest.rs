//! What the files of a journal hold of payments.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::running::{Serving, run};

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
