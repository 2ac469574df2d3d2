//! A consumer in Python (one process, asyncio, batches), on the same servers in the same run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Servers, pipeline, runtime};
use crate::Scale;
use crate::queue::Layout;
use crate::table::{Row, Target, paired};

/// Runs the script with its Redis on our port: it takes the default one.
const LAUNCH: &str = "\
import functools, runpy, sys, redis.asyncio
script, port = sys.argv[1], int(sys.argv[2])
redis.asyncio.Redis = functools.partial(redis.asyncio.Redis, port=port)
sys.argv = [script] + sys.argv[3:]
runpy.run_path(script, run_name='__main__')
";
/// It names eight columns of our table; the others get these, so that both write the same rows' worth
/// into the same indexes.
const DEFAULTS: &str = "\
ALTER TABLE fds.transactions ALTER card_fingerprint SET DEFAULT '\\x00112233445566778899aabbccddeeff', \
ALTER user_id SET DEFAULT 'user', ALTER tier SET DEFAULT 'normal', ALTER merchant SET DEFAULT 'm', \
ALTER category SET DEFAULT 'coffee', ALTER ruleset_version SET DEFAULT 1, \
ALTER accepted_at SET DEFAULT now()";

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let what = "Redis to PostgreSQL vs. Python";
    let Some(script) = std::env::var_os("BENCH_PEER").map(PathBuf::from) else {
        let note = "not measured: BENCH_PEER names no script".to_owned();
        let target = Target::None;
        let (ours, ceiling, ratio) = (f64::NAN, None, None);
        return Ok(vec![Row { what, unit: "payments/s", ours, ceiling, ratio, target, note }]);
    };
    let count = scale.events(200_000);
    let runtime = runtime()?;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let servers = runtime.block_on(Servers::start())?;
        let ours = runtime.block_on(pipeline::settle(
            &servers.postgres,
            &servers.queue(Layout::List),
            count,
        ))?;
        drop(servers);
        pairs.push((count as f64 / ours, consumed(&runtime, &script, count)?));
    }
    let note = format!(
        "{count} payments each into the same table with the same indexes; theirs through \
         reference_pipeline.py (asyncio, RPOP x 500, two rules, executemany)"
    );
    Ok(vec![paired(what, "payments/s", 4.0, &pairs, note)])
}

/// What the script says its consumer did in a second.
fn consumed(
    runtime: &tokio::runtime::Runtime,
    script: &std::path::Path,
    count: usize,
) -> Result<f64> {
    let Servers { redis, postgres } = runtime.block_on(Servers::start())?;
    postgres.execute(DEFAULTS)?;
    let address = redis.address();
    let port = address.rsplit(':').next().context("an address has a port")?;
    let output = Command::new("python3")
        .args(["-c", LAUNCH])
        .arg(script)
        .args([port, &count.to_string(), &postgres.url()])
        .output()
        .context("python3 can't be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "reference_pipeline.py needs redis and asyncpg: {said}");
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.strip_prefix("consumer tps "));
    Ok(rate.context("it said no consumer tps")?.trim().parse()?)
}
