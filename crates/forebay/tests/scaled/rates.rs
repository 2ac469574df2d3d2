//! A rate of deliveries that two workers share, on one Redis and one PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::simulate::{self, Behaviour, Handle};
use model::clock::System;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::layout::Layout;
use crate::process::Process;
use crate::rig::Rig;

/// Deliveries a second, of both workers together.
const RATE_PER_S: u64 = 20;
/// Deliveries that may begin at once, and those that are on their way on a busy machine.
const AT_ONCE: u64 = 2 + RATE_PER_S / 2;
const PATIENCE: Duration = Duration::from_secs(60);
const SAMPLED_EVERY: Duration = Duration::from_millis(20);
/// Shorter stretches are not compared with the rate.
const STRETCH_MIN: Duration = Duration::from_secs(4);

/// How many deliveries the service had seen at each moment.
type Samples = Vec<(Instant, u64)>;

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
        let options = simulate::Options { behaviour, ledger: None, member_field, seed: 1 };
        let service = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            simulate::start(listener, options, Arc::new(System)).unwrap()
        });
        let (service, stop) = (Arc::new(service), Arc::<AtomicBool>::default());
        let (sampled, stopped) = (service.clone(), stop.clone());
        let sampler = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                samples.push((Instant::now(), sampled.audit().calls));
                std::thread::sleep(SAMPLED_EVERY);
            }
            samples
        });
        Self { service, stop, sampler }
    }

    fn calls(&self) -> u64 {
        self.service.audit().calls
    }

    /// Deliveries in the `seconds` from now on.
    fn calls_in(&self, seconds: u64) -> u64 {
        let before = self.calls();
        std::thread::sleep(Duration::from_secs(seconds));
        self.calls() - before
    }

    /// Asserts that no stretch of time had more deliveries than the rate allows.
    fn assert_rate(self) {
        self.stop.store(true, Ordering::SeqCst);
        let samples = self.sampler.join().unwrap();
        for (n, (from, before)) in samples.iter().enumerate() {
            for (to, after) in &samples[n..] {
                let (passed, calls) = (*to - *from, after - before);
                let allowed = passed.as_secs_f64() * RATE_PER_S as f64 + AT_ONCE as f64;
                let is_kept = passed < STRETCH_MIN || calls as f64 <= allowed;
                assert!(is_kept, "{calls} deliveries in {passed:?}");
            }
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
         rate_per_s = {RATE_PER_S}\ncalls_max = 5\ntimeout_ms = 1000\n",
        service.service.address
    );
    let file = rig.dir().join("forebay.toml");
    std::fs::write(&file, webhook).unwrap();
    for from in (0..4_000).step_by(500) {
        let events: Vec<String> = (from..from + 500)
            .map(|n| format!("{{\"id\":\"o-{n}\",\"member\":\"m-{n}\"}}"))
            .collect();
        let command = ["LPUSH", "orders"].into_iter().chain(events.iter().map(String::as_str));
        rig.redis().call(&command.collect::<Vec<_>>()).unwrap();
    }
    // What a worker holds keeps its shard from another one: two seconds of deliveries.
    let few = ["--set", "engine.batch_max=40", "--set", "engine.held_max=40"];
    let mut first = rig.serve("worker", &few);
    until("the first worker runs", || {
        first.metric("calls_held{pipeline=\"webhook:orders\"}") > 0.0
    });
    assert_eq!((service.calls_in(5), processes(&mut first)), (0, 0.0), "others may not know of it");
    until("it calls", || service.calls() > 0);
    let alone = service.calls_in(5);
    assert!(alone >= 4 * RATE_PER_S, "{alone} of {}", 5 * RATE_PER_S);

    let mut second = rig.serve("worker", &few);
    until("both share it", || [&mut first, &mut second].map(processes) == [2.0; 2]);
    let delivered = "processed_tasks_total{pipeline=\"webhook:orders\"}";
    until("both deliver", || second.count(delivered) > 0);
    let both = service.calls_in(6);
    assert!(both >= 4 * RATE_PER_S, "{both} of {}", 6 * RATE_PER_S);
    let half = RATE_PER_S as f64 / 2.0;
    assert_eq!(first.metric("guard_per_second{pipeline=\"webhook:orders\"}"), half);

    let listed = rig.verb(&["pipeline", "list"]);
    assert_eq!(listed.matches("  ready  5 calls at once  ").count(), 2, "{listed}");
    let args = ["pipeline", "scale", "webhook:orders", "--lanes", "3"];
    let refused = rig.command(&args).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let says = "cannot scale webhook:orders: it makes calls and has no lanes";
    assert!(refused.status.code() == Some(2) && said.contains(says), "{said}");

    first.kill();
    until("its part is used", || processes(&mut second) == 1.0);
    let alone = service.calls_in(5);
    assert!(alone >= 4 * RATE_PER_S, "{alone} of {}", 5 * RATE_PER_S);
    let good = "calls_total{pipeline=\"webhook:orders\",outcome=\"good\"}";
    until("calls are counted", || second.count(good) as u64 > 4 * RATE_PER_S);
    assert!(second.count("call_seconds_count{pipeline=\"webhook:orders\"}") > 0);
    assert_eq!(second.metric("guard_breaker_state{pipeline=\"webhook:orders\"}"), 0.0);

    std::fs::write(&file, "").unwrap();
    second.hang_up();
    let scrape = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    until("its series end", || !second.ask(scrape).contains("webhook:orders"));
    second.terminate();
    service.assert_rate();
}
