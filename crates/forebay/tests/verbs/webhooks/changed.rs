//! SIGHUP: webhooks that come, change, go, and leave their buffers to others.

use std::path::Path;

use rustix::process::Signal;
use testbed::Redis;

use super::super::running::Serving;
use super::super::tables::{configure, put};
use super::receiver::Receiver;
use super::{DELIVERED, SOON, event, post, start, webhook};

/// Writes the file, sends SIGHUP, and waits until the reload has `done`, or has `failed`.
fn reload(serving: &Serving, dir: &Path, text: &str, result: &str) {
    configure(dir, text);
    let result = format!("config_reloads_total{{result=\"{result}\"}}");
    let before = serving.metric(&result).unwrap_or_default();
    serving.signal(Signal::HUP);
    serving.until(&result, before + 1.0);
}

#[test]
fn webhooks_come_change_and_go_at_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Receiver::start(|_, _| 200), Receiver::start(|_, _| 200));
    configure(dir.path(), "");
    let serving = start(dir.path());
    let reload = |text: &str, result: &str| reload(&serving, dir.path(), text, result);
    let send = |n| post(&serving, "orders", "application/json", event(n, 0)).0;
    assert_eq!(send(0), 404);
    let orders = webhook("orders", &first.url, "");
    reload(&orders, "done");
    assert_eq!(send(1), 202);
    first.until(1);
    // A secret that is not set changes nothing.
    reload(&orders.replace("ORDERS_SECRET", "NO_SUCH_SECRET"), "failed");
    let log = || std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let says = "secret: the environment variable NO_SUCH_SECRET is not set; set it";
    assert!(log().contains(says) && log().contains("nothing was changed"), "{}", log());
    assert_eq!(send(2), 202);
    first.until(2);
    reload(&webhook("orders", &second.url, ""), "done");
    assert!(log().contains("changed webhook:orders"), "{}", log());
    assert_eq!(send(3), 202);
    second.until(1);
    reload("", "done");
    assert!(log().contains("removed webhook:orders"), "{}", log());
    assert_eq!(send(4), 404);
    assert_eq!((first.all().len(), second.all().len()), (2, 1));
    assert_eq!(serving.metric(DELIVERED), None, "its series ended");
    assert_eq!(serving.metric("buffer_size{buffer=\"webhook:orders\"}"), None);
    assert!(serving.terminate().0.success());
}

/// A list that a table gets in the same reload in which a webhook leaves it: tables change first.
#[test]
fn no_row_of_a_table_is_delivered_while_the_webhook_before_still_has_its_buffer() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    let buffer = format!("buffer = \"{}?list=orders\"\ntimeout_ms = 1000\n", redis.url());
    configure(dir.path(), &webhook("orders", &receiver.url, &buffer));
    let serving = start(dir.path());
    assert_eq!(post(&serving, "orders", "application/json", event(0, 0)).0, 202);
    receiver.until(1);
    let table = "[[table]]\nname = \"prices\"\ncreate = true\nlinger_ms = 10\nkeys = [\"sku\"]\n\
                 mode = \"insert\"\ncolumns = { sku = \"text\" }\n";
    let buffer = buffer.replace("timeout_ms = 1000\n", "");
    let table = table.replace("keys", &format!("{buffer}keys"));
    reload(&serving, dir.path(), &(table + &webhook("orders", &receiver.url, SOON)), "failed");
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let says = "cannot run table prices yet: the pipeline webhook:orders still has its buffer";
    assert!(log.contains(says), "{log}");
    // It is tried again without another SIGHUP.
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"ready\"}", 1.0);
    assert_eq!(put(&serving, "prices/a", "{\"sku\":\"a\"}"), 202);
    serving.until("processed_tasks_total{pipeline=\"table:prices\"}", 1.0);
    assert_eq!(receiver.all().len(), 1);
    assert!(serving.terminate().0.success());
}

/// A webhook is to leave its list for a buffer that cannot be opened, and a table is to get the list: in one reload, or
/// the table in a later one. Until the webhook is off the list, the table does not run; then the table alone has it.
fn check_list_that_a_failed_change_gives_away(in_one: bool) {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| 200);
    let list = format!("buffer = \"{}?list=orders\"\n", redis.url());
    configure(
        dir.path(),
        &webhook("orders", &receiver.url, &(list.clone() + "timeout_ms = 1000\n")),
    );
    let serving = start(dir.path());
    let send = |n| post(&serving, "orders", "application/json", event(n, 0)).0;
    assert_eq!(send(0), 202);
    receiver.until(1);
    // A file lies where the folder of its journal would be.
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let moved = webhook("orders", &receiver.url, "buffer = \"journal:./taken\"\n");
    if !in_one {
        reload(&serving, dir.path(), &moved, "failed");
        assert_eq!(send(1), 202, "it runs as before");
        receiver.until(2);
    }
    let table = format!(
        "[[table]]\nname = \"prices\"\ncreate = true\nlinger_ms = 10\n{list}keys = [\"sku\"]\n\
         mode = \"insert\"\ncolumns = {{ sku = \"text\" }}\n"
    );
    reload(&serving, dir.path(), &(table + &moved), "failed");
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"ready\"}", 1.0);
    assert_eq!(send(2), 503, "the webhook runs on the list of the table");
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let says = "cannot run webhook orders as before: the pipeline table:prices has its buffer";
    assert!(log.contains(says), "{log}");
    assert_eq!(put(&serving, "prices/a", "{\"sku\":\"a\"}"), 202);
    serving.until("processed_tasks_total{pipeline=\"table:prices\"}", 1.0);
    // The webhook is tried again without another SIGHUP.
    std::fs::remove_file(dir.path().join("taken")).unwrap();
    serving.until("pipeline_state{pipeline=\"webhook:orders\",state=\"ready\"}", 1.0);
    let before = receiver.all().len();
    assert_eq!(send(3), 202);
    receiver.until(before + 1);
    assert!(receiver.all().iter().all(|one| one.id.starts_with("o-")));
    assert!(serving.terminate().0.success());
}

#[test]
fn a_webhook_that_cannot_change_keeps_no_list_that_a_table_gets_in_the_same_reload() {
    check_list_that_a_failed_change_gives_away(true);
}

#[test]
fn a_webhook_that_could_not_change_keeps_no_list_that_a_table_gets_later() {
    check_list_that_a_failed_change_gives_away(false);
}
