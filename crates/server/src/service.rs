//! The server, its parts put together.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use buffer::Buffer;
use model::clock::Clock;
use table::Front;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::door::Door;
use crate::meters::{Meters, Path};
use crate::tables::Table;
use crate::{Error, Options, Readiness, Telemetry, answer, ingest, probes, tables};

/// What every request sees.
pub(crate) struct Shared {
    /// Where payments come in.
    pub(crate) events: Door,
    /// By name.
    pub(crate) tables: HashMap<String, Table>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Telemetry,
    pub(crate) readiness: Readiness,
    pub(crate) options: Options,
    pub(crate) meters: Meters,
    /// One permit for each stream that is being read.
    pub(crate) streams: Semaphore,
}

/// A server that is not running yet.
pub struct Service {
    shared: Arc<Shared>,
    connections: Connections,
    events: Events,
}

/// What becomes of events that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    Accepted,
    /// Answered 202 and dropped.
    Dropped,
    /// There is no such route.
    Unknown,
}

/// Looks at a server from outside while it runs. Clones see the same server.
#[derive(Debug, Clone)]
pub struct Handle {
    readiness: Readiness,
    connections: Connections,
}

impl Handle {
    /// The server's readiness, which it was given.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.open()
    }
}

impl Service {
    /// A server of `buffer`. Events' times are held against `clock`. `readiness` may be blocked by
    /// others: while it is, events are answered 503.
    #[must_use]
    pub fn new(
        buffer: Arc<dyn Buffer>,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
        readiness: Readiness,
        options: Options,
    ) -> Self {
        let connections = Connections::new(options.connections_max);
        let streams = Semaphore::new(options.streams_max.min(Semaphore::MAX_PERMITS));
        let shared = Shared {
            events: Door::payments(buffer),
            tables: HashMap::new(),
            clock,
            telemetry,
            readiness,
            options,
            meters: Meters::new(),
            streams,
        };
        Self { shared: Arc::new(shared), connections, events: Events::Accepted }
    }

    /// The same server, with these tables to be written behind and read.
    ///
    /// # Panics
    /// If it was given away already, to a router.
    #[must_use]
    pub fn with_tables(mut self, fronts: impl IntoIterator<Item = Front>) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("it is not running yet");
        let named = |front: Front| (front.definition().name.clone(), Table::new(front));
        shared.tables = fronts.into_iter().map(named).collect();
        self
    }

    /// The same server, except that it answers 202 to every event and does nothing with it: the
    /// ceiling that ingest is measured against. Accepts nothing, so never for use.
    #[must_use]
    pub fn without_effect(mut self) -> Self {
        self.events = Events::Dropped;
        self
    }

    /// The same server without the routes that take events and rows: health and metrics of a process that
    /// only settles.
    #[must_use]
    pub fn without_events(mut self) -> Self {
        self.events = Events::Unknown;
        self
    }

    /// To look at the server while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { readiness: self.shared.readiness.clone(), connections: self.connections.clone() }
    }

    /// The routes alone, without bounds on connections or on the time a head takes.
    pub fn router(&self) -> Router {
        let events = match self.events {
            Events::Accepted => Some(post(ingest::events)),
            Events::Dropped => Some(post(ingest::nothing)),
            Events::Unknown => None,
        };
        let routes = events.map_or_else(Router::new, |events| {
            let events = events.fallback(not_allowed(Path::Events, "POST"));
            Router::new().route("/v1/events", events)
        });
        let routes = match self.events {
            Events::Accepted if !self.shared.tables.is_empty() => routes
                .route(
                    "/v1/tables/{name}",
                    post(tables::rows).fallback(not_allowed(Path::Tables, "POST")),
                )
                .route(
                    "/v1/tables/{name}/{key}",
                    get(tables::read)
                        .put(tables::put)
                        .fallback(not_allowed(Path::Tables, "GET, HEAD, PUT")),
                ),
            _ => routes,
        };
        routes
            .route("/ping", get(probes::ping).fallback(not_allowed(Path::Ping, "GET, HEAD")))
            .route("/ready", get(probes::ready).fallback(not_allowed(Path::Ready, "GET, HEAD")))
            .route(
                "/metrics",
                get(probes::metrics).fallback(not_allowed(Path::Metrics, "GET, HEAD")),
            )
            .fallback(not_found)
            .with_state(Arc::clone(&self.shared))
    }

    /// Serves `listener` until `shutdown`, then finishes what is in flight.
    ///
    /// On the signal `/ready` turns 503 and events are refused; after
    /// [`drain_delay`](Options::drain_delay) no more connections are taken; after
    /// [`grace`](Options::grace) at most, this returns.
    ///
    /// # Errors
    /// [`Error::Cut`] if requests were still in flight at the end of the grace period.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let stop_upkeep = CancellationToken::new();
        let _at_the_end = stop_upkeep.clone().drop_guard();
        let telemetry = self.shared.telemetry.clone();
        tokio::spawn(async move { telemetry.upkeep(stop_upkeep).await });

        let router = self.router();
        let Shared { options, readiness, .. } = &*self.shared;
        self.connections.serve(listener, router, options, readiness, shutdown).await
    }
}

async fn not_found(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.meters.answered(Path::Other, StatusCode::NOT_FOUND);
    answer::not_found()
}

/// What answers the methods that `path` does not know.
fn not_allowed(
    path: Path,
    allowed: &'static str,
) -> impl Fn(State<Arc<Shared>>) -> std::future::Ready<Response<Body>> + Clone {
    move |State(shared)| {
        shared.meters.answered(path, StatusCode::METHOD_NOT_ALLOWED);
        std::future::ready(answer::not_allowed(allowed))
    }
}
