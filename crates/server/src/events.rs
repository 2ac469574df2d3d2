//! `POST /v1/events`: payments.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::post;
use buffer::Buffer;
use model::clock::EpochMs;
use model::{Event, Payment};

use crate::door::{Bad, Door, Reads};
use crate::intake::{Intake, mounted};
use crate::meters::Taken;
use crate::routes::Routes;
use crate::{answer, ingest, intake};

const PATH: &str = "/v1/events";

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
    intake::routes(PATH, Door::new(buffer, Taken::payments(), None, Payments))
}

/// Answers 202 to every event and does nothing with it: the ceiling that ingest is measured against.
/// It accepts nothing, so it is never for use.
#[must_use]
pub fn without_effect(buffer: Arc<dyn Buffer>) -> Routes {
    mounted(PATH, Door::new(buffer, Taken::payments(), None, Payments), post(nothing))
}

/// Answers as if it had taken one. See [`without_effect`].
async fn nothing(State(events): State<Arc<Intake>>, request: Request<Body>) -> Response<Body> {
    let response = match ingest::whole(&events.shell, request.into_body()).await {
        Ok(_unread) => answer::one_accepted(),
        Err(refusal) => refusal.into_response(),
    };
    events.answers.count(response.status());
    response
}
