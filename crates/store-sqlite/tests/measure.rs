//! TEMPORARY measurement.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
use std::sync::Arc;
use std::time::{Duration, Instant};
use model::clock::System;
use store::conformance::row;
use store::{Payments, Row};
use store_sqlite::{Options, Store};

fn ids(n: u64) -> String {
    // half-random: like a UUID v4 when RANDOM is set, else sequential
    if std::env::var_os("RANDOM_IDS").is_some() {
        let x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let y = x.rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        format!("{x:016x}-{y:016x}")
    } else {
        format!("tx-{n:012}")
    }
}

fn gen_rows(from: u64, n: u64, cards: u64) -> Vec<Row> {
    (from..from + n)
        .map(|i| {
            let card = format!("40001234{:08}", (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % cards);
            let mut r = row(&ids(i), &card, (i % 50_000) as i64, 1_700_000_000_000 + i as i64);
            r.merchant = format!("merchant-{}", i % 1000);
            if i % 50 == 0 {
                r.fraud_rules = vec!["velocity"];
                r.fraud_detail = Some("[{\"rule\":\"velocity\",\"observed\":6,\"threshold\":5}]".into());
            }
            r
        })
        .collect()
}

fn cards() -> u64 { std::env::var("CARDS").ok().map_or(500, |s| s.parse().unwrap()) }
fn dir() -> tempfile::TempDir { tempfile::tempdir_in("/work").unwrap() }
fn wal_size(p: &std::path::Path) -> u64 {
    std::fs::metadata(p.with_extension("db-wal")).map_or(0, |m| m.len())
}
fn options(p: &std::path::Path) -> Options {
    let mut o = Options::at(p);
    if let Ok(v) = std::env::var("CACHE_KIB") { o.cache_kib = v.parse().unwrap(); }
    if let Ok(v) = std::env::var("WAL_MIB") { o.wal_bytes_max = v.parse::<u64>().unwrap() << 20; }
    o
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn latency() {
    let d = dir();
    let p = d.path().join("f.db");
    let store = Arc::new(Store::open(options(&p), Arc::new(System)).unwrap());
    let lanes = 4u64;
    let secs: u64 = std::env::var("SECS").ok().map_or(10, |s| s.parse().unwrap());
    let per_s = 5_000u64;
    let tick = Duration::from_millis(4);
    // each lane: per tick 5 rows (4 lanes x 250 ticks x 5 = 5000/s)
    let per_tick = per_s * 4 / 1000 / lanes;
    let start = Instant::now();
    let mut tasks = vec![];
    for lane in 0..lanes {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut lat = vec![];
            let mut next = start;
            let mut n = lane << 40;
            let mut pending: u64 = 0;
            while start.elapsed() < Duration::from_secs(secs) {
                tokio::time::sleep_until(next.into()).await;
                let now = Instant::now();
                let due_from = next;
                while next <= now { next += tick; pending += 1; }
                let rows = gen_rows(n, per_tick * pending, cards());
                n += per_tick * pending;
                pending = 0;
                store.settle(rows).await.unwrap();
                lat.push(due_from.elapsed());
            }
            lat
        }));
    }
    let mut walmax = 0;
    while start.elapsed() < Duration::from_secs(secs) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        walmax = walmax.max(wal_size(&p));
    }
    let mut lat = vec![];
    for t in tasks { lat.extend(t.await.unwrap()); }
    lat.sort();
    let q = |f: f64| lat[((lat.len() - 1) as f64 * f) as usize];
    println!("latency n={} p50={:?} p90={:?} p99={:?} p999={:?} max={:?} walmax={}MiB db={}MiB", lat.len(), q(0.5), q(0.9), q(0.99), q(0.999), lat[lat.len() - 1], walmax >> 20, std::fs::metadata(&p).unwrap().len() >> 20);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn throughput() {
    let total: u64 = std::env::var("TOTAL").ok().map_or(300_000, |s| s.parse().unwrap());
    let batch: u64 = std::env::var("BATCH").ok().map_or(1000, |s| s.parse().unwrap());
    let lanes: u64 = std::env::var("LANES").ok().map_or(1, |s| s.parse().unwrap());
    let d = dir();
    let p = d.path().join("f.db");
    let store = Arc::new(Store::open(options(&p), Arc::new(System)).unwrap());
    let mut feeds = vec![];
    for lane in 0..lanes {
        let mut v = vec![];
        let mut i = 0;
        while i < total / lanes { v.push(gen_rows(i + lane * (total / lanes), batch, cards())); i += batch; }
        feeds.push(v);
    }
    let start = Instant::now();
    let mut tasks = vec![];
    for feed in feeds {
        let store = store.clone();
        tasks.push(tokio::spawn(async move { for b in feed { store.settle(b).await.unwrap(); } }));
    }
    for t in tasks { t.await.unwrap(); }
    let took = start.elapsed();
    println!("ours lanes={lanes} batch={batch}: {:.0} rows/s  wal={}MiB db={}MiB", total as f64 / took.as_secs_f64(), wal_size(&p) >> 20, std::fs::metadata(&p).unwrap().len() >> 20);
    store.close().await.unwrap();
}

#[test]
#[ignore]
fn bare() {
    let total: u64 = std::env::var("TOTAL").ok().map_or(300_000, |s| s.parse().unwrap());
    let batch: u64 = std::env::var("BATCH").ok().map_or(1000, |s| s.parse().unwrap());
    let d = dir();
    let p = d.path().join("f.db");
    drop(Store::open(options(&p), Arc::new(System)).unwrap());
    let mut feed = vec![];
    let mut i = 0;
    while i < total { feed.push(gen_rows(i, batch, cards())); i += batch; }
    let db = rusqlite::Connection::open(&p).unwrap();
    db.execute_batch(&format!("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-{}; PRAGMA temp_store=MEMORY;", options(&p).cache_kib)).ok();
    if let Ok(v) = std::env::var("AUTO") { db.execute_batch(&format!("PRAGMA wal_autocheckpoint={v}")).ok(); }
    let mut ins = db.prepare("INSERT INTO transactions (tx_id, card_number, card_fingerprint, user_id, tier, amount, merchant, category, is_fraud, fraud_rules, fraud_detail, ruleset_version, created_at, accepted_at, processed_at) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)").unwrap();
    let mut begin = db.prepare("BEGIN IMMEDIATE").unwrap();
    let mut commit = db.prepare("COMMIT").unwrap();
    let start = Instant::now();
    for b in &feed {
        begin.execute([]).unwrap();
        for r in b {
            let rules = if r.fraud_rules.is_empty() { "[]" } else { "[\"velocity\"]" };
            ins.execute(rusqlite::params![r.tx_id, r.card_number, r.card_fingerprint.0, r.user_id, "normal", r.amount, r.merchant, r.category, !r.fraud_rules.is_empty(), rules, r.fraud_detail, r.ruleset_version, r.created_at_ms, r.accepted_at_ms, 1i64]).unwrap();
        }
        commit.execute([]).unwrap();
    }
    let took = start.elapsed();
    println!("bare batch={batch}: {:.0} rows/s", total as f64 / took.as_secs_f64());
}
