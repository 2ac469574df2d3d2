//! The whole program on a backend that it does not name.

use super::running::{Serving, json, run, until};

const EVENTS: u64 = 20;

#[test]
fn a_backend_that_was_added_as_the_document_says_serves_and_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("forebay.toml"), "buffer = \"folder:./queue\"\n").unwrap();
    let (code, stdout, stderr) = run(dir, &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    assert_eq!(code, 0, "{stderr}");
    let accepted = "FOR TESTS ALONE: accepted payments lie in the folder ./queue.";
    assert!(stdout.contains(accepted), "{stdout}");

    let events = EVENTS.to_string();
    let generate = ["generate", "--count", &events, "--tps", "2000", "--to", "folder:./queue"];
    let (code, _, stderr) = run(dir, &generate);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json(dir, &["buffer", "stat", "--json"])["ready"], EVENTS);
    assert_eq!(std::fs::read_dir(dir.join("queue")).unwrap().count() as u64, EVENTS);
    let (_, stdout, _) = run(dir, &["buffer", "peek", "--count", "3", "--json"]);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");

    let serving = Serving::start(dir, &[]);
    until(&0.into(), || json(dir, &["buffer", "stat", "--json"])["ready"].clone());
    assert_eq!(serving.stop(), 0);
    assert_eq!(json(dir, &["store", "check", "--json"])["payments"], EVENTS);
}

#[test]
fn what_the_backend_can_not_do_is_refused_as_unusable_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let look = |verb: &str| run(dir.path(), &["buffer", verb, "--buffer", "folder:./queue"]);
    for verb in ["verify", "repair"] {
        let (code, _, stderr) = look(verb);
        assert_eq!(code, 2, "{stderr}");
        let expect = "a folder: buffer can't do this; `forebay buffer stat` counts";
        assert!(stderr.contains(expect), "{stderr}");
    }
    let (code, _, stderr) = run(dir.path(), &["dead", "list", "--buffer", "folder:./queue"]);
    assert_eq!((code, stderr.contains("a folder: buffer can't do this")), (2, true), "{stderr}");
    let (code, _, stderr) = run(dir.path(), &["buffer", "stat", "--buffer", "foldr:./queue"]);
    let expect = "there is no backend foldr: ; journal:, redis:, redis-cluster:, kafka:, sqs:, memory: and \
                  folder: are built in";
    assert!(code == 2 && stderr.contains(expect), "{stderr}");
}
