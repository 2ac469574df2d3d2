//! `forebay serve`: the production process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use buffer::Buffer;
use server::{Readiness, Service};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::configured;
use crate::config::{Config, Flags};
use crate::exit::Exit;
use crate::pipeline::Pipeline;
use crate::units::grouped;
use crate::{guarantee, open, out, signals};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay serve
  forebay serve --bind 127.0.0.1:9000 --data /srv/forebay

The first SIGTERM or Ctrl-C settles what is being worked on and stops (a backlog stays in the
buffer for the next start), the second stops at once.")]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one [default: 127.0.0.1:8080]
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
    let (_, config) = configured(&flags)?;
    let telemetry = server::telemetry::install()?;
    let stop = signals::stop()?;
    let readiness = Readiness::new();

    let listener = match args.roles.contains(&Role::Api) {
        true => Some(listen(&config).await?),
        false => None,
    };
    let parts = Parts::open(&config, &args.roles).await?;
    let serving = match listener {
        Some(listener) => {
            out::line(format_args!("Listening on http://{}", listener.local_addr()?))?;
            // The engine finishes what it holds at the same time, so that both end in time.
            let grace = Duration::from_millis(config.engine.drain_timeout_ms);
            let options = server::Options { grace, ..config.http.clone() };
            let (buffer, clock) = (parts.buffer().clone(), open::clock());
            let service = Service::new(buffer, clock, telemetry, readiness.clone(), options);
            Some(tokio::spawn(service.run(listener, stop.clone())))
        }
        None => {
            // A server empties the recorder's histograms; without one somebody else must.
            let stop = stop.clone();
            tokio::spawn(async move { telemetry.upkeep(stop).await });
            None
        }
    };
    out::line(format_args!("Data in {}", config.data.display()))?;
    for line in guarantee::all(&config).into_iter().chain(parts.recovered()) {
        out::line(line)?;
    }
    parts.run_until(&stop, &readiness).await;
    let cut = finish(serving).await;
    let kept = parts.stop(&config).await?;
    cut?;
    if kept > 0 {
        let kept = grouped(kept);
        out::line(format_args!(
            "{kept} events stay in the buffer and are settled at the next start."
        ))?;
    }
    out::line("Stopped.")?;
    Ok(Exit::Done)
}

/// What this process runs besides the server.
enum Parts {
    /// The whole pipeline.
    Worker(Box<Pipeline>),
    /// The buffer alone: somebody else settles.
    Api(open::Opened),
}

impl Parts {
    async fn open(config: &Config, roles: &[Role]) -> Result<Self> {
        if roles.contains(&Role::Worker) {
            return Ok(Self::Worker(Box::new(Pipeline::start(config).await?)));
        }
        Ok(Self::Api(open::buffer(&config.buffer)?))
    }

    fn buffer(&self) -> &Arc<dyn Buffer> {
        match self {
            Self::Worker(pipeline) => pipeline.buffer(),
            Self::Api(opened) => &opened.buffer,
        }
    }

    fn recovered(&self) -> Vec<String> {
        let recovery = match self {
            Self::Worker(pipeline) => &pipeline.recovery,
            Self::Api(opened) => &opened.recovery,
        };
        recovery.as_ref().map(open::recovered).unwrap_or_default()
    }

    /// Until the process is told to stop, or the engine can't go on.
    async fn run_until(&self, stop: &CancellationToken, readiness: &Readiness) {
        let Self::Worker(pipeline) = self else { return stop.cancelled().await };
        tokio::select! {
            () = stop.cancelled() => {}
            () = pipeline.ended().cancelled() => {
                readiness.block("engine", "has stopped: nothing is settled any more");
                stop.cancel();
            }
        }
        // Where the buffer keeps what is left, the engine winds down while the server does. Where it
        // does not, everything that is accepted until the server has ended is settled first.
        if pipeline.buffer().kind().durable {
            pipeline.wind_down();
        }
    }

    /// Ends everything, in order. Returns how many events the buffer keeps.
    async fn stop(self, config: &Config) -> Result<u64> {
        match self {
            Self::Worker(mut pipeline) => {
                if !pipeline.buffer().kind().durable {
                    // What is left in the buffer would be gone: settle what there is time for.
                    let within = Duration::from_millis(config.engine.drain_timeout_ms);
                    if tokio::time::timeout(within, pipeline.drained()).await.is_err() {
                        tracing::error!("accepted events were not settled in time, and are lost");
                    }
                }
                Ok(pipeline.stop().await?.kept)
            }
            Self::Api(opened) => {
                let depth = opened.buffer.depth().await?;
                opened.buffer.close().await?;
                Ok(depth.ready + depth.leased)
            }
        }
    }
}

async fn listen(config: &Config) -> Result<TcpListener> {
    let bind = config.bind;
    if !bind.ip().is_loopback() {
        out::note(format_args!(
            "Warning: {bind} can be reached from other machines, and anyone who reaches it may \
             send events; put a proxy that checks who they are in front."
        ));
    }
    TcpListener::bind(bind)
        .await
        .with_context(|| format!("can't listen on {bind}; choose another address with --bind"))
}

/// Waits for the requests in flight.
async fn finish(serving: Option<JoinHandle<Result<(), server::Error>>>) -> Result<()> {
    let Some(serving) = serving else { return Ok(()) };
    serving.await.map_err(|error| anyhow!("the server ended unexpectedly: {error}"))??;
    Ok(())
}
