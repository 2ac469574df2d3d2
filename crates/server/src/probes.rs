//! `/ping`, `/ready`, `/metrics`: what those who watch the process ask.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use buffer::{Buffer, Depth};
use bytes::Bytes;
use serde::Serialize;

use crate::meters::Path;
use crate::service::Shared;
use crate::{answer, telemetry};

/// The process answers.
pub(crate) async fn ping(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.meters.answered(Path::Ping, StatusCode::OK);
    answer::typed(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"pong"))
}

/// Whether events are taken, and if not, why; and what else needs attention.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response<Body> {
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

    let reasons = shared.readiness.reasons().into_iter();
    let reasons: Vec<Block> = reasons.map(|(part, reason)| Block { part, reason }).collect();
    let ready = reasons.is_empty();
    let warnings = shared.readiness.warnings();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    shared.meters.answered(Path::Ready, status);
    answer::json(status, answer::to_bytes(&Ready { ready, reasons, warnings }))
}

/// Everything recorded, and the depth of the buffer as of now.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let buffer = &*shared.events.buffer;
    telemetry::show(buffer.kind().name, depth(&shared, buffer).await, shared.clock.now_ms());
    for (name, table) in &shared.tables {
        let depth = depth(&shared, &*table.door.buffer).await;
        telemetry::show(format!("table:{name}"), depth, shared.clock.now_ms());
    }
    shared.meters.answered(Path::Metrics, StatusCode::OK);
    answer::typed(StatusCode::OK, telemetry::CONTENT_TYPE, shared.telemetry.render().into())
}

async fn depth(shared: &Shared, buffer: &dyn Buffer) -> Option<Depth> {
    match tokio::time::timeout(shared.options.offer_timeout, buffer.depth()).await {
        Ok(Ok(depth)) => Some(depth),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the buffer's depth can't be read");
            None
        }
        Err(_elapsed) => None,
    }
}
