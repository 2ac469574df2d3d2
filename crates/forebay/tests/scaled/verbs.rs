//! The verbs on Redis and PostgreSQL, as a user types them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::layout::{Layout, NAME};
use crate::process::Process;
use crate::rig::{Rig, binary};
use crate::steps::{CARD, has, offer, payment, post, until, wait};

#[test]
fn foreign_pushes_are_settled_and_each_bad_one_gets_one_clear_reason() {
    let mut rig = Rig::start(Layout::List);
    rig.add_worker();
    let good = "4000123412341234";
    let mut pushes: Vec<String> =
        (0..1_000).map(|n| payment(&format!("tx-{n}"), good, "Cafe")).collect();
    pushes.push(payment("tx-7", good, "Cafe"));
    pushes.push(payment("long", "40001234123412341234", "Cafe"));
    pushes.push(payment("short", "40001234", "Cafe"));
    pushes.push(payment("nul", good, "Ca\\u0000fe"));
    pushes.push("not json".to_owned());
    for push in &pushes {
        rig.redis().call(&["LPUSH", NAME, push]).unwrap();
    }
    wait(&rig, 1_000, 4);
    let groups: Value = serde_json::from_str(&rig.verb(&["dead", "list", "--json"])).unwrap();
    let mut reasons: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (group["reason"].as_str().unwrap().to_owned(), group["count"].as_u64().unwrap())
        })
        .collect();
    reasons.sort();
    assert_eq!(reasons[0], ("card_number: must be 12 to 19 digits, nothing else".to_owned(), 2));
    assert!(reasons[1].0.starts_with("event: "), "{reasons:?}");
    assert!(reasons[2].0.starts_with("merchant: holds a control character"), "{reasons:?}");
}

#[test]
fn foreign_stream_entries_are_settled() {
    let mut rig = Rig::start(Layout::Sharded);
    rig.add_worker();
    for n in 0..200 {
        let payment = payment(&format!("tx-{n}"), "4000123412341234", "Cafe");
        rig.redis().call(&["XADD", NAME, "*", "data", &payment]).unwrap();
    }
    wait(&rig, 200, 0);
}

#[test]
fn a_redis_that_may_lose_events_is_not_called_durable() {
    let rig = Rig::start(Layout::List);
    let check = |rig: &Rig| checked(rig, &rig.buffer_url(), &rig.postgres.url(), &[]);
    let (code, stdout, stderr) = check(&rig);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("Accepted payments survive"), "{stdout}");

    rig.redis().call(&["CONFIG", "SET", "appendonly", "no"]).unwrap();
    let (code, stdout, stderr) = check(&rig);
    assert_eq!(code, 1);
    assert!(stdout.contains("NOT DURABLE"), "{stdout}");
    assert!(stderr.contains("appendonly yes"), "{stderr}");

    rig.redis().call(&["CONFIG", "SET", "appendonly", "yes"]).unwrap();
    rig.redis().call(&["CONFIG", "SET", "maxmemory", "100mb"]).unwrap();
    rig.redis().call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    let (code, stdout, stderr) = check(&rig);
    assert_eq!(code, 1);
    assert!(stdout.contains("NOT DURABLE"), "{stdout}");
    assert!(stderr.contains("noeviction"), "{stderr}");
}

/// What `config check` says of this buffer and this store: its exit code, stdout and stderr.
fn checked(rig: &Rig, buffer: &str, store: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = binary(rig.dir());
    command.args(["config", "check", "--buffer", buffer, "--store", store]);
    let ended = command.args(["--set", "http.bind=127.0.0.1:0"]).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

#[test]
fn a_check_promises_nothing_of_servers_that_it_could_not_look_at() {
    let rig = Rig::start(Layout::List);
    let (buffer, store) = (rig.buffer_url(), rig.postgres.url());
    let unsettled = "NOT CHECKED: whether payments are settled once in PostgreSQL";
    let (code, stdout, stderr) = checked(&rig, &buffer, &format!("{store}?schema=other"), &[]);
    assert_eq!(code, 1);
    assert!(stdout.contains("Accepted payments survive"), "{stdout}");
    assert!(stdout.contains(unsettled) && !stdout.contains("Settled once"), "{stdout}");
    assert!(stderr.contains("forebay store migrate"), "{stderr}");

    rig.redis().stop();
    rig.postgres.stop();
    let (code, stdout, _) = checked(&rig, &buffer, &store, &[]);
    assert_eq!(code, 1);
    assert!(stdout.contains(unsettled) && !stdout.contains("Settled once"), "{stdout}");
    assert!(stdout.contains("NOT CHECKED: accepted payments survive what Redis"), "{stdout}");
    assert!(!stdout.contains("config check"), "{stdout}");
}

#[test]
fn a_redis_that_can_not_take_a_payment_fails_the_check_which_says_how_to_mend_it() {
    let rig = Rig::start(Layout::List);
    let check = |options: &str, expect: &str| {
        let buffer = format!("redis://{}?{options}", rig.addresses()[0]);
        let (code, _, stderr) = checked(&rig, &buffer, &rig.postgres.url(), &[]);
        assert_eq!(code, i32::from(!expect.is_empty()), "{stderr}");
        assert!(stderr.contains(expect), "{stderr}");
    };
    rig.redis().call(&["LPUSH", NAME, &payment("tx", CARD, "Cafe")]).unwrap();
    rig.redis().call(&["XADD", "others", "*", "data", &payment("tx", CARD, "Cafe")]).unwrap();
    rig.redis().call(&["SET", "taken", "x"]).unwrap();
    check("list=tx_queue", "");
    check("stream=others", "");
    check("stream=tx_queue", "write ?list=tx_queue in the buffer's URL");
    check("list=others", "write ?stream=others in the buffer's URL");
    check("list=taken", "taken is a string in Redis");
    check("list=tx_queue&wait_replicas=1", "wait_replicas=1, but Redis has only 0 connected");

    // Nobody listens there, so that it stays as it is.
    rig.redis().call(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    check("list=tx_queue", "this Redis is a replica of 127.0.0.1:1");
}

#[test]
fn the_distribution_shows_every_process_its_shards_and_its_leases() {
    const WAITING: usize = 40;
    let mut rig = Rig::start(Layout::List);
    rig.add_worker();
    rig.add_worker();
    let members = || -> Vec<Value> {
        let seen = rig.verb(&["monitor", "--distribution", "--once", "--json"]);
        let mut seen: Value = serde_json::from_str(&seen).unwrap();
        seen["members"].as_array_mut().unwrap().drain(..).collect()
    };
    until("the shards are shared", || {
        let shards = |member: &Value| member["shards"].as_array().unwrap().len();
        members().iter().map(shards).collect::<Vec<_>>() == [8, 8]
    });
    let drawn = rig.verb(&["monitor", "--distribution", "--once"]);
    assert!(drawn.contains("2 processes, 16 shards, 0 events wait"), "{drawn}");
    for worker in &rig.workers {
        let pid = format!(":{}:", worker.pid());
        let is_its = |member: &Value| member["id"].as_str().unwrap().contains(&pid);
        assert_eq!(members().iter().filter(|member| is_its(member)).count(), 1, "{pid}: {drawn}");
        assert!(drawn.contains(&pid), "{drawn}");
    }

    // What can't be settled stays leased.
    rig.postgres.stop();
    for n in 0..WAITING {
        let push = payment(&format!("tx-{n}"), &format!("40001234{n:08}"), "Cafe");
        rig.redis().call(&["LPUSH", NAME, &push]).unwrap();
    }
    until("all is leased", || {
        let sum = |what: &str| members().iter().map(|one| one[what].as_u64().unwrap()).sum::<u64>();
        sum("leased") == WAITING as u64 && sum("leases") > 0
    });
}

#[test]
fn the_load_of_several_workers_is_told_as_one() {
    let mut rig = Rig::start(Layout::List);
    let seconds = ["--set", "history.interval_s=1"];
    rig.add_worker_with(&seconds);
    rig.add_worker_with(&seconds);
    let until = |rig: &Rig, sql: &str| {
        let end = Instant::now() + Duration::from_secs(30);
        while rig.postgres.query(sql).unwrap()[0][0].as_deref() != Some("t") {
            assert!(Instant::now() < end, "never: {sql}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until(&rig, "SELECT count(DISTINCT process) = 2 FROM fds.load_history");
    let url = rig.buffer_url();
    rig.verb(&["generate", "--to", &url, "--tps", "300", "--duration", "5s"]);
    wait(&rig, 1_500, 0);
    until(&rig, "SELECT coalesce(sum(settled), 0) >= 1500 FROM fds.load_history");
    let two = ["--set", "advise.processes=2", "--set", "advise.load_min_s=2"];
    let told = rig.verb(&[&["advise", "--json"], &two[..]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["verdict"], &told["rule"]), (&"redis".into(), &"several_processes".into()));
    assert_eq!(told["seen"]["busiest"]["processes"], 2, "{told}");
    // Each looks at the backlog at moments of its own.
    let events = told["seen"]["events"].as_u64().unwrap();
    assert!((1_300..=1_700).contains(&events), "{told}");
    let today = &told["costs"]["today"];
    assert_eq!((&today["machines"], &today["redis"]), (&2.into(), &true.into()), "{told}");
    assert_eq!(today["postgres"], true, "{told}");
}

#[test]
fn a_full_buffer_refuses_and_the_generator_says_how_many() {
    let rig = Rig::start(Layout::List);
    let url = format!("{}&events_max=1000", rig.buffer_url());
    let output = rig
        .command(&["generate", "--to", &url, "--tps", "2000", "--duration", "2s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A batch is refused whole, so the last few places may stay free.
    assert!((900..=1_000).contains(&figure(&said, "; accepted ")), "{said}");
    assert!(figure(&said, ", refused ") > 0, "{said}");
    assert_eq!(output.status.code(), Some(1), "not all were sent");
    assert!(said.lines().last().unwrap().contains("the buffer is full"), "{said}");
}

/// What stands behind these words in what the generator has said.
fn figure(said: &str, words: &str) -> usize {
    let behind = said.lines().find_map(|line| line.split(words).nth(1)).unwrap();
    behind.split(", ").next().unwrap().replace(',', "").parse().unwrap()
}

#[test]
fn a_full_buffer_is_a_429_that_says_when_to_come_back_and_once_it_is_drained_a_202() {
    const EVENTS_MAX: usize = 500;
    let mut rig = Rig::start(Layout::List);
    let url = format!("{}&events_max={EVENTS_MAX}", rig.buffer_url());
    let mut api = rig.serve_on(&url, "api", &[]);
    let to = format!("http://{}", api.address());
    let mut generate = binary(rig.dir());
    generate.args(["generate", "--to", &to, "--tps", "2000", "--duration", "1m"]);
    let mut generator = Process::spawn(generate, rig.dir(), "generator");
    until("the generator is refused", || {
        generator.must_live();
        api.count("refused_total{reason=\"full\"}") > 0
    });
    // A batch is refused whole: the last few places are free until somebody offers as few.
    let mut taken = 0;
    let answer = loop {
        let answer = offer(&mut api, &payment(&format!("own-{taken}"), CARD, "Cafe"));
        if !has(&answer, 202) {
            break answer;
        }
        taken += 1;
    };
    assert!(has(&answer, 429), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: "), "{answer}");

    // What is refused it offers again, until it is told to end.
    generator.terminate();
    let said = generator.log();
    assert!(figure(&said, ", refused ") > 0, "{said}");
    assert_eq!(figure(&said, "; accepted ") + taken, EVENTS_MAX, "{said}");
    rig.add_worker();
    until("events are accepted again", || {
        has(&offer(&mut api, &payment("again", CARD, "Cafe")), 202)
    });
    wait(&rig, EVENTS_MAX + 1, 0);
    api.terminate();
}

#[test]
fn a_store_that_is_not_migrated_says_how() {
    let rig = Rig::start(Layout::List);
    let store = format!("{}?schema=other", rig.postgres.url());
    let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .current_dir(rig.dir())
        .args(["serve", "--roles", "worker", "--buffer", &rig.buffer_url(), "--store", &store])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("forebay store migrate"), "{said}");
}

#[test]
fn a_process_with_another_fingerprint_key_is_refused() {
    let mut rig = Rig::start(Layout::List);
    rig.add_worker();
    rig.redis().call(&["LPUSH", NAME, &payment("tx", "4000123412341234", "Cafe")]).unwrap();
    wait(&rig, 1, 0);
    std::fs::write(rig.dir().join("other"), "ab".repeat(32)).unwrap();
    let args = ["serve", "--roles", "worker", "--set", "cards.key_file=other"];
    let output = rig.command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another card fingerprint key"), "{said}");
    let key = ["--set", "cards.key_file=other"];
    let (code, _, stderr) = checked(&rig, &rig.buffer_url(), &rig.postgres.url(), &key);
    assert_eq!(code, 1);
    assert!(stderr.contains("another card fingerprint key than the one in other"), "{stderr}");
}

#[test]
fn a_check_without_the_fingerprint_key_of_a_store_in_use_fails_and_makes_none() {
    let mut rig = Rig::start(Layout::List);
    let check = |rig: &Rig, key: &str| {
        let key_file = format!("cards.key_file={key}");
        let args = ["--set", key_file.as_str()];
        let checked = checked(rig, &rig.buffer_url(), &rig.postgres.url(), &args);
        assert_eq!(rig.dir().join(key).exists(), key == "key" && !rig.workers.is_empty());
        checked
    };
    // Whoever opens it first makes the key, and that is not who looks.
    assert_eq!(check(&rig, "key").0, 0);
    rig.add_worker();
    rig.redis().call(&["LPUSH", NAME, &payment("tx", CARD, "Cafe")]).unwrap();
    wait(&rig, 1, 0);
    let (code, _, stderr) = check(&rig, "missing");
    assert_eq!(code, 1);
    assert!(stderr.contains("missing is missing, but the store in PostgreSQL"), "{stderr}");
    let (code, _, stderr) = check(&rig, "key");
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_worker_that_starts_before_its_servers_waits_for_them() {
    let mut rig = Rig::start(Layout::List);
    let push = payment("tx-1", "4000123412341234", "Cafe");
    rig.redis().call(&["LPUSH", NAME, &push]).unwrap();
    rig.redis().stop();
    rig.postgres.stop();
    rig.add_worker();
    let hears_of = |rig: &Rig, whose: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while !rig.workers[0].log().contains(whose) {
            assert!(Instant::now() < end, "it does not say so: {}", rig.workers[0].log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    hears_of(&rig, "the buffer is unavailable");
    rig.redis().start_again().unwrap();
    hears_of(&rig, "the store is unavailable");
    rig.postgres.start_again().unwrap();
    wait(&rig, 1, 0);
    rig.workers[0].terminate();
}

#[test]
fn while_redis_is_down_offers_spill_and_drain_in_order_when_it_is_back() {
    let mut rig = Rig::start(Layout::List);
    rig.add_worker();
    let mut api = rig.serve("api", &["--set", "spill=journal:spill"]);
    post(&mut api, &payment("before", CARD, "Cafe"), 202);
    rig.redis().stop();
    for n in 0..50 {
        post(&mut api, &payment(&format!("during-{n}"), CARD, "Cafe"), 202);
    }
    until_spilled(&mut api, 50.0);
    assert!(api.metric("buffer_spill_age_seconds{") > 0.0);
    rig.redis().start_again().unwrap();
    wait(&rig, 51, 0);
    until_spilled(&mut api, 0.0);
    let rows = rig.postgres.query("SELECT tx_id FROM fds.transactions ORDER BY id").unwrap();
    let ids: Vec<_> = rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let expect: Vec<_> = std::iter::once("before".to_owned())
        .chain((0..50).map(|n| format!("during-{n}")))
        .collect();
    assert_eq!(ids, expect);
}

/// Waits until the spill is shown to hold so many.
fn until_spilled(api: &mut Process, events: f64) {
    until(&format!("{events} in the spill"), || api.metric("buffer_spill_size{") == events);
}

#[test]
fn an_api_that_is_killed_while_redis_is_down_starts_without_it_and_drains_its_spill_in_order() {
    const CARDS: usize = 5;
    let (killed_after, all) = (50, 60);
    let paid = |n: usize| {
        let card = n % CARDS;
        payment(&format!("{card}:{n}"), &format!("400012341234123{card}"), "Cafe")
    };
    let mut rig = Rig::start(Layout::List);
    rig.add_worker();
    let spill = ["--set", "spill=journal:spill"];
    let mut api = rig.serve("api", &spill);
    post(&mut api, &payment("before", CARD, "Cafe"), 202);
    wait(&rig, 1, 0);
    rig.redis().stop();
    for n in 0..killed_after {
        post(&mut api, &paid(n), 202);
    }
    api.kill();

    let mut api = rig.serve("api", &spill);
    until_spilled(&mut api, 50.0);
    // Behind what is there.
    for n in killed_after..all {
        post(&mut api, &paid(n), 202);
    }
    rig.redis().start_again().unwrap();
    wait(&rig, 1 + all, 0);
    until_spilled(&mut api, 0.0);
    let rows = rig.postgres.query("SELECT tx_id FROM fds.transactions ORDER BY id").unwrap();
    let ids: Vec<String> = rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
    for card in 0..CARDS {
        let of_card = |id: &&String| id.starts_with(&format!("{card}:"));
        let came: Vec<String> = ids.iter().filter(of_card).cloned().collect();
        let due = (0..all).filter(|n| n % CARDS == card).map(|n| format!("{card}:{n}"));
        assert_eq!(came, due.collect::<Vec<_>>());
    }
    api.terminate();
}

#[test]
fn without_a_spill_a_redis_that_is_down_is_a_503_that_says_when_to_come_back() {
    let mut rig = Rig::start(Layout::List);
    let mut api = rig.serve("api", &[]);
    post(&mut api, &payment("before", CARD, "Cafe"), 202);
    rig.redis().stop();
    let answer = post(&mut api, &payment("during", CARD, "Cafe"), 503);
    assert!(answer.to_lowercase().contains("retry-after"), "{answer}");
}
