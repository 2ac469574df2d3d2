//! The protocol of SQS: signed JSON over HTTP.
//!
//! One small client on libraries that are kept instead of the whole SDK; ARCHITECTURE.md says why.

use std::sync::Arc;
use std::time::Duration;

use buffer::Error;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use outbound::{Answer, Kind};
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
/// Calls under way at once; more of them wait.
const CALLS_MAX: usize = 1_000;
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

/// Signs and sends.
pub(crate) struct Client {
    http: Arc<outbound::Client>,
    signer: Signer<Credential>,
    endpoint: String,
    answer_max: Duration,
}

impl Client {
    /// # Errors
    /// [`Error::Open`] if TLS can't be set up.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let http = http()?;
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(Metadata(http.clone()))
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
        Ok(Self { http, signer, endpoint: format!("{}/", options.endpoint), answer_max })
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
        let request = Request::from_parts(head, body);
        let answered = send(&self.http, request, self.answer_max + wait).await;
        let Answer { status, body, .. } =
            answered.map_err(|failure| Failure::Lost(failure.to_string()))?;
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

fn http() -> Result<Arc<outbound::Client>, Error> {
    let options = outbound::Options {
        calls_max: CALLS_MAX,
        connect_timeout: CONNECT_MAX,
        idle_timeout: IDLE_MAX,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let client = outbound::Client::new(options);
    client.map(Arc::new).map_err(|error| Error::Open(format!("sqs: TLS can't be set up: {error}")))
}

/// Sends a request. One that surely did not arrive is sent once more: a kept connection may have been closed by
/// the other side meanwhile.
async fn send(
    http: &outbound::Client,
    request: Request<Bytes>,
    longest: Duration,
) -> Result<Answer, outbound::Failure> {
    match http.send(request.clone(), longest).await {
        Err(failure) if failure.is_unsent() && failure.kind == Kind::Connection => {
            http.send(request, longest).await
        }
        answer => answer,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written");
        text
    })
}

/// Where credentials are asked for over HTTP: the machine's metadata, a container's agent, STS.
struct Metadata(Arc<outbound::Client>);

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metadata")
    }
}

impl HttpSend for Metadata {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let answered = send(&self.0, request, CONNECT_MAX).await;
        let answer =
            answered.map_err(|failure| reqsign_core::Error::unexpected(failure.to_string()))?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
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
