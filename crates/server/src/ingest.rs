//! Taking events in, whatever the domain: one event is taken here, a stream of them in [`crate::stream`].

use axum::body::{Body, HttpBody as _};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::answer::{self, Refusal};
use crate::door::Door;
use crate::shell::Shell;
use crate::stream;

/// Takes one event, or a stream of them, in at `door`.
pub(crate) async fn take(shell: &Shell, door: &Door, request: Request<Body>) -> Response<Body> {
    if let Some(refusal) = not_ready(shell) {
        return refusal.into_response();
    }
    match Media::of(request.headers()) {
        Ok(Media::One) => match one(shell, door, request.into_body(), None).await {
            Ok(()) => answer::one_accepted(),
            Err(refusal) => refusal.into_response(),
        },
        Ok(Media::Lines) => stream::take(shell, door, request.into_body()).await,
        Err(refusal) => refusal.closing().into_response(),
    }
}

/// The refusal of a process that takes nothing just now.
pub(crate) fn not_ready(shell: &Shell) -> Option<Refusal> {
    let problem = "events are not taken just now, see /ready; try again later";
    (!shell.readiness.is_ready()).then(|| Refusal::unavailable(problem).closing())
}

/// Takes one event; `key` is the one in the path, where there is one.
pub(crate) async fn one(
    shell: &Shell,
    door: &Door,
    body: Body,
    key: Option<&str>,
) -> Result<(), Refusal> {
    let json = whole(shell, body).await?;
    let event = door.read(&json, key, shell.clock.now_ms()).map_err(|bad| {
        door.taken.rejected.increment(1);
        Refusal::of_field(StatusCode::BAD_REQUEST, bad.field, bad.problem)
    })?;
    let events = std::slice::from_ref(&event);
    let offered = door.offer(events, shell.options.offer_timeout).await;
    offered.map_err(|error| door.refuse(&shell.readiness, error, 1))?;
    door.taken.accepted.increment(1);
    Ok(())
}

/// The whole body, which is one slice of what was read when it came in one piece.
pub(crate) async fn whole(shell: &Shell, body: Body) -> Result<Bytes, Refusal> {
    let bytes_max = shell.options.event_bytes_max;
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
    timeout(shell.options.body_idle_timeout, read).await.map_err(|_| Refusal::stalled())?
}

/// What a body holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// One event.
    One,
    /// One event on each line.
    Lines,
}

impl Media {
    pub(crate) fn of(head: &HeaderMap) -> Result<Self, Refusal> {
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
