//! `/v1/tables`: rows of any table, written behind and read at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, Uri};
use table::{Failure, Front};
use tokio::time::timeout;

use crate::answer::{self, Refusal};
use crate::door::Door;
use crate::ingest::{self, Media};
use crate::meters::Path;
use crate::service::Shared;

const PREFIX: &str = "/v1/tables/";

/// One table.
pub(crate) struct Table {
    pub(crate) door: Door,
    front: Front,
}

impl Table {
    pub(crate) fn new(front: Front) -> Self {
        Self { door: Door::rows(&front), front }
    }
}

/// `POST /v1/tables/{name}`: one row, or a stream of them.
pub(crate) async fn rows(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Response<Body> {
    let response = match named(&shared, request.uri()) {
        Ok((table, _)) => ingest::take(&shared, &table.door, request).await,
        Err(refusal) => refusal.closing().into_response(),
    };
    shared.meters.answered(Path::Tables, response.status());
    response
}

/// `PUT /v1/tables/{name}/{key}`: one row.
pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Response<Body> {
    let response = match put_row(&shared, request).await {
        Ok(()) => answer::one_accepted(),
        Err(refusal) => refusal.into_response(),
    };
    shared.meters.answered(Path::Tables, response.status());
    response
}

/// `GET /v1/tables/{name}/{key}`: one row.
pub(crate) async fn read(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    let response = get_row(&shared, &uri).await.unwrap_or_else(Refusal::into_response);
    shared.meters.answered(Path::Tables, response.status());
    response
}

async fn put_row(shared: &Shared, request: Request<Body>) -> Result<(), Refusal> {
    let (head, body) = request.into_parts();
    let (table, key) = named(shared, &head.uri).map_err(Refusal::closing)?;
    if let Some(refusal) = ingest::not_ready(shared) {
        return Err(refusal);
    }
    match Media::of(&head.headers).map_err(Refusal::closing)? {
        Media::One => ingest::one(shared, &table.door, body, Some(key)).await,
        Media::Lines => {
            let problem = "one key has one row: send it as application/json, or rows to the table";
            Err(Refusal::media(problem).closing())
        }
    }
}

async fn get_row(shared: &Shared, uri: &Uri) -> Result<Response<Body>, Refusal> {
    let (table, key) = named(shared, uri)?;
    let busy = || Refusal::unavailable("the table can't be read now; try again later");
    let found = timeout(shared.options.offer_timeout, table.front.get(key)).await;
    let found = found.map_err(|_elapsed| busy())?.map_err(|failure| match failure {
        Failure::Key(bad) => Refusal::of_field(StatusCode::BAD_REQUEST, bad.field, bad.problem),
        Failure::Store(error) => {
            // What the store said may name hosts and paths, which are none of the client's business.
            tracing::warn!(%error, table = table.front.definition().name, "a row can't be read");
            busy()
        }
    })?;
    let row = found.row.ok_or_else(|| Refusal::absent("there is no row of this key"))?;
    Ok(answer::row(row, found.source.name()))
}

/// The table that a path names, and the key in it, as it is encoded there; empty without one.
fn named<'s, 'u>(shared: &'s Shared, uri: &'u Uri) -> Result<(&'s Table, &'u str), Refusal> {
    let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let (name, key) = path.split_once('/').unwrap_or((path, ""));
    let table = shared.tables.get(name);
    let table = table.ok_or_else(|| {
        Refusal::absent("there is no such table here; [[table]] entries of forebay.toml name them")
    })?;
    Ok((table, key))
}
