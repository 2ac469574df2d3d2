//! Sends one event to one URL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guard::Outcome;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use model::clock::Clock;
use outbound::{Client, Kind, Took};

use crate::sign::{Signer, header_id};
use crate::status::{Undelivered, judge};

/// What this sender calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("forebay/", env!("CARGO_PKG_VERSION")));
/// The longest answer that is read. Of a longer one, the status counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// See the module.
pub struct Sender {
    url: Uri,
    signer: Option<Signer>,
    timeout: Duration,
    client: Client,
    clock: Arc<dyn Clock>,
}

/// How one delivery ended.
#[derive(Debug)]
pub struct Delivery {
    /// Whether the receiver has the event now.
    pub result: Result<(), Undelivered>,
    /// What it answered, if it did.
    pub status: Option<StatusCode>,
    /// What it answered with; empty where the answer was too long.
    pub answer: Bytes,
    /// How long each phase took that the delivery reached.
    pub took: Took,
}

impl Sender {
    /// Sends to `url` over at most `calls_max` connections; each delivery may take `timeout`. Without a `signer` the
    /// signature is left out. It connects to nothing yet.
    ///
    /// # Errors
    /// If the machine's certificates can't be read.
    pub fn new(
        url: Uri,
        signer: Option<Signer>,
        calls_max: usize,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let answer_bytes_max = ANSWER_BYTES_MAX;
        let options =
            outbound::Options { calls_max, answer_bytes_max, ..outbound::Options::default() };
        Ok(Self { url, signer, timeout, client: Client::new(options)?, clock })
    }

    /// Whether deliveries are signed.
    #[must_use]
    pub fn is_signing(&self) -> bool {
        self.signer.is_some()
    }

    /// Sends `payload` once under this id.
    pub async fn deliver(&self, id: &[u8], payload: Bytes) -> Delivery {
        let now_ms = self.clock.now_ms();
        match self.client.send(self.request(id, payload, now_ms / 1000), self.timeout).await {
            Ok(answer) => Delivery {
                result: judge(answer.status, Some(&answer.headers), now_ms),
                status: Some(answer.status),
                answer: answer.body,
                took: answer.took,
            },
            Err(failure) => {
                let outcome = match failure.kind {
                    Kind::TimedOut => Outcome::TimedOut,
                    _ => Outcome::Failed,
                };
                let result = match failure.status {
                    // The receiver decided, whatever became of the rest of its answer.
                    Some(status) if failure.kind != Kind::TimedOut => judge(status, None, now_ms),
                    _ => Err(Undelivered::for_now(outcome, failure.to_string())),
                };
                let (status, took) = (failure.status, failure.took);
                Delivery { result, status, answer: Bytes::new(), took }
            }
        }
    }

    fn request(&self, id: &[u8], payload: Bytes, now_s: i64) -> Request<Bytes> {
        let id = header_id(id);
        let signature = self.signer.as_ref().map(|signer| signer.signature(&id, now_s, &payload));
        let mut request = Request::new(payload);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, AGENT);
        let ascii = |text: &str| HeaderValue::from_str(text).expect("visible ASCII alone");
        headers.insert("webhook-id", ascii(&id));
        headers.insert("webhook-timestamp", now_s.into());
        if let Some(signature) = signature {
            headers.insert("webhook-signature", ascii(&signature));
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use model::clock::System;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Delivers to a receiver that answers with these bytes, and keeps the connection open without any.
    async fn delivered(answer: String) -> Delivery {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x?t=S3CRET", listener.local_addr().unwrap());
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let read = stream.read(&mut request).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let timeout = Duration::from_millis(500);
        let sender = Sender::new(url.parse().unwrap(), None, 1, timeout, Arc::new(System)).unwrap();
        let delivery = sender.deliver(b"o-1", Bytes::from_static(b"{}")).await;
        receiver.abort();
        let shown = format!("{delivery:?}");
        assert!(!shown.contains("S3CRET"), "{shown}");
        delivery
    }

    #[tokio::test]
    async fn of_an_answer_that_is_too_long_or_broken_off_the_status_counts() {
        let body = "x".repeat(2 * ANSWER_BYTES_MAX);
        let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let broken = "HTTP/1.1 410 Gone\r\ncontent-length: 10\r\n\r\nhalf".to_owned();
        assert_eq!(delivered(long).await.result, Ok(()));
        let refused = delivered(broken).await.result.unwrap_err();
        assert!(refused.is_final && refused.why == "the receiver answered 410 Gone", "{refused:?}");
    }

    #[tokio::test]
    async fn a_receiver_that_does_not_answer_is_tried_again() {
        let refused = delivered(String::new()).await.result.unwrap_err();
        assert_eq!((refused.outcome, refused.is_final), (Outcome::TimedOut, false));
        assert_eq!(refused.why, "no answer within 500 ms");
    }
}
