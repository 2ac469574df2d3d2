//! `forebay serve`: the production process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use buffer::Buffer;
use runtime::history::{Book, History};
use runtime::{Fleet, Following, Presence};
use server::{Readiness, Service};
use store::processes::Process;
use store::{Claimed, Store};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::configured;
use crate::config::{Config, Flags, Origin};
use crate::exit::Exit;
use crate::moving;
use crate::payments::{self, Payments};
use crate::write_behind::{Part, Tables};
use crate::{distinct, fleet, guarantee, identity, open, out, signals};
use model::units::grouped;

/// Where a process that takes no events listens unless told otherwise: many of them may share a
/// machine.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// For how long a server that is out of reach, or what another process has, is tried at the start, and
/// the pause between two tries.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
const OPEN_PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked what `/ready` should warn of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay serve
  forebay serve --bind 127.0.0.1:9000 --data /srv/forebay
  forebay serve --roles worker --buffer 'redis://127.0.0.1/0?list=tx_queue' \\
      --store postgres://forebay@127.0.0.1/forebay

Workers on a Redis or a Kafka share its events between them: start as many as you like. A journal, and an
address, is one process's alone: a second one waits for half a minute and takes over when the first ends.
The first SIGTERM, SIGHUP or Ctrl-C settles what is being worked on and stops (a backlog stays in the
buffer for the next start), the second stops at once.")]
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
    flags.bind = args.bind;
    let (settings, config) = configured(&flags)?;
    distinct::check(&config).await?;
    let telemetry = server::telemetry::install()?;
    let stop = signals::stop()?;
    let readiness = Readiness::new();

    let api = args.roles.contains(&Role::Api);
    // Only what is offered here can spill here; the journal it spills into is one process's alone.
    let config = if api { config } else { Config { spill: None, ..config } };
    let chosen = settings.entry("http.bind").origin != Origin::Default;
    let bind = if api || chosen { config.bind } else { ANY_PORT };
    warn_of(bind);
    let end = Instant::now() + OPEN_WITHIN;
    let Some(listener) = in_time(end, &stop, || listen(bind)).await? else { return unbegun() };
    let beside = open::beside(&config.store)?;
    let opened = in_time(end, &stop, || Parts::open(&config, &args.roles, &*beside)).await?;
    let Some(parts) = opened else { return unbegun() };
    let tables = match in_time(end, &stop, || tables(&config, &parts, &args.roles)).await {
        Ok(Some(tables)) => tables,
        // Ended in order: others may wait for what it would have to say of itself.
        unbegun_or_not => {
            let stopped = parts.stop().await;
            unbegun_or_not?;
            stopped?;
            return unbegun();
        }
    };
    let history = history(&config, &parts, &args.roles);
    let presence = Presence::begin(&parts.fleet, beside.processes(), this_process(&args.roles));
    let address = listener.local_addr()?;
    // The engine finishes what it holds at the same time, so that both end in time.
    let grace = Duration::from_millis(config.engine.drain_timeout_ms);
    let options = server::Options { grace, ..config.http.clone() };
    let watched = watched(&parts.fleet);
    let service = Service::new(watched, open::clock(), telemetry, readiness.clone(), options);
    let service = if api {
        out::line(format_args!("Listening on http://{address}"))?;
        service.with(server::events::routes(parts.buffer.clone())).with(tables.served.routes())
    } else {
        out::line(format_args!("Health and metrics on http://{address}"))?;
        service
    };
    let serving = tokio::spawn(service.run(listener, stop.clone()));
    out::line(format_args!("Data in {}", config.data.display()))?;
    let said = guarantee::all(&config).await.into_iter().chain(parts.found.iter().cloned());
    let of_tables = tables.said.iter().cloned();
    for line in said.chain(of_tables).chain(unmoved(&config, &parts).await) {
        out::line(line)?;
    }
    parts.run_until(&stop, &readiness).await;
    // The store is open still.
    if let Some(history) = history {
        history.stop().await;
    }
    let cut = finish(serving).await;
    let kept = parts.stop().await;
    presence.leave().await;
    beside.close().await?;
    let kept = kept?;
    cut?;
    ended(&config, kept).await
}

/// Says what is left for the next start.
async fn ended(config: &Config, kept: u64) -> Result<Exit> {
    if kept > 0 {
        let kept = grouped(kept);
        out::line(format_args!("{kept} events stay in the buffer, for whoever settles next."))?;
    }
    if let Some(spill) = &config.spill {
        let left = spill.depth().await?.ready;
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

/// What this process runs besides the server.
struct Parts {
    fleet: Fleet,
    /// Where payments are offered.
    buffer: Arc<dyn Buffer>,
    /// What opening that buffer found, one sentence each.
    found: Vec<String>,
    /// Of a process that settles.
    payments: Option<Payments>,
    /// Of a process that only offers: what is paused is shown there, too.
    following: Option<Following>,
}

impl Parts {
    async fn open(config: &Config, roles: &[Role], beside: &dyn Store) -> Result<Self> {
        if roles.contains(&Role::Worker) {
            let mut payments = Payments::start(config, Some(beside.pipelines())).await?;
            let found = std::mem::take(&mut payments.found);
            let (fleet, buffer) = (payments.fleet().clone(), payments.buffer().clone());
            return Ok(Self { fleet, buffer, found, payments: Some(payments), following: None });
        }
        let fleet = fleet::of(config);
        let (buffer, found) = payments::offer(config, &fleet).await?;
        let following = Some(Following::begin_later(&fleet, beside.pipelines()));
        Ok(Self { fleet, buffer, found, payments: None, following })
    }

    fn store(&self) -> Option<&Claimed> {
        self.payments.as_ref().map(Payments::store)
    }

    /// Runs until a signal stops the process, or until a pipeline fails that ends the process.
    async fn run_until(&self, stop: &CancellationToken, readiness: &Readiness) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = warn(&self.fleet, readiness) => {}
            () = self.fleet.ended().cancelled() => {
                readiness.block("engine", "has stopped: nothing is settled any more");
                stop.cancel();
            }
        }
        // Where a buffer keeps what is left, its engine winds down while the server does. Where it
        // does not, everything that is accepted until the server has ended is settled first.
        self.fleet.wind_down();
    }

    /// Ends everything, in order. Returns how many events the buffers keep.
    async fn stop(self) -> Result<u64> {
        drop(self.following);
        let stopped = fleet::stop(&self.fleet).await;
        if let Some(payments) = self.payments {
            // The fleet has ended, and what is left is the store.
            payments.stop().await?;
        }
        Ok(stopped?.iter().map(|remains| remains.kept).sum())
    }
}

/// The buffers whose depth `/metrics` shows: that of payments by its kind, each other one by its pipeline.
fn watched(fleet: &Fleet) -> impl Fn() -> Vec<(String, Arc<dyn Buffer>)> + Send + Sync + 'static {
    let fleet = fleet.clone();
    move || {
        let shown = |(name, buffer): (Arc<str>, Arc<dyn Buffer>)| match &*name {
            fraud::handler::PIPELINE => (buffer.kind().name.to_owned(), buffer),
            other => (other.to_owned(), buffer),
        };
        fleet.buffers().into_iter().map(shown).collect()
    }
}

/// What other processes are to know of this one.
fn this_process(roles: &[Role]) -> Process {
    Process {
        id: identity::start().to_owned(),
        host: identity::host(),
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

/// What is to be said of moves that this process settles without. A role that may not look at moves has
/// made none, and settles all the same.
async fn unmoved(config: &Config, parts: &Parts) -> Vec<String> {
    if parts.payments.is_none() {
        return Vec::new();
    }
    moving::unmoved(config).await.unwrap_or_else(|error| {
        tracing::warn!("whether another buffer was moved to or from can't be looked at: {error:#}");
        Vec::new()
    })
}

/// The history of the load, which a process that settles keeps: one that only takes events has no store
/// open, and what it takes shows in the backlog of those that settle.
fn history(config: &Config, parts: &Parts, roles: &[Role]) -> Option<History> {
    let book = Book {
        loads: parts.store()?.loads(),
        clock: open::clock(),
        process: identity::process(),
        roles: named(roles).to_owned(),
    };
    let fleet = parts.fleet.clone();
    Some(History::start(move || fleet.sources(), book, config.history))
}

/// The tables that are written behind, in this process's roles.
async fn tables(config: &Config, parts: &Parts, roles: &[Role]) -> Result<Tables> {
    let part = Part { api: roles.contains(&Role::Api), worker: roles.contains(&Role::Worker) };
    if config.tables.is_empty() {
        return Ok(Tables::default());
    }
    Tables::start(config, &*open::tables(config, parts.store())?, part, &parts.fleet).await
}

/// Tries again while what is needed may come: servers that start together come up in any order, and who
/// is to be replaced ends when it is done. Nothing if the process is told to stop meanwhile.
async fn in_time<T, Opening: Future<Output = Result<T>>>(
    end: Instant,
    stop: &CancellationToken,
    open: impl Fn() -> Opening,
) -> Result<Option<T>> {
    loop {
        let opened = tokio::select! {
            opened = open() => opened,
            () = stop.cancelled() => return Ok(None),
        };
        match opened {
            Err(error) if open::may_come(&error) && Instant::now() < end => {
                let left = end.saturating_duration_since(Instant::now()).as_secs();
                tracing::warn!("not started yet, trying for {left} s more: {error:#}");
            }
            done => return done.map(Some),
        }
        tokio::select! {
            () = tokio::time::sleep(OPEN_PAUSE) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
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
        .with_context(|| format!("can't listen on {bind}; choose another address with --bind"))
}

/// Waits for the requests in flight.
async fn finish(serving: JoinHandle<Result<(), server::Error>>) -> Result<()> {
    serving.await.map_err(|error| anyhow!("the server ended unexpectedly: {error}"))??;
    Ok(())
}
