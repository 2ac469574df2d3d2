//! `/v1/tables`: rows of any table, written behind and read at once.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, Uri};
use axum::routing::{get, post};
use model::Event;
use model::clock::EpochMs;
use table::{Failure, Front};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Refusal};
use crate::door::{Bad, Door, Reads};
use crate::ingest::{self, Media};
use crate::meters::{Answers, Taken};
use crate::named::{Held, Named};
use crate::routes::{Routes, not_allowed};
use crate::shell::Shell;

const PREFIX: &str = "/v1/tables/";
const STATUSES: [u16; 11] = [200, 202, 400, 403, 404, 405, 408, 413, 415, 429, 503];

/// The tables of this process, by name. Clones share them; they may change while the server runs.
#[derive(Clone)]
pub struct Tables {
    named: Named<Table>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { named: Named::new("table") }
    }
}

/// One table.
struct Table {
    door: Door,
    front: Front,
}

/// What the handlers use.
struct Rows {
    shell: Arc<Shell>,
    tables: Tables,
    answers: Arc<Answers>,
}

impl Tables {
    /// Takes rows of a table, and answers reads of it, from now on. Takes the place of another table of its
    /// name.
    pub fn add(&self, front: Front) {
        let name = front.definition().name.clone();
        self.named.add(&name, Table { door: Door::rows(&front), front });
    }

    /// Serves a table no more. Returns what is cancelled once no request uses it, if it was there.
    pub fn remove(&self, name: &str) -> Option<CancellationToken> {
        self.named.remove(name)
    }

    /// Answers 503 for these tables while they are not served, and 404 for all others, from now on.
    pub fn expect(&self, names: impl IntoIterator<Item = String>) {
        self.named.expect(names);
    }

    /// The routes of these tables.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let tables = self.clone();
        Routes::new(move |shell| {
            let answers = Arc::new(Answers::new("/v1/tables", &STATUSES));
            let many = post(rows).fallback(not_allowed(&answers, "POST"));
            let one = get(read).put(put).fallback(not_allowed(&answers, "GET, HEAD, PUT"));
            let rows = Rows { shell: shell.clone(), tables, answers };
            Router::new()
                .route("/v1/tables/{name}", many)
                .route("/v1/tables/{name}/{key}", one)
                .with_state(Arc::new(rows))
        })
    }
}

impl Door {
    /// Rows of a table into its buffer.
    fn rows(front: &Front) -> Self {
        let name = &front.definition().name;
        let pipeline = Some(format!("table:{name}"));
        Self::new(front.buffer(), Taken::of("table", name), pipeline, front.clone())
    }
}

impl Reads for Front {
    fn read(&self, json: &[u8], key: Option<&str>, _: EpochMs) -> Result<Event, Bad> {
        self.event(json, key).map_err(|reject| Bad { field: reject.field, problem: reject.problem })
    }

    /// One table's trouble is not that of the others.
    fn is_vital(&self) -> bool {
        false
    }
}

/// `POST /v1/tables/{name}`: one row, or a stream of them.
async fn rows(State(rows): State<Arc<Rows>>, request: Request<Body>) -> Response<Body> {
    let response = match rows.named(request.uri()) {
        Ok((table, _)) => ingest::take(&rows.shell, &table.value.door, request).await,
        Err(refusal) => refusal.closing().into_response(),
    };
    rows.answers.count(response.status());
    response
}

/// `PUT /v1/tables/{name}/{key}`: one row.
async fn put(State(rows): State<Arc<Rows>>, request: Request<Body>) -> Response<Body> {
    let response = match rows.put(request).await {
        Ok(()) => answer::one_accepted(),
        Err(refusal) => refusal.into_response(),
    };
    rows.answers.count(response.status());
    response
}

/// `GET /v1/tables/{name}/{key}`: one row.
async fn read(State(rows): State<Arc<Rows>>, uri: Uri) -> Response<Body> {
    let response = rows.read(&uri).await.unwrap_or_else(Refusal::into_response);
    rows.answers.count(response.status());
    response
}

impl Rows {
    async fn put(&self, request: Request<Body>) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let (table, key) = self.named(&head.uri).map_err(Refusal::closing)?;
        if let Some(refusal) = ingest::not_ready(&self.shell) {
            return Err(refusal);
        }
        match Media::of(&head.headers).map_err(Refusal::closing)? {
            Media::One => ingest::one(&self.shell, &table.value.door, body, Some(key)).await,
            Media::Lines => {
                let problem =
                    "one key has one row: send it as application/json, or rows to the table";
                Err(Refusal::media(problem).closing())
            }
        }
    }

    async fn read(&self, uri: &Uri) -> Result<Response<Body>, Refusal> {
        let (table, key) = self.named(uri)?;
        let busy = || Refusal::unavailable("the table can't be read now; try again later");
        let found = timeout(self.shell.options.offer_timeout, table.value.front.get(key)).await;
        let found = found.map_err(|_elapsed| busy())?.map_err(|failure| match failure {
            Failure::Key(bad) => Refusal::of_field(StatusCode::BAD_REQUEST, bad.field, bad.problem),
            Failure::Store(error) => {
                // What the store said may name hosts and paths, which are none of the client's business.
                tracing::warn!(%error, table = table.value.front.definition().name, "a row can't be read");
                busy()
            }
        })?;
        let row = found.row.ok_or_else(|| Refusal::absent("there is no row of this key"))?;
        Ok(answer::row(row, found.source.name()))
    }

    /// The table that a path names, and the key in it, as it is encoded there; empty without one.
    fn named<'u>(&self, uri: &'u Uri) -> Result<(Arc<Held<Table>>, &'u str), Refusal> {
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let (name, key) = path.split_once('/').unwrap_or((path, ""));
        Ok((self.tables.named.get(name)?, key))
    }
}
