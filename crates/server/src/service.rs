//! The server: the shell, and the routes that were mounted on it.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use buffer::Buffer;
use model::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::meters::Answers;
use crate::routes::Routes;
use crate::shell::Shell;
use crate::{Error, Options, Readiness, Telemetry, answer, probes};

/// A server that is not running yet.
pub struct Service {
    shell: Arc<Shell>,
    connections: Connections,
    routes: Router,
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
    /// A server of health and metrics. `watched` names the buffers whose depth `/metrics` shows; it is asked
    /// at each scrape. Events' times are held against `clock`. `readiness` may be blocked by others: while
    /// it is, events are answered 503.
    #[must_use]
    pub fn new(
        watched: impl Fn() -> Vec<(String, Arc<dyn Buffer>)> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
        readiness: Readiness,
        options: Options,
    ) -> Self {
        let connections = Connections::new(options.connections_max);
        let streams = Semaphore::new(options.streams_max.min(Semaphore::MAX_PERMITS));
        let watched = Box::new(watched);
        let shell = Arc::new(Shell { clock, telemetry, readiness, options, streams, watched });
        let routes = probes::routes().mount(&shell);
        Self { shell, connections, routes }
    }

    /// The same server, which answers on these routes, too.
    ///
    /// # Panics
    /// If it has one of these paths already.
    #[must_use]
    pub fn with(mut self, routes: Routes) -> Self {
        self.routes = self.routes.merge(routes.mount(&self.shell));
        self
    }

    /// To look at the server while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { readiness: self.shell.readiness.clone(), connections: self.connections.clone() }
    }

    /// The routes alone, without bounds on connections or on the time a head takes.
    pub fn router(&self) -> Router {
        let answers = Answers::new("other", &[404]).at_zero();
        let answers = Arc::new(answers);
        self.routes.clone().fallback(move || {
            answers.count(StatusCode::NOT_FOUND);
            std::future::ready(answer::not_found())
        })
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
        let telemetry = self.shell.telemetry.clone();
        tokio::spawn(async move { telemetry.upkeep(stop_upkeep).await });

        let router = self.router();
        let Shell { options, readiness, .. } = &*self.shell;
        self.connections.serve(listener, router, options, readiness, shutdown).await
    }
}
