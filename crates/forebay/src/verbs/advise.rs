//! `forebay advise`: whether this load belongs on a journal, a Redis or a Kafka.

use std::io::IsTerminal;

use advise::{Layout, Report, Seen, Verdict, decide, next};
use anyhow::{Result, bail};
use store::{Load, Location};

use super::configured_pipeline;
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::{open, out};

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay advise
  forebay advise --hours 168 --json
  forebay advise --set advise.processes=2 --set advise.prices.machine=0.104

It reads what the processes that settle have noted of their load, one row a minute, in the store. Exit
code 1: too little was seen to say anything yet.")]
pub(crate) struct Args {
    /// Over how many of the last hours
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured_pipeline(flags)?;
    if config.history.keep.is_zero() {
        let problem =
            "history.keep_h is 0, so no process notes its load; set it to the hours to keep";
        bail!(Error(problem.to_owned()));
    }
    let pipeline = config.main().pipeline.clone();
    let now_ms = open::clock().now_ms();
    let hours = i64::try_from(args.hours).expect("the flag is bounded");
    let loads = loads(&*config.store, &pipeline, now_ms - hours * HOUR_MS).await?;
    let seen = Seen::of(&loads);
    let options = config.advise.clone();
    let verdict = decide(&seen, &options.thresholds);
    let (buffer, store) = (config.buffer().kind(), config.store.kind());
    let today = Layout::today(buffer, store, seen.processes);
    let next = next(verdict, &today, buffer, store);
    let hours = args.hours;
    let report = Report { pipeline, hours, now_ms, seen, options, verdict, today, next };
    if args.json {
        out::json(&report.json())?;
    } else {
        out::line(report.text(std::io::stdout().is_terminal()))?;
    }
    Ok(Exit::done_if(matches!(verdict, Verdict::Advised(_))))
}

/// What processes noted; nothing where there is no store yet.
async fn loads(store: &dyn Location, pipeline: &str, since_ms: i64) -> Result<Vec<Load>> {
    let Some(view) = store.look().await? else { return Ok(Vec::new()) };
    Ok(view.loads(pipeline, since_ms).await?)
}
