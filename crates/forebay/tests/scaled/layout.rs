//! The ways a buffer may lie in Redis.

use buffer_redis::{Options, Server};

/// How long a process may be silent before its shards are another's, and leases last: short, so
/// that a test need not wait long for them.
pub(crate) const MEMBER_MS: i64 = 1_500;
pub(crate) const LEASE_MS: i64 = 3_000;
/// What the list or stream is called.
pub(crate) const NAME: &str = "tx_queue";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    List,
    /// One shard: workers but one stand by.
    Stream,
    Sharded,
    /// Sharded streams on a cluster; offers wait for a replica.
    Cluster,
}

impl Layout {
    fn query(self) -> String {
        let what = match self {
            Self::List => "list=tx_queue&shards=16",
            Self::Stream => "stream=tx_queue&group=fds&shards=1",
            Self::Sharded => "stream=tx_queue&group=fds&shards=16&poll=non-blocking",
            Self::Cluster => "stream=tx_queue&group=fds&shards=16&wait_replicas=1",
        };
        format!("{what}&member_ms={MEMBER_MS}&lease_ms={LEASE_MS}")
    }

    /// The buffer's URL at `base`, e.g. `redis://127.0.0.1:6379`.
    pub(crate) fn url(self, base: &str) -> String {
        format!("{base}?{}", self.query())
    }

    /// The same buffer, for a producer of the test's own.
    pub(crate) fn options(self, addresses: &[String]) -> Options {
        let address = |text: &String| {
            let (host, port) = text.rsplit_once(':').unwrap();
            (host.to_owned(), port.parse().unwrap())
        };
        let server = Server {
            addresses: addresses.iter().map(address).collect(),
            cluster: self == Self::Cluster,
            tls: false,
            db: 0,
            user: None,
            password: None,
        };
        let options = match self {
            Self::List => Options::list(server, NAME),
            Self::Stream | Self::Sharded | Self::Cluster => Options::stream(server, NAME, "fds"),
        };
        Options {
            shards: if self == Self::Stream { 1 } else { 16 },
            wait_replicas: u32::from(self == Self::Cluster),
            member_ms: MEMBER_MS,
            lease_ms: LEASE_MS,
            ..options
        }
    }
}
