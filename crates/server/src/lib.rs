//! HTTP: events in, health and metrics out. The only owner of public JSON.
//!
//! | route | what it does |
//! |---|---|
//! | `POST /v1/events` | one JSON event, or a stream of them as NDJSON, into the buffer |
//! | `POST /v1/tables/{name}` | one row of a table, or a stream of them, into its buffer |
//! | `PUT /v1/tables/{name}/{key}` | one row; the key's columns may be left out of it |
//! | `GET /v1/tables/{name}/{key}` | the row, at once: out of the buffer, the cache or the store |
//! | `POST` of any other domain ([`intake`]) | the same as `/v1/events`, at one path or at one for each name |
//! | `GET /ping` | `pong`: the process answers |
//! | `GET /ready` | 200 when it takes events, else 503 with the reasons |
//! | `GET /metrics` | Prometheus text |
//!
//! Answers of whatever takes events and rows (every answer that is not 202 has `error.problem`)
//!
//! | status | when |
//! |---|---|
//! | 202 | what `accepted` counts is durable; of a stream, some lines may be in `errors` |
//! | 400 | the event is bad; of a stream, lines were rejected and none was accepted |
//! | 403 | the events are read from another system, and none is taken here |
//! | 408 | the body stopped coming |
//! | 413 | the event, or the stream, is too large |
//! | 415 | another content type than `application/json`, `application/x-ndjson`, or compressed |
//! | 429 | the buffer is full: `Retry-After` says when to come back |
//! | 503 | the buffer can't be used, or this process starts or stops: `Retry-After` as well |
//!
//! `GET /v1/tables/…` answers 200 with the row and `x-forebay-source` (`buffer`, `cache`, `store`),
//! 400 when it is no key, 404 when there is no row, 503 when the store can't be asked.
//!
//! A stream that ends in 400, 403, 408, 413, 429 or 503 says `resume_at_line`: from that line on nothing
//! is known to be accepted, and every line before it is counted. Sending lines again is always
//! right, because effects are deduped by `tx_id`, and rows by key and version, where they are applied.
//!
//! Invariants
//! - A 202 is sent only after [`buffer::Buffer::offer`] returned for everything it counts.
//! - Memory is bounded by [`Options`], whatever is sent and however slowly.
//! - No answer and no log line repeats a value of an event: a card number may be in any field.
//! - Nothing that comes from outside panics.
//!
//! What it deliberately does not do: no TLS, no authentication, no CORS (a browser's cross-origin
//! request of these content types needs a preflight, which is refused), no deduping, no choice of
//! address: the listener is passed in.

mod answer;
mod connections;
mod door;
mod error;
pub mod events;
mod ingest;
pub mod intake;
mod lines;
mod meters;
mod named;
mod options;
mod outbound;
mod probes;
mod readiness;
mod routes;
mod series;
mod service;
mod shell;
mod stream;
pub mod tables;
mod tally;
pub mod telemetry;

pub use door::{Bad, Door, Reads};
pub use error::Error;
pub use options::Options;
pub use readiness::Readiness;
pub use routes::Routes;
pub use service::{Handle, Service};
pub use telemetry::Telemetry;
