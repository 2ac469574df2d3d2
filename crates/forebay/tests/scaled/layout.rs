//! The ways a buffer may lie in Redis, and those in Kafka and SQS.

use std::sync::Arc;

use buffer::Buffer;
use buffer::foreign::Fields;
use buffer_kafka::KafkaBuffer;
use buffer_redis::{Options, RedisBuffer, Server};
use buffer_sqs::{Credentials, SqsBuffer};

use crate::load::Payments;

/// How long a process may be silent before its shards are another's, and leases last: short, so
/// that a test need not wait long for them.
pub(crate) const MEMBER_MS: i64 = 1_500;
pub(crate) const LEASE_MS: i64 = 3_000;
/// How long Kafka may be silent before an offer fails: longer than a broker takes to come again.
const KAFKA_SILENT_MS: u64 = 25_000;
/// What the list, stream, topic or queue is called.
pub(crate) const NAME: &str = "tx_queue";
/// Any will do, for a server of the test's own.
pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET_KEY: &str = "s3cret";
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "123456789012";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    List,
    /// One shard: workers but one stand by.
    Stream,
    Sharded,
    /// Sharded streams on a cluster; offers wait for a replica.
    Cluster,
    /// Lists on one; offers wait for a replica too.
    ClusterList,
    /// A topic of 16 partitions.
    Kafka,
    /// A FIFO queue of SQS: a standard one has no order to compare verdicts by.
    Fifo,
}

impl Layout {
    pub(crate) fn in_redis(self) -> bool {
        !matches!(self, Self::Kafka | Self::Fifo)
    }

    fn in_cluster(self) -> bool {
        matches!(self, Self::Cluster | Self::ClusterList)
    }

    /// How many events show anything. The tests' server of the SQS API takes a hundred a second.
    pub(crate) fn events_min(self) -> usize {
        if self == Self::Fifo { 300 } else { 1_000 }
    }

    /// Payments that show something in so many.
    pub(crate) fn payments(self, seed: u64) -> Payments {
        if self == Self::Fifo { Payments::dense(seed) } else { Payments::new(seed) }
    }

    /// The buffer's URL at `base`, e.g. `redis://127.0.0.1:6379`.
    pub(crate) fn url(self, base: &str) -> String {
        let what = match self {
            Self::List => format!("?list={NAME}&shards=16"),
            Self::Stream => format!("?stream={NAME}&group=fds&shards=1"),
            Self::Sharded => format!("?stream={NAME}&group=fds&shards=16&poll=non-blocking"),
            Self::Cluster => format!("?stream={NAME}&group=fds&shards=16&wait_replicas=1"),
            Self::ClusterList => format!("?list={NAME}&shards=16&wait_replicas=1"),
            Self::Kafka => {
                let times = format!("timeout_ms={KAFKA_SILENT_MS}&session_ms={MEMBER_MS}");
                return format!("{base}/{NAME}?group=fds&{times}&lease_ms={LEASE_MS}");
            }
            Self::Fifo => {
                let what = format!("region={REGION}&create=true&visibility_ms={LEASE_MS}");
                return format!("{base}/{NAME}.fifo?{what}");
            }
        };
        format!("{base}{what}&member_ms={MEMBER_MS}&lease_ms={LEASE_MS}")
    }

    /// The same buffer, opened by the test itself: to offer, and to look.
    pub(crate) async fn open(self, addresses: &[String]) -> Arc<dyn Buffer> {
        match self {
            Self::Kafka => {
                let options = buffer_kafka::Options {
                    timeout_ms: KAFKA_SILENT_MS,
                    lease_ms: LEASE_MS,
                    ..buffer_kafka::Options::new(
                        addresses.to_vec(),
                        NAME,
                        "fds",
                        Fields::named("tx_id", "card_number"),
                    )
                };
                Arc::new(KafkaBuffer::open(options).await.unwrap())
            }
            Self::Fifo => {
                let (endpoint, queue) =
                    (format!("http://{}", addresses[0]), format!("{NAME}.fifo"));
                let (access_key, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
                let credentials = Credentials { access_key, secret_key, session_token: None };
                let options = buffer_sqs::Options {
                    create: true,
                    visibility_ms: LEASE_MS,
                    credentials: Some(credentials),
                    ..buffer_sqs::Options::new(
                        &endpoint,
                        ACCOUNT,
                        &queue,
                        REGION,
                        Fields::named("tx_id", "card_number"),
                    )
                };
                Arc::new(SqsBuffer::open(options).await.unwrap())
            }
            Self::List | Self::Stream | Self::Sharded | Self::Cluster | Self::ClusterList => {
                Arc::new(RedisBuffer::open(self.options(addresses)).await.unwrap())
            }
        }
    }

    /// The same buffer, in Redis.
    pub(crate) fn options(self, addresses: &[String]) -> Options {
        let address = |text: &String| {
            let (host, port) = text.rsplit_once(':').unwrap();
            (host.to_owned(), port.parse().unwrap())
        };
        let server = Server {
            addresses: addresses.iter().map(address).collect(),
            cluster: self.in_cluster(),
            tls: false,
            db: 0,
            user: None,
            password: None,
        };
        let options = match self {
            Self::List | Self::ClusterList => {
                Options::list(server, NAME, Fields::named("tx_id", "card_number"))
            }
            Self::Stream | Self::Sharded | Self::Cluster => {
                Options::stream(server, NAME, "fds", Fields::named("tx_id", "card_number"))
            }
            Self::Kafka | Self::Fifo => panic!("it is not in Redis"),
        };
        Options {
            shards: if self == Self::Stream { 1 } else { 16 },
            wait_replicas: u32::from(self.in_cluster()),
            member_ms: MEMBER_MS,
            lease_ms: LEASE_MS,
            ..options
        }
    }
}
