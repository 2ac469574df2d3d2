//! A rate of deliveries that two workers share, on one Redis and one PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::simulate::{self, Behaviour, Handle};
use model::clock::System;
use runtime::sharing::VIEW_MAX;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::layout::Layout;
use crate::process::Process;
use crate::rig::Rig;

/// Deliveries a second, of both workers together.
const RATE_PER_S: u64 = 20;
/// Deliveries of one worker that are under way at once: a busy machine may bring them to the service late.
const CALLS_MAX: u64 = 5;
/// Deliveries of both workers that may reach the service at once: one tenth of a second, and all that are under way.
const AT_ONCE: u64 = RATE_PER_S / 10 + 2 * CALLS_MAX;
/// The part of its rate that a worker uses in some stretch of time, though the machine is busy.
const USED: f64 = 0.8;
const STRETCH: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(90);
const SAMPLED_EVERY: Duration = Duration::from_millis(20);
const DELIVERED: &str = "processed_tasks_total{pipeline=\"webhook:orders\"}";

/// How many deliveries the service had seen between two moments, which are the same but for a pause of this process.
type Samples = Vec<(Instant, u64, Instant)>;

/// The service, and what samples it until it is stopped.
struct Sampled {
    service: Arc<Handle>,
    stop: Arc<AtomicBool>,
    sampler: std::thread::JoinHandle<Samples>,
}

impl Sampled {
    fn start(runtime: &Runtime) -> Self {
        let behaviour = Behaviour { latency_ms: 5, ..Behaviour::default() };
        let member_field = "member".to_owned();
        let options =
            simulate::Options { behaviour, ledger: None, member_field, order_field: None, seed: 1 };
        let service = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            simulate::start(listener, options, Arc::new(System)).unwrap()
        });
        let (service, stop) = (Arc::new(service), Arc::<AtomicBool>::default());
        let (sampled, stopped) = (service.clone(), stop.clone());
        let sampler = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let before = Instant::now();
                samples.push((before, sampled.audit().calls, Instant::now()));
                std::thread::sleep(SAMPLED_EVERY);
            }
            samples
        });
        Self { service, stop, sampler }
    }

    fn calls(&self) -> u64 {
        self.service.audit().calls
    }

    /// Asserts that no stretch of time had more deliveries than the rate allows.
    fn assert_rate(self) {
        self.stop.store(true, Ordering::SeqCst);
        let samples = self.sampler.join().unwrap();
        let Some((first, ..)) = samples.first() else { panic!("nothing was sampled") };
        let allowed = |at: &Instant| (*at - *first).as_secs_f64() * RATE_PER_S as f64;
        // How far deliveries were behind the rate where they were behind it most.
        let mut least = 0.0_f64;
        for (before, calls, after) in &samples {
            let calls = *calls as f64;
            let ahead = calls - allowed(after) - least;
            assert!(ahead <= AT_ONCE as f64, "{ahead} deliveries too many after {calls}");
            least = least.min(calls - allowed(before));
        }
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until each of these workers uses its part of the rate over one and the same stretch of time.
fn until_used(workers: &mut [&mut Process]) {
    let part = RATE_PER_S as f64 / workers.len() as f64;
    let what = format!("{} workers use the rate", workers.len());
    until(&what, || {
        let before: Vec<_> =
            workers.iter_mut().map(|one| (one.count(DELIVERED), Instant::now())).collect();
        std::thread::sleep(STRETCH);
        workers.iter_mut().zip(before).all(|(one, (before, since))| {
            let delivered = one.count(DELIVERED) - before;
            delivered as f64 / (since.elapsed().as_secs_f64() * part) >= USED
        })
    });
}

/// What a worker may use in a second.
fn per_second(worker: &mut Process) -> f64 {
    worker.metric("guard_per_second{pipeline=\"webhook:orders\"}")
}

fn processes(worker: &mut Process) -> f64 {
    worker.must_live();
    worker.metric("guard_processes{pipeline=\"webhook:orders\"}")
}

#[test]
fn two_workers_that_come_and_are_killed_keep_one_rate_and_its_series_end_with_the_webhook() {
    let runtime = Runtime::new().unwrap();
    let service = Sampled::start(&runtime);
    let mut rig = Rig::start(Layout::List);
    let redis = &rig.addresses()[0];
    let webhook = format!(
        "[[webhook]]\nname = \"orders\"\nurl = \"http://{}/hooks\"\n\
         buffer = \"redis://{redis}/0?list=orders\"\nkey_field = \"member\"\n\
         rate_per_s = {RATE_PER_S}\ncalls_max = {CALLS_MAX}\ntimeout_ms = 1000\n",
        service.service.address
    );
    let file = rig.dir().join("forebay.toml");
    std::fs::write(&file, webhook).unwrap();
    for from in (0..8_000).step_by(500) {
        let events: Vec<String> = (from..from + 500)
            .map(|n| format!("{{\"id\":\"o-{n}\",\"member\":\"m-{n}\"}}"))
            .collect();
        let command = ["LPUSH", "orders"].into_iter().chain(events.iter().map(String::as_str));
        rig.redis().call(&command.collect::<Vec<_>>()).unwrap();
    }
    // What a worker holds keeps its shard from another one: two seconds of deliveries.
    let few = ["--set", "engine.batch_max=40", "--set", "engine.held_max=40"];
    let started = Instant::now();
    let mut first = rig.serve("worker", &few);
    until("it calls", || service.calls() > 0);
    let waited = started.elapsed();
    assert!(waited > VIEW_MAX, "others may not know of it after {waited:?}");
    until_used(&mut [&mut first]);
    assert_eq!(per_second(&mut first), RATE_PER_S as f64);

    let mut second = rig.serve("worker", &few);
    until("both share it", || [&mut first, &mut second].map(processes) == [2.0; 2]);
    until_used(&mut [&mut first, &mut second]);
    let half = RATE_PER_S as f64 / 2.0;
    until("each has a half", || [&mut first, &mut second].map(per_second) == [half; 2]);

    let listed = || rig.verb(&["pipeline", "list"]);
    until("both are listed", || listed().matches("  ready  5 calls at once  ").count() == 2);
    let args = ["pipeline", "scale", "webhook:orders", "--lanes", "3"];
    let refused = rig.command(&args).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let says = "cannot scale webhook:orders: it makes calls and has no lanes";
    assert!(refused.status.code() == Some(2) && said.contains(says), "{said}");

    first.kill();
    until("its part is used", || processes(&mut second) == 1.0);
    until_used(&mut [&mut second]);
    let good = "calls_total{pipeline=\"webhook:orders\",outcome=\"good\"}";
    until("calls are counted", || second.count(good) as u64 > 3 * RATE_PER_S);
    assert!(second.count("call_seconds_count{pipeline=\"webhook:orders\"}") > 0);
    assert_eq!(second.metric("guard_breaker_state{pipeline=\"webhook:orders\"}"), 0.0);

    std::fs::write(&file, "").unwrap();
    second.hang_up();
    let scrape = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    until("its series end", || !second.ask(scrape).contains("webhook:orders"));
    second.terminate();
    service.assert_rate();
}
