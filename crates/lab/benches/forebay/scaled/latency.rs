//! End to end at a steady rate: offered by another process, settled by this one.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Running, Servers, runtime};
use crate::Scale;
use crate::process::binary;
use crate::queue::Layout;
use crate::table::{Row, Target};
use testbed::stalls;

const TPS: &str = "5000";

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let seconds = scale.seconds(60.0);
    let runtime = runtime()?;
    let servers = runtime.block_on(Servers::start())?;
    let running =
        runtime.block_on(Running::start(&servers.postgres, &servers.queue(Layout::Stream)))?;
    let (said, stalls) = stalls::during(|| {
        let output = Command::new(binary()?)
            .args(["generate", "--tps", TPS, "--duration", &format!("{seconds}s"), "--to"])
            .arg(format!("{}?stream=tx_stream&group=fds&events_max=10000000", servers.redis.url()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "generating failed: {said}");
        runtime.block_on(async {
            let drained =
                tokio::time::timeout(Duration::from_secs(30), running.handle.drained()).await;
            drained.context("not drained in time")
        })?;
        Ok(said)
    })?;
    let stats = running.handle.stats();
    let summary = runtime.block_on(running.stop())?;
    let latency = stats.latency();
    let note = format!(
        "Redis Stream, PostgreSQL, {TPS} payments/s for {seconds} s, settled {}, p50 {} ms, max {} \
         ms; {stalls}; {}",
        summary.counts.settled,
        latency.quantile_ms(0.5),
        latency.max_ms(),
        said.lines().last().unwrap_or_default(),
    );
    Ok(vec![Row {
        what: "end-to-end p99, Redis + PostgreSQL",
        unit: "ms",
        ours: latency.quantile_ms(0.99) as f64,
        ceiling: None,
        ratio: None,
        target: Target::AtMost(25.0),
        note,
    }])
}
