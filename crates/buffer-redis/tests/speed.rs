//! How fast it is: `cargo test -p buffer-redis --test speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement is printed")]

mod place;

use std::time::{Duration, Instant};

use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer};
use model::Event;
use place::{options, receipts};
use testbed::Redis;

const EVENTS: usize = 400_000;

async fn measure(redis: &Redis, stream: bool, shards: u16, payload_bytes: usize) {
    let options = options(&redis.address(), stream, shards);
    let options = Options { events_max: 10_000_000, lease_ms: 60_000, ..options };
    let buffer = RedisBuffer::open(options).await.unwrap();
    let payload = vec![b'x'; payload_bytes];
    let events: Vec<Event> = (0..EVENTS)
        .map(|n| {
            let (id, key) = (format!("tx-{n:09}"), format!("4000{:012}", n % 10_000));
            Event::new(id.as_bytes(), key.as_bytes(), &payload).unwrap()
        })
        .collect();
    redis.call(&["CONFIG", "RESETSTAT"]).unwrap();
    let started = Instant::now();
    // Some batches on their way at once, as many HTTP requests would have them.
    let offers: Vec<_> = events.chunks(500).collect();
    for group in offers.chunks(8) {
        let mut all = Vec::new();
        for batch in group {
            all.push(buffer.offer(batch));
        }
        for offer in futures_join(all).await {
            offer.unwrap();
        }
    }
    let offered = started.elapsed();
    let (started, mut done, mut leasing, mut leases) = (Instant::now(), 0, Duration::ZERO, 0);
    while done < EVENTS {
        let began = Instant::now();
        let leased = buffer.lease(2000, Duration::from_secs(1)).await.unwrap();
        leasing += began.elapsed();
        leases += 1;
        done += buffer.ack(&receipts(&leased)).await.unwrap();
    }
    let drained = started.elapsed();
    let rate = |took: Duration| EVENTS as f64 / took.as_secs_f64() / 1000.0;
    println!(
        "{} x {shards:3}, {payload_bytes:4} B: offered {:5.0}k/s, leased and acked {:5.0}k/s \
         (leasing alone {:5.0}k/s, {} a lease)",
        if stream { "stream" } else { "list  " },
        rate(offered),
        rate(drained),
        rate(leasing),
        EVENTS / leases,
    );
    println!("    {}", spent(redis));
}

/// What Redis spent on each command, in microseconds for each event.
fn spent(redis: &Redis) -> String {
    let stats = redis.call(&["INFO", "commandstats"]).unwrap();
    let mut spent = Vec::new();
    for line in stats.text().unwrap().lines() {
        let Some((name, rest)) = line.trim_start_matches("cmdstat_").split_once(':') else {
            continue;
        };
        let Some(usec) = rest.split("usec=").nth(1).and_then(|text| text.split(',').next()) else {
            continue;
        };
        let each = usec.parse::<f64>().unwrap() / EVENTS as f64;
        if each > 0.05 {
            spent.push(format!("{name} {each:.2}"));
        }
    }
    spent.join(", ")
}

async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn how_fast_it_is() {
    let redis = Redis::start().unwrap();
    let only = std::env::var("SPEED").unwrap_or_default();
    for (stream, shards) in [(false, 1), (false, 16), (true, 1), (true, 16)] {
        for payload_bytes in [16, 300] {
            let name =
                format!("{}-{shards}-{payload_bytes}", if stream { "stream" } else { "list" });
            if name.contains(&only) {
                measure(&redis, stream, shards, payload_bytes).await;
            }
        }
    }
}
