//! `POST /v1/events`: what comes in is told apart here; one event is taken here, a stream of them in
//! [`crate::stream`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use model::{Class, Classify as _, Event, Payment};
use tokio::time::timeout;

use crate::answer::{self, Refusal};
use crate::meters::Path;
use crate::service::Shared;
use crate::stream;

/// Takes one event or a stream of them.
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Response<Body> {
    let response = take(&shared, request).await;
    shared.meters.answered(Path::Events, response.status());
    response
}

/// Answers as if it had: see [`crate::Service::without_effect`].
pub(crate) async fn nothing(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Response<Body> {
    let response = match whole(&shared, request.into_body()).await {
        Ok(_unread) => answer::one_accepted(),
        Err(refusal) => refusal.into_response(),
    };
    shared.meters.answered(Path::Events, response.status());
    response
}

async fn take(shared: &Shared, request: Request<Body>) -> Response<Body> {
    if !shared.readiness.is_ready() {
        let problem = "events are not taken just now, see /ready; try again later";
        return Refusal::unavailable(problem).closing().into_response();
    }
    match Media::of(request.headers()) {
        Ok(Media::One) => match one(shared, request.into_body()).await {
            Ok(()) => answer::one_accepted(),
            Err(refusal) => refusal.into_response(),
        },
        Ok(Media::Lines) => stream::take(shared, request.into_body()).await,
        Err(refusal) => refusal.closing().into_response(),
    }
}

async fn one(shared: &Shared, body: Body) -> Result<(), Refusal> {
    let json = whole(shared, body).await?;
    let event = Payment::to_event(&json, shared.clock.now_ms()).map_err(|reject| {
        shared.meters.rejected.increment(1);
        Refusal::of_field(StatusCode::BAD_REQUEST, reject.field, reject.problem)
    })?;
    let events = std::slice::from_ref(&event);
    shared.offer(events).await.map_err(|error| shared.refuse(error, 1))?;
    shared.meters.accepted.increment(1);
    Ok(())
}

/// The whole body, which is one slice of what was read when it came in one piece.
async fn whole(shared: &Shared, body: Body) -> Result<Bytes, Refusal> {
    let bytes_max = shared.options.event_bytes_max;
    let too_large = || Refusal::too_large("the event", bytes_max as u64);
    let announced = body.size_hint();
    if announced.lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let read = async {
        let mut data = body.into_data_stream();
        let mut all = BytesMut::new();
        while let Some(chunk) = data.next().await {
            let chunk = chunk.map_err(|_| Refusal::broken())?;
            if all.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            if all.is_empty() && announced.exact() == Some(chunk.len() as u64) {
                return Ok(chunk);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    timeout(shared.options.body_idle_timeout, read).await.map_err(|_| Refusal::stalled())?
}

/// Why an offer was not taken.
pub(crate) enum NotTaken {
    /// The buffer said so.
    Buffer(buffer::Error),
    /// The buffer said nothing within [`crate::Options::offer_timeout`].
    Silent(Duration),
}

impl Shared {
    /// Offers `events`, and waits a bounded time for the buffer to say that it has them.
    pub(crate) async fn offer(&self, events: &[Event]) -> Result<(), NotTaken> {
        let wait = self.options.offer_timeout;
        match timeout(wait, self.buffer.offer(events)).await {
            Ok(Ok(())) => {
                // Loaded before it is stored: the line stays shared among the processors.
                if self.unreachable.load(Ordering::Relaxed) {
                    self.unreachable.store(false, Ordering::Relaxed);
                    tracing::info!("the buffer takes events again");
                }
                Ok(())
            }
            Ok(Err(error)) => Err(NotTaken::Buffer(error)),
            Err(_elapsed) => Err(NotTaken::Silent(wait)),
        }
    }

    /// The answer to `events` good events that were not taken. What the buffer said goes to the
    /// log: it may name paths and hosts, which are none of the client's business.
    pub(crate) fn refuse(&self, not_taken: NotTaken, events: usize) -> Refusal {
        let events = events as u64;
        let error = match not_taken {
            NotTaken::Buffer(buffer::Error::Full { retry_after, .. }) => {
                self.meters.refused_full.increment(events);
                let begun = u64::from(retry_after.subsec_nanos() > 0);
                return Refusal::full(retry_after.as_secs().saturating_add(begun));
            }
            NotTaken::Buffer(error) if error.class() == Class::Rejected => {
                self.meters.rejected.increment(events);
                let problem = "the event is larger than the buffer takes; send a smaller one";
                return Refusal::of_field(StatusCode::PAYLOAD_TOO_LARGE, "event", problem);
            }
            NotTaken::Buffer(error) => error,
            NotTaken::Silent(wait) => {
                buffer::Error::Unavailable(format!("no answer within {wait:?}"))
            }
        };
        self.meters.refused_unavailable.increment(events);
        if error.class() == Class::Fatal {
            if self.readiness.block("buffer", "takes no more events; see the log") {
                tracing::error!(%error, "no more events are taken");
            }
        } else if !self.unreachable.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "events are refused until the buffer can be reached");
        }
        Refusal::unavailable("the buffer can't take events now; try again later")
    }
}

/// What a body holds.
#[derive(Debug, PartialEq, Eq)]
enum Media {
    /// One event.
    One,
    /// One event on each line.
    Lines,
}

impl Media {
    fn of(head: &HeaderMap) -> Result<Self, Refusal> {
        const RIGHT: &str = "Content-Type must be application/json for one event, or \
                             application/x-ndjson (or application/jsonl) for one event on each line, in UTF-8";
        if head.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Refusal::media("Content-Encoding is not supported; send it uncompressed"));
        }
        let content_type = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let utf8 = parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        let is = |name: &str| utf8 && essence.eq_ignore_ascii_case(name);
        if is("application/json") {
            Ok(Self::One)
        } else if is("application/x-ndjson") || is("application/jsonl") {
            Ok(Self::Lines)
        } else {
            Err(Refusal::media(RIGHT))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[(&'static str, &'static str)], expect: Option<Media>) {
        let mut map = HeaderMap::new();
        for &(name, value) in head {
            map.insert(name, value.parse().unwrap());
        }
        assert_eq!(Media::of(&map).ok(), expect, "{head:?}");
    }

    #[test]
    fn the_content_type_says_whether_it_is_one_event_or_many() {
        check(&[("content-type", "application/json")], Some(Media::One));
        check(&[("content-type", "Application/JSON ; Charset=\"UTF-8\"")], Some(Media::One));
        check(&[("content-type", "application/x-ndjson")], Some(Media::Lines));
        check(&[("content-type", "application/jsonl;charset=utf-8")], Some(Media::Lines));
    }

    #[test]
    fn any_other_type_charset_or_coding_is_refused() {
        check(&[], None);
        check(&[("content-type", "")], None);
        check(&[("content-type", "text/plain")], None);
        check(&[("content-type", "application/json5")], None);
        check(&[("content-type", "application/json; charset=latin1")], None);
        check(&[("content-type", "application/json"), ("content-encoding", "gzip")], None);
        check(
            &[("content-type", "application/json"), ("content-encoding", "identity")],
            Some(Media::One),
        );
    }
}
