//! Tables that are written behind, in the real binary: single rows over HTTP, and reads out of the cache.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::Scale;
use crate::load::{self, DIGITS, Request};
use crate::paced;
use crate::process::Serving;
use crate::table::{Row, Target, median, percentile};

/// A table of the documentation, in SQLite, with its own journal (sync=always).
const PRICES: &str = r#"
[[table]]
name    = "prices"
create  = true
keys    = ["shop", "sku"]
mode    = "upsert"
version = "changed_at"
columns = { shop = "bigint", sku = "text", price = "numeric", note = "text?", changed_at = "timestamptz" }
"#;
const ROW: &str = r#""price":"4500.00","note":null,"changed_at":"2026-03-02T12:00:00+09:00""#;
const SETTLED: &str = "processed_tasks_total{pipeline=\"table:prices\"} ";

const RUNS: usize = 3;
const CONNECTIONS: usize = 64;
/// What a service in Python that writes each row to its database, and that this one replaces, reached:
/// requests a second on two cores.
const REFERENCE: f64 = 965.0;

const KEYS: usize = 10_000;
const READS_A_SECOND: u32 = 5_000;
const READERS: usize = 8;
/// How long rows may take to be settled and read once.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn write_behind(scale: Scale) -> Result<Vec<Row>> {
    let seconds = scale.seconds(10.0);
    let loading = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut rates, mut settled) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = TempDir::new_in(".")?;
        let (_serving, address) = serve(dir.path(), PRICES)?;
        rates.push(loading.block_on(load::run(address, CONNECTIONS, seconds, put))?);
        let written = loading.block_on(metric(address, SETTLED))?;
        settled.push(written / seconds);
    }
    let ours = median(rates);
    let note = format!(
        "PUT of one row each, every one of another key; journal, sync=always; {CONNECTIONS} connections, one \
         request at a time on each, client on the same cores, {seconds} s; meanwhile {:.0} rows/s \
         settled in SQLite; ceiling: what the service it replaces reached, on another machine",
        median(settled)
    );
    Ok(vec![Row {
        what: "write-behind over HTTP",
        unit: "requests/s",
        ours,
        ceiling: Some(REFERENCE),
        ratio: Some(ours / REFERENCE),
        target: Target::RatioAtLeast(15.0),
        note,
    }])
}

pub(crate) fn cached_read(scale: Scale) -> Result<Vec<Row>> {
    let seconds = scale.seconds(30.0);
    let loading = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = TempDir::new_in(".")?;
    // Nothing runs out of the cache while it is measured.
    let (_serving, address) = serve(dir.path(), &format!("{PRICES}cache_ttl_ms = 3600000\n"))?;
    loading.block_on(fill(address))?;
    let requests: Vec<Vec<u8>> = (0..KEYS).map(get).collect();
    let every = Duration::from_secs(1) / READS_A_SECOND;
    let count = Duration::from_secs_f64(seconds).as_nanos() / every.as_nanos();
    let count = usize::try_from(count)?;
    warm(address, &requests)?;
    let plan = paced::Plan { address, requests: &requests, count, every, connections: READERS };
    let timing = paced::run(&plan, CACHED)?;
    let ms = |figures: &[f64], percent| percentile(figures, percent) * 1e3;
    let note = format!(
        "{READS_A_SECOND} GETs a second for {seconds} s over {READERS} connections, {KEYS} rows, all {count} \
         from the cache; from when each was due: p50 {:.3} ms, max {:.1} ms; of that p99 {:.3} ms \
         before it was sent",
        ms(&timing.answered, 50),
        ms(&timing.answered, 100),
        ms(&timing.sent, 99),
    );
    Ok(vec![Row {
        what: "cached read, p99",
        unit: "ms",
        ours: ms(&timing.answered, 99),
        ceiling: None,
        ratio: None,
        target: Target::AtMost(1.0),
        note,
    }])
}

/// The line in an answer's head that says so.
const CACHED: &str = "x-forebay-source: cache";

fn serve(dir: &Path, tables: &str) -> Result<(Serving, SocketAddr)> {
    std::fs::write(dir.join("forebay.toml"), tables)?;
    Serving::start(dir)
}

/// A connection's row, of a shop of its own.
fn put(n: u64) -> Request {
    let line = format!("PUT /v1/tables/prices/{n},{:0DIGITS$}", 0);
    Request::new(&line, &format!("{{{ROW}}}"))
}

fn get(key: usize) -> Vec<u8> {
    format!("GET /v1/tables/prices/7,{key:0DIGITS$} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
}

/// Writes all rows, and waits until they are settled.
async fn fill(address: SocketAddr) -> Result<()> {
    let row = |key| format!("{{\"shop\":7,\"sku\":\"{key:0DIGITS$}\",{ROW}}}\n");
    let rows: String = (0..KEYS).map(row).collect();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.post(format!("http://{address}/v1/tables/prices"));
    let request = request.header("content-type", "application/x-ndjson").body(rows);
    request.send().await?.error_for_status()?;
    let started = Instant::now();
    while metric(address, SETTLED).await? < KEYS as f64 {
        ensure!(started.elapsed() < PATIENCE, "the rows are not settled after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Reads each row until it comes out of the cache.
fn warm(address: SocketAddr, requests: &[Vec<u8>]) -> Result<()> {
    let started = Instant::now();
    let mut connection = paced::Connection::open(address)?;
    for request in requests {
        while !connection.ask(request)?.contains(CACHED) {
            ensure!(started.elapsed() < PATIENCE, "a row that is read does not stay in the cache");
        }
    }
    Ok(())
}

/// The value of a metric, by its name and labels.
async fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("http://{address}/metrics")).send().await?;
    let text = answer.error_for_status()?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.with_context(|| format!("no {name} among the metrics"))?.parse()?)
}
