//! Where events wait: each backend as a bench opens it, bounded so that nothing is refused.

use std::sync::Arc;

use anyhow::Result;
use buffer::Buffer;
use buffer::foreign::Fields;
use buffer::memory::{self, Memory};
use buffer_journal::JournalBuffer;
use buffer_kafka::KafkaBuffer;
use buffer_redis::RedisBuffer;
use buffer_sqs::SqsBuffer;
use model::clock::System;
use testbed::{Kafka, Redis, Sqs};

const EVENTS_MAX: usize = 10_000_000;
const MEMORY_BYTES_MAX: usize = 8 << 30;

/// Which way events lie in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    List,
    Stream,
}

/// A buffer that is yet to be opened.
#[derive(Debug, Clone)]
pub(crate) enum Queue {
    Memory(memory::Options),
    Journal(buffer_journal::Options),
    Redis(Box<buffer_redis::Options>),
    Kafka(Box<buffer_kafka::Options>),
    Sqs(Box<buffer_sqs::Options>),
}

impl Queue {
    pub(crate) fn memory() -> Self {
        let bytes_max = MEMORY_BYTES_MAX;
        Self::Memory(memory::Options { events_max: EVENTS_MAX, bytes_max, ..Default::default() })
    }

    pub(crate) fn redis(redis: &Redis, layout: Layout) -> Self {
        Self::Redis(Box::new(self::redis(redis, layout)))
    }

    pub(crate) fn kafka(kafka: &Kafka) -> Self {
        let options = buffer_kafka::Options::new(
            vec![kafka.address()],
            "tx_topic",
            "fds",
            Fields::named("tx_id", "card_number"),
        );
        Self::Kafka(Box::new(buffer_kafka::Options { events_max: EVENTS_MAX, ..options }))
    }

    /// A standard queue: a FIFO one hands out no further event of a card while one is leased.
    pub(crate) fn sqs(sqs: &Sqs) -> Self {
        let endpoint = format!("http://{}", sqs.address());
        let any = |text: &str| text.to_owned();
        let credentials = buffer_sqs::Credentials {
            access_key: any("any"),
            secret_key: any("any"),
            session_token: None,
        };
        let options = buffer_sqs::Options::new(
            &endpoint,
            "123456789012",
            "tx_queue",
            "us-east-1",
            Fields::named("tx_id", "card_number"),
        );
        let credentials = Some(credentials);
        Self::Sqs(Box::new(buffer_sqs::Options { create: true, credentials, ..options }))
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Buffer>> {
        Ok(match self {
            Self::Memory(options) => Arc::new(Memory::new(options.clone(), Arc::new(System))),
            Self::Journal(options) => {
                Arc::new(JournalBuffer::open(options.clone(), Arc::new(System))?.0)
            }
            Self::Redis(options) => Arc::new(RedisBuffer::open((**options).clone()).await?),
            Self::Kafka(options) => Arc::new(KafkaBuffer::open((**options).clone()).await?),
            Self::Sqs(options) => Arc::new(SqsBuffer::open((**options).clone()).await?),
        })
    }
}

pub(crate) fn redis(redis: &Redis, layout: Layout) -> buffer_redis::Options {
    let address = redis.address();
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    let server = buffer_redis::Server {
        addresses: vec![(host.to_owned(), port.parse().expect("a port is a number"))],
        cluster: false,
        tls: false,
        db: 0,
        user: None,
        password: None,
    };
    let options = match layout {
        Layout::List => {
            buffer_redis::Options::list(server, "tx_queue", Fields::named("tx_id", "card_number"))
        }
        Layout::Stream => buffer_redis::Options::stream(
            server,
            "tx_stream",
            "fds",
            Fields::named("tx_id", "card_number"),
        ),
    };
    buffer_redis::Options { events_max: EVENTS_MAX, ..options }
}
