//! `forebay generate`: realistic payments, seeded, to wherever they are wanted.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use lab::generator::{Options, Source};
use lab::pace::{self, OnRefusal, Plan, Profile};

use super::configured;
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::target::Target;
use crate::{open, out};
use lab::progress::Unit;
use model::units::{duration, grouped};

/// The rate that event time follows when nothing is said of one.
const TPS: f64 = 1_000.0;
/// For how long, when nothing is said of it.
const DURATION: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay generate --count 1000 > payments.ndjson
  forebay generate --to http://127.0.0.1:8080 --tps 5000 --duration 1m

Standard output is written as fast as it is read unless --tps is given.")]
pub(crate) struct Args {
    /// Where to: the URL of a buffer, http://HOST:PORT, or - for NDJSON on standard output
    #[arg(long, value_name = "URL", default_value = "-")]
    to: String,
    /// Events a second [default: 1000]
    #[arg(long, env = "TPS")]
    tps: Option<f64>,
    /// For how long, e.g. 30s [default: 10s]
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// How many, instead of for how long
    #[arg(long, conflicts_with = "duration")]
    count: Option<u32>,
    #[command(flatten)]
    traffic: Traffic,
    /// Event time of the first payment (RFC 3339) [default: so that the last one is paid now]
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Put this in front of each tx_id, so that runs with one seed are not each other's duplicates
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Add the field `label` to frauds
    #[arg(long)]
    labels: bool,
}

/// What traffic is like: the flags that `demo` shares.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Traffic {
    /// Same seed, same payments
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// How the rate moves: steady, spike, ramp or daily
    #[arg(long, default_value = "steady")]
    pub(super) profile: Profile,
    /// The share of payments that are frauds, 0 to 0.2
    #[arg(long, value_name = "SHARE", default_value_t = Options::default().fraud_share)]
    pub(super) fraud_share: f64,
    /// How many users pay
    #[arg(long, default_value_t = Options::default().users)]
    pub(super) users: usize,
}

impl Traffic {
    /// The payments of `plan`, the last of them paid now.
    ///
    /// # Errors
    /// If a flag is out of bounds.
    pub(super) fn source(&self, plan: &Plan, options: Options) -> Result<Source, Error> {
        let Self { seed, fraud_share, users, .. } = *self;
        let options = Options { seed, fraud_share, users, ..options };
        let source = Source::new(&options, open::clock().now_ms(), plan.duration, plan.tps);
        source.map_err(|error| Error(error.to_string()))
    }
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let target = Target::parse(&args.to)?;
    let tps = rate(args.tps.unwrap_or(TPS))?;
    let duration = match args.count {
        Some(count) => Duration::from_secs_f64(f64::from(count) / tps),
        None => args.duration.unwrap_or(DURATION),
    };
    let profile = args.traffic.profile;
    let plan = Plan { profile, on_refusal: OnRefusal::Retry, ..Plan::steady(tps, duration) };
    let options = Options { run: args.run, labelled_json: args.labels, ..Options::default() };
    let mut source = args.traffic.source(&plan, options)?;
    if let Some(start) = args.start {
        source = source.starting(start.as_millisecond());
    }
    let mut make = |due| source.event(due).0;
    let stop = runtime::signals::stop()?;
    let mut opened = target.open(|| configured(flags)).await?;
    if matches!(target, Target::Output) && args.tps.is_none() {
        pace::unpaced(&plan, &mut make, &mut *opened.sink).await?;
        opened.close().await?;
        return Ok(Exit::Done);
    }
    let total = plan.total();
    let mut progress = out::progress(Unit::Events);
    let outcome = pace::run(&plan, &mut make, &mut *opened.sink, &stop, &mut |now| {
        progress.at(now.offered, total, || format!("accepted {}", grouped(now.accepted)))
    })
    .await;
    progress.end();
    if let Some(failure) = outcome.failure.clone() {
        out::note(&outcome);
        return Err(failure.into());
    }
    opened.close().await?;
    out::note(&outcome);
    let short = plan.shortfall(&outcome).filter(|_| !stop.is_cancelled());
    if let Some(short) = &short {
        out::note(short);
    }
    Ok(Exit::done_if(outcome.rejected + outcome.unknown == 0 && short.is_none()))
}

/// A rate that can be planned with.
pub(super) fn rate(tps: f64) -> Result<f64, Error> {
    if tps.is_finite() && (0.01..=10_000_000.0).contains(&tps) {
        return Ok(tps);
    }
    Err(Error(format!("--tps {tps} is out of bounds; write 0.01 to 10000000")))
}
