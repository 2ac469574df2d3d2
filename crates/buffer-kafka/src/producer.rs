//! Writing records so that every in-sync replica has them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use buffer::Error;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use crate::Options;
use crate::client::{self, Speech};

/// Most records on their way at once.
const QUEUED_MAX: usize = 100_000;
/// How long room among them is waited for at a time.
const QUEUED_PAUSE: Duration = Duration::from_millis(2);

/// A record to be written.
pub(crate) struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    /// None says that what has this key is gone.
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// Records that are written together, and what has become of them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    left: AtomicUsize,
    failed: Mutex<Option<KafkaError>>,
    done: Notify,
}

impl Batch {
    fn settled(&self, failed: Option<KafkaError>) {
        if let Some(error) = failed {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// Hears what became of each record.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Speech);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, batch: Arc<Batch>) {
        batch.settled(delivered.as_ref().err().map(|(error, _)| error.clone()));
    }
}

pub(crate) type Client = ThreadedProducer<Deliveries>;

/// Writes; made anew when librdkafka says that it can't go on.
pub(crate) struct Producer {
    options: Options,
    client: Mutex<Option<Arc<Client>>>,
}

impl Producer {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, client: Mutex::new(None) }
    }

    /// Writes all of these, in order within a partition, and returns when every in-sync replica has
    /// each of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; some may have been written all the same.
    pub(crate) async fn write(
        &self,
        records: impl Iterator<Item = Record<'_>> + Send,
    ) -> Result<(), Error> {
        let client = self.client()?;
        let written = written(&client, records, client::timeout(&self.options)).await;
        written.map_err(|error| {
            self.look_at(&error, &client);
            Error::Unavailable(format!("kafka did not confirm: {}", said(&error)))
        })
    }

    /// After some failures a client refuses everything: the next one to write makes a new one.
    fn look_at(&self, error: &KafkaError, client: &Arc<Client>) {
        use RDKafkaErrorCode as Code;
        let fatal = [Code::Fatal, Code::OutOfOrderSequenceNumber, Code::InvalidProducerEpoch];
        if error.rdkafka_error_code().is_some_and(|code| fatal.contains(&code)) {
            let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, client)) {
                tracing::warn!(%error, "the kafka producer can't go on and is made anew");
                *current = None;
            }
        }
    }

    fn client(&self) -> Result<Arc<Client>, Error> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*current {
            return Ok(Arc::clone(client));
        }
        let made = config(&self.options).create_with_context(Deliveries::default());
        let made: Arc<Client> = Arc::new(made.map_err(|error| client::failure(&error))?);
        *current = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// A producer's configuration: every in-sync replica has what it confirms.
pub(crate) fn config(options: &Options) -> ClientConfig {
    let mut config = client::config(options);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", options.timeout_ms.to_string())
        .set("request.timeout.ms", options.timeout_ms.min(30_000).to_string())
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", QUEUED_MAX.to_string())
        .set("queue.buffering.max.kbytes", "262144");
    config
}

/// Sends all of these, in order within a partition, and returns when each is confirmed or one has failed.
/// Each waits up to `patience` for room among those on their way.
pub(crate) async fn written(
    client: &Client,
    records: impl Iterator<Item = Record<'_>> + Send,
    patience: Duration,
) -> Result<(), KafkaError> {
    let batch = Arc::new(Batch { left: AtomicUsize::new(1), ..Batch::default() });
    let mut refused = None;
    'records: for record in records {
        let started = tokio::time::Instant::now();
        let mut record = made(record, &batch);
        loop {
            batch.left.fetch_add(1, Ordering::AcqRel);
            let Err((error, back)) = client.send(record) else { break };
            batch.left.fetch_sub(1, Ordering::AcqRel);
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || started.elapsed() > patience {
                refused = Some(error);
                break 'records;
            }
            record = back;
            tokio::time::sleep(QUEUED_PAUSE).await;
        }
    }
    batch.settled(refused);
    while batch.left.load(Ordering::Acquire) > 0 {
        batch.done.notified().await;
    }
    let failed = batch.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    failed.map_or(Ok(()), Err)
}

fn made<'a>(record: Record<'a>, batch: &Arc<Batch>) -> BaseRecord<'a, [u8], [u8], Arc<Batch>> {
    let mut made = BaseRecord::with_opaque_to(record.topic, Arc::clone(batch));
    made = made.partition(record.partition);
    if let Some(key) = record.key {
        made = made.key(key);
    }
    if let Some(payload) = record.payload {
        made = made.payload(payload);
    }
    match record.headers {
        Some(headers) => made.headers(headers),
        None => made,
    }
}

fn said(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}
