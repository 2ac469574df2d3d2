//! The SQS backend against the conformance suite: a standard and a FIFO queue.

use std::sync::Arc;
use std::time::Duration;

use crate::place;
use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Order, Subject};
use buffer::{Buffer, Error};
use buffer_sqs::{Options, SqsBuffer};

/// Real time passes here: long enough that a slow machine does not expire a lease by itself.
const LIMITS: Limits = Limits { events_max: 200, lease_ms: 2_000, dead_max: 10 };

struct InSqs(Options);

impl InSqs {
    fn new(fifo: bool) -> Self {
        Self(Options {
            events_max: LIMITS.events_max,
            visibility_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            dead_max: LIMITS.dead_max,
            ..place::options(fifo)
        })
    }
}

#[async_trait]
impl Subject for InSqs {
    async fn open(&self) -> Arc<dyn Buffer> {
        Arc::new(SqsBuffer::open(self.0.clone()).await.unwrap())
    }

    async fn open_with_long_leases(&self) -> Arc<dyn Buffer> {
        let options = Options { visibility_ms: 30_000, ..self.0.clone() };
        Arc::new(SqsBuffer::open(options).await.unwrap())
    }

    async fn advance(&self, by_ms: u64) {
        tokio::time::sleep(Duration::from_millis(by_ms)).await;
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn each(&self) -> usize {
        60
    }

    /// A standard queue has no order, a FIFO queue one within each message group. A message that SQS
    /// shows again is not in flight: its visibility can't be changed, nor can FIFO queues delete it. The
    /// age of the oldest is a figure of CloudWatch and not of the API.
    fn lacks(&self) -> Lacks {
        let order = if self.0.fifo() { Order::WithinKeys } else { Order::None };
        Lacks { order, late_receipts: true, oldest: true, erasing: true, ..Lacks::default() }
    }

    async fn erase(&self) -> Result<(), Error> {
        buffer_sqs::erase(&self.0).await
    }
}

mod a_standard_queue {
    use super::*;
    buffer::conformance!(durable InSqs::new(false));
}

mod a_fifo_queue {
    use super::*;
    buffer::conformance!(durable InSqs::new(true));
}
