//! How librdkafka is set up, and how its failures become ours.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use buffer::Error;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::Options;

/// What is wrong with the connection, as far as a client has said; nothing while all is well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(crate) fn set(&self, what: String) {
        *self.0.lock().expect("nobody panics while holding it") = Some(what);
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().expect("nobody panics while holding it") = None;
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().expect("nobody panics while holding it").clone()
    }
}

/// What any of our clients says, in our own log. librdkafka repeats itself while a broker is away,
/// so most of it is for those who look closely.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speech(pub(crate) Trouble);

impl ClientContext for Speech {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "kafka: {message}");
            }
            _ => tracing::debug!(facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "kafka: {reason}");
        self.0.set(format!("{reason} ({error})"));
    }
}

impl ConsumerContext for Speech {}

/// What all clients have in common.
pub(crate) fn config(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    let timeout_ms = options.timeout_ms.to_string();
    config
        .set("bootstrap.servers", options.brokers.join(","))
        .set("client.id", "forebay")
        // A producer's default is true: a broker may then make a topic that was deleted, with settings of its own.
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set(
            "socket.connection.setup.timeout.ms",
            timeout_ms.parse::<u64>().map_or("10000".to_owned(), |ms| ms.max(1_000).to_string()),
        )
        .set("topic.metadata.refresh.interval.ms", "30000");
    for (name, value) in &options.security {
        config.set(name, value);
    }
    config
}

/// A consumer's, on top of that. Nothing is committed or chosen but by us.
pub(crate) fn consumer_config(options: &Options) -> ClientConfig {
    let mut config = config(options);
    config
        .set("group.id", &options.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.error.backoff.ms", "50")
        // Without this a full queue is looked at again only after a second.
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384");
    config
}

/// How long a request may take.
pub(crate) fn timeout(options: &Options) -> Duration {
    Duration::from_millis(options.timeout_ms)
}

/// A failure as ours. What a person has to mend is told from what passes.
pub(crate) fn failure(error: &KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    match error {
        KafkaError::ClientConfig(_, what, name, _) => {
            Error::Open(format!("kafka: {name} can't be set so: {what}"))
        }
        KafkaError::ClientCreation(what) => Error::Open(format!("kafka: {what}")),
        error => match error.rdkafka_error_code() {
            Some(
                code @ (Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::InvalidReplicationFactor
                | Code::InvalidTopic
                | Code::PolicyViolation),
            ) => Error::Open(format!("kafka refuses: {code}")),
            Some(code) => Error::Unavailable(format!("kafka: {code}")),
            None => Error::Unavailable(format!("kafka: {error}")),
        },
    }
}

/// Runs what blocks away from the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::Unavailable(format!("kafka: a task ended early: {error}")))
    })
}
