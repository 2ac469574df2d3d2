//! `forebay generate`: realistic payments, seeded, to wherever they are wanted.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use lab::generator::{EventTime, Generator, Kind, Options};
use lab::pace::{self, OnRefusal, Outcome, Plan, Profile};
use model::Event;

use super::configured;
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::target::{Opened, Target};
use crate::{open, out, signals};
use lab::progress::Unit;
use model::units::{duration, grouped};

/// The rate that event time follows when nothing is said of one.
const TPS: f64 = 1_000.0;
/// For how long, when nothing is said of it.
const DURATION: Duration = Duration::from_secs(10);
/// Events handed over at once when no rate is held.
const BATCH_MAX: usize = 1_000;

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
    let mut source = Source::with(&args.traffic, &plan, options)?;
    if let Some(start) = args.start {
        source.time.start_ms = start.as_millisecond();
    }
    let stop = signals::stop()?;
    let mut opened = target.open(|| configured(flags)).await?;
    if matches!(target, Target::Output) && args.tps.is_none() {
        unpaced(&mut source, &plan, &mut opened).await?;
        opened.close().await?;
        return Ok(Exit::Done);
    }
    let total = plan.total();
    let mut progress = out::progress(Unit::Events);
    let outcome =
        pace::run(&plan, &mut |due| source.event(due).0, &mut *opened.sink, &stop, &mut |now| {
            progress.at(now.offered, total, || format!("accepted {}", grouped(now.accepted)))
        })
        .await;
    progress.end();
    if let Some(failure) = outcome.failure.clone() {
        out::note(report(&outcome));
        return Err(failure.into());
    }
    opened.close().await?;
    out::note(report(&outcome));
    let short = shortfall(&plan, &outcome).filter(|_| !stop.is_cancelled());
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

/// Payments at their event times.
pub(super) struct Source {
    generator: Generator,
    time: EventTime,
}

impl Source {
    /// Payments whose event time is calm and ends now.
    ///
    /// # Errors
    /// If a flag is out of bounds.
    pub(super) fn new(traffic: &Traffic, plan: &Plan) -> Result<Self, Error> {
        Self::with(traffic, plan, Options::default())
    }

    fn with(traffic: &Traffic, plan: &Plan, options: Options) -> Result<Self, Error> {
        let Traffic { seed, fraud_share, users, .. } = *traffic;
        let options = Options { seed, fraud_share, users, ..options };
        let generator = Generator::new(&options).map_err(|error| Error(error.to_string()))?;
        let now_ms = open::clock().now_ms();
        Ok(Self { generator, time: EventTime::calm(now_ms, plan.duration, plan.tps, users) })
    }

    /// The next payment, due so long after the beginning, and its label.
    pub(super) fn event(&mut self, due: Duration) -> (Event, Option<Kind>) {
        self.generator.event(self.time.at(due))
    }
}

/// The plan's events, as fast as they are taken.
async fn unpaced(source: &mut Source, plan: &Plan, opened: &mut Opened) -> Result<()> {
    let total = plan.total();
    let mut made = 0;
    while made < total {
        let to = total.min(made + BATCH_MAX as u64);
        let batch: Vec<_> = (made..to).map(|index| source.event(plan.at(index)).0).collect();
        opened.sink.offer(&batch).await?;
        made = to;
    }
    Ok(())
}

/// Why a run that nobody stopped left some of its events out, if it did. What is refused is offered
/// again, so something is counted as refused only where there was no room up to the end.
fn shortfall(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let unsent = outcome.refused + outcome.unoffered;
    let why = if outcome.refused > 0 { "the buffer is full" } else { "the target is too slow" };
    let overrun_s = plan.overrun_max.as_secs();
    (unsent > 0).then(|| {
        let unsent = grouped(unsent);
        format!("gave up {overrun_s} s after the last was due: {why}; {unsent} were not sent")
    })
}

/// What became of the run, in a line.
fn report(outcome: &Outcome) -> String {
    let Outcome { offered, accepted, refused, rejected, retried, unknown, .. } = outcome;
    let held = if outcome.held { "held" } else { "NOT HELD" };
    format!(
        "offered {} in {:.1} s: {:.0}/s of {:.0}/s asked for, {held}; accepted {}, refused {}, \
         rejected {}, offered again {}, unknown {}, at most {:.0} ms late",
        grouped(*offered),
        outcome.duration.as_secs_f64(),
        outcome.achieved_tps,
        outcome.target_tps,
        grouped(*accepted),
        grouped(*refused),
        grouped(*rejected),
        grouped(*retried),
        grouped(*unknown),
        outcome.late_ms_max,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_gave_up_says_why_and_how_many_were_not_sent() {
        let check = |refused: u64, unoffered: u64, says: Option<&str>| {
            let outcome = Outcome { refused, unoffered, retried: 7, ..Outcome::default() };
            let said = shortfall(&Plan::steady(100.0, Duration::from_secs(1)), &outcome);
            assert_eq!(said.as_deref(), says);
        };
        let full = "gave up 30 s after the last was due: the buffer is full; 1,998 were not sent";
        check(998, 1_000, Some(full));
        let slow = "gave up 30 s after the last was due: the target is too slow; 5 were not sent";
        check(0, 5, Some(slow));
        check(0, 0, None);
    }
}
