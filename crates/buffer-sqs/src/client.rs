//! The protocol of SQS: signed JSON over HTTP.
//!
//! One small client on libraries that are kept instead of the whole SDK; ARCHITECTURE.md says why.

use std::time::Duration;

use buffer::Error;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqsign_aws_v4::{
    Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::{Context, ErrorKind, HttpSend, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::Options;

/// Most bytes of an answer: ten messages of a megabyte each, with what JSON adds to them.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a connection that nobody uses is kept.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may have been done: the answer is missing, or says that SQS itself failed.
    Lost(String),
    /// It was refused.
    Refused {
        /// As SQS names it.
        code: String,
        /// As SQS explains it.
        message: String,
    },
    /// There is nothing to sign with; perhaps only just now.
    Unsigned {
        /// In a few words, without a secret.
        why: String,
        /// Whether asking again may help.
        passing: bool,
    },
}

impl Failure {
    /// In the words of the contract.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Lost(why) => Error::Unavailable(format!("sqs: {why}")),
            Self::Unsigned { why, passing } => {
                let told = format!(
                    "sqs: no credentials ({why}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                     or AWS_PROFILE, or give this machine a role"
                );
                if passing { Error::Unavailable(told) } else { Error::Open(told) }
            }
            Self::Refused { code, message } => refusal(&code, &message),
        }
    }

    pub(crate) fn is(&self, what: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code.contains(what))
    }
}

fn refusal(code: &str, message: &str) -> Error {
    let open = |way_out: &str| Error::Open(format!("sqs: {code}: {message}; {way_out}"));
    match code {
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" => {
            open("make the queue, or say create=true")
        }
        "AccessDenied" | "AccessDeniedException" | "KmsAccessDenied" => open(
            "allow sqs:SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility and \
             GetQueueAttributes on the queue and its dead letters",
        ),
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken" => {
            open("check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the region")
        }
        "BatchRequestTooLong" | "InvalidMessageContents" => {
            open("set message_bytes_max to the queue's MaximumMessageSize")
        }
        // Throttling, keys that expired and are about to be renewed, and whatever else may pass.
        _ => Error::Unavailable(format!("sqs: {code}: {message}")),
    }
}

type Https = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Signs and sends.
pub(crate) struct Client {
    pool: Https,
    signer: Signer<Credential>,
    endpoint: String,
    answer_max: Duration,
}

impl Client {
    /// # Errors
    /// [`Error::Open`] if TLS can't be set up.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let pool = pool()?;
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(Metadata(pool.clone()))
            .with_env(OsEnv);
        let sign = RequestSigner::new("sqs", &options.region);
        let signer = match &options.credentials {
            Some(own) => {
                let keys = StaticCredentialProvider::new(&own.access_key, &own.secret_key);
                let keys = match &own.session_token {
                    Some(token) => keys.with_session_token(token),
                    None => keys,
                };
                Signer::new(context, keys, sign)
            }
            None => Signer::new(context, DefaultCredentialProvider::new(), sign),
        };
        let answer_max = Duration::from_millis(options.response_timeout_ms);
        Ok(Self { pool, signer, endpoint: format!("{}/", options.endpoint), answer_max })
    }

    /// One step. `wait` is how long SQS was told to wait.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        step: &str,
        parameters: &Value,
        wait: Duration,
    ) -> Result<T, Failure> {
        let body = Bytes::from(parameters.to_string());
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.endpoint)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{step}"))
            .header("x-amz-content-sha256", hex(&Sha256::digest(&body)))
            .body(())
            .map_err(|error| Failure::Lost(format!("no request: {error}")))?;
        let (mut head, ()) = request.into_parts();
        let signed = timeout(self.answer_max, self.signer.sign(&mut head, None)).await;
        match signed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let passing = error.is_retryable() || error.kind() == ErrorKind::Unexpected;
                return Err(Failure::Unsigned { why: error.kind().to_string(), passing });
            }
            Err(_) => return Err(Failure::Lost("whoever has the credentials is silent".into())),
        }
        let request = Request::from_parts(head, Full::new(body));
        let answered = timeout(self.answer_max + wait, send(&self.pool, request)).await;
        let (status, body) = match answered {
            Ok(Ok(answer)) => (answer.status(), answer.into_body()),
            Ok(Err(why)) => return Err(Failure::Lost(why)),
            Err(_) => return Err(Failure::Lost(format!("no answer in {:?}", self.answer_max))),
        };
        if status.is_success() {
            // Of a step that tells nothing, some servers answer with nothing.
            let body = if body.is_empty() { &b"{}"[..] } else { &body[..] };
            return serde_json::from_slice(body)
                .map_err(|error| Failure::Lost(format!("{step} was answered strangely: {error}")));
        }
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
        let message = [text("message"), text("Message")].concat();
        if status.is_server_error() || code.is_empty() {
            return Err(Failure::Lost(format!("{step} was answered {status} {code} {message}")));
        }
        Err(Failure::Refused { code, message })
    }
}

fn pool() -> Result<Https, Error> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain.set_connect_timeout(Some(CONNECT_MAX));
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| Error::Open(format!("sqs: TLS can't be set up: {error}")))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain);
    Ok(Pool::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_timer(TokioTimer::new())
        .build(connector))
}

async fn send(pool: &Https, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let answer = pool.request(request).await.map_err(|error| because(&error))?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// An error with what caused it, which is where the reason is.
fn because(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written");
        text
    })
}

/// Where credentials are asked for over HTTP: the machine's metadata, a container's agent, STS.
struct Metadata(Https);

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metadata")
    }
}

impl HttpSend for Metadata {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let answered = timeout(CONNECT_MAX, send(&self.0, request.map(Full::new))).await;
        answered
            .unwrap_or_else(|_| Err("no answer".to_owned()))
            .map_err(reqsign_core::Error::unexpected)
    }
}

#[cfg(test)]
mod tests {
    use model::{Class, Classify};

    use super::*;

    #[test]
    fn what_a_person_has_to_mend_is_told_from_what_may_pass_and_both_are_tried_again() {
        let error =
            |code: &str| Failure::Refused { code: code.into(), message: "m".into() }.error();
        for code in ["QueueDoesNotExist", "AccessDenied"] {
            assert!(matches!(error(code), Error::Open(_)), "{code}");
            assert_eq!(error(code).class(), Class::Retryable, "{code}");
        }
        for code in ["RequestThrottled", "ExpiredToken"] {
            assert!(matches!(error(code), Error::Unavailable(_)), "{code}");
        }
        assert_eq!(Failure::Lost("gone".into()).error().class(), Class::Retryable);
    }
}
