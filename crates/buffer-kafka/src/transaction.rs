//! Records of several topics in one step: all of them become visible, or none does.
//!
//! Only dead letters need it. What a worker settles lies in another system, which no transaction of Kafka
//! reaches.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use buffer::Error;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;

use crate::Options;
use crate::client::{self, blocking};
use crate::producer::{self, Client, Record};

/// How long one call waits before the deadline is looked at.
const CALL_MAX: Duration = Duration::from_secs(2);
/// Between two tries of a step.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A transaction that has not begun.
pub(crate) struct Transaction {
    client: Arc<Client>,
    id: String,
    patience: Duration,
}

impl Transaction {
    /// Takes over the name `id`. What an earlier process of that name left open is aborted; if that process
    /// still runs, its commit fails.
    ///
    /// # Errors
    /// [`Error::Open`] if Kafka refuses the name, [`Error::Unavailable`] if it can't be reached.
    pub(crate) async fn prepare(options: &Options, id: String) -> Result<Self, Error> {
        let made = producer::config(options)
            .set("transactional.id", &id)
            // After a crash readers wait for its end at most this long, and until the broker looks.
            .set("transaction.timeout.ms", options.timeout_ms.max(1_000).to_string())
            .create_with_context(producer::Deliveries::default());
        let client: Client = made.map_err(|error| client::failure(&error))?;
        let transaction = Self { client: Arc::new(client), id, patience: client::timeout(options) };
        transaction.ask("begin", |client, wait| client.init_transactions(wait)).await?;
        Ok(transaction)
    }

    /// Writes all of these, and returns when they are there for good.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; either none has been written, or all of them.
    pub(crate) async fn write(
        &self,
        records: impl Iterator<Item = Record<'_>> + Send,
    ) -> Result<(), Error> {
        self.ask("begin", |client, _| client.begin_transaction()).await?;
        let written = producer::written(&self.client, records, self.patience).await;
        if let Err(error) = written {
            // Should this fail too, the next one of this name aborts it, or the broker does.
            let _ = self.ask("abort", |client, wait| client.abort_transaction(wait)).await;
            return Err(self.failure("write", &error));
        }
        self.ask("commit", |client, wait| client.commit_transaction(wait)).await
    }

    /// Takes a step, again while that makes sense and there is time.
    async fn ask(
        &self,
        what: &'static str,
        step: impl Fn(&Client, Duration) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), Error> {
        let (client, patience) = (Arc::clone(&self.client), self.patience);
        let done = blocking(move || {
            let until = Instant::now() + patience;
            loop {
                let error = match step(&client, CALL_MAX.min(patience)) {
                    Ok(()) => return Ok(Ok(())),
                    Err(error) => error,
                };
                let KafkaError::Transaction(told) = &error else { return Ok(Err(error)) };
                if told.txn_requires_abort() {
                    let _ = client.abort_transaction(CALL_MAX);
                    return Ok(Err(error));
                }
                if !told.is_retriable() || Instant::now() >= until {
                    return Ok(Err(error));
                }
                thread::sleep(RETRY_PAUSE);
            }
        });
        done.await?.map_err(|error| self.failure(what, &error))
    }

    fn failure(&self, what: &str, error: &KafkaError) -> Error {
        let id = &self.id;
        match error.rdkafka_error_code() {
            Some(code @ Code::TransactionalIdAuthorizationFailed) => Error::Open(format!(
                "cannot use the transactional id {id}: {code}; allow Describe and Write on it"
            )),
            Some(Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch) => {
                Error::Unavailable(format!(
                    "another process has taken over the transaction {id}; run the command again if letters are left"
                ))
            }
            Some(
                code @ (Code::OperationTimedOut
                | Code::CoordinatorNotAvailable
                | Code::RequestTimedOut),
            ) => Error::Unavailable(format!(
                "cannot {what} the transaction {id}: {code}; check the brokers, and that the topic \
                 __transaction_state can have its replicas (transaction.state.log.replication.factor)"
            )),
            _ => Error::Unavailable(format!("cannot {what} the transaction {id}: {error}")),
        }
    }
}
