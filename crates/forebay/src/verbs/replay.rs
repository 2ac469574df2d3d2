//! `forebay replay`: a file of real payments into a buffer or a server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use lab::audit::{Ledger, Recorder};
use lab::replay::{Format, Options, Progress as Done, Replay, Start, Summary};
use lab::report::Report;
use lab::score::Labels;
use lab::sink::{Buffered, Sink};
use model::url::redacted;
use store::Pipelines;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::configured;
use super::demo::{finish, writable};
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::payments::{PIPELINE, Payments};
use crate::target::Target;
use crate::verdict::{LEDGER_EVENTS_MAX, Places, per_second};
use crate::{open, out, signals};
use lab::progress::Unit;
use model::units::grouped;

/// How often the progress of settling is looked at.
const SETTLING_LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay replay examples/payments.ndjson --drain
  forebay replay card-payments-2018-04.csv.gz --map examples/card-payments-2018.toml --drain
  forebay replay payments.csv --to http://127.0.0.1:8080
  zstd -dc payments.ndjson.zst | forebay replay - --format ndjson

An interrupted replay goes on where it was when the same command is run again. The exit code is 1 when
records were rejected.")]
pub(crate) struct Args {
    /// CSV or NDJSON, plain or gzipped; - for standard input, with --format
    file: PathBuf,
    /// What each field of a payment is made of, as TOML [default: the column of its name]
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// What the records are written in [default: by the file's name]
    #[arg(long)]
    format: Option<Written>,
    /// Where to: the URL of a buffer, or http://HOST:PORT [default: the configured buffer]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Settle everything in this process as well, audit it, and print what it came to
    #[arg(long, conflicts_with = "to")]
    drain: bool,
    /// Start over, whatever was done before
    #[arg(long)]
    restart: bool,
    /// With --drain: write what it came to as JSON
    #[arg(long, value_name = "FILE", requires = "drain")]
    report: Option<PathBuf>,
}

impl Args {
    fn is_piped(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Written {
    Csv,
    Ndjson,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured(flags)?;
    let settings = &config.settings;
    if let Some(path) = &args.report {
        writable(path)?;
    }
    let target = match &args.to {
        Some(to) => Target::parse(to)?,
        None if config.main().next.is_some() && !args.drain => {
            let problem = "next_buffer is set, and which of the two takes an event only running servers \
                           know; give one with --to http://…, or a buffer with --to URL";
            return Err(Error(problem.to_owned()).into());
        }
        None => Target::Buffer(config.buffer().clone()),
    };
    if matches!(target, Target::Output) {
        let problem = "--to -: a replay goes to a buffer or a server, not to standard output";
        return Err(Error(problem.to_owned()).into());
    }
    let forgets = matches!(&target, Target::Buffer(buffer) if buffer.is_volatile());
    if forgets && !args.drain {
        let problem = "--buffer memory: keeps nothing once the replay ends; add --drain";
        return Err(Error(problem.to_owned()).into());
    }
    let named = args.to.clone().unwrap_or_else(|| redacted(&settings.path("buffer")));
    // What a buffer that keeps nothing held when the last run ended is gone: begin again.
    let replay = prepare(&args, &config, named, args.restart || forgets)?;
    let stop = signals::stop()?;
    if args.drain {
        return drain(&args, &config, &replay, &stop).await;
    }
    let mut opened = target.open(|| Ok(config.clone())).await?;
    let summary = offer(&replay, &mut *opened.sink, &stop).await;
    opened.close().await?;
    tell(&summary?, args.is_piped())
}

fn prepare(args: &Args, config: &Config, target: String, restart: bool) -> Result<Replay> {
    let map = args.map.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map_err(|e| Error(format!("the map {} can't be read: {e}", path.display())))
    });
    let format = args.format.map(|written| match written {
        Written::Csv => Format::Csv,
        Written::Ndjson => Format::Ndjson,
    });
    let options = Options { restart, format, ..Options::new(&config.data, target) };
    let map = map.transpose()?;
    // Whatever is wrong with the file's name, its map or its format is wrong with the arguments.
    let replay = match args.is_piped() {
        true => Replay::piped(std::io::stdin(), map.as_deref(), options),
        false => Replay::new(&args.file, map.as_deref(), options),
    };
    replay.map_err(|error| Error(format!("{error:#}")).into())
}

async fn offer(replay: &Replay, sink: &mut dyn Sink, stop: &CancellationToken) -> Result<Summary> {
    let mut progress = out::progress(Unit::Bytes);
    let mut tell = |done: &Done| {
        progress.at(done.bytes, done.bytes_total, || {
            let waiting = if done.waiting { ", waiting for room" } else { "" };
            let (accepted, rejected) = (grouped(done.accepted), grouped(done.rejected));
            format!("accepted {accepted}, rejected {rejected}{waiting}")
        });
    };
    let summary = replay.run(sink, open::clock().now_ms(), stop, &mut tell).await;
    progress.end();
    summary
}

/// Refuses to wait for a pipeline that does nothing. A store that is not there yet has no pause.
async fn refuse_paused(pipelines: &dyn Pipelines) -> Result<()> {
    let wanted = pipelines.wanted().await.unwrap_or_default();
    if wanted.iter().any(|wanted| wanted.paused && wanted.name == PIPELINE) {
        let problem = format!(
            "cannot drain: the pipeline {PIPELINE} is paused; run `forebay pipeline resume {PIPELINE}`, or \
             replay without --drain"
        );
        return Err(Error(problem).into());
    }
    Ok(())
}

/// Offers and settles in this process.
async fn drain(
    args: &Args,
    config: &Config,
    replay: &Replay,
    stop: &CancellationToken,
) -> Result<Exit> {
    let places = Places::before(&config.store, config.buffer()).await?;
    let wanted = open::beside(&*config.store)?.pipelines();
    refuse_paused(&*wanted).await?;
    let payments = Payments::start(config, Some(wanted)).await?;
    let began = Instant::now();
    let guard = payments.guard.clone();
    let ledger = Ledger::new(LEDGER_EVENTS_MAX).with_cards(move |card| guard.fingerprint(card).0);
    let sink = Buffered::new(payments.buffer().clone());
    let mut recorder = Recorder::new(sink, ledger, open::clock());
    let summary = offer(replay, &mut recorder, stop).await;
    let offering = began.elapsed();
    if summary.is_ok() {
        settle(&payments, stop).await;
    }
    let settling = began.elapsed();
    let stopped = payments.stop().await?;
    let summary = summary?;
    let (ledger, _) = recorder.into_parts();
    let durability = config.buffer().survives();
    let labels = Labels::default();
    let audited = places.report(ledger, &labels, &stopped, &durability, settling).await;
    let report = Report {
        offered: summary.accepted,
        accepted: summary.accepted,
        refused: 0,
        duration_s: offering.as_secs_f64(),
        achieved_tps: per_second(summary.accepted, offering),
        ..audited?
    };
    let told = tell(&summary, args.is_piped())?;
    let finished = finish(&report, args.report.as_deref(), &config.data)?;
    Ok(if finished == Exit::Done { told } else { finished })
}

/// Waits until nothing is left to settle; a signal ends it, and what is left comes next time.
async fn settle(payments: &Payments, stop: &CancellationToken) {
    let (stats, buffer) = (payments.stats().clone(), payments.buffer().clone());
    let mut progress = out::progress(Unit::Events);
    let drained = stop.run_until_cancelled(payments.drained());
    let mut drained = std::pin::pin!(drained);
    loop {
        tokio::select! {
            _ = &mut drained => break,
            () = tokio::time::sleep(SETTLING_LOOK) => {
                let counts = stats.counts();
                let done = counts.settled + counts.duplicates + counts.dead;
                let left = buffer.depth().await.map_or(0, |depth| depth.ready + depth.leased);
                progress.at(done, done + left, || "settled".to_owned());
            }
        }
    }
    progress.end();
}

/// What was offered, and what was rejected, by reason.
fn tell(summary: &Summary, is_piped: bool) -> Result<Exit> {
    match summary.start {
        Start::Fresh => {}
        Start::Resumed(records) => {
            out::line(format_args!("Went on behind {} records.", grouped(records)))?;
        }
        Start::AlreadyFinished => {
            out::line("All of this file was offered before; --restart offers it again.")?;
        }
    }
    let rejected = summary.rejects.total();
    out::line(format_args!(
        "{} records, {} accepted, {} rejected.",
        grouped(summary.records_total),
        grouped(summary.accepted_total),
        grouped(rejected)
    ))?;
    if rejected > 0 {
        out::line(summary.rejects.to_string().trim_end())?;
    }
    match summary.finished {
        true => {}
        false if is_piped => {
            out::line("Interrupted: replay standard input again from its beginning.")?;
        }
        false => out::line("Interrupted: run it again to go on from there.")?,
    }
    Ok(Exit::done_if(rejected == 0 && summary.finished))
}
