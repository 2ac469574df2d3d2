//! Workers of the real binary on a queue of SQS and one PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testbed::{Postgres, Sqs, forget_settings};

const PATIENCE: Duration = Duration::from_secs(90);
const CARDS: usize = 20;

struct Rig {
    sqs: Sqs,
    postgres: Postgres,
    queue: &'static str,
    dir: TempDir,
}

impl Rig {
    fn start(queue: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rig =
            Self { sqs: Sqs::start().unwrap(), postgres: Postgres::start().unwrap(), queue, dir };
        rig.verb(&["store", "migrate"]);
        rig
    }

    fn command(&self, args: &[&str]) -> Command {
        let base = self.sqs.url();
        let queue = self.queue;
        let buffer = format!("{base}/{queue}?region=us-east-1&create=true&visibility_ms=3000");
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        forget_settings(&mut command);
        command
            .current_dir(self.dir.path())
            .args(args)
            .args(["--buffer", &buffer, "--store", &self.postgres.url()])
            .args(["--set", "cards.key_file=key", "--set", "http.bind=127.0.0.1:0"])
            .env("FOREBAY_LOG", "warn")
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "s3cret");
        command
    }

    fn run(&self, args: &[&str]) -> (bool, String) {
        let ended = self.command(args).output().unwrap();
        let told = [ended.stdout, ended.stderr].concat();
        (ended.status.success(), String::from_utf8(told).unwrap())
    }

    fn verb(&self, args: &[&str]) -> String {
        let (well, told) = self.run(args);
        assert!(well, "{args:?}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
        told
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.verb(args)).unwrap()
    }

    fn add_worker(&self, name: &str) -> Worker {
        let mut command = self.command(&["serve", "--roles", "worker", "--data", name]);
        Worker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn count(&self, sql: &str) -> usize {
        self.postgres.query(sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
    }

    fn settled(&self) -> usize {
        self.count("SELECT count(*) FROM fds.transactions")
    }

    /// What any client of SQS does.
    fn send(&self, n: usize, body: &str) {
        let queue = self.queue;
        let group = if queue.ends_with(".fifo") {
            format!(r#","MessageGroupId":"{}","MessageDeduplicationId":"{n}""#, card(n))
        } else {
            String::new()
        };
        let url = format!("http://{}/123456789012/{queue}", self.sqs.address());
        let body = Value::from(body);
        let parameters = format!(r#"{{"QueueUrl":"{url}","MessageBody":{body}{group}}}"#);
        self.sqs.call("SendMessage", &parameters).unwrap();
    }
}

struct Worker(Child);

impl Worker {
    fn kill(mut self) {
        self.0.kill().unwrap();
    }

    fn terminate(mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success(), "an orderly end is exit code 0");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn card(n: usize) -> String {
    format!("40001234123412{:02}", n % CARDS)
}

/// Each card pays once a second: five within a minute is one rule's threshold.
fn payment(n: usize) -> String {
    let at = n / CARDS;
    format!(
        r#"{{"tx_id":"tx-{n}","card_number":"{}","user_id":"u{}","tier":"normal","amount":1000,
"merchant":"Cafe","category":"coffee","created_at":"2026-01-05T12:00:{at:02}Z"}}"#,
        card(n),
        n % CARDS
    )
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Foreign producers feed it; workers are killed and replaced while it runs.
fn check(queue: &'static str) -> Rig {
    let rig = Rig::start(queue);
    rig.verb(&["config", "check"]);
    let (first, second) = (rig.add_worker("a"), rig.add_worker("b"));
    for n in 0..100 {
        rig.send(n, &payment(n));
    }
    rig.send(1_000, "not json");
    until("some are settled", || rig.settled() > 10);
    first.kill();
    let third = rig.add_worker("c");
    for n in 100..200 {
        rig.send(n, &payment(n));
    }
    second.terminate();
    let fourth = rig.add_worker("d");
    until("all are settled", || rig.settled() == 200);
    let dead = || rig.json(&["dead", "list", "--all", "--json"]).as_array().unwrap().len();
    until("the bad one is dead", || dead() == 1);
    until("nothing is left", || rig.json(&["buffer", "stat", "--json"])["pending"] == 0);
    third.terminate();
    fourth.terminate();
    assert_eq!(rig.count("SELECT count(DISTINCT tx_id) FROM fds.transactions"), 200);
    rig
}

#[test]
fn workers_on_a_fifo_queue_are_killed_and_rolled_and_judge_as_one_would() {
    let rig = check("payments.fifo");
    // From the fifth payment of a card within a minute on, each is flagged, whoever settled it.
    let flagged = "SELECT count(*) FROM fds.transactions WHERE is_fraud";
    assert_eq!(rig.count(flagged), 200 - 4 * CARDS);
    let early = format!("{flagged} AND substring(tx_id FROM 4)::int < {}", 4 * CARDS);
    assert_eq!(rig.count(&early), 0);
    let told = rig.verb(&["config", "check"]);
    assert!(told.contains("Accepted payments survive") && told.contains("for 14 days"), "{told}");
    assert!(told.contains("FIFO queue http://") && !told.contains("NO ORDER"), "{told}");
}

#[test]
fn workers_on_a_standard_queue_lose_nothing_and_are_told_that_it_has_no_order() {
    let rig = check("payments");
    let told = rig.verb(&["config", "check"]);
    assert!(told.contains("NO ORDER: a standard queue"), "{told}");
    let (well, told) = rig.run(&["buffer", "peek"]);
    assert!(!well && told.contains("SQS shows nothing without handing it out"), "{told}");
}

#[test]
fn a_queue_that_buries_by_itself_is_not_called_durable() {
    let rig = Rig::start("payments");
    rig.verb(&["config", "check"]);
    let url = format!("http://{}/123456789012/payments", rig.sqs.address());
    let arn = "arn:aws:sqs:us-east-1:123456789012:payments-dead";
    let policy = format!(r#"{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":3}}"#);
    let parameters =
        format!(r#"{{"QueueUrl":"{url}","Attributes":{{"RedrivePolicy":"{policy}"}}}}"#);
    rig.sqs.call("SetQueueAttributes", &parameters).unwrap();
    let (well, told) = rig.run(&["config", "check"]);
    assert!(!well && told.contains("NOT DURABLE: SQS") && told.contains("RedrivePolicy"), "{told}");
}
