//! `forebay serve`: the production process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use buffer::Location;
use runtime::history::{Book, History};
use runtime::line::Label;
use runtime::{Fleet, Presence};
use server::{Readiness, Service};
use settings::Origin;
use store::processes;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::configured;
use crate::config::{Config, Flags};
use crate::domain::{Running, Started};
use crate::exit::Exit;
use crate::process::{Part, Process};
use crate::reload::Reloads;
use crate::{configured, domains, open, out};
use model::units::grouped;

/// Where a process that takes no events listens unless told otherwise: many of them may share a
/// machine.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How often it is looked what `/ready` should warn of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after a reload, or the last try, a pipeline is tried again that could not be added.
const RETRY_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay serve
  forebay serve --bind 127.0.0.1:9000 --data /srv/forebay
  forebay serve --roles worker --buffer 'redis://127.0.0.1/0?list=tx_queue' \\
      --store postgres://forebay@127.0.0.1/forebay

Workers on a Redis or a Kafka share its events between them: start as many as you like. A journal, and an
address, is one process's alone: a second one waits for half a minute and takes over when the first ends.
The first SIGTERM or Ctrl-C settles what is being worked on and stops (a backlog stays in the buffer for
the next start), the second stops at once. SIGHUP reads the configuration again: it adds, removes and changes
tables and webhooks, and the log names each other key that needs a restart.")]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one [default: 127.0.0.1:8080, of a worker alone a free one]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// What this process does: take events (api), settle them (worker)
    #[arg(long, value_delimiter = ',', default_value = "api,worker")]
    roles: Vec<Role>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    Api,
    Worker,
}

pub(crate) async fn run(args: Args, mut flags: Flags) -> Result<Exit> {
    let (stop, hangups) = runtime::signals::stop_and_hangups()?;
    flags.bind = args.bind;
    let config = configured(&flags)?;
    configured::distinct(&config).await?;
    let telemetry = server::telemetry::install()?;
    let readiness = Readiness::new();

    let api = args.roles.contains(&Role::Api);
    // Only what is offered here can spill here; the journal it spills into is one process's alone.
    let config = if api { config } else { config.without_spills() };
    let chosen = config.settings.entry("http.bind").origin != Origin::Default;
    let bind = if api || chosen { config.bind } else { ANY_PORT };
    warn_of(bind);
    let end = Instant::now() + runtime::listed::WITHIN;
    let Some(listener) = in_time(end, &stop, async || listen(bind).await).await? else {
        return unbegun();
    };
    let part = Part { api, worker: args.roles.contains(&Role::Worker) };
    let beside = open::beside(&*config.store)?;
    let mut process = Process::new(config, part, Some(beside.pipelines()));
    let started = match start(&process, end, &stop).await {
        Ok(Some(started)) => started,
        // Ended in order: others may wait for what it would have to say of itself.
        unbegun_or_not => {
            let stopped = process.stop().await;
            unbegun_or_not?;
            stopped?;
            return unbegun();
        }
    };
    let config = &process.config;
    let history = history(&process, &args.roles);
    let presence = Presence::begin(&process.fleet, beside.processes(), this_process(&args.roles));
    let address = listener.local_addr()?;
    // The engine finishes what it holds at the same time, so that both end in time.
    let grace = Duration::from_millis(config.engine.drain_timeout_ms);
    let options = server::Options { grace, ..config.http.clone() };
    let by_kind = config.lines.iter().filter(|line| line.label == Label::Kind);
    let by_kind: Vec<_> = by_kind.map(|line| line.pipeline.clone()).collect();
    let fleet = process.fleet.clone();
    let watched = move || fleet.metered(&by_kind);
    let mut service = Service::new(watched, open::clock(), telemetry, readiness.clone(), options);
    if api {
        out::line(format_args!("Listening on http://{address}"))?;
        service = started.routes.into_iter().fold(service, Service::with);
    } else {
        out::line(format_args!("Health and metrics on http://{address}"))?;
    }
    let serving = tokio::spawn(service.run(listener, stop.clone()));
    out::line(format_args!("Data in {}", config.data.display()))?;
    let said = promised(config).await?.into_iter().chain(started.said);
    for line in said.chain(process.unmoved().await) {
        out::line(line)?;
    }
    let reloads = Reloads::new(flags, &process.config);
    run_until(&mut process, hangups, reloads, started.running, &stop, &readiness).await;
    // The store is open still.
    if let Some(history) = history {
        history.stop().await;
    }
    let cut = finish(serving).await;
    let lines = process.config.lines.iter();
    let spills: Vec<_> = lines.filter_map(|line| line.spill.clone()).collect();
    let stopped = process.stop().await;
    presence.leave().await;
    beside.close().await?;
    let kept = stopped?.iter().map(|remains| remains.kept).sum();
    cut?;
    ended(&spills, kept).await
}

/// Says what is left for the next start.
async fn ended(spills: &[Arc<dyn Location>], kept: u64) -> Result<Exit> {
    if kept > 0 {
        let kept = grouped(kept);
        out::line(format_args!("{kept} events stay in the buffer; the next worker settles them."))?;
    }
    for spill in spills {
        let left = match spill.depth().await {
            Ok(depth) => depth.ready,
            Err(error) => {
                tracing::warn!("cannot read the spill {}: {error}", spill.name());
                continue;
            }
        };
        if left > 0 {
            let (left, name) = (grouped(left), spill.name());
            out::line(format_args!(
                "{left} accepted events wait in the spill {name}; they go to the buffer when this is \
                 started again with the same spill."
            ))?;
        }
    }
    out::line("Stopped.")?;
    Ok(Exit::Done)
}

/// Starts every domain. Returns nothing if a signal stops the process meanwhile.
async fn start(
    process: &Process,
    end: Instant,
    stop: &CancellationToken,
) -> Result<Option<Started>> {
    let mut all = Started::default();
    for domain in domains::all() {
        let Some(started) = in_time(end, stop, async || domain.start(process).await).await? else {
            return Ok(None);
        };
        all.and(started);
    }
    Ok(Some(all))
}

/// Runs until a signal stops the process, or until a pipeline fails that ends the process. Each hangup reads the
/// configuration again.
async fn run_until(
    process: &mut Process,
    mut hangups: Signal,
    mut reloads: Reloads,
    mut domains: Vec<Box<dyn Running>>,
    stop: &CancellationToken,
    readiness: &Readiness,
) {
    let fleet = process.fleet.clone();
    let reloading = async {
        loop {
            match timeout(RETRY_EVERY, hangups.recv()).await {
                Ok(Some(())) => reloads.reload(process, &mut domains).await,
                Ok(None) => std::future::pending().await,
                Err(_elapsed) => {
                    for domain in &mut domains {
                        domain.retry(process).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = warn(&fleet, readiness) => {}
        () = reloading => {}
        () = fleet.ended().cancelled() => {
            readiness.block("engine", "has stopped: nothing is settled any more");
            stop.cancel();
        }
    }
    // Where a buffer keeps what is left, its engine winds down while the server does. Where it
    // does not, everything that is accepted until the server has ended is settled first.
    fleet.wind_down();
}

/// What is promised of the events of every pipeline.
async fn promised(config: &Config) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for domain in domains::all() {
        all.extend(domain.promises(config).await?);
    }
    Ok(all)
}

/// What other processes are to know of this one.
fn this_process(roles: &[Role]) -> processes::Process {
    processes::Process {
        id: runtime::identity::process().to_owned(),
        host: runtime::identity::host(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: named(roles).to_owned(),
        pipelines: Vec::new(),
    }
}

/// As `--roles` has them.
fn named(roles: &[Role]) -> &'static str {
    match (roles.contains(&Role::Api), roles.contains(&Role::Worker)) {
        (true, true) => "api,worker",
        (true, false) => "api",
        (false, _) => "worker",
    }
}

/// Says on `/ready` what an operator should know of the pipelines. Never ends.
async fn warn(fleet: &Fleet, readiness: &Readiness) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        readiness.warn(fleet.warnings());
    }
}

/// The history of the load, which a process that settles keeps: one that only takes events has no store
/// open, and what it takes shows in the backlog of those that settle.
fn history(process: &Process, roles: &[Role]) -> Option<History> {
    let book = Book {
        loads: process.open_store()?.loads(),
        clock: open::clock(),
        process: runtime::identity::process().to_owned(),
        roles: named(roles).to_owned(),
    };
    let fleet = process.fleet.clone();
    Some(History::start(move || fleet.sources(), book, process.config.history))
}

/// As [`open::in_time`]. Nothing if the process is told to stop meanwhile.
async fn in_time<T>(
    end: Instant,
    stop: &CancellationToken,
    open: impl AsyncFnMut() -> Result<T>,
) -> Result<Option<T>> {
    stop.run_until_cancelled(open::in_time(end, open)).await.transpose()
}

fn unbegun() -> Result<Exit> {
    out::line("Stopped before it began.")?;
    Ok(Exit::Done)
}

fn warn_of(bind: SocketAddr) {
    if !bind.ip().is_loopback() {
        out::note(format_args!(
            "Warning: {bind} can be reached from other machines, and anyone who reaches it may \
             send events; put a proxy that checks who they are in front."
        ));
    }
}

async fn listen(bind: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(bind)
        .await
        .with_context(|| format!("cannot listen on {bind}; choose another address with --bind"))
}

/// Waits for the requests in flight.
async fn finish(serving: JoinHandle<Result<(), server::Error>>) -> Result<()> {
    serving.await.map_err(|error| anyhow!("the server ended unexpectedly: {error}"))??;
    Ok(())
}
