//! `forebay demo`: everything embedded in one process, and an audit at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use lab::demo::{NotOurs, Run, make_anew};
use lab::generator::Options;
use lab::pace::Plan;
use lab::report::Report;
use lab::verdict::Places;
use lab::view::{Picture, View};
use tokio_util::sync::CancellationToken;

use super::configured;
use super::generate::{Traffic, rate};
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::payments::Payments;
use crate::{out, registry};
use model::units::duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay demo
  forebay demo --duration 1m --tps 5000 --profile spike --report demo.json

Everything is kept in {data}/demo, which each run makes anew. Ctrl-C ends it early: what was accepted
is still settled, audited and reported. The exit code is 1 if the audit is violated.")]
pub(crate) struct Args {
    /// For how long, e.g. 30s
    #[arg(long, value_parser = duration, default_value = "30s")]
    duration: Duration,
    /// Payments a second
    #[arg(long, default_value_t = 2_000.0)]
    tps: f64,
    #[command(flatten)]
    traffic: Traffic,
    /// Write what it came to as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A line a second instead of the picture
    #[arg(long)]
    plain: bool,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let tps = rate(args.tps)?;
    let plan = Plan { profile: args.traffic.profile, ..Plan::steady(tps, args.duration) };
    let source = args.traffic.source(&plan, Options::default())?;
    if let Some(path) = &args.report {
        writable(path)?;
    }
    let config = configured(flags)?;
    let config = within(&config.data.join("demo"), config)?;

    let telemetry = server::telemetry::install()?;
    let stop = runtime::signals::stop()?;
    tokio::spawn({
        let (telemetry, stop) = (telemetry.clone(), CancellationToken::new());
        async move { telemetry.upkeep(stop).await }
    });
    let places = Places::before(&config.store, config.buffer()).await?;
    let payments = Payments::start(&config, None).await?;
    let traffic = lab::demo::Traffic { plan, source, guard: payments.guard.clone() };
    let shown = (picture(&args, &config), View::open(args.plain, |line| out::line(line))?);
    let metrics = Box::new(move || telemetry.render());
    let run = Run::settle(traffic, &payments.at_work, &stop, shown, metrics);
    let run = Box::pin(run).await?;
    let report = Box::pin(run.audit(places, payments.stop().await?)).await?;
    let report = Report { seed: Some(args.traffic.seed), ..report };
    finish(&report, args.report.as_deref(), &config.data)
}

/// Writes the report and prints it; the verdict decides how the process ends.
///
/// # Errors
/// If either can't be written.
pub(super) fn finish(report: &Report, file: Option<&Path>, data: &Path) -> Result<Exit> {
    if let Some(file) = file {
        report.write(file)?;
    }
    out::line("")?;
    out::line(report.to_string().trim_end())?;
    let data = data.display();
    match file {
        Some(file) => out::line(format_args!("\nData in {data}, report in {}.", file.display()))?,
        None => out::line(format_args!("\nData in {data}."))?,
    }
    Ok(Exit::done_if(report.is_good()))
}

/// Whether a report can be written to `path`, found out before the work and not after it.
///
/// # Errors
/// If it can't.
pub(super) fn writable(path: &Path) -> Result<(), Error> {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.map(drop).map_err(|e| Error(format!("--report {}: {e}; name another", path.display())))
}

/// The same configuration, embedded: journal and store in `dir`, which is made anew.
fn within(dir: &Path, config: Config) -> Result<Config> {
    make_anew(dir).map_err(|error| match error.downcast::<NotOurs>() {
        Ok(not_ours) => Error(not_ours.to_string()).into(),
        Err(other) => other,
    })?;
    let at = dir.join("forebay.db");
    let store = match config.store.in_file(&at) {
        Some(here) => here,
        None => registry::embedded_store(&at).map_err(Error::from)?,
    };
    let at = dir.join("buffer");
    let buffer = match config.buffer().in_folder(&at) {
        Some(here) => here,
        None => registry::embedded(&at).map_err(Error::from)?,
    };
    let (data, key_file) = (dir.to_owned(), dir.join("fingerprint.key"));
    Ok(Config { data, store, key_file, ..config.with_buffer(buffer) })
}

fn picture(args: &Args, config: &Config) -> Picture {
    let Traffic { seed, profile, .. } = &args.traffic;
    let title = format!("forebay demo · {profile} · {}/s · seed {seed}", args.tps);
    Picture::new(title, config.buffer().accepted(config.main().events), Some(args.duration))
}
