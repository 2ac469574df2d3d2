//! `/ping`, `/ready`, `/metrics`: what those who watch the process ask.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use buffer::Buffer;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::answer;
use crate::meters::Answers;
use crate::routes::{Routes, not_allowed};
use crate::shell::Shell;
use crate::telemetry::{self, Seen};

/// How long a scrape waits for the depth of a buffer. All are asked at once, so that a scrape ends in time while
/// buffers are out of reach.
const DEPTH_WAIT_MAX: Duration = Duration::from_secs(2);

/// What the handlers use.
struct Probes {
    shell: Arc<Shell>,
    ping: Arc<Answers>,
    ready: Arc<Answers>,
    metrics: Arc<Answers>,
}

/// The routes of every process.
pub(crate) fn routes() -> Routes {
    Routes::new(|shell| {
        let answers = |path, statuses: &[u16]| Arc::new(Answers::new(path, statuses).at_zero());
        let probes = Probes {
            shell: shell.clone(),
            ping: answers("/ping", &[200, 405]),
            ready: answers("/ready", &[200, 405, 503]),
            metrics: answers("/metrics", &[200, 405]),
        };
        let read_only = |answers: &Arc<Answers>| not_allowed(answers, "GET, HEAD");
        Router::new()
            .route("/ping", get(ping).fallback(read_only(&probes.ping)))
            .route("/ready", get(ready).fallback(read_only(&probes.ready)))
            .route("/metrics", get(metrics).fallback(read_only(&probes.metrics)))
            .with_state(Arc::new(probes))
    })
}

/// The process answers.
async fn ping(State(probes): State<Arc<Probes>>) -> Response<Body> {
    probes.ping.count(StatusCode::OK);
    answer::typed(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"pong"))
}

/// Whether events are taken, and if not, why; and what else needs attention.
async fn ready(State(probes): State<Arc<Probes>>) -> Response<Body> {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        reasons: Vec<Block>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    }
    #[derive(Serialize)]
    struct Block {
        part: &'static str,
        reason: String,
    }

    let reasons = probes.shell.readiness.reasons().into_iter();
    let reasons: Vec<Block> = reasons.map(|(part, reason)| Block { part, reason }).collect();
    let ready = reasons.is_empty();
    let warnings = probes.shell.readiness.warnings();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    probes.ready.count(status);
    answer::json(status, answer::to_bytes(&Ready { ready, reasons, warnings }))
}

/// Everything recorded, and the depth of each buffer as of now.
async fn metrics(State(probes): State<Arc<Probes>>) -> Response<Body> {
    let shell = &probes.shell;
    let looks = (shell.watched)().into_iter().map(async |(name, buffer)| {
        let seen = seen(&*buffer).await;
        telemetry::show(name, seen, shell.clock.now_ms());
    });
    join_all(looks).await;
    probes.metrics.count(StatusCode::OK);
    answer::typed(StatusCode::OK, telemetry::CONTENT_TYPE, shell.telemetry.render().into())
}

/// The depth of a buffer; where it is out of reach, that of its spill.
async fn seen(buffer: &dyn Buffer) -> Seen {
    if let Some(depth) = in_time(buffer.depth()).await {
        return Seen::Whole(depth);
    }
    match in_time(buffer.spilled()).await.flatten() {
        Some(spilled) => Seen::Spill(spilled),
        None => Seen::Nothing,
    }
}

async fn in_time<T>(look: impl Future<Output = Result<T, buffer::Error>>) -> Option<T> {
    match timeout(DEPTH_WAIT_MAX, look).await {
        Ok(Ok(seen)) => Some(seen),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the buffer's depth can't be read");
            None
        }
        Err(_elapsed) => None,
    }
}
