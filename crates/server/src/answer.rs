//! The bodies and heads of answers: all public JSON is here and in [`crate::tally`].

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;

/// When to come back from a 503, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// The whole body of a 202 for one event, which is most answers.
const ONE_ACCEPTED: &str = r#"{"accepted":1,"rejected":0,"errors":[],"errors_truncated":false}"#;

/// The head's field that says where a row was known from: `buffer`, `cache` or `store`.
const SOURCE: &str = "x-forebay-source";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// The field at fault, or `event` for the whole of it; none when no event is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<Cow<'static, str>>,
    /// What is wrong and what to do.
    pub(crate) problem: Cow<'static, str>,
}

/// A refusal: its status, its reason, and what goes into the head with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fault: Fault,
    retry_after_s: Option<u64>,
    /// The rest of the body is not read, so the connection can't be used again.
    close: bool,
}

impl Refusal {
    fn new(status: StatusCode, problem: impl Into<Cow<'static, str>>) -> Self {
        let fault = Fault { field: None, problem: problem.into() };
        Self { status, fault, retry_after_s: None, close: false }
    }

    /// 400, 413: `field` of the event is at fault.
    pub(crate) fn of_field(
        status: StatusCode,
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut refusal = Self::new(status, problem);
        refusal.fault.field = Some(field.into());
        refusal
    }

    /// 413.
    pub(crate) fn too_large(what: &'static str, bytes_max: u64) -> Self {
        let problem = format!("{what} is more than {bytes_max} bytes; send less at once");
        Self::of_field(StatusCode::PAYLOAD_TOO_LARGE, "event", problem).closing()
    }

    /// 415.
    pub(crate) fn media(problem: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem)
    }

    /// 403.
    pub(crate) fn read_only() -> Self {
        let problem =
            "events cannot be sent here: they are read from another system; send them there";
        Self::new(StatusCode::FORBIDDEN, problem)
    }

    /// 408.
    pub(crate) fn stalled() -> Self {
        let problem = "the body stopped coming; send it again without long pauses";
        Self::new(StatusCode::REQUEST_TIMEOUT, problem).closing()
    }

    /// 408.
    pub(crate) fn overdue() -> Self {
        let problem = "the stream takes too long; go on with a new request";
        Self::new(StatusCode::REQUEST_TIMEOUT, problem).closing()
    }

    /// 400. The client is most likely gone and never reads this.
    pub(crate) fn broken() -> Self {
        let problem = "the body ended before it was complete; send it again";
        Self::of_field(StatusCode::BAD_REQUEST, "event", problem).closing()
    }

    /// 429: come back after `retry_after_s` seconds.
    pub(crate) fn full(retry_after_s: u64) -> Self {
        let problem = "the buffer is full; try again after as many seconds as Retry-After says";
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, problem);
        refusal.retry_after_s = Some(retry_after_s.max(1));
        refusal
    }

    /// 404: `problem` says what is not there.
    pub(crate) fn absent(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, problem)
    }

    /// 503: `problem` passes, and what to do is to try again.
    pub(crate) fn unavailable(problem: impl Into<Cow<'static, str>>) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, problem);
        refusal.retry_after_s = Some(RETRY_AFTER_S);
        refusal
    }

    /// The same, when the rest of the body is left unread.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The answer, with `body` as its JSON.
    pub(crate) fn with_body(&self, body: &impl Serialize) -> Response<Body> {
        let mut response = json(self.status, to_bytes(body));
        let head = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            head.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            head.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The answer, with `{"error":…}` as its JSON.
    pub(crate) fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Refused<'a> {
            error: &'a Fault,
        }
        self.with_body(&Refused { error: &self.fault })
    }
}

/// 202 for one event.
pub(crate) fn one_accepted() -> Response<Body> {
    json(StatusCode::ACCEPTED, Bytes::from_static(ONE_ACCEPTED.as_bytes()))
}

/// 404.
pub(crate) fn not_found() -> Response<Body> {
    let problem = "there is nothing here; events go to /v1/events";
    Refusal::new(StatusCode::NOT_FOUND, problem).into_response()
}

/// 405; `allowed` is what to use instead.
pub(crate) fn not_allowed(allowed: &'static str) -> Response<Body> {
    let problem = format!("this method is not allowed here; use {allowed}");
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, problem).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What a connection past the bound is told, as it goes over the wire.
pub(crate) fn connections_full() -> String {
    let body = r#"{"error":{"problem":"too many connections; try again in a second"}}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// 200 with a row, and in the head where it was known from.
pub(crate) fn row(row: Bytes, source: &'static str) -> Response<Body> {
    let mut response = json(StatusCode::OK, row);
    response.headers_mut().insert(SOURCE, HeaderValue::from_static(source));
    response
}

/// An answer with JSON that is already written.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    typed(status, "application/json", body)
}

/// An answer of any type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `body` as JSON.
pub(crate) fn to_bytes(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("text and numbers always make JSON").into()
}
