//! `serve`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::running::{PATIENCE, Serving, binary, count, done, ran, run};

pub(crate) fn event(id: &str) -> String {
    format!(
        "{{\"tx_id\":\"{id}\",\"card_number\":\"4000123412341234\",\"user_id\":\"u\",\
         \"tier\":\"normal\",\"amount\":1500,\"merchant\":\"m\",\"category\":\"coffee\",\
         \"created_at\":\"2026-03-02T12:00:00+09:00\"}}"
    )
}

#[test]
fn what_is_posted_is_settled_and_sigterm_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &[]);
    let (status, answer) = serving.post("application/json", &event("a"));
    assert_eq!((status, &answer["accepted"]), (202, &1.into()), "{answer}");
    let lines = format!("{}\n{}\nnonsense\n{}\n", event("b"), event("c"), event("a"));
    let (status, answer) = serving.post("application/x-ndjson", &lines);
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (202, &3.into(), &1.into()));
    let (status, _) = serving.post("application/json", "{}");
    assert_eq!(status, 400);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 3.0);
    serving.until("duplicates_total{pipeline=\"consumer_batch\"}", 1.0);
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{ended}");
    assert!(printed.contains("Accepted payments survive kill -9 and power loss"), "{printed}");
    assert!(printed.trim_end().ends_with("Stopped."), "{printed}");
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 3);
    let clear = "SELECT count(*) FROM transactions WHERE card_number LIKE '4000123412341234'";
    assert_eq!(count(&store, clear), 0);
}

#[test]
fn another_payment_under_a_used_id_is_buried_with_the_fields_that_differ() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &[]);
    let dearer = |id: &str| event(id).replace("1500", "99999");
    serving.post("application/json", &event("a"));
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
    let lines = [dearer("a"), event("a"), event("b"), dearer("b"), event("b")].join("\n");
    let (status, answer) = serving.post("application/x-ndjson", &lines);
    assert_eq!((status, &answer["accepted"]), (202, &5.into()), "{answer}");
    serving.until("dead_letters{buffer=\"journal\"}", 2.0);
    serving.until("duplicates_total{pipeline=\"consumer_batch\"}", 2.0);
    assert!(serving.terminate().0.success());
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions WHERE amount = 1500"), 2);
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 2);
    let listed = done(dir.path(), &["dead", "list"]);
    assert!(
        listed.contains("2  tx_id: another payment has this id and differs in amount;"),
        "{listed}"
    );
    assert!(!listed.contains("99999"), "{listed}");
}

#[test]
fn a_server_whose_journal_was_removed_refuses_events_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(serving.post("application/json", &event("a")).0, 202);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
    std::fs::remove_dir_all(dir.path().join("data/buffer")).unwrap();
    for id in ["b", "c"] {
        let (status, answer) = serving.post("application/json", &event(id));
        assert_eq!(status, 503, "{answer}");
    }
    assert_eq!(serving.get("/ready"), 503);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(log.contains("was removed or moved while the journal was open"), "{log}");
    serving.terminate();
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 1);
}

#[test]
fn a_card_whose_payments_fill_all_room_behind_a_refused_one_keeps_no_other_card_waiting() {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["store", "migrate"]);
    let store = dir.path().join("data/forebay.db");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON transactions WHEN new.tx_id = 'hot-000'
        BEGIN SELECT RAISE(ABORT, 'no'); END";
    rusqlite::Connection::open(&store).unwrap().execute_batch(refuse).unwrap();
    let hot = (0..60).map(|n| event(&format!("hot-{n:03}")) + "\n");
    let other =
        |n: usize| event(&format!("other-{n}")).replace("4000123412341234", "4000123412340000");
    let lines: String = hot.chain((0..5).map(|n| other(n) + "\n")).collect();
    let api = Serving::start(dir.path(), &["--roles", "api"]);
    assert_eq!(api.post("application/x-ndjson", &lines).0, 202);
    assert!(api.terminate().0.success());

    let small = ["--set", "engine.held_max=10", "--set", "engine.batch_max=5"];
    let serving = Serving::start(dir.path(), &small);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 64.0);
    serving.until("dead_letters{buffer=\"journal\"}", 1.0);
    assert!(serving.terminate().0.success());
    let out_of_order = "SELECT count(*) FROM transactions AS a JOIN transactions AS b \
        ON a.id < b.id AND a.tx_id > b.tx_id WHERE a.tx_id LIKE 'hot%' AND b.tx_id LIKE 'hot%'";
    assert_eq!(count(&store, out_of_order), 0);
}

#[test]
fn what_was_accepted_right_before_the_end_is_settled_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &["--roles", "api"]);
    let lines: String = (0..500).map(|n| event(&format!("tx-{n}")) + "\n").collect();
    let (status, answer) = serving.post("application/x-ndjson", &lines);
    assert_eq!((status, &answer["accepted"]), (202, &500.into()));
    assert!(serving.terminate().0.success());

    let serving = Serving::start(dir.path(), &[]);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 500.0);
    let (ended, printed) = serving.terminate();
    assert!(ended.success());
    assert!(printed.contains("Recovered 500 events"), "{printed}");
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 500);
}

#[test]
fn sighup_ends_no_server_and_reaches_one_that_runs_under_nohup() {
    let dir = tempfile::tempdir().unwrap();
    let serve = binary(dir.path(), &["serve", "--bind", "127.0.0.1:0"]);
    let under = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).arg(serve.get_program()).args(serve.get_args());
        command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Nothing takes its log, as after a terminal is closed.
        drop(child.stderr.take());
        Serving::of(child)
    };
    // The tests themselves may run under nohup.
    for (number, program) in ["env", "nohup"].into_iter().enumerate() {
        let args: &[&str] = if program == "env" { &["--default-signal=HUP"] } else { &[] };
        let serving = under(program, args);
        serving.signal(Signal::HUP);
        serving.until("config_reloads_total{result=\"done\"}", 1.0);
        assert_eq!(serving.post("application/json", &event(&format!("tx-{number}"))).0, 202);
        serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
        let (ended, printed) = serving.terminate();
        assert!(ended.success() && printed.trim_end().ends_with("Stopped."), "{printed}");
    }
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_named_and_a_soft_one_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let limited = |limit: &str, args: &str| {
        let program = binary(dir.path(), &[]);
        let line = format!("ulimit {limit}; exec {} {args}", program.get_program().display());
        let mut shell = Command::new("sh");
        ran(&shell.args(["-c", &line]).current_dir(dir.path()).output().unwrap())
    };
    let refused = limited("-n 8", "serve");
    let expect = "forebay: cannot start: this process may open 8 files, and needs 64; raise the limit \
                  with `ulimit -n`, or LimitNOFILE= in a systemd unit\n";
    assert_eq!((refused.code, &*refused.stderr), (1, expect));
    let raised = limited("-S -n 8", "config show");
    assert_eq!(raised.code, 0, "{}", raised.stderr);
}

#[test]
fn what_is_in_memory_is_settled_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    // Two cards keep two lanes from ever filling a batch: each round lingers, so that most is still
    // in memory when the signal comes.
    let slow = ["engine.lanes=2", "engine.linger_ms=500", "engine.batch_max=1000"];
    let slow = slow.iter().flat_map(|pair| ["--set", pair]);
    let args: Vec<&str> =
        ["--buffer", "memory:", "--set", "engine.held_max=1000"].into_iter().chain(slow).collect();
    let serving = Serving::start(dir.path(), &args);
    let card = |n| if n % 2 == 0 { "4000123412341234" } else { "4000123412341235" };
    let line = |n: u32| event(&format!("tx-{n}")).replace("4000123412341234", card(n)) + "\n";
    let (status, _) =
        serving.post("application/x-ndjson", &(0..4_000).map(line).collect::<String>());
    assert_eq!(status, 202);
    let (ended, printed) = serving.terminate();
    assert!(ended.success());
    assert!(printed.contains("NOTHING SURVIVES"), "{printed}");
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 4_000);
}

#[test]
fn a_second_process_on_the_same_journal_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &[]);
    for args in [
        &["generate", "--to", "journal:./data/buffer", "--count", "1"][..],
        &["dead", "replay", "--all"],
        &["buffer", "repair"],
        &["config", "check", "--set", "http.bind=127.0.0.1:0"],
    ] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("is held by another process"), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("stop it"), "{args:?}: {}", ran.stderr);
    }
    // Looking is allowed.
    done(dir.path(), &["buffer", "stat"]);
    done(dir.path(), &["buffer", "peek"]);
    done(dir.path(), &["buffer", "verify"]);
    done(dir.path(), &["dead", "list"]);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_new_server_waits_for_the_address_and_the_journal_of_the_old_one_and_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let old = Serving::start(dir.path(), &[]);
    assert_eq!(old.post("application/json", &event("a")).0, 202);
    let log = dir.path().join("log");
    let waiting = |bind: &str, for_what: &str| {
        let mut command = binary(dir.path(), &["serve", "--bind", bind]);
        let file = std::fs::File::create(&log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&log).unwrap().contains(for_what) {
            assert_eq!(child.try_wait().unwrap(), None, "it gave up");
            assert!(Instant::now() < end, "it does not say what it waits for: {for_what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    };
    let told = "is held by another process";
    let elsewhere = waiting("127.0.0.1:0", told);
    let id = rustix::process::Pid::from_child(&elsewhere);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = elsewhere.wait_with_output().unwrap();
    assert!(ended.status.success(), "one that waits can be told to stop");
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "Stopped before it began.\n");

    let address = old.address.clone();
    let new = waiting(address.strip_prefix("http://").unwrap(), "cannot listen on");
    assert!(old.terminate().0.success());
    let new = Serving::of(new);
    assert_eq!(new.address, address);
    assert_eq!(new.post("application/json", &event("b")).0, 202);
    assert!(new.terminate().0.success());
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 2);
}

#[test]
fn generate_and_replay_reach_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &[]);
    let began = Instant::now();
    let args = ["generate", "--to", &serving.address, "--tps", "500", "--duration", "1s"];
    let ran = run(dir.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("accepted 500, refused 0"), "{}", ran.stderr);
    assert!(began.elapsed() >= Duration::from_millis(950), "the rate is held");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/payments.ndjson");
    let lines = std::fs::read_to_string(example).unwrap().lines().count();
    let printed = done(dir.path(), &["replay", example, "--to", &serving.address]);
    assert!(printed.contains(&format!("{lines} accepted, 0 rejected")), "{printed}");
    serving.until("buffer_size{buffer=\"journal\"}", 0.0);
    assert!(serving.terminate().0.success());
    let rows = count(&dir.path().join("data/forebay.db"), "SELECT count(*) FROM transactions");
    assert_eq!(rows, 500 + i64::try_from(lines).unwrap());
}

#[test]
fn it_is_not_ready_while_it_stops_and_a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(dir.path(), &["--set", "http.drain_delay_ms=600000"]);
    assert_eq!(serving.get("/ready"), 200);
    serving.signal(rustix::process::Signal::TERM);
    let end = Instant::now() + PATIENCE;
    while serving.get("/ready") != 503 {
        assert!(Instant::now() < end, "it is never unready");
    }
    let (status, _) = serving.post("application/json", &event("late"));
    assert_eq!(status, 503, "no events are taken any more");
    // Past the time within which a signal belongs to the first.
    std::thread::sleep(Duration::from_millis(400));
    serving.signal(rustix::process::Signal::TERM);
    assert_eq!(serving.wait().code(), Some(130));
}

#[test]
fn two_signals_at_once_are_one_and_the_end_is_orderly() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(dir.path(), &[]);
    serving.signal(rustix::process::Signal::TERM);
    serving.signal(rustix::process::Signal::INT);
    assert_eq!(serving.wait().code(), Some(0));
}

#[test]
fn an_address_others_can_reach_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["serve", "--bind", "192.0.2.1:1"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("can be reached from other machines"), "{}", ran.stderr);
    assert!(ran.stderr.contains("choose another address with --bind"), "{}", ran.stderr);
    assert!(!dir.path().join("data/forebay.db").exists(), "nothing is opened before it listens");
}

#[test]
fn a_second_process_does_not_settle_into_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = Serving::start(dir.path(), &[]);
    let args = ["serve", "--bind", "127.0.0.1:0", "--buffer", "memory:"];
    let ran = run(dir.path(), &args);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("one process at a time settles into a store"), "{}", ran.stderr);
    assert!(first.terminate().0.success());
}

#[test]
fn another_fingerprint_key_than_the_sqlite_stores_is_refused_by_each_way_in() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &[]);
    serving.post("application/json", &event("a"));
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 1.0);
    assert!(serving.terminate().0.success());
    std::fs::write(dir.path().join("other"), "ab".repeat(32)).unwrap();
    std::fs::write(dir.path().join("events.ndjson"), event("b")).unwrap();
    let other = |args: &[&str]| {
        let key = ["--set", "cards.key_file=other", "--set", "http.bind=127.0.0.1:0"];
        run(dir.path(), &[args, &key].concat())
    };
    for args in [
        &["config", "check"][..],
        &["store", "migrate"],
        &["replay", "events.ndjson", "--drain"],
        &["serve"],
        &["serve", "--roles", "worker"],
    ] {
        let refused = other(args);
        let expected =
            "the store was begun with another card fingerprint key than the one in other";
        assert!(refused.stderr.contains(expected), "{args:?}: {}", refused.stderr);
        assert_eq!(refused.code, 1, "{args:?}");
    }
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 1);
    done(dir.path(), &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
}

#[test]
fn a_sqlite_store_from_before_it_kept_its_key_keeps_the_one_it_is_opened_with() {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["store", "migrate"]);
    let path = dir.path().join("data/forebay.db");
    let ours = rusqlite::Connection::open(&path).unwrap();
    let ours: i64 = ours.query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap();
    // The fingerprint key stays.
    for file in ["forebay.db", "forebay.db-wal", "forebay.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("data").join(file));
    }
    let store = rusqlite::Connection::open(path).unwrap();
    store.execute_batch(&format!("PRAGMA application_id = {ours}")).unwrap();
    for earlier in [
        include_str!("../../../store-sqlite/migrations/V1__initial.sql"),
        include_str!("../../../store-sqlite/migrations/V2__load_history.sql"),
        include_str!("../../../store-sqlite/migrations/V3__moves.sql"),
        "PRAGMA user_version = 3",
    ] {
        store.execute_batch(earlier).unwrap();
    }
    drop(store);
    done(dir.path(), &["store", "migrate"]);
    std::fs::write(dir.path().join("other"), "ab".repeat(32)).unwrap();
    let refused = run(dir.path(), &["store", "migrate", "--set", "cards.key_file=other"]);
    assert!(refused.stderr.contains("another card fingerprint key"), "{}", refused.stderr);
}

#[test]
fn a_start_whose_output_is_on_a_full_disk_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = binary(dir.path(), &["serve", "--bind", "127.0.0.1:0"]);
    let ran = super::running::ran(&command.stdout(full).output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expect = "cannot write /dev/full: no space is left on its disk";
    assert!(ran.stderr.contains(expect), "{}", ran.stderr);
}

#[test]
fn a_disk_with_less_room_than_must_stay_free_is_answered_429() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = "journal:./data/buffer?free_min_mib=1_000_000_000";
    let serving = Serving::start(dir.path(), &["--buffer", buffer]);
    let (status, answer) = serving.post("application/json", &event("a"));
    assert_eq!(status, 429, "{answer}");
    assert!(answer.to_string().contains("the buffer is full"), "{answer}");
    assert!(serving.terminate().0.success());
}

/// Needs the right to mount a file system in memory; without it the test is skipped, and fails where
/// `CI=true`.
#[test]
fn a_journal_beside_a_sqlite_store_leaves_room_for_it_unless_asked_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path());
    if !mount.status().is_ok_and(|status| status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no right to mount a tmpfs");
        eprintln!("skipped: no right to mount a tmpfs; run as root");
        return;
    }
    // A quarter of 24 MiB must stay free, and less is.
    std::fs::write(dir.path().join("others"), vec![1; 17 << 20]).unwrap();
    let mut answers = Vec::new();
    for options in ["segment_mib=1", "segment_mib=1&free_min_mib=1"] {
        let buffer = format!("journal:./data/buffer?{options}");
        let serving = Serving::start(dir.path(), &["--buffer", &buffer]);
        answers.push(serving.post("application/json", &event("a")).0);
        serving.terminate();
    }
    let unmounted = Command::new("umount").arg("-l").arg(dir.path()).status();
    assert_eq!(answers, [429, 202]);
    assert!(unmounted.unwrap().success());
}
