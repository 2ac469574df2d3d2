//! `forebay demo`: everything embedded in one process, and an audit at the end.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::audit::{Ledger, Recorder, Verdict};
use lab::pace::{self, Outcome, Plan};
use lab::report::Report;
use lab::score::Labels;
use lab::sink::Buffered;
use lab::view::{Phase, Picture, Terminal, View};
use lab::watch::{Offered, Watch, Watched};
use server::Telemetry;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::configured;
use super::generate::{Source, Traffic, rate};
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::payments::{Payments, Stopped, rules};
use crate::verdict::{LEDGER_EVENTS_MAX, Places};
use crate::{log, open, out, registry, signals};
use model::units::duration;

/// What marks a directory as one that may be wiped.
const MARKER: &str = ".forebay-demo";
/// How long what is accepted may take to be settled once the traffic has ended. What is left then
/// is counted as pending.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// How this process writes while a picture is shown.
const TERMINAL: Terminal =
    Terminal { line: |line| out::line(line), hold: log::hold, let_go: log::let_go };

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
    let source = Source::new(&args.traffic, &plan)?;
    if let Some(path) = &args.report {
        writable(path)?;
    }
    let config = configured(flags)?;
    let config = within(&config.data.join("demo"), config)?;

    let telemetry = server::telemetry::install()?;
    let stop = signals::stop()?;
    tokio::spawn({
        let (telemetry, stop) = (telemetry.clone(), CancellationToken::new());
        async move { telemetry.upkeep(stop).await }
    });
    let places = Places::before(&config.store, config.buffer()).await?;
    let payments = Payments::start(&config, None).await?;
    let offered = Offered::default();
    let view = View::open(args.plain, TERMINAL)?;
    let watched = watched(&payments, &offered, telemetry);
    let mut watch = Watch::new(picture(&args, &config), view, watched);
    let began = Instant::now();

    let traffic = tokio::spawn(offer(plan, source, sink(&payments), stop.clone(), offered));
    // An engine that can't go on ends the traffic, too: nothing would be settled any more.
    let (ended, until) = (payments.ended().clone(), stop.clone());
    tokio::spawn(async move {
        ended.cancelled().await;
        until.cancel();
    });
    let traffic = watch.during(Phase::Running, &stop, traffic).await?;
    let enough = CancellationToken::new();
    let draining = enough.run_until_cancelled(timeout(DRAIN_MAX, payments.drained()));
    watch.during(Phase::Draining, &enough, draining).await;
    let settling = began.elapsed();
    let stopped = payments.stop().await?;
    let durability = config.buffer().survives();
    let audit = async move { audit(&places, traffic, &stopped, settling, &durability).await };
    let report = watch.during(Phase::Auditing, &enough, tokio::spawn(audit)).await??;
    drop(watch);
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
    Ok(verdict(report))
}

fn verdict(report: &Report) -> Exit {
    Exit::done_if(report.audit.verdict == Verdict::Ok)
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
    make_anew(dir)?;
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

/// Wipes `dir` if an earlier demo made it and none is running in it, and makes it.
fn make_anew(dir: &Path) -> Result<()> {
    let shown = dir.display();
    if dir.exists() {
        let empty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        if !empty && !dir.join(MARKER).is_file() {
            bail!(Error(format!(
                "{shown} was not made by a demo, so it is not wiped; move it away, or name another \
                 place with --data"
            )));
        }
        let lock = std::fs::File::open(dir.join("buffer/LOCK"));
        if lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            bail!(
                "another demo is running in {shown}; wait for it, or name another place with --data"
            );
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("can't wipe {shown}"))?;
    }
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(dir.join(MARKER), "forebay demo makes this directory anew\n"))
        .with_context(|| format!("can't make {shown}"))
}

fn picture(args: &Args, config: &Config) -> Picture {
    let Traffic { seed, profile, .. } = &args.traffic;
    let title = format!("forebay demo · {profile} · {}/s · seed {seed}", args.tps);
    Picture::new(title, config.buffer().accepted(config.main().events), Some(args.duration))
}

fn watched(payments: &Payments, offered: &Offered, telemetry: Telemetry) -> Watched {
    Watched {
        stats: payments.stats().clone(),
        buffer: payments.buffer().clone(),
        clock: open::clock(),
        offered: offered.clone(),
        rules: rules().collect(),
        metrics: Box::new(move || telemetry.render()),
    }
}

/// What the traffic came to.
struct Offering {
    outcome: Outcome,
    ledger: Ledger,
    labels: Labels,
}

/// Where the traffic goes: into the buffer, with a ledger of what became of it.
fn sink(payments: &Payments) -> Recorder<Buffered> {
    let guard = payments.guard.clone();
    let ledger = Ledger::new(LEDGER_EVENTS_MAX).with_cards(move |card| guard.fingerprint(card).0);
    Recorder::new(Buffered::new(payments.buffer().clone()), ledger, open::clock())
}

async fn offer(
    plan: Plan,
    mut source: Source,
    mut sink: Recorder<Buffered>,
    stop: CancellationToken,
    offered: Offered,
) -> Offering {
    let mut labels = Labels::default();
    let mut make = |due| {
        let (event, label) = source.event(due);
        labels.add(event.id(), label);
        event
    };
    let mut tell = |now: &Outcome| {
        offered.lock().unwrap_or_else(PoisonError::into_inner).clone_from(now);
    };
    let outcome = pace::run(&plan, &mut make, &mut sink, &stop, &mut tell).await;
    let (ledger, _) = sink.into_parts();
    Offering { outcome, ledger, labels }
}

async fn audit(
    places: &Places,
    traffic: Offering,
    stopped: &Stopped,
    settling: Duration,
    durability: &str,
) -> Result<Report> {
    let Offering { outcome, ledger, labels } = traffic;
    let report = places.report(ledger, &labels, stopped, durability, settling).await?;
    Ok(report.with_outcome(&outcome))
}

#[cfg(test)]
mod tests {
    use lab::audit::Finding;

    use super::*;

    #[test]
    fn a_violated_audit_is_trouble() {
        let check = |finding, expect| {
            assert_eq!(verdict(&Report::new(finding, "nothing")), expect);
        };
        check(Finding::default(), Exit::Done);
        check(Finding { lost: 1, ..Finding::default() }, Exit::Trouble);
        check(Finding { double_rows: 1, ..Finding::default() }, Exit::Trouble);
    }

    #[test]
    fn a_directory_in_which_a_demo_runs_is_not_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let demo = dir.path().join("demo");
        make_anew(&demo).unwrap();
        std::fs::create_dir(demo.join("buffer")).unwrap();
        let lock = std::fs::File::create(demo.join("buffer/LOCK")).unwrap();
        lock.lock().unwrap();
        let error = make_anew(&demo).unwrap_err().to_string();
        assert!(error.contains("another demo is running"), "{error}");
        drop(lock);
        make_anew(&demo).unwrap();
        assert!(!demo.join("buffer").exists());
    }
}
