//! The steps of SQS that a buffer takes.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Client, Failure};
use crate::message::Message;

/// Most entries of one batch: SQS takes no more.
pub(crate) const BATCH_MAX: usize = 10;
/// Most batches under way at once, for one call of ours.
const AT_ONCE_MAX: usize = 8;

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// It makes no sense any more: the handle is old, or what it names is not in flight.
    Stale,
    /// Not done, or nobody knows; with the reason.
    Failed(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answers {
    #[serde(default)]
    successful: Vec<Answer>,
    #[serde(default)]
    failed: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    sender_fault: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    #[serde(default)]
    messages: Option<Vec<Message>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(default)]
    attributes: Option<Map<String, Value>>,
}

/// How a receive is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receive<'a> {
    pub(crate) max: usize,
    /// How long to hide what comes, in seconds.
    pub(crate) hide: u64,
    /// How long to wait for the first one, in seconds.
    pub(crate) wait: u64,
    /// Names the attempt in FIFO queues: made again under the same name, what comes is the same.
    pub(crate) attempt: Option<&'a str>,
}

/// What a queue says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) visible: u64,
    pub(crate) delayed: u64,
    pub(crate) in_flight: u64,
    /// How long it keeps a message, in seconds.
    pub(crate) retention: Option<u64>,
    pub(crate) message_bytes_max: Option<usize>,
    /// Whether SQS itself takes messages away that were received too often.
    pub(crate) redrives: bool,
}

impl Client {
    /// Up to ten messages.
    pub(crate) async fn receive(
        &self,
        queue: &str,
        how: Receive<'_>,
    ) -> Result<Vec<Message>, Failure> {
        let mut parameters = json!({
            "QueueUrl": queue,
            "MaxNumberOfMessages": how.max.clamp(1, BATCH_MAX),
            "VisibilityTimeout": how.hide,
            "WaitTimeSeconds": how.wait,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"],
            "MessageAttributeNames": ["All"],
        });
        if let Some(attempt) = how.attempt {
            parameters["ReceiveRequestAttemptId"] = attempt.into();
        }
        let wait = Duration::from_secs(how.wait);
        let received: Received = self.call("ReceiveMessage", &parameters, wait).await?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Sends, or whatever else is done to ten at a time; each entry is told of alone.
    ///
    /// # Errors
    /// If nothing is known of any of them.
    pub(crate) async fn batch(
        &self,
        step: &str,
        queue: &str,
        entries: &[Value],
    ) -> Result<Vec<Told>, Failure> {
        let numbered: Vec<Value> = entries
            .iter()
            .enumerate()
            .map(|(n, entry)| {
                let mut entry = entry.clone();
                entry["Id"] = n.to_string().into();
                entry
            })
            .collect();
        let parameters = json!({ "QueueUrl": queue, "Entries": numbered });
        let answers: Answers = self.call(step, &parameters, Duration::ZERO).await?;
        let mut told = vec![Told::Failed("it was not answered".to_owned()); entries.len()];
        let mut tell = |id: &str, what: Told| {
            if let Some(slot) = id.parse().ok().and_then(|n: usize| told.get_mut(n)) {
                *slot = what;
            }
        };
        for answer in &answers.successful {
            tell(&answer.id, Told::Done);
        }
        for answer in answers.failed {
            let Answer { id, code, message, sender_fault } = answer;
            tell(
                &id,
                if sender_fault && is_stale(&code) {
                    Told::Stale
                } else {
                    Told::Failed(format!("{code}: {message}"))
                },
            );
        }
        Ok(told)
    }

    /// As [`Client::batch`], however many there are; several batches at once.
    pub(crate) async fn each(&self, step: &str, queue: &str, entries: &[Value]) -> Vec<Told> {
        let mut batches = Vec::with_capacity(entries.len().div_ceil(BATCH_MAX));
        for some in entries.chunks(BATCH_MAX) {
            batches.push(self.told(step, queue, some));
        }
        stream::iter(batches).buffered(AT_ONCE_MAX).concat().await
    }

    async fn told(&self, step: &str, queue: &str, entries: &[Value]) -> Vec<Told> {
        match self.batch(step, queue, entries).await {
            Ok(told) => told,
            Err(failure) => vec![Told::Failed(failure.error().to_string()); entries.len()],
        }
    }

    /// Deletes what these handles name.
    pub(crate) async fn delete(&self, queue: &str, handles: &[String]) -> Vec<Told> {
        let entry = |handle: &String| json!({ "ReceiptHandle": handle });
        let entries: Vec<Value> = handles.iter().map(entry).collect();
        self.each("DeleteMessageBatch", queue, &entries).await
    }

    /// Hides what these handles name for so many seconds from now; not at all with 0.
    pub(crate) async fn hide(&self, queue: &str, handles: &[(String, u64)]) -> Vec<Told> {
        let mut entries = Vec::with_capacity(handles.len());
        for (handle, seconds) in handles {
            entries.push(json!({ "ReceiptHandle": handle, "VisibilityTimeout": seconds }));
        }
        self.each("ChangeMessageVisibilityBatch", queue, &entries).await
    }

    /// What the queue says of itself.
    pub(crate) async fn about(&self, queue: &str) -> Result<About, Failure> {
        let parameters = json!({ "QueueUrl": queue, "AttributeNames": ["All"] });
        let described: Described =
            self.call("GetQueueAttributes", &parameters, Duration::ZERO).await?;
        let attributes = described.attributes.unwrap_or_default();
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        Ok(About {
            visible: number("ApproximateNumberOfMessages").unwrap_or(0),
            delayed: number("ApproximateNumberOfMessagesDelayed").unwrap_or(0),
            in_flight: number("ApproximateNumberOfMessagesNotVisible").unwrap_or(0),
            retention: number("MessageRetentionPeriod"),
            message_bytes_max: text("MaximumMessageSize").and_then(|text| text.parse().ok()),
            redrives: text("RedrivePolicy")
                .is_some_and(|policy| policy.contains("maxReceiveCount")),
        })
    }

    /// Makes a queue of this name, which keeps messages as long as SQS can.
    pub(crate) async fn create(
        &self,
        name: &str,
        visibility_seconds: u64,
        message_bytes_max: usize,
    ) -> Result<(), Failure> {
        let mut attributes = json!({
            "MessageRetentionPeriod": crate::options::RETENTION_SECONDS_MAX.to_string(),
            "VisibilityTimeout": visibility_seconds.to_string(),
            "MaximumMessageSize": message_bytes_max.to_string(),
        });
        if name.ends_with(".fifo") {
            attributes["FifoQueue"] = "true".into();
            // Each key is counted and throttled alone.
            attributes["DeduplicationScope"] = "messageGroup".into();
            attributes["FifoThroughputLimit"] = "perMessageGroupId".into();
        }
        let parameters = json!({ "QueueName": name, "Attributes": attributes });
        self.call::<Value>("CreateQueue", &parameters, Duration::ZERO).await.map(drop)
    }
}

fn is_stale(code: &str) -> bool {
    ["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"]
        .iter()
        .any(|stale| code.contains(stale))
}
