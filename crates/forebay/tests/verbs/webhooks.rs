//! `[[webhook]]`: events delivered to a receiver, signed, in the order of each key, and lost by nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::simulate::{self, Behaviour};
use model::clock::System;
use testbed::{Postgres, Redis, Sqs};
use tokio::net::TcpListener;

use super::running::{Ran, Serving, binary, done, json, ran, run, wait};
use super::tables::configure;

mod changed;
mod killed;
mod receiver;

use receiver::{Receiver, SECRET};

const DELIVERED: &str = "processed_tasks_total{pipeline=\"webhook:orders\"}";
const DEAD: &str = "dead_letters{buffer=\"webhook:orders\"}";
/// Retries soon, so that tests need not wait.
const SOON: &str = "backoff_min_ms = 10\nbackoff_max_ms = 50\n";

/// A webhook of this name, with these lines besides.
fn webhook(name: &str, url: &str, lines: &str) -> String {
    format!(
        "[[webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"${{ORDERS_SECRET}}\"\n\
         key_field = \"customer\"\n{lines}"
    )
}

fn start(dir: &Path) -> Serving {
    let log = std::fs::File::create(dir.join("serve.log")).unwrap();
    let mut command = binary(dir, &["serve", "--bind", "127.0.0.1:0"]);
    command.env("ORDERS_SECRET", SECRET).stdout(Stdio::piped()).stderr(log);
    Serving::of(command.spawn().unwrap())
}

/// Runs a verb with the secret in its environment.
fn run_signing(dir: &Path, args: &[&str]) -> Ran {
    ran(&binary(dir, args).env("ORDERS_SECRET", SECRET).output().unwrap())
}

fn post(serving: &Serving, name: &str, kind: &str, body: String) -> (u16, serde_json::Value) {
    let url = format!("{}/v1/webhooks/{name}", serving.address);
    let kind = kind.to_owned();
    wait(async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url).header("content-type", kind).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

fn event(n: usize, customer: usize) -> String {
    // Blanks and digits that a reader would write otherwise: the bytes stay.
    format!("{{\"id\": \"o-{n}\",  \"customer\": {customer}, \"total\": {n}.50}}")
}

fn burst(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| event(n, n % 10) + "\n").collect()
}

/// Each event was delivered, signed, and after all earlier ones of its key.
fn assert_delivered_in_order(receiver: &Receiver, events: usize) {
    let mut of_keys: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for body in receiver.delivered() {
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let n: usize = json["id"].as_str().unwrap()[2..].parse().unwrap();
        assert_eq!(body, event(n, n % 10), "its bytes are as they were sent");
        of_keys.entry(n % 10).or_default().push(n);
    }
    let mut count = 0;
    for (key, mut numbers) in of_keys {
        assert!(numbers.is_sorted(), "key {key} lost its order: {numbers:?}");
        numbers.dedup();
        count += numbers.len();
    }
    assert_eq!(count, events);
    let all = receiver.all();
    assert!(all.iter().all(|one| one.is_signed && one.path == "/hooks?t=QUERY"));
}

#[test]
fn events_are_delivered_signed_in_the_order_of_each_key_through_failures() {
    let dir = tempfile::tempdir().unwrap();
    // Each seventh event fails twice.
    let receiver = Receiver::start(|id, before| {
        let n: usize = id[2..].parse().unwrap();
        if n.is_multiple_of(7) && before < 2 { 500 } else { 200 }
    });
    configure(dir.path(), &webhook("orders", &receiver.url, SOON));
    let serving = start(dir.path());
    for from in (0..300).step_by(50) {
        let (status, answer) =
            post(&serving, "orders", "application/x-ndjson", burst(from..from + 50));
        assert_eq!((status, &answer["accepted"]), (202, &50.into()));
    }
    assert_eq!(post(&serving, "orders", "application/json", event(300, 0)).0, 202);
    receiver.until(301);
    serving.until(DELIVERED, 301.0);
    assert_delivered_in_order(&receiver, 301);
    assert_eq!(receiver.all().iter().filter(|one| one.status == 500).count(), 43 * 2);
    assert!(serving.terminate().0.success());
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("QUERY") && !log.contains(&SECRET[6..]), "{log}");
}

#[test]
fn what_is_no_event_is_refused_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    configure(dir.path(), &webhook("orders", &receiver.url, "id_field = \"order\"\n"));
    let serving = start(dir.path());
    let check = |body: &str, field: &str| {
        let (status, answer) = post(&serving, "orders", "application/json", body.to_owned());
        assert_eq!((status, &answer["error"]["field"]), (400, &field.into()), "{answer}");
    };
    check("{\"id\":\"a\"}", "order");
    check("[1]", "event");
    check("{\"order\":\"a\"", "event");
    let lines = "{\"order\":\"a\"}\n{\"order\":null}\n{\"order\":7}\n";
    let (status, answer) = post(&serving, "orders", "application/x-ndjson", lines.to_owned());
    assert_eq!((status, &answer["accepted"]), (202, &2.into()), "{answer}");
    assert_eq!(answer["errors"][0]["line"], 2, "{answer}");
    receiver.until(2);
    assert_eq!(post(&serving, "costs", "application/json", "{}".to_owned()).0, 404);
    assert_eq!(serving.get("/v1/webhooks/orders"), 405);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_refused_event_is_a_dead_letter_with_the_cause_and_a_replay_delivers_it() {
    let dir = tempfile::tempdir().unwrap();
    let is_gone = Arc::new(AtomicBool::new(true));
    let gone = is_gone.clone();
    let receiver =
        Receiver::start(
            move |id, _| {
                if id == "o-1" && gone.load(Ordering::Relaxed) { 410 } else { 200 }
            },
        );
    configure(dir.path(), &webhook("orders", &receiver.url, SOON));
    let serving = start(dir.path());
    post(&serving, "orders", "application/x-ndjson", burst(0..30));
    serving.until(DELIVERED, 29.0);
    serving.until(DEAD, 1.0);
    // Verbs that send nothing need no secret.
    let of = ["--pipeline", "webhook:orders", "--json"];
    let groups = json(dir.path(), &[&["dead", "list"][..], &of].concat());
    assert_eq!(groups[0]["reason"], "the receiver answered 410 Gone", "{groups}");
    assert_eq!(groups[0]["ids"], serde_json::json!(["o-1"]));
    assert_eq!(receiver.all().iter().filter(|one| one.id == "o-1").count(), 1, "it was tried once");
    assert!(serving.terminate().0.success());
    is_gone.store(false, Ordering::Relaxed);
    done(dir.path(), &[&["dead", "replay", "--all"][..], &of].concat());
    let serving = start(dir.path());
    receiver.until(30);
    serving.until(DEAD, 0.0);
    assert!(receiver.delivered().contains(&event(1, 1)));
    assert!(serving.terminate().0.success());
}

#[test]
fn a_stop_ends_what_is_under_way_and_the_next_start_delivers_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let is_away = Arc::new(AtomicBool::new(true));
    let away = is_away.clone();
    // One key has to wait for its first event, which fails.
    let receiver = Receiver::start(move |id, _| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        if id == "o-7" && away.load(Ordering::Relaxed) { 500 } else { 200 }
    });
    let lines = "calls_max = 2\ntimeout_ms = 2000\n";
    configure(dir.path(), &webhook("orders", &receiver.url, lines));
    let serving = start(dir.path());
    post(&serving, "orders", "application/x-ndjson", burst(0..100));
    receiver.until(4);
    let (status, printed) = serving.terminate();
    assert!(status.success(), "{printed}");
    assert!(receiver.delivered().len() <= 90, "{printed}");
    is_away.store(false, Ordering::Relaxed);
    let serving = start(dir.path());
    receiver.until(100);
    serving.until("buffer_size{buffer=\"webhook:orders\"}", 0.0);
    assert_delivered_in_order(&receiver, 100);
    assert_eq!(receiver.delivered().len(), 100, "what was answered is not delivered again");
    assert!(serving.terminate().0.success());
}

#[test]
fn a_list_of_another_producer_is_delivered_by_changing_the_url_alone() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    let buffer = format!("buffer = \"{}?list=orders\"\ntimeout_ms = 1000\n{SOON}", redis.url());
    configure(dir.path(), &webhook("orders", &receiver.url, &buffer));
    let serving = start(dir.path());
    for n in 0..100 {
        redis.call(&["LPUSH", "orders", &event(n, n % 10)]).unwrap();
    }
    for no_event in ["hello", "{\"customer\":1}"] {
        redis.call(&["LPUSH", "orders", no_event]).unwrap();
    }
    receiver.until(100);
    assert_delivered_in_order(&receiver, 100);
    serving.until(DEAD, 2.0);
    assert!(serving.terminate().0.success());
    let of = ["dead", "list", "--pipeline", "webhook:orders", "--json"];
    let groups = json(dir.path(), &of).to_string();
    assert!(groups.contains("event: must be one JSON object"), "{groups}");
    assert!(groups.contains("the field of id_field must have 1 to 64 bytes"), "{groups}");
}

#[test]
fn a_buffer_without_order_is_named_with_what_to_do() {
    let sqs = Sqs::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let promised = |queue: &str| {
        let list = |name: &str| {
            format!("buffer = \"{}/{name}{queue}?region=us-east-1&create=true\"\n", sqs.url())
        };
        let table = |name: &str, mode: &str| {
            format!(
                "[[table]]\nname = \"{name}\"\ncreate = true\n{}keys = [\"sku\"]\n{mode}\n\
                 columns = {{ sku = \"text\", version = \"bigint\" }}\n",
                list(name)
            )
        };
        let webhook = webhook("orders", "http://127.0.0.1:9/", &list("orders"));
        let upsert = table("costs", "mode = \"upsert\"\nversion = \"version\"");
        configure(dir.path(), &(webhook + &table("prices", "mode = \"insert\"") + &upsert));
        let check = ["config", "check", "--set", "http.bind=127.0.0.1:0"];
        let checked = run_signing(dir.path(), &check);
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
        checked.stdout
    };
    let of = |text: &str, begins: &str| {
        text.lines()
            .find(|line| line.contains(begins))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let ordered = promised(".fifo");
    assert!(of(&ordered, "Webhook orders: ").contains("in order for each key"), "{ordered}");
    assert!(!ordered.contains("NO ORDER"), "{ordered}");
    let standard = promised("");
    let (webhook, remedy) =
        (of(&standard, "Webhook orders: "), "use a .fifo queue to keep the order of each key");
    assert!(!webhook.contains("in order for each key"), "{webhook}");
    assert!(webhook.contains("NO ORDER: a standard queue of SQS") && webhook.contains(remedy));
    assert!(of(&standard, "Table prices: ").contains("another row than the first one may stand"));
    assert!(!of(&standard, "Table costs: ").contains("NO ORDER"), "the greater version wins");
}

#[test]
fn a_process_that_takes_events_alone_needs_no_secret_and_a_worker_delivers_them() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    let all = format!(
        "store = \"{}\"\nbuffer = \"{}?list=payments\"\n{}",
        postgres.url(),
        redis.url(),
        webhook(
            "orders",
            &receiver.url,
            &format!("buffer = \"{}?list=orders\"\ntimeout_ms = 1000\n", redis.url())
        )
    );
    configure(dir.path(), &all);
    done(dir.path(), &["store", "migrate"]);
    let api = Serving::start_logged(dir.path(), &["--roles", "api"]);
    post(&api, "orders", "application/x-ndjson", burst(0..50));
    assert!(receiver.all().is_empty());
    let worker = ["serve", "--roles", "worker"];
    let mut worker = binary(dir.path(), &worker);
    let worker = worker.env("ORDERS_SECRET", SECRET).stdout(Stdio::null()).stderr(Stdio::null());
    let mut worker = worker.spawn().unwrap();
    receiver.until(50);
    assert_delivered_in_order(&receiver, 50);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(api.terminate().0.success());
}

#[test]
fn a_webhook_moves_to_another_journal_and_the_count_is_of_what_processes_were_done_with() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    configure(dir.path(), &webhook("orders", &receiver.url, "next_buffer = \"journal:./more\"\n"));
    let serving = start(dir.path());
    post(&serving, "orders", "application/x-ndjson", burst(0..50));
    let lead = ["buffer", "migrate", "--pipeline", "webhook:orders", "--stages", "100"];
    let said = done(dir.path(), &lead);
    assert!(said.contains("events accepted since it began; 0 missing"), "{said}");
    assert!(said.contains("the store keeps nothing of these events"), "{said}");
    post(&serving, "orders", "application/x-ndjson", burst(50..100));
    receiver.until(100);
    assert_delivered_in_order(&receiver, 100);
    assert!(serving.terminate().0.success());
}

#[test]
fn the_example_is_a_configuration_that_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/webhooks.toml");
    let of = ["config", "check", "--set", "http.bind=127.0.0.1:0", "--config", example];
    let checked = binary(dir.path(), &of).env("ORDERS_WEBHOOK_SECRET", SECRET).output().unwrap();
    let checked = ran(&checked);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stdout.contains("Webhook orders: accepted events"), "{}", checked.stdout);
}

#[test]
fn a_rate_that_processes_cannot_share_is_named_before_and_at_the_start() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let says = "rate_per_s holds for each process by itself: the store is of one process; use a postgres: store";
    let check = |buffer: &str, rate: &str, expect: bool| {
        let lines = format!("{buffer}{rate}timeout_ms = 1000\n");
        configure(dir.path(), &webhook("orders", "http://127.0.0.1:9/", &lines));
        let checked = ["config", "check", "--set", "http.bind=127.0.0.1:0"];
        let checked = run_signing(dir.path(), &checked).stdout;
        let is_promised = checked.contains("Webhook orders: accepted events survive");
        assert!(is_promised && checked.contains(says) == expect, "{lines}{checked}");
    };
    let list = format!("buffer = \"{}?list=orders\"\n", redis.url());
    check("", "rate_per_s = 20\n", false);
    check(&list, "rate_per_s = 0\n", false);
    check(&list, "rate_per_s = 20\n", true);
    let (status, printed) = start(dir.path()).terminate();
    assert!(status.success() && printed.contains(says), "{printed}");
}

#[test]
fn a_receiver_with_faults_gets_each_key_in_order_and_never_two_of_a_key_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let behaviour = Behaviour {
        latency_ms: 2,
        jitter_ms: 5,
        refused_permille: 20,
        retry_after_s: 0,
        fail_before_permille: 100,
        fail_after_permille: 50,
        cut_permille: 50,
        ..Behaviour::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member_field = "customer".to_owned();
        let options = simulate::Options {
            behaviour,
            ledger: Some(ledger.clone()),
            member_field,
            order_field: None,
            seed: 7,
        };
        simulate::start(listener, options, Arc::new(System)).unwrap()
    });
    let url = format!("http://{}/hooks", service.address);
    configure(dir.path(), &webhook("orders", &url, SOON));
    let serving = start(dir.path());
    let events = (0..200).map(|n| format!("{{\"id\":\"o-{n}\",\"customer\":\"c-{}\"}}\n", n % 20));
    post(&serving, "orders", "application/x-ndjson", events.collect());
    serving.until(DELIVERED, 200.0);
    let audit = service.audit();
    assert_eq!((audit.effects, audit.members, audit.keys), (200, 20, 200), "{audit:?}");
    assert!(audit.calls > 220 && audit.overlaps == 0, "{audit:?}");
    // Each line is an event that the receiver acted on, in this order.
    let mut of_members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in std::fs::read_to_string(ledger).unwrap().lines() {
        let effect: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| effect[key].as_str().unwrap().to_owned();
        of_members.entry(text("member")).or_default().push(text("key")[2..].parse().unwrap());
    }
    for (member, numbers) in of_members {
        assert!(numbers.is_sorted() && numbers.len() == 10, "{member}: {numbers:?}");
    }
    assert!(serving.terminate().0.success());
}

#[test]
fn a_test_event_tells_good_refusing_and_absent_receivers_apart() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|id, _| if id.starts_with("test-") { 200 } else { 410 });
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/hooks?t=QUERY", listener.local_addr().unwrap())
    };
    let both = webhook("orders", &receiver.url, "") + &webhook("absent", &closed, "");
    configure(dir.path(), &both);
    let good = run_signing(dir.path(), &["webhook", "test", "orders", "--json"]);
    assert_eq!(good.code, 0, "{}", good.stderr);
    let shown: serde_json::Value = serde_json::from_str(&good.stdout).unwrap();
    assert_eq!((&shown["delivered"], &shown["status"]), (&true.into(), &200.into()), "{shown}");
    assert_eq!((&shown["answer"], &shown["signed"]), (&"seen".into(), &true.into()), "{shown}");
    assert!(shown["wait_ms"].as_f64() > Some(0.0), "{shown}");
    let seen = receiver.all();
    assert!(seen.len() == 1 && seen[0].is_signed && seen[0].body.contains("forebay.test"));

    std::fs::write(dir.path().join("order.json"), event(7, 1)).unwrap();
    let args = ["webhook", "test", "orders", "--event", "order.json"];
    let refused = run_signing(dir.path(), &args);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stdout.contains("the receiver answered 410 Gone"), "{}", refused.stdout);
    assert!(refused.stdout.contains("becomes a dead letter at once"), "{}", refused.stdout);
    assert_eq!(receiver.all()[1].body, event(7, 1));

    let absent = run_signing(dir.path(), &["webhook", "test", "absent"]);
    assert_eq!(absent.code, 1, "{}", absent.stdout);
    assert!(absent.stdout.contains("refused") && absent.stdout.contains("is tried again"));
    for said in [good.stdout, refused.stdout, absent.stdout, absent.stderr] {
        assert!(!said.contains("QUERY") && !said.contains(&SECRET[6..]), "{said}");
    }
}

#[test]
fn what_can_not_be_used_for_a_test_or_a_start_is_unusable_arguments() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &webhook("orders", "http://127.0.0.1:9/?t=QUERY", ""));
    let check = |args: &[&str], says: &str| {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says) && !ran.stderr.contains("QUERY"), "{}", ran.stderr);
    };
    let unset = "forebay.toml:1: secret: the environment variable ORDERS_SECRET is not set; set it";
    check(&["webhook", "test", "costs"], "there is no [[webhook]] costs; there are: orders");
    check(&["webhook", "test", "orders"], unset);
    check(&["serve", "--bind", "127.0.0.1:0"], unset);
    std::fs::write(dir.path().join("bad.json"), "{\"customer\":1}").unwrap();
    check(&["webhook", "test", "orders", "--event", "bad.json"], "--event: id: must be a text");
    check(&["webhook", "test", "orders", "--event", "no.json"], "--event no.json: ");
    let check_config = ["config", "check", "--set", "http.bind=127.0.0.1:0"];
    let checked = run(dir.path(), &check_config);
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("NOT CHECKED: webhook orders"), "{}", checked.stdout);
    assert!(checked.stderr.contains(unset), "{}", checked.stderr);
    // A store that cannot be opened hides nothing of a webhook.
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let no_store = [&check_config[..], &["--store", "sqlite:file/x.db"]].concat();
    let checked = run(dir.path(), &no_store).stdout;
    assert!(checked.contains(&format!("webhook orders, which could not be used: {unset}")));
    let in_the_way =
        webhook("orders", "http://127.0.0.1:9/?t=QUERY", "buffer = \"journal:file/b\"\n");
    configure(dir.path(), &in_the_way);
    let checked = run_signing(dir.path(), &no_store).stdout;
    assert!(checked.contains("NOT CHECKED: webhook orders, whose buffer"), "{checked}");
    configure(dir.path(), &webhook("orders", "http://127.0.0.1:9/?t=QUERY", ""));
    let checked = run_signing(dir.path(), &check_config);
    let says = "Webhook orders: accepted events survive";
    assert!(checked.stdout.contains(says), "{}{}", checked.stdout, checked.stderr);
    let shown = done(dir.path(), &["config", "show"]);
    assert!(shown.contains("webhook.orders.calls_max") && !shown.contains("QUERY"), "{shown}");
    let long = webhook("orders", "http://127.0.0.1:9/", "timeout_ms = 10000\n");
    configure(dir.path(), &long);
    check(&["config", "show"], "forebay.toml:1: timeout_ms: must be less than the buffer's lease");
}
