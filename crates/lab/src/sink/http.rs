//! A running server.

use std::time::Duration;

use async_trait::async_trait;
use model::Event;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::lines::append_line;
use super::{Error, Offered, Rejection, Sink};

/// The longest a request may take: past it nothing is known of its events.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest body sent in one request, in bytes, unless a single event is longer (4 MiB).
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// When to come back from a 429 that does not say when.
const RETRY_AFTER_UNSAID: Duration = Duration::from_secs(1);
/// The longest wait a server can ask for; past it, it is asked again anyway.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How much of an answer that is not ours is shown to the user, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Where a server takes events.
const PATH: &str = "/v1/events";

/// Offers to `POST {base}/v1/events`, one event to a line.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
    url: String,
}

/// The server's count of a body's lines.
#[derive(Debug, serde::Deserialize)]
struct Tally {
    accepted: usize,
    rejected: usize,
    #[serde(default)]
    errors: Vec<LineError>,
}

#[derive(Debug, serde::Deserialize)]
struct LineError {
    /// From 1.
    line: usize,
    field: String,
    problem: String,
}

#[derive(Debug, serde::Deserialize)]
struct Refused {
    error: Fault,
}

#[derive(Debug, serde::Deserialize)]
struct Fault {
    field: Option<String>,
    problem: String,
}

impl Http {
    /// Offers to the server at `base`, e.g. `http://127.0.0.1:8080`; the path of its events may
    /// follow. Nothing is sent yet.
    ///
    /// # Errors
    /// If `base` is not an HTTP address.
    pub fn new(base: &str) -> Result<Self, Error> {
        let base = base.trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base).trim_end_matches('/');
        let is_http = reqwest::Url::parse(base).is_ok_and(|url| url.scheme() == "http");
        if !is_http {
            let base = without_user(base);
            return Err(Error::Fatal(format!(
                "{base} is not an address to send events to; give one like http://127.0.0.1:8080"
            )));
        }
        // The address given is the one meant: no proxy of the environment in between.
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build();
        let client = client.map_err(|error| Error::Fatal(chain(&error)))?;
        Ok(Self { client, base: base.to_owned(), url: format!("{base}{PATH}") })
    }

    async fn post(&self, events: usize, body: Vec<u8>) -> Result<Offered, Error> {
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-ndjson");
        let answer = request.body(body).send().await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body = answer.bytes().await.map_err(|error| self.unreachable(error))?;
        understand(events, status, retry_after, &body)
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        Error::Unavailable(format!(
            "the server at {} can't be reached: {}",
            without_user(&self.base),
            chain(&error.without_url())
        ))
    }
}

#[async_trait]
impl Sink for Http {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        let mut all = Offered::default();
        let mut from = 0;
        while from < events.len() {
            let (to, body) = body(events, from);
            let part = match self.post(to - from, body).await {
                // The bodies before this one are durable: that must not be forgotten. The next
                // offer of the rest brings the same error with nothing before it.
                Err(_) if from > 0 => Offered::refused(to - from, RETRY_AFTER_UNSAID),
                part => part?,
            };
            all.accepted += part.accepted;
            all.rejected += part.rejected;
            let moved = |r: Rejection| Rejection { index: r.index + from, ..r };
            all.rejections.extend(part.rejections.into_iter().map(moved));
            from = to;
            if part.refused > 0 {
                all.refused = part.refused + events.len() - from;
                all.retry_after = part.retry_after;
                break;
            }
        }
        Ok(all)
    }
}

/// As many events from `from` on as go into one body, and that body.
fn body(events: &[Event], from: usize) -> (usize, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut to = from;
    while let Some(event) = events.get(to) {
        if to > from && bytes.len() + event.payload().len() >= BODY_BYTES_MAX {
            break;
        }
        append_line(event.payload(), &mut bytes);
        to += 1;
    }
    (to, bytes)
}

/// What an answer says about the `events` of its request.
fn understand(
    events: usize,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Result<Offered, Error> {
    let retry_after = retry_after.unwrap_or(RETRY_AFTER_UNSAID).min(RETRY_AFTER_MAX);
    let tally: Option<Tally> = serde_json::from_slice(body).ok();
    let Some(tally) = tally.filter(|tally| tally.accepted + tally.rejected > 0) else {
        return match status {
            StatusCode::TOO_MANY_REQUESTS => Ok(Offered::refused(events, retry_after)),
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Err(Error::Unavailable(said(status, body)))
            }
            _ => Err(Error::Rejected(said(status, body))),
        };
    };
    let Some(refused) = events.checked_sub(tally.accepted + tally.rejected) else {
        return Err(Error::Fatal(format!(
            "the server answered for {} events, but {events} were sent",
            tally.accepted + tally.rejected
        )));
    };
    // Whatever its status, an answer that counts lines says how far it came; where it stopped
    // short, offering the rest again shows why.
    let rejections = tally.errors.into_iter().filter_map(|error| {
        let problem = format!("{}: {}", error.field, error.problem);
        Some(Rejection { index: error.line.checked_sub(1)?, problem })
    });
    Ok(Offered {
        accepted: tally.accepted,
        refused,
        rejected: tally.rejected,
        rejections: rejections.collect(),
        retry_after: (refused > 0).then_some(retry_after),
    })
}

fn said(status: StatusCode, body: &[u8]) -> String {
    let words = match serde_json::from_slice(body) {
        Ok(Refused { error: Fault { field: Some(field), problem } }) => {
            format!("{field}: {problem}")
        }
        Ok(Refused { error: Fault { field: None, problem } }) => problem,
        Err(_) => String::from_utf8_lossy(body).chars().take(SHOWN_CHARS_MAX).collect(),
    };
    format!("the server answered {status}: {words}")
}

/// An error and its causes in one line.
/// An address without the user and the password that it may hold, whether or not they are well formed.
fn without_user(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => address.to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_error_shows_a_password_of_the_address() {
        for address in ["http://u:S3cr/et@127.0.0.1:1/x", "https://u:S3cret@h", "ftp://u:S3cret@h"]
        {
            let error = Http::new(address).map(drop).unwrap_err().to_string();
            assert!(!error.contains("S3cr") && !error.contains("et@"), "{error}");
        }
        // Nothing listens on that port.
        let mut sink = Http::new("http://u:S3cret@127.0.0.1:1").unwrap();
        let event = Event::new(b"a", b"", b"{}").unwrap();
        let error = sink.offer(&[event]).await.unwrap_err().to_string();
        assert!(error.contains("http://***@127.0.0.1:1") && !error.contains("S3cret"), "{error}");
    }

    fn check(status: u16, retry_after: Option<u64>, body: &str) -> Result<Offered, Error> {
        let status = StatusCode::from_u16(status).unwrap();
        understand(4, status, retry_after.map(Duration::from_secs), body.as_bytes())
    }

    #[test]
    fn a_202_names_the_bad_lines() {
        let body = r#"{"accepted":3,"rejected":1,"errors":[{"line":3,"field":"amount","problem":"negative"}],
            "errors_truncated":false}"#;
        let offered = check(202, None, body).unwrap();
        assert_eq!((offered.accepted, offered.refused, offered.rejected), (3, 0, 1));
        let rejection = Rejection { index: 2, problem: "amount: negative".into() };
        assert_eq!(offered.rejections, [rejection]);
    }

    #[test]
    fn a_429_says_how_far_it_came_and_when_to_come_back() {
        let body = r#"{"accepted":1,"rejected":0,"errors":[],
            "errors_truncated":false,"resume_at_line":2,"error":{"problem":"full"}}"#;
        let offered = check(429, Some(3), body).unwrap();
        assert_eq!((offered.accepted, offered.refused), (1, 3));
        assert_eq!(offered.retry_after, Some(Duration::from_secs(3)));
        assert_eq!(check(429, None, "").unwrap(), Offered::refused(4, RETRY_AFTER_UNSAID));
        assert_eq!(check(429, Some(1 << 40), "").unwrap().retry_after, Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn a_400_for_nothing_but_bad_lines_is_an_answer_and_not_an_error() {
        let body = r#"{"accepted":0,"rejected":4,"errors":[],
            "errors_truncated":true,"error":{"field":"event","problem":"every line"}}"#;
        let offered = check(400, None, body).unwrap();
        assert_eq!((offered.accepted, offered.refused, offered.rejected), (0, 0, 4));
    }

    #[test]
    fn other_answers_are_errors_that_quote_the_server() {
        let fault = r#"{"error":{"field":"event","problem":"not JSON"}}"#;
        assert_eq!(
            check(400, None, fault),
            Err(Error::Rejected("the server answered 400 Bad Request: event: not JSON".into()))
        );
        assert!(matches!(check(503, None, "gone"), Err(Error::Unavailable(_))));
        assert!(matches!(check(404, None, "<html>"), Err(Error::Rejected(_))));
    }

    #[test]
    fn an_answer_for_more_events_than_were_sent_is_not_believed() {
        let body = r#"{"accepted":5,"rejected":0}"#;
        assert!(matches!(check(202, None, body), Err(Error::Fatal(_))));
    }

    #[test]
    fn a_202_that_counts_too_few_does_not_pass_for_accepted() {
        assert!(check(202, None, "{}").is_err());
        assert_eq!(check(202, None, r#"{"accepted":3,"rejected":0}"#).unwrap().refused, 1);
    }

    #[test]
    fn bodies_are_cut_between_events() {
        let event = |bytes: usize| Event::new(b"x", b"", &vec![b'1'; bytes]).unwrap();
        let events: Vec<_> = (0..100).map(|_| event(60 * 1024)).collect();
        let mut from = 0;
        while from < events.len() {
            let (to, bytes) = body(&events, from);
            assert!(to > from && bytes.len() <= BODY_BYTES_MAX);
            assert_eq!(bytes.len(), (to - from) * (60 * 1024 + 1));
            from = to;
        }
    }

    #[test]
    fn an_address_may_end_in_the_path_that_events_go_to() {
        for base in ["http://h:1", "http://h:1/", "http://h:1/v1/events", "http://h:1/v1/events/"] {
            let http = Http::new(base).unwrap();
            assert_eq!((&*http.base, &*http.url), ("http://h:1", "http://h:1/v1/events"), "{base}");
        }
        assert_eq!(Http::new("http://h/below").unwrap().url, "http://h/below/v1/events");
    }

    #[test]
    fn an_address_that_is_none_is_refused_before_anything_is_sent() {
        for base in ["ftp://x", "127.0.0.1:8080", ""] {
            assert!(Http::new(base).is_err(), "{base}");
        }
    }
}
