//! `buffer migrate` and `config check`, where processes spell the same buffers differently.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use testbed::{Postgres, Redis};

use super::migrate::{Load, lead, verdicts};
use super::running::{PATIENCE, Serving, Worker, count, done, json, run};

/// Every payment's rules, by `tx_id`.
fn settled(postgres: &Postgres) -> BTreeMap<String, Vec<String>> {
    let rows = "SELECT tx_id, array_to_json(fraud_rules)::text FROM fds.transactions";
    let rows = postgres.query(rows).unwrap().into_iter().map(|row| {
        let [id, rules] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
        (id, serde_json::from_str(&rules).unwrap())
    });
    rows.collect()
}

/// Waits until the store has all of them, with the verdicts of one process.
fn audit(postgres: &Postgres, expected: &BTreeMap<String, Vec<String>>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let rows = postgres.query("SELECT count(*)::text FROM fds.transactions").unwrap();
        if rows[0][0].as_deref() == Some(&expected.len().to_string()) {
            break;
        }
        assert!(Instant::now() < end, "{rows:?} settled of {}", expected.len());
        std::thread::sleep(Duration::from_millis(50));
    }
    let settled = settled(postgres);
    let wrong = expected.iter().filter(|(id, rules)| settled.get(*id) != Some(rules)).count();
    assert_eq!(wrong, 0, "wrong verdicts of {}", expected.len());
}

fn configure(dir: &Path, file: &str, buffer: &str, next: &str, postgres: &Postgres) {
    let text = format!(
        "buffer = \"{buffer}\"\nnext_buffer = \"{next}\"\nstore = \"{}\"\n[cards]\nkey_file = \"key\"\n",
        postgres.url()
    );
    std::fs::write(dir.join(file), text).unwrap();
}

fn status(dir: &Path) -> Value {
    json(dir, &["buffer", "migrate", "--status", "--json"])
}

/// Two apis and two workers, of which one each reads the second file.
fn start(dir: &Path, files: [&str; 2]) -> ([Serving; 2], [Worker; 2]) {
    let workers = files.map(|file| Worker::start_with(dir, &["--config", file]));
    let apis = files.map(|file| Serving::start(dir, &["--roles", "api", "--config", file]));
    (apis, workers)
}

#[test]
fn a_move_survives_two_spellings_and_an_option_that_is_added_on_the_way() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let port = redis.address().rsplit_once(':').unwrap().1.to_owned();
    let list = "list=tx_queue";
    let stream = "stream=tx_stream&group=fds";
    let plain = |host: &str, name: &str| format!("redis://{host}:{port}{name}");
    let (one, other) = ("forebay.toml", "other.toml");
    configure(
        dir.path(),
        one,
        &plain("127.0.0.1", &format!("/0?{list}")),
        &plain("127.0.0.1", &format!("/0?{stream}")),
        &postgres,
    );
    configure(
        dir.path(),
        other,
        &plain("LocalHost", &format!("?{list}")),
        &plain("localhost", "?poll=non-blocking&group=fds&stream=tx_stream"),
        &postgres,
    );
    done(dir.path(), &["store", "migrate"]);
    let (apis, workers) = start(dir.path(), [one, other]);
    let load = Load::start(apis.iter().map(|api| api.address.clone()).collect());
    load.until(200);
    lead(dir.path(), &["--share", "50"], 50, None);
    assert_eq!(status(dir.path())["processes"].as_array().unwrap().len(), 4);
    // No worker settles for a while: both buffers have a backlog when the processes are restarted.
    for worker in workers {
        assert!(worker.terminate().success());
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let pending = &status(dir.path())["pending"];
        if pending["source"].as_u64() > Some(100) && pending["target"].as_u64() > Some(100) {
            break;
        }
        assert!(Instant::now() < end, "there is no backlog: {pending}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut accepted = load.accepted();
    for api in apis {
        assert!(api.terminate().0.success());
    }
    // An option changes no buffer.
    configure(
        dir.path(),
        one,
        &plain("127.0.0.1", &format!("/0?{list}")),
        &plain("127.0.0.1", &format!("/0?{stream}&events_max=2000000")),
        &postgres,
    );
    let (apis, workers) = start(dir.path(), [one, other]);
    let load = Load::resumed(apis.iter().map(|api| api.address.clone()).collect(), &accepted);
    load.until(200);
    let now = status(dir.path());
    assert_eq!((&now["share"], &now["phase"]), (&50.into(), &"open".into()), "{now}");
    lead(dir.path(), &["--pause", "0"], 100, Some("source"));
    accepted.extend(load.accepted());
    let expected = verdicts(&accepted);
    let flagged = expected.values().filter(|rules| !rules.is_empty()).count();
    assert!(flagged > 10, "only {flagged} flagged: too few to compare");
    audit(&postgres, &expected);
    for api in apis {
        assert!(api.terminate().0.success());
    }
    drop(workers);
}

#[test]
fn one_buffer_spelled_twice_is_refused_by_the_check_and_at_the_start() {
    let redis = Redis::start().unwrap();
    let port = redis.address().rsplit_once(':').unwrap().1.to_owned();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("forebay.toml");
    let refused = |text: &str, expect: &str| {
        std::fs::write(&file, text.replace("PORT", &port)).unwrap();
        for args in [&["config", "check"][..], &["serve", "--bind", "127.0.0.1:0"]] {
            let ran = run(dir.path(), args);
            assert!(ran.code != 0 && ran.stderr.contains(expect), "{text}: {}", ran.stderr);
        }
    };
    let buffer = "buffer = \"redis://127.0.0.1:PORT/0?list=q\"\n";
    let same = "next_buffer is the same buffer as buffer";
    for next in [
        "redis://127.0.0.1:PORT?list=q",
        "redis://u:p@LOCALHOST.:PORT/00?list=q&events_max=5",
        "redis://[::1]:PORT/0?list=%71",
        // What only the resolver knows.
        "redis://127.1:PORT/0?list=q",
        // The same keys in Redis, in another layout.
        "redis://127.0.0.1:PORT/0?stream=q&group=g",
    ] {
        refused(&format!("{buffer}next_buffer = \"{next}\"\n"), same);
    }
    let table = |name: &str, buffer: &str| {
        format!(
            "[[table]]\nname = \"{name}\"\nbuffer = \"{buffer}\"\nkeys = [\"id\"]\n\
             mode = \"insert\"\ncolumns = {{ id = \"bigint\" }}\ncreate = true\n"
        )
    };
    let tables = [
        table("one", "redis://127.0.0.1:PORT/0?list=rows"),
        table("two", "redis://localhost:PORT?list=rows&lease_ms=5000"),
    ];
    refused(&tables.concat(), "table two");
    let (link, at) = (dir.path().join("link"), dir.path().join("data"));
    std::fs::create_dir_all(&at).unwrap();
    std::os::unix::fs::symlink(&at, &link).unwrap();
    refused("next_buffer = \"journal:link/../data/./buffer?sync=os\"\n", same);
    refused(&table("one", "journal:link/buffer"), "table one");
    refused(
        &format!("{buffer}spill = \"journal:data/a\"\n{}", table("one", "journal:link/a")),
        "spill",
    );
}

/// A pipeline on one machine, half moved from its journal to the next.
fn half_moved() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "next_buffer = \"journal:{data}/next\"\n");
    done(dir.path(), &["store", "migrate"]);
    let serving = Serving::start(dir.path(), &[]);
    lead(dir.path(), &["--share", "50"], 50, None);
    assert!(serving.terminate().0.success());
    dir
}

fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("forebay.toml"), text).unwrap();
}

#[test]
fn a_worker_that_leaves_a_move_with_a_changed_option_is_warned() {
    let dir = half_moved();
    for buffer in ["journal:{data}/buffer?events_max=2000000", "journal:./data/../data/next"] {
        write(dir.path(), &format!("buffer = \"{buffer}\"\n"));
        let (ended, printed) = Serving::start(dir.path(), &[]).terminate();
        assert!(ended.success(), "{printed}");
        let warned = "ACCEPTED EVENTS MAY WAIT IN ANOTHER BUFFER: the move from journal:";
        assert!(printed.contains(warned), "{buffer}: {printed}");
    }
}

#[test]
fn no_other_move_begins_before_one_is_finished() {
    let dir = half_moved();
    let refused = |args: &[&str]| {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
        for told in ["data/third", "data/next", "50 % (open)", "--rollback", "--same-buffers"] {
            assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        }
    };
    write(dir.path(), "next_buffer = \"journal:{data}/third\"\n");
    refused(&["serve", "--bind", "127.0.0.1:0"]);
    refused(&["buffer", "migrate"]);
    refused(&["config", "check"]);
    // Back it goes by the recorded buffers, whatever their options.
    write(dir.path(), "next_buffer = \"journal:data/next?events_max=7000\"\n");
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(status(dir.path())["share"], 50);
    lead(dir.path(), &["--rollback"], 0, Some("target"));
    assert!(serving.terminate().0.success());
    write(dir.path(), "next_buffer = \"journal:{data}/third\"\n");
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(status(dir.path())["share"], 0);
    lead(dir.path(), &["--share", "100"], 100, Some("source"));
    assert!(serving.terminate().0.success());
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM buffer_moves WHERE name = 'payments'"), 1);
}

#[test]
fn buffers_that_changed_their_addresses_are_told_to_be_the_same() {
    let dir = half_moved();
    std::fs::rename(dir.path().join("data/next"), dir.path().join("data/moved")).unwrap();
    write(dir.path(), "next_buffer = \"journal:{data}/moved\"\n");
    assert_eq!(run(dir.path(), &["serve", "--bind", "127.0.0.1:0"]).code, 1);
    done(dir.path(), &["buffer", "migrate", "--same-buffers", "--status"]);
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(status(dir.path())["share"], 50);
    lead(dir.path(), &["--pause", "0"], 100, Some("source"));
    assert!(serving.terminate().0.success());
    // The next move begins where this one ended, also under a new address.
    let refused = |args: &[&str]| {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
        let told = ran.stderr.contains("data/moved") && ran.stderr.contains("--ended-here");
        assert!(told, "{}", ran.stderr);
    };
    std::fs::rename(dir.path().join("data/moved"), dir.path().join("data/again")).unwrap();
    for buffer in ["buffer", "again"] {
        write(
            dir.path(),
            &format!(
                "buffer = \"journal:{{data}}/{buffer}\"\nnext_buffer = \"journal:{{data}}/third\"\n"
            ),
        );
        refused(&["serve", "--bind", "127.0.0.1:0"]);
        refused(&["buffer", "migrate"]);
        refused(&["config", "check"]);
    }
    done(dir.path(), &["buffer", "migrate", "--ended-here", "--status"]);
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(status(dir.path())["share"], 0);
    lead(dir.path(), &["--share", "50"], 50, None);
    assert!(serving.terminate().0.success());
    // Another kind of buffer is never the same.
    write(dir.path(), "next_buffer = \"memory:\"\n");
    let ran = run(dir.path(), &["buffer", "migrate", "--same-buffers", "--status"]);
    assert!(ran.code == 2 && ran.stderr.contains("--same-buffers"), "{}", ran.stderr);
}

#[test]
fn a_move_that_an_earlier_version_recorded_goes_on() {
    let dir = half_moved();
    // As the third version recorded it, options included, and as later ones keep it.
    let store = Connection::open(dir.path().join("data/forebay.db")).unwrap();
    for table in ["buffer_moves", "buffer_move_processes"] {
        let both = "journal:./data/buffer?lease_ms=9000 to journal:./data/next";
        store.execute(&format!("UPDATE {table} SET source = ?1, target = ''"), [both]).unwrap();
    }
    write(dir.path(), "next_buffer = \"journal:{data}/third\"\n");
    assert_eq!(run(dir.path(), &["serve", "--bind", "127.0.0.1:0"]).code, 1);
    write(dir.path(), "next_buffer = \"journal:{data}/next?events_max=9000\"\n");
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(status(dir.path())["share"], 50);
    lead(dir.path(), &["--pause", "0"], 100, Some("source"));
    assert!(serving.terminate().0.success());
}
