//! `forebay replay`: a file of real payments into a buffer or a server.

use std::path::PathBuf;

use anyhow::Result;
use lab::progress::Unit;
use lab::replay::{Drained, Format, Options, Replay, Summary};
use lab::verdict::Places;
use model::url::redacted;
use store::Pipelines;
use tokio_util::sync::CancellationToken;

use super::configured;
use super::demo::{finish, writable};
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::payments::{PIPELINE, Payments};
use crate::target::Target;
use crate::{open, out};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay replay examples/payments.ndjson --drain
  forebay replay card-payments-2018-04.csv.gz --map examples/card-payments-2018.toml --drain
  forebay replay payments.csv --to http://127.0.0.1:8080
  zstd -dc payments.ndjson.zst | forebay replay - --format ndjson

A map that gives `amount` a scale multiplies it exactly and rounds it to whole KRW, halves away from zero.
An amount with decimals is rejected where the map gives no scale.

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
    let stop = runtime::signals::stop()?;
    if args.drain {
        return drain(&args, &config, &replay, &stop).await;
    }
    let mut opened = target.open(|| Ok(config.clone())).await?;
    let summary = replay.run_shown(&mut *opened.sink, &stop, out::progress(Unit::Bytes)).await;
    opened.close().await?;
    tell(&summary?, args.is_piped())
}

fn prepare(args: &Args, config: &Config, target: String, restart: bool) -> Result<Replay> {
    let map = args.map.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|e| {
            Error(format!("cannot read the map {}: {e}; name another with --map", path.display()))
        })
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
    let guard = payments.guard.clone();
    let drained = Drained::settle(replay, &payments.at_work, guard, stop, out::progress).await;
    let ended = payments.stop().await?;
    let (summary, report) = drained?.audit(&places, &ended).await?;
    let told = tell(&summary, args.is_piped())?;
    let finished = finish(&report, args.report.as_deref(), &config.data)?;
    Ok(if finished == Exit::Done { told } else { finished })
}

/// What was offered, and what was rejected, by reason.
fn tell(summary: &Summary, is_piped: bool) -> Result<Exit> {
    for line in summary.lines(is_piped) {
        out::line(line)?;
    }
    Ok(Exit::done_if(summary.is_good()))
}
