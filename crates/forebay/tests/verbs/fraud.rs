//! `fraud`.

use super::running::{Serving, done, json};

fn event(id: &str) -> String {
    format!(
        "{{\"tx_id\":\"{id}\",\"card_number\":\"4000123412341234\",\"user_id\":\"u\",\
         \"tier\":\"normal\",\"amount\":1500,\"merchant\":\"m\",\"category\":\"coffee\",\
         \"created_at\":\"2026-03-02T12:00:00+09:00\"}}"
    )
}

/// The version that a row bears which is settled under these options.
fn settled_under(dir: &std::path::Path, id: &str, options: &[&str]) -> i64 {
    let serving = Serving::start(dir, options);
    serving.post("application/json", &event(id));
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
    assert!(serving.terminate().0.success());
    let sql = format!("SELECT ruleset_version FROM transactions WHERE tx_id = '{id}'");
    super::running::count(&dir.join("data/forebay.db"), &sql)
}

#[test]
fn rules_lists_each_version_with_its_thresholds_and_earlier_thresholds_have_their_version_again() {
    let dir = tempfile::tempdir().unwrap();
    let stricter = ["--set", "fraud.velocity.payments_min=4"];
    let listed = done(dir.path(), &["fraud", "rules"]);
    assert!(listed.starts_with("No version yet"), "{listed}");
    assert_eq!(settled_under(dir.path(), "a", &[]), 1);
    assert_eq!(settled_under(dir.path(), "b", &stricter), 2);
    assert_eq!(settled_under(dir.path(), "c", &[]), 1);

    let listed = json(dir.path(), &["fraud", "rules", "--json"]);
    let of = |version: usize| &listed["versions"][version - 1];
    assert_eq!(listed["versions"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!((&of(1)["version"], &of(2)["version"]), (&1.into(), &2.into()));
    assert_eq!(of(1)["rules"]["velocity"]["payments_min"], 5);
    assert_eq!(of(2)["rules"]["velocity"]["payments_min"], 4);
    assert_eq!((&of(1)["configured"], &of(2)["configured"]), (&true.into(), &false.into()));
    assert!(of(1)["first_used_at"].as_str() < of(2)["first_used_at"].as_str(), "{listed}");
    assert_eq!(listed["configured"], of(1)["rules"]);
    let reach = serde_json::json!({ "late_ms_max": 60_000, "payments_max": 256, "always": 8 });
    assert_eq!(listed["reach"], reach);
    let listed = done(dir.path(), &[&["fraud", "rules"], &stricter[..]].concat());
    assert!(listed.contains("Version 1, first used 20"), "{listed}");
    assert!(listed.lines().any(|line| line.ends_with("configured now")), "{listed}");
    assert!(listed.contains("payments_min = 4"), "{listed}");
    assert!(listed.contains("The payment is at most 60.0 s behind"), "{listed}");
    assert!(listed.contains("Or at most 8 are\nnewer, however late it is"), "{listed}");
}
