//! Connections and attempts.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::failure::chain;
use crate::progress::{Marked, Progress};
use crate::{Failure, Kind, Took};

/// The bounds of a [`Client`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Calls under way at once, and connections kept for them, 1 to 100,000. More calls wait.
    pub calls_max: usize,
    /// How long connecting by TCP may take. TLS counts into the time that the call itself may take.
    pub connect_timeout: Duration,
    /// How long a connection that is not used is kept. Shorter than the service keeps it: else a call may
    /// find it closed.
    pub idle_timeout: Duration,
    /// The longest answer, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calls_max: 100,
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(20),
            answer_bytes_max: 1 << 20,
        }
    }
}

/// What the service answered, whatever the status.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
    /// How long each phase took.
    pub took: Took,
}

/// See [`crate`]. Shared by reference; a clone would have its own connections.
#[derive(Debug)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Marked>,
    places: Semaphore,
    answer_bytes_max: usize,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If the machine's certificates can't be read.
    pub fn new(options: Options) -> std::io::Result<Self> {
        let calls_max = options.calls_max.clamp(1, 100_000);
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        plain.set_connect_timeout(Some(options.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(calls_max)
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self {
            pool,
            places: Semaphore::new(calls_max),
            answer_bytes_max: options.answer_bytes_max,
        })
    }

    /// Sends `request` once, and returns the answer if all of it came within `longest`. Waiting for a place
    /// counts. A call that is dropped closes its connection; the service may act on it all the same.
    ///
    /// # Errors
    /// If there is no whole answer. Any status is an answer.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        longest: Duration,
    ) -> Result<Answer, Failure> {
        let progress = Progress::begin();
        match timeout(longest, self.attempt(request, &progress)).await {
            Ok(Ok((head, body))) => {
                let (_, took, _) = progress.look();
                Ok(Answer { status: head.status, headers: head.headers, body, took })
            }
            Ok(Err((kind, why))) => Err(failure(kind, why, &progress)),
            Err(_) => {
                let why = format!("no answer within {} ms", longest.as_millis());
                Err(failure(Kind::TimedOut, why, &progress))
            }
        }
    }

    async fn attempt(
        &self,
        request: Request<Bytes>,
        progress: &Progress,
    ) -> Result<(http::response::Parts, Bytes), (Kind, String)> {
        if let Some(why) = unusable(request.uri()) {
            return Err((Kind::BadRequest, why.to_owned()));
        }
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let (head, body) = request.into_parts();
        if body.is_empty() {
            // No body is asked for, so that only a connection that failed shows that nothing was sent.
            progress.mark_sending();
        }
        let request = Request::from_parts(head, Marked::new(body, progress.clone()));
        let sent = self.pool.request(request).await;
        let answer = sent.map_err(|error| {
            if error.is_connect() {
                progress.mark_unsent();
            }
            (Kind::Connection, chain(&error))
        })?;
        let (head, body) = answer.into_parts();
        progress.mark_answered(head.status);
        let body = Limited::new(body, self.answer_bytes_max).collect().await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                (
                    Kind::AnswerTooLong,
                    format!("the answer has more than {} bytes", self.answer_bytes_max),
                )
            } else {
                (Kind::Connection, format!("the answer broke off: {}", chain(&*error)))
            }
        })?;
        Ok((head, body.to_bytes()))
    }
}

fn failure(kind: Kind, why: String, progress: &Progress) -> Failure {
    let (phase, took, status) = progress.look();
    Failure { kind, phase, took, status, why }
}

/// Why no request can be sent to this address, as a clause without a part of it.
#[must_use]
pub fn unusable(uri: &Uri) -> Option<&'static str> {
    let (scheme, host) = (uri.scheme_str(), uri.host().unwrap_or_default());
    if host.is_empty() || !matches!(scheme, Some("http" | "https")) {
        return Some("the address has no host, or another scheme than http and https");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let behind_user = authority.rsplit('@').next().unwrap_or_default();
    // A port that cannot be read would be taken for the usual one.
    let port = behind_user.strip_prefix(host).unwrap_or_default();
    let is_good = port.is_empty() || uri.port_u16().is_some_and(|port| port > 0);
    (!is_good).then_some("the port of the address is not 1 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_or_with_a_port_that_cannot_be_read_is_unusable() {
        let check = |uri: &str, is_usable| {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(unusable(&uri).is_none(), is_usable, "{uri}");
        };
        for uri in ["http://h", "https://h:1/x", "http://[::1]:65535/x", "http://u:p@h:8080/"] {
            check(uri, true);
        }
        for uri in [
            "/x",
            "ftp://h/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:abc/",
            "http://[::1]:65536/",
        ] {
            check(uri, false);
        }
    }
}
