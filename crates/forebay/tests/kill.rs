//! kill -9 at random moments, and rolling updates, with traffic going on.
//!
//! Clients count an event as accepted only when the answer says 202; whatever else happens (refused,
//! cut off, no answer) they send it again until it is, as the README tells producers to. Afterwards
//! each accepted payment must be in the store exactly once, nothing else may be there, and the
//! verdicts must be those of a run that nobody disturbed.
//!
//! `TEST_KILLS=300 cargo test -p forebay --test kill` kills more often; `TEST_SEED` repeats a
//! choice of moments.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail by panicking and prints its seed"
)]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab::generator::{EventTime, Generator, Options};
use model::clock::{Clock, System};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use server::Server;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 16;
/// Updates, one after the other.
const ROLLS: usize = 4;
/// More than any client can send while the killing goes on.
const PAYMENTS: usize = 400_000;
const USERS: usize = 60;
/// Lines sent together: one at a time and a few at a time take different ways through the server.
const LINES: [usize; 4] = [1, 1, 3, 8];
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// One payment as it is sent.
#[derive(Clone)]
struct Line {
    tx_id: String,
    json: String,
}

/// What is in the store: each `tx_id` with its verdict and how often it is there.
type Rows = BTreeMap<String, (String, i64)>;

#[test]
fn what_was_accepted_is_settled_once_and_judged_the_same_however_often_we_are_killed() {
    let kills = setting("TEST_KILLS").unwrap_or(30);
    let seed = setting("TEST_SEED").unwrap_or_else(rand::random);
    println!("{kills} kills, TEST_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let queues = queues(seed, PAYMENTS);
    let disturbed = tempfile::tempdir().unwrap();
    let accepted = runtime.block_on(kill_and_send(disturbed.path(), &queues, kills, seed));
    compare(&runtime, disturbed.path(), &queues, &accepted);
}

#[test]
fn a_new_process_takes_address_and_journal_over_from_the_old_one_and_nothing_is_lost_or_done_twice()
{
    let seed = setting("TEST_SEED").unwrap_or_else(rand::random);
    println!("{ROLLS} updates, TEST_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let queues = queues(seed, PAYMENTS / 8);
    let disturbed = tempfile::tempdir().unwrap();
    let accepted = runtime.block_on(roll_and_send(disturbed.path(), &queues, seed));
    compare(&runtime, disturbed.path(), &queues, &accepted);
}

/// The store of the disturbed run with what was accepted, and with that of a run in peace.
fn compare(
    runtime: &tokio::runtime::Runtime,
    disturbed: &Path,
    queues: &[Vec<Line>],
    accepted: &[usize],
) {
    let undisturbed = tempfile::tempdir().unwrap();
    let sent: Vec<Vec<Line>> =
        queues.iter().zip(accepted).map(|(queue, n)| queue[..*n].to_vec()).collect();
    let again = runtime.block_on(send_in_peace(undisturbed.path(), &sent));
    assert_eq!(accepted, again, "in peace everything is accepted");

    let ids: BTreeSet<&str> = sent.iter().flatten().map(|line| line.tx_id.as_str()).collect();
    assert!(ids.len() > 1000, "only {} were accepted: too few to show anything", ids.len());
    let (rows, peaceful) = (rows(disturbed), rows(undisturbed.path()));
    let lost: Vec<&&str> = ids.iter().filter(|id| !rows.contains_key(**id)).collect();
    assert!(lost.is_empty(), "{} accepted and lost: {lost:?}", lost.len());
    let twice: Vec<&String> = rows.iter().filter(|(_, (_, n))| *n != 1).map(|(id, _)| id).collect();
    assert!(twice.is_empty(), "settled more than once: {twice:?}");
    let unknown: Vec<&String> = rows.keys().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(unknown.is_empty(), "never accepted: {unknown:?}");
    for (id, verdict) in &peaceful {
        assert_eq!(&rows[id], verdict, "{id} is judged otherwise than in a run without kills");
    }
    let flagged = rows.values().filter(|(rules, _)| rules != "[]").count();
    println!("{} payments, {flagged} flagged", rows.len());
    assert!(flagged > 10, "only {flagged} flagged: too few to compare");
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// Payments for each client. A card belongs to one client, so that its order is that client's.
fn queues(seed: u64, payments: usize) -> Vec<Vec<Line>> {
    let options = Options { seed, users: USERS, fraud_share: 0.02, ..Options::default() };
    let mut generator = Generator::new(&options).unwrap();
    // Spread over some days, so that plain traffic is not velocity fraud.
    let time = EventTime { start_ms: System.now_ms() - 20 * 86_400_000, speed: 1.0 };
    let mut queues = vec![Vec::new(); CLIENTS];
    for n in 0..payments {
        let at_ms = time.at(Duration::from_millis(4000 * n as u64));
        let (event, _) = generator.event(at_ms);
        let card: usize = std::str::from_utf8(event.key()).unwrap()[8..].parse().unwrap();
        queues[card / 7 % CLIENTS].push(Line {
            tx_id: String::from_utf8(event.id().to_vec()).unwrap(),
            json: String::from_utf8(event.payload().to_vec()).unwrap(),
        });
    }
    queues
}

/// How many each client got accepted while the server was killed again and again.
async fn kill_and_send(dir: &Path, queues: &[Vec<Line>], kills: u64, seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (address, addresses) = watch::channel(String::new());
    let stop = CancellationToken::new();
    let clients = start(queues, &addresses, &stop);
    for _ in 0..kills {
        let mut server = Server::spawn(dir);
        // One in five dies while it starts, which is while it recovers.
        if random.random_ratio(1, 5) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        } else {
            address.send_replace(server.address());
            tokio::time::sleep(Duration::from_millis(random.random_range(10..400))).await;
        }
        server.kill();
    }
    let mut server = Server::spawn(dir);
    address.send_replace(server.address());
    stop.cancel();
    end(clients, server).await
}

/// How many each client got accepted while one server after the other took over, each started at the
/// same address while the one before it was still at work.
async fn roll_and_send(dir: &Path, queues: &[Vec<Line>], seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut server = Server::spawn(dir);
    let address = server.address();
    let bind = address.strip_prefix("http://").unwrap();
    let (_keep, addresses) = watch::channel(address.clone());
    let stop = CancellationToken::new();
    let clients = start(queues, &addresses, &stop);
    for _ in 0..ROLLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..500))).await;
        let old = std::mem::replace(&mut server, Server::spawn_at(dir, bind));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        tokio::task::spawn_blocking(move || old.terminate()).await.unwrap();
        assert_eq!(server.address(), address);
    }
    stop.cancel();
    end(clients, server).await
}

/// The same payments to a server that nobody kills.
async fn send_in_peace(dir: &Path, queues: &[Vec<Line>]) -> Vec<usize> {
    let mut server = Server::spawn(dir);
    let (_address, addresses) = watch::channel(server.address());
    let clients = start(queues, &addresses, &CancellationToken::new());
    end(clients, server).await
}

type Clients = Vec<tokio::task::JoinHandle<usize>>;

fn start(
    queues: &[Vec<Line>],
    addresses: &watch::Receiver<String>,
    stop: &CancellationToken,
) -> Clients {
    queues
        .iter()
        .map(|queue| {
            let queue: Arc<[Line]> = queue.as_slice().into();
            tokio::spawn(client(queue, addresses.clone(), stop.clone()))
        })
        .collect()
}

/// Waits for the clients, then until all is settled, then ends the server in order.
async fn end(clients: Clients, mut server: Server) -> Vec<usize> {
    let mut accepted = Vec::new();
    for client in clients {
        accepted.push(client.await.unwrap());
    }
    server.settled(SETTLED_WITHIN).await;
    server.terminate();
    accepted
}

/// Sends in order, each until it is accepted. Stops between two sendings when told to.
async fn client(
    queue: Arc<[Line]>,
    addresses: watch::Receiver<String>,
    stop: CancellationToken,
) -> usize {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut accepted = 0;
    for turn in 0.. {
        if accepted == queue.len() || stop.is_cancelled() {
            break;
        }
        let lines = &queue[accepted..(accepted + LINES[turn % LINES.len()]).min(queue.len())];
        while !send(&http, &addresses, lines).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        accepted += lines.len();
    }
    accepted
}

async fn send(http: &reqwest::Client, addresses: &watch::Receiver<String>, lines: &[Line]) -> bool {
    let url = format!("{}/v1/events", *addresses.borrow());
    let request = match lines {
        [line] => http.post(url).header("content-type", "application/json").body(line.json.clone()),
        lines => {
            let body: String = lines.iter().map(|line| format!("{}\n", line.json)).collect();
            http.post(url).header("content-type", "application/x-ndjson").body(body)
        }
    };
    let Ok(answer) = request.send().await else { return false };
    if answer.status() != reqwest::StatusCode::ACCEPTED {
        assert_ne!(answer.status(), reqwest::StatusCode::BAD_REQUEST, "{lines:?}");
        return false;
    }
    // The head alone is the promise for what it covers; how many that is stands in the body.
    let Ok(body) = answer.json::<serde_json::Value>().await else { return false };
    body["accepted"] == lines.len()
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.tx_id)
    }
}

fn rows(dir: &Path) -> Rows {
    let store = rusqlite::Connection::open(dir.join("forebay.db")).unwrap();
    let mut statement = store
        .prepare("SELECT tx_id, min(fraud_rules), count(*) FROM transactions GROUP BY +tx_id")
        .unwrap();
    statement
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}
