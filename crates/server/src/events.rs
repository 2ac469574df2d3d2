//! `POST /v1/events`: payments.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::{MethodRouter, post};
use buffer::Buffer;
use model::clock::EpochMs;
use model::{Event, Payment};

use crate::answer;
use crate::door::{Bad, Door, Reads};
use crate::ingest;
use crate::meters::{Answers, Taken};
use crate::routes::{Routes, not_allowed};
use crate::shell::Shell;

const PATH: &str = "/v1/events";
const STATUSES: [u16; 9] = [202, 400, 403, 405, 408, 413, 415, 429, 503];

/// What the handlers use.
struct Events {
    shell: Arc<Shell>,
    door: Door,
    answers: Arc<Answers>,
}

/// Reads payments.
struct Payments;

impl Reads for Payments {
    fn read(&self, json: &[u8], _: Option<&str>, now_ms: EpochMs) -> Result<Event, Bad> {
        Payment::to_event(json, now_ms)
            .map_err(|reject| Bad { field: reject.field.into(), problem: reject.problem })
    }

    fn is_vital(&self) -> bool {
        true
    }
}

/// Takes payments into `buffer`.
#[must_use]
pub fn routes(buffer: Arc<dyn Buffer>) -> Routes {
    mounted(buffer, post(events))
}

/// Answers 202 to every event and does nothing with it: the ceiling that ingest is measured against.
/// It accepts nothing, so it is never for use.
#[must_use]
pub fn without_effect(buffer: Arc<dyn Buffer>) -> Routes {
    mounted(buffer, post(nothing))
}

fn mounted(buffer: Arc<dyn Buffer>, handler: MethodRouter<Arc<Events>>) -> Routes {
    Routes::new(move |shell| {
        let answers = Arc::new(Answers::new(PATH, &STATUSES).at_zero());
        let handler = handler.fallback(not_allowed(&answers, "POST"));
        let door = Door::new(buffer, Taken::payments(), Payments);
        let events = Events { shell: shell.clone(), door, answers };
        Router::new().route(PATH, handler).with_state(Arc::new(events))
    })
}

/// Takes one event or a stream of them.
async fn events(State(events): State<Arc<Events>>, request: Request<Body>) -> Response<Body> {
    let response = ingest::take(&events.shell, &events.door, request).await;
    events.answers.count(response.status());
    response
}

/// Answers as if it had taken one. See [`without_effect`].
async fn nothing(State(events): State<Arc<Events>>, request: Request<Body>) -> Response<Body> {
    let response = match ingest::whole(&events.shell, request.into_body()).await {
        Ok(_unread) => answer::one_accepted(),
        Err(refusal) => refusal.into_response(),
    };
    events.answers.count(response.status());
    response
}
