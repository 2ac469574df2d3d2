//! Paths that take events of a domain in, one event or a stream of them: one path, or one for each name of a list.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::{MethodRouter, post};
use tokio_util::sync::CancellationToken;

use crate::door::Door;
use crate::ingest;
use crate::meters::Answers;
use crate::named::Named;
use crate::routes::{Routes, not_allowed};
use crate::shell::Shell;

const STATUSES: [u16; 9] = [202, 400, 403, 405, 408, 413, 415, 429, 503];
const STATUSES_OF_NAMED: [u16; 10] = [202, 400, 403, 404, 405, 408, 413, 415, 429, 503];

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

/// Doors by name, which may come and go while the server runs. Clones share them.
#[derive(Clone)]
pub struct Doors {
    path: &'static str,
    named: Named<Door>,
}

/// What the handler of named doors uses.
struct NamedIntake {
    shell: Arc<Shell>,
    answers: Arc<Answers>,
    doors: Doors,
}

impl Doors {
    /// No door yet. Each is at `path`, behind a slash and its name; the configuration calls one `noun`.
    #[must_use]
    pub fn new(path: &'static str, noun: &'static str) -> Self {
        Self { path, named: Named::new(noun) }
    }

    /// Takes events in at this door from now on, in place of another of its name.
    pub fn add(&self, name: &str, door: Door) {
        self.named.add(name, door);
    }

    /// Takes no more events in at this door. Returns what is cancelled once no request uses it, if it was there.
    pub fn remove(&self, name: &str) -> Option<CancellationToken> {
        self.named.remove(name)
    }

    /// Answers 503 for these doors while they are not there, and 404 for all others, from now on.
    pub fn expect(&self, names: impl IntoIterator<Item = String>) {
        self.named.expect(names);
    }

    /// The routes of these doors.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let doors = self.clone();
        Routes::new(move |shell| {
            let answers = Arc::new(Answers::new(doors.path, &STATUSES_OF_NAMED));
            let handler = post(take_named).fallback(not_allowed(&answers, "POST"));
            let path = format!("{}/{{name}}", doors.path);
            let intake = NamedIntake { shell: shell.clone(), answers, doors };
            Router::new().route(&path, handler).with_state(Arc::new(intake))
        })
    }
}

/// Takes events in at the door that the path names.
async fn take_named(
    State(intake): State<Arc<NamedIntake>>,
    request: Request<Body>,
) -> Response<Body> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let response = match intake.doors.named.get(name) {
        Ok(door) => ingest::take(&intake.shell, &door.value, request).await,
        Err(refusal) => refusal.closing().into_response(),
    };
    intake.answers.count(response.status());
    response
}
