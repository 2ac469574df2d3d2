//! What 100 pipelines cost that have nothing to do, in the real binary: each on a journal of its own, and each on a
//! list of its own in one Redis. And how long the first event of each takes, from when it is sent until its row can
//! be read from the store.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use testbed::Redis;

use crate::Scale;
use crate::process::Serving;
use crate::table::{Row, Target, percentile};
use testbed::stalls;

/// Tables with a pipeline each; that of the payments makes them a hundred.
const TABLES: usize = 99;
/// How long the process may take to open them and to have nothing left to do.
const SETTLE: Duration = Duration::from_secs(5);
/// For how long it is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Between two first events: no multiple of what anything waits for.
const BETWEEN: Duration = Duration::from_millis(67);
/// Between two looks for a row.
const LOOK_EVERY: Duration = Duration::from_micros(250);
/// How long a row may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A hundredth of a second, in which Linux counts.
pub(crate) const TICKS_A_SECOND: f64 = 100.0;

pub(crate) fn journal(_: Scale) -> Result<Vec<Row>> {
    let dir = TempDir::new_in(".")?;
    let (serving, address) = serve(dir.path(), None)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let sending = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let send = |table: usize| {
        let url = format!("http://{address}/v1/tables/prices_{table}/a");
        let request = client.put(url).header("content-type", "application/json").body(ROW);
        sending.block_on(async { request.send().await?.error_for_status() })?;
        Ok(())
    };
    let what = ["100 idle, journal", "first event, journal"];
    measure(what, dir.path(), &[("forebay", serving.id())], send)
}

pub(crate) fn redis(_: Scale) -> Result<Vec<Row>> {
    let dir = TempDir::new_in(".")?;
    let redis = Redis::start()?;
    let (serving, _) = serve(dir.path(), Some(&redis))?;
    let send = |table: usize| redis.call(&["LPUSH", &list(table), ROW]).map(drop);
    let server = redis.process_id().context("Redis runs as a process here")?;
    let processes = [("forebay", serving.id()), ("redis-server", server)];
    measure(["100 idle, Redis lists", "first event, Redis list"], dir.path(), &processes, send)
}

const ROW: &str = r#"{"sku":"a","price":1,"version":1}"#;

fn list(table: usize) -> String {
    format!("prices_{table}")
}

/// `forebay serve` with all pipelines.
fn serve(dir: &Path, redis: Option<&Redis>) -> Result<(Serving, SocketAddr)> {
    let buffer = |list: &str| {
        redis.map(|redis| format!("buffer = \"{}?list={list}\"\n", redis.url())).unwrap_or_default()
    };
    let mut text = buffer("payments");
    for table in 0..TABLES {
        text += &format!(
            "[[table]]\nname = \"prices_{table}\"\ncreate = true\nlinger_ms = 2\nkeys = [\"sku\"]\n\
             mode = \"upsert\"\nversion = \"version\"\n\
             columns = {{ sku = \"text\", price = \"bigint\", version = \"bigint\" }}\n{}",
            buffer(&list(table))
        );
    }
    std::fs::write(dir.join("forebay.toml"), text)?;
    let serving = Serving::start(dir)?;
    std::thread::sleep(SETTLE);
    Ok(serving)
}

/// The processor time of the first process, and what a first event takes.
fn measure(
    what: [&'static str; 2],
    dir: &Path,
    processes: &[(&str, u32)],
    send: impl Fn(usize) -> Result<()>,
) -> Result<Vec<Row>> {
    let (shares, stalls) = stalls::during(|| watch(processes))?;
    let shown = processes.iter().zip(&shares).skip(1);
    let others: String =
        shown.map(|((name, _), share)| format!("{share:.2} % in {name}; ")).collect();
    let idle = at_most(
        what[0],
        "% of a core",
        shares[0],
        2.0,
        format!("{} pipelines, one interval of {WATCHED:?}; {others}{stalls}", TABLES + 1),
    );
    let store = Connection::open_with_flags(
        dir.join("forebay.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let (mut took_ms, stalls) = stalls::during(|| {
        (0..TABLES).map(|table| first_event(&store, table, &send)).collect::<Result<Vec<_>>>()
    })?;
    took_ms.sort_by(f64::total_cmp);
    let first = at_most(
        what[1],
        "ms",
        percentile(&took_ms, 99),
        20.0,
        format!(
            "p99 of {TABLES}, each the first of its pipeline, from sending it to reading its row; linger 2 ms; p50 \
             {:.1} ms, p90 {:.1} ms; {stalls}",
            percentile(&took_ms, 50),
            percentile(&took_ms, 90)
        ),
    );
    Ok(vec![idle, first])
}

fn at_most(what: &'static str, unit: &'static str, ours: f64, most: f64, note: String) -> Row {
    Row { what, unit, ours, ceiling: None, ratio: None, target: Target::AtMost(most), note }
}

/// What each process uses of a core, in percent.
fn watch(processes: &[(&str, u32)]) -> Result<Vec<f64>> {
    let all = || processes.iter().map(|(_, id)| ticks(*id)).collect::<Result<Vec<_>>>();
    let (before, began) = (all()?, Instant::now());
    std::thread::sleep(WATCHED);
    let (after, time) = (all()?, began.elapsed().as_secs_f64());
    let share = |(before, after): (&f64, &f64)| (after - before) / TICKS_A_SECOND / time * 100.0;
    Ok(before.iter().zip(&after).map(share).collect())
}

/// The processor time that a process has used, in ticks.
pub(crate) fn ticks(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let of = |at: usize| Ok::<f64, anyhow::Error>(fields.get(at).context("it is short")?.parse()?);
    Ok(of(11)? + of(12)?)
}

/// How long the first row of a table takes, in ms.
fn first_event(
    store: &Connection,
    table: usize,
    send: impl Fn(usize) -> Result<()>,
) -> Result<f64> {
    std::thread::sleep(BETWEEN);
    let mut rows = store.prepare(&format!("SELECT 1 FROM prices_{table}"))?;
    let began = Instant::now();
    send(table)?;
    while !rows.exists([])? {
        ensure!(began.elapsed() < PATIENCE, "the row of prices_{table} does not come");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}
