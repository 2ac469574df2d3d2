use lab::phases::{processor::*, *};
use model::clock::System;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use store::conformance::row;
use store_postgres::{Options, baseline, migrate};
#[tokio::main]
async fn main() {
    let pg = testbed::Postgres::start().unwrap();
    let options = Options::from_url(&pg.url()).unwrap();
    migrate(&options).await.unwrap();
    let root = baseline::while_connected(&options, |pid| root_of(pid, "postgres")).await.unwrap();
    println!("root {root:?}");
    let servers = || vec![Server { name: "PostgreSQL".into(), pids: root.into_iter().collect() }];
    let rows = |tag: &'static str| {
        (0u64..).map(move |n| {
            row(&format!("{tag}-{n}"), &format!("4000{:012}", n % 500), 7, 1_700_000_000_000)
        })
    };
    let limit = Duration::from_secs(10);
    let mut phases = vec![];
    let sampler = Sampler::start(servers());
    let mut r = Recorder::new(Instant::now());
    let o =
        baseline::one_by_one(baseline::Connection::open(&options).await.unwrap(), rows("a"), limit, &System, |t| r.record(Instant::now(), t)).await;
    println!("{o:?}");
    phases.push(Figures {
        what: "One connection, one INSERT a payment, each waited for.".into(),
        durability: "whatever PostgreSQL survives.".into(),
        ..Figures::new("1 · one by one", o.took, &r, sampler.stop())
    });
    let mut pool = Vec::new();
    for _ in 0..16 {
        pool.push(baseline::Connection::open(&options).await.unwrap());
    }
    let sampler = Sampler::start(servers());
    let mut r = Recorder::new(Instant::now());
    let o =
        baseline::pooled(pool, rows("b"), limit, Arc::new(System), |t| r.record(Instant::now(), t)).await;
    println!("{o:?}");
    phases.push(Figures {
        what: "Sixteen connections at once.".into(),
        durability: "whatever PostgreSQL survives.".into(),
        errors: o.failed,
        ..Figures::new("2 · pool of 16", o.took, &r, sampler.stop())
    });
    let c = Comparison {
        title: "The same payments into the same PostgreSQL".into(),
        date: "2026-11-22T10:12:41Z".into(),
        machine: Machine::read(),
        phases,
        ..Default::default()
    };
    std::fs::write("/tmp/real.html", c.html()).unwrap();
    std::fs::write("/tmp/real.json", c.json()).unwrap();
    print!("{}", c.text());
}
