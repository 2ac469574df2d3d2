//! One path that takes events of a domain in: one event, or a stream of them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::{MethodRouter, post};

use crate::door::Door;
use crate::ingest;
use crate::meters::Answers;
use crate::routes::{Routes, not_allowed};
use crate::shell::Shell;

const STATUSES: [u16; 9] = [202, 400, 403, 405, 408, 413, 415, 429, 503];

/// What the handlers use.
pub(crate) struct Intake {
    pub(crate) shell: Arc<Shell>,
    pub(crate) answers: Arc<Answers>,
    door: Door,
}

/// Takes events in at `door`, posted to `path` as JSON or as NDJSON.
#[must_use]
pub fn routes(path: &'static str, door: Door) -> Routes {
    mounted(path, door, post(take))
}

pub(crate) fn mounted(
    path: &'static str,
    door: Door,
    handler: MethodRouter<Arc<Intake>>,
) -> Routes {
    Routes::new(move |shell| {
        let answers = Arc::new(Answers::new(path, &STATUSES).at_zero());
        let handler = handler.fallback(not_allowed(&answers, "POST"));
        let intake = Intake { shell: shell.clone(), door, answers };
        Router::new().route(path, handler).with_state(Arc::new(intake))
    })
}

/// Takes one event or a stream of them.
async fn take(State(intake): State<Arc<Intake>>, request: Request<Body>) -> Response<Body> {
    let response = ingest::take(&intake.shell, &intake.door, request).await;
    intake.answers.count(response.status());
    response
}
