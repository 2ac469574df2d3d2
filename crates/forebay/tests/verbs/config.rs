//! `config`, and what is wrong with one.

use std::path::Path;

use super::running::{binary, done, ran, run};

fn refused(dir: &Path, args: &[&str], expect: &str) {
    let ran = run(dir, args);
    assert_eq!((ran.code, ran.stderr.trim()), (2, expect));
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_data_folder_with_a_question_mark_is_refused_by_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let expect = "forebay: flag --data: data: the name of the folder holds a \"?\", behind which \
                  the options of a URL begin; name another folder";
    for verb in [
        &["serve"][..],
        &["config", "check"],
        &["buffer", "stat"],
        &["dead", "list"],
        &["store", "migrate"],
        &["replay", "a.csv"],
        &["monitor", "--once"],
        &["serve", "--buffer", "memory:"],
    ] {
        refused(dir.path(), &[verb, &["--data", "a?b"]].concat(), expect);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn every_value_is_shown_with_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = "data = \"here\"\n\n[engine]\nlanes = 3\nbatch_max = 50\n";
    std::fs::write(dir.path().join("forebay.toml"), file).unwrap();
    let args = ["config", "show", "--json", "--set", "engine.batch_max=60"];
    let output = binary(dir.path(), &args)
        .env("FOREBAY_ENGINE__LANES", "5")
        .env("FOREBAY_HTTP_BIND", "127.0.0.1:9")
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_str(&ran(&output).stdout).unwrap();
    let entry = |key: &str| {
        let entries = shown.as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["key"] == key).unwrap();
        (entry["value"].to_string(), entry["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(entry("data"), ("\"here\"".into(), "forebay.toml:1".into()));
    assert_eq!(entry("buffer"), ("\"journal:here/buffer\"".into(), "default".into()));
    assert_eq!(entry("engine.lanes"), ("5".into(), "env FOREBAY_ENGINE__LANES".into()));
    assert_eq!(entry("http.bind"), ("\"127.0.0.1:9\"".into(), "env FOREBAY_HTTP_BIND".into()));
    assert_eq!(entry("engine.batch_max"), ("60".into(), "flag --set".into()));
    assert_eq!(entry("fraud.velocity.window_ms"), ("60000".into(), "default".into()));
    let plain = done(dir.path(), &["config", "show"]);
    let lanes = plain.lines().find(|line| line.starts_with("engine.lanes ")).unwrap();
    assert!(lanes.ends_with("forebay.toml:4"), "{lanes}");
    assert!(!dir.path().join("here").exists(), "showing makes nothing");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("forebay.toml"), "[engine]\nlane = 3\n").unwrap();
    let expect = "forebay: forebay.toml:2: unknown key \"engine.lane\"; \
                  did you mean \"engine.lanes\"?";
    refused(dir.path(), &["config", "show"], expect);
    refused(dir.path(), &["demo", "--duration", "1s"], expect);
    let other = tempfile::tempdir().unwrap();
    let expect = "forebay: --set: unknown key engine.lane; did you mean engine.lanes?";
    refused(other.path(), &["serve", "--set", "engine.lane=4"], expect);
    let output = binary(other.path(), &["config", "show"]).env("FOREBAY_BUFER", "x").output();
    let expect = "forebay: environment: unknown key FOREBAY_BUFER; did you mean FOREBAY_BUFFER?";
    let ran = ran(&output.unwrap());
    assert_eq!((ran.code, ran.stderr.trim()), (2, expect));
}

#[test]
fn a_file_that_is_named_and_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let expect = "forebay: cannot read nowhere.toml: No such file or directory (os error 2); mend \
                  the file or its rights, or name another";
    refused(dir.path(), &["config", "show", "--config", "nowhere.toml"], expect);
}

#[test]
fn a_backend_that_is_not_built_in_is_refused_and_its_password_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let url = "mysql://user:s3cret@127.0.0.1/t";
    let expect = "forebay: flag --buffer: buffer: mysql: is not built into this version yet; \
                  journal:, redis:, redis-cluster:, kafka:, sqs: and memory: are";
    refused(dir.path(), &["config", "check", "--buffer", url], expect);
}

#[test]
fn check_says_what_is_guaranteed_and_loudly_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let check = |args: &[&str]| {
        done(dir.path(), &[&["config", "check", "--set", "http.bind=127.0.0.1:0"], args].concat())
    };
    let text = check(&[]);
    assert!(
        text.contains(
            "Accepted payments survive kill -9 and power loss: journal ./data/buffer, sync=always"
        ),
        "{text}"
    );
    assert!(text.contains("synchronous=FULL, tx_id unique"), "{text}");
    assert!(text.contains("stored masked"), "{text}");
    let key = std::fs::read_to_string(dir.path().join("data/fingerprint.key")).unwrap();
    assert_eq!(key.trim().len(), 64);
    assert!(!text.contains(key.trim()), "the key is never shown");
    let text = check(&["--buffer", "journal:data/other?sync=os", "--set", "cards.store=clear"]);
    assert!(text.contains("POWER LOSS LOSES ACCEPTED PAYMENTS"), "{text}");
    assert!(text.contains("CARD NUMBERS ARE STORED IN CLEAR"), "{text}");
    assert!(check(&["--buffer", "memory:"]).contains("NOTHING SURVIVES"));
}

#[test]
fn check_promises_nothing_of_a_store_that_can_not_be_opened_nor_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let ran = run(dir.path(), &["config", "check", "--store", "sqlite:file/x.db"]);
    assert_eq!(ran.code, 1);
    let unchecked = "NOT CHECKED: whether payments are settled once in SQLite file/x.db, WAL, synchronous=FULL: ";
    assert!(ran.stdout.contains(unchecked), "{}", ran.stdout);
    let key = "NOT CHECKED: whether the store was begun with the key in ./data/fingerprint.key.";
    assert!(ran.stdout.contains(key) && !ran.stdout.contains("Settled once"), "{}", ran.stdout);
}

#[test]
fn check_tells_all_that_can_not_be_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = format!("http.bind={}", taken.local_addr().unwrap());
    let args = ["config", "check", "--buffer", "journal:file/b", "--set", &bind];
    let ran = run(dir.path(), &args);
    assert_eq!(ran.code, 1);
    // Nothing is promised of what could not be opened, in the place where the promise would stand.
    let unchecked = "NOT CHECKED: accepted payments survive kill -9 and power loss (journal file/b, sync=always), \
                     which could not be used: the buffer can't be opened";
    let settled = ran.stdout.find("Settled once").expect("the store can be opened");
    let at = ran.stdout.find(unchecked).unwrap_or_else(|| panic!("{}", ran.stdout));
    assert!(at < settled && !ran.stdout.contains("Accepted"), "{}", ran.stdout);
    assert!(ran.stderr.contains("the buffer can't be opened"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot listen on"), "{}", ran.stderr);
}

#[test]
fn unusable_arguments_are_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["frobnicate"][..],
        &["demo", "--duration", "soon"],
        &["demo", "--tps", "0"],
        &["demo", "--fraud-share", "2"],
        &["generate", "--to", "ftp://x"],
        &["dead", "drop"],
        &["replay", "no-such-file.csv"],
    ] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_right_that_redis_withholds_is_named_at_once_with_the_line_that_gives_it() {
    let redis = testbed::Redis::start().unwrap();
    redis.call(&["ACL", "SETUSER", "worker", "on", ">s3cret", "~tx_queue", "+@all"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = redis.address();
    let text = format!("buffer = \"redis://worker:s3cret@{address}?list=tx_queue\"\n");
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    let began = std::time::Instant::now();
    for args in [&["config", "check"][..], &["serve", "--bind", "127.0.0.1:0"]] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains("the user worker has no right to the keys {tx_queue}:*;"),
            "{}",
            ran.stderr
        );
        let line = "ACL SETUSER worker on ~tx_queue ~{tx_queue}:* +eval ";
        assert!(ran.stderr.contains(line) && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    }
    // A right that is missing does not come by waiting.
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_who_set_it() {
    let dir = tempfile::tempdir().unwrap();
    let check = |set: &str, expect: &str| {
        let expect = format!("forebay: flag --set: {expect}");
        refused(dir.path(), &["config", "show", "--set", set], &expect);
    };
    check(
        "http.bind=localhost",
        "http.bind is no address; write e.g. 127.0.0.1:8080 or [::1]:8080",
    );
    check("fraud.velocity.payments_min=0", "fraud.velocity.payments_min is 0; must be 1 to 128");
    check(
        "buffer=mysql://b/t",
        "buffer: mysql: is not built into this version yet; \
         journal:, redis:, redis-cluster:, kafka:, sqs: and memory: are",
    );
}

#[test]
fn a_spill_is_a_buffer_of_this_machine_that_outlives_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let show = |spill: &str| {
        let (redis, spill) = ("redis://h?list=q", format!("spill={spill}"));
        run(dir.path(), &["config", "show", "--buffer", redis, "--set", &spill])
    };
    let good = show("journal:{data}/spill");
    assert!(good.stdout.contains("journal:./data/spill"), "{}", good.stderr);
    for wrong in ["memory:", "redis://h?list=r", "nonsense:", "journal:x?syncs=os"] {
        let ran = show(wrong);
        let expect = format!("spill is \"{wrong}\"; it must be \"none\" or a journal");
        assert!(ran.code == 2 && ran.stderr.contains(&expect), "{}", ran.stderr);
    }
    let ran = run(dir.path(), &["config", "show", "--set", "spill=journal:{data}/spill"]);
    assert!(ran.stderr.contains("the buffer is on this machine already"), "{}", ran.stderr);
}

#[test]
fn a_number_out_of_bounds_is_refused_with_its_option_and_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for (option, inside, outside, bounds) in [
        ("--events", ["1000", "10000000"], ["999", "10000001"], "1000..=10000000"),
        ("--pool", ["1", "1000"], ["0", "70000"], "1..=1000"),
    ] {
        for (number, says) in inside
            .map(|number| (number, "the phases are measured on"))
            .into_iter()
            .chain(outside.map(|number| (number, bounds)))
        {
            let ran = run(dir.path(), &["bench", "phases", option, number]);
            assert!(
                ran.code == 2 && ran.stderr.contains(says),
                "{option} {number}: {}",
                ran.stderr
            );
        }
    }
}
