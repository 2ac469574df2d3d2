//! What only the whole process can show: latency and memory of the real binary.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::Scale;
use crate::table::{Row, Target};
use testbed::stalls;

const TPS: &str = "5000";
const BACKLOG: u32 = 10_000_000;

/// The binary that `cargo xtask bench` has built.
pub(crate) fn binary() -> Result<PathBuf> {
    std::env::var_os("BENCH_BINARY")
        .map(PathBuf::from)
        .context("BENCH_BINARY names no binary; run `cargo xtask bench`, which builds it")
}

pub(crate) fn latency(scale: Scale) -> Result<Vec<Row>> {
    let dir = TempDir::new_in(".")?;
    let report = dir.path().join("report.json");
    let duration = format!("{}s", scale.seconds(30.0));
    let mut demo = Command::new(binary()?);
    demo.args(["demo", "--plain", "--tps", TPS, "--duration", &duration, "--report"]).arg(&report);
    demo.arg("--data").arg(dir.path()).stdout(Stdio::null());
    let (status, stalls) = stalls::during(|| Ok(demo.status()?))?;
    ensure!(status.success(), "the demo ended with {status}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report)?)?;
    let figure = |path: &str| {
        report
            .pointer(path)
            .and_then(Value::as_f64)
            .with_context(|| format!("no {path} in the report"))
    };
    let note = format!(
        "sync=always, {TPS} payments/s for {duration}, settled {:.0}, p50 {} ms, max {} ms, audit {}; \
         {stalls}",
        figure("/settled")?,
        figure("/latency_ms/p50")?,
        figure("/latency_ms/max")?,
        report.pointer("/audit/verdict").and_then(Value::as_str).unwrap_or("missing"),
    );
    Ok(vec![
        at_most("end-to-end latency p99", "ms", figure("/latency_ms/p99")?, 25.0, note),
        at_most(
            "memory at 5,000/s",
            "MiB",
            figure("/rss_mib_max")?,
            120.0,
            "most resident, whole process: generator, engine, SQLite, audit".into(),
        ),
    ])
}

pub(crate) fn backlog(scale: Scale) -> Result<Vec<Row>> {
    let dir = TempDir::new_in(".")?;
    let count = scale.events(BACKLOG);
    let binary = binary()?;
    let journal = dir.path().join("buffer");
    let status = Command::new(&binary)
        .args(["generate", "--count", &count.to_string(), "--tps", "10000000", "--to"])
        .arg(format!("journal:{}", journal.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "generating ended with {status}");
    let bytes = size(&journal)?;
    let mut serving = Serving::spawn(dir.path(), Stdio::null())?;
    let most = watch(&mut serving.0, scale.seconds(30.0))?;
    let note = format!(
        "{count} payments of {} bytes each on disk, opened and drained for {} s",
        bytes / count as u64,
        scale.seconds(30.0)
    );
    Ok(vec![at_most("memory with a backlog", "MiB", most, 300.0, note)])
}

/// Ended when dropped, also when the bench fails half way.
pub(crate) struct Serving(Child);

impl Serving {
    /// `forebay serve` with its data in `dir`, and the `forebay.toml` that lies there, if one does.
    fn spawn(dir: &Path, stdout: Stdio) -> Result<Self> {
        let dir = dir.canonicalize()?;
        let mut command = Command::new(binary()?.canonicalize()?);
        command.args(["serve", "--bind", "127.0.0.1:0", "--data"]).arg(&dir);
        Ok(Self(command.current_dir(&dir).stdout(stdout).stderr(Stdio::null()).spawn()?))
    }

    /// The same; returns where it listens, once it does.
    pub(crate) fn start(dir: &Path) -> Result<(Self, SocketAddr)> {
        let mut serving = Self::spawn(dir, Stdio::piped())?;
        let stdout = serving.0.stdout.as_mut().context("its output is piped")?;
        // It says little after that, which stays in the pipe.
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("Listening on http://");
        let address = address.with_context(|| format!("it does not listen: {line}"))?;
        Ok((serving, address.parse()?))
    }
}

impl Serving {
    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The most memory that was resident, in MiB, while the process worked for `seconds`.
fn watch(child: &mut Child, seconds: f64) -> Result<f64> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    while Instant::now() < end {
        ensure!(child.try_wait()?.is_none(), "the server ended early");
        let text = std::fs::read_to_string(&status)?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0.0);
        most = most.max(kib / 1024.0);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(most)
}

fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn at_most(what: &'static str, unit: &'static str, ours: f64, most: f64, note: String) -> Row {
    Row { what, unit, ours, ceiling: None, ratio: None, target: Target::AtMost(most), note }
}
