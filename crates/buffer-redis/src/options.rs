//! Where the buffer lies in Redis, and its bounds.

use buffer::Error;
use buffer::foreign::Fields;
use buffer::identity::{Identity, encoded};

/// Most shards a buffer may have.
pub const SHARDS_MAX: u16 = 256;
/// Longest name of a process, in bytes.
pub const PROCESS_BYTES_MAX: usize = 128;

/// How events are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Lists: foreign producers `LPUSH` JSON.
    List,
    /// Streams with a consumer group: foreign producers `XADD` JSON as a field.
    Stream {
        /// The consumer group of the shards.
        group: String,
        /// The field that holds the JSON; if none is named, the first that looks like an object.
        field: Option<String>,
    },
}

/// How a waiting lease learns of new events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Redis rings when something comes (a blocking read that takes nothing). For streams; lists
    /// are polled all the same.
    Blocking,
    /// By asking every 1 to 12 ms, with one question for all buffers of a process that are idle.
    NonBlocking,
}

/// How many connections a buffer uses. All buffers of a process on one Redis share one for what is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// Four for the events of all buffers that share; what waits has its own (`poll=blocking`, `wait_replicas`).
    Shared,
    /// Four for offers and one for leases.
    Dedicated,
}

/// The Redis to use.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Host and port; of a cluster, some of its nodes.
    pub addresses: Vec<(String, u16)>,
    /// Whether it is a Redis Cluster.
    pub cluster: bool,
    /// Whether to speak TLS.
    pub tls: bool,
    /// The database number; 0 in a cluster.
    pub db: i64,
    /// The ACL user.
    pub user: Option<String>,
    /// The password. Never printed.
    pub password: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("cluster", &self.cluster)
            .field("tls", &self.tls)
            .field("db", &self.db)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
impl Server {
    /// The one at `host:port`, for tests.
    pub(crate) fn plain(address: &str) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap();
        let addresses = vec![(host.to_owned(), port.parse().unwrap())];
        Self { addresses, cluster: false, tls: false, db: 0, user: None, password: None }
    }
}

/// Where a buffer lies, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The Redis to use.
    pub server: Server,
    /// The name of the list or stream; all other keys are `{name}:…`.
    pub name: String,
    /// How events are stored.
    pub layout: Layout,
    /// Over how many shards keys are spread: 1 to [`SHARDS_MAX`]. Fixed when the buffer is first
    /// opened; at most this many processes can lease at once.
    pub shards: u16,
    /// Most events held at once, leased ones among them, foreign ones not yet routed not.
    pub events_max: usize,
    /// Most memory Redis may use before offers are refused, in bytes; 0 is nine tenths of its
    /// `maxmemory`, if it has one.
    pub memory_max_bytes: u64,
    /// What tells this process from others where members are shown, as `host:pid:start`; at most
    /// [`PROCESS_BYTES_MAX`], and nothing if nobody looks.
    pub process: String,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: i64,
    /// After how much silence a leasing process is given up, in milliseconds.
    pub member_ms: i64,
    /// Most dead letters held at once.
    pub dead_max: usize,
    /// The JSON fields of a foreign event that are its id and its key.
    pub fields: Fields,
    /// How a waiting lease learns of new events.
    pub poll: Poll,
    /// How many connections to use.
    pub connections: Connections,
    /// How many replicas must have an offer before it counts as accepted.
    pub wait_replicas: u32,
    /// How long a reply may take, in milliseconds.
    pub response_timeout_ms: u64,
    /// Whether opening succeeds though Redis can't be reached, to go on trying later.
    pub lazy: bool,
}

impl Options {
    /// A buffer of lists, with the usual bounds.
    #[must_use]
    pub fn list(server: Server, name: &str, fields: Fields) -> Self {
        Self {
            server,
            name: name.to_owned(),
            layout: Layout::List,
            shards: 16,
            events_max: 1_000_000,
            memory_max_bytes: 0,
            process: String::new(),
            lease_ms: 30_000,
            member_ms: 10_000,
            dead_max: 10_000,
            fields,
            poll: Poll::NonBlocking,
            connections: Connections::Shared,
            wait_replicas: 0,
            response_timeout_ms: 2_000,
            lazy: false,
        }
    }

    /// A buffer of streams with this consumer group, with the usual bounds.
    #[must_use]
    pub fn stream(server: Server, name: &str, group: &str, fields: Fields) -> Self {
        Self {
            layout: Layout::Stream { group: group.to_owned(), field: None },
            poll: Poll::Blocking,
            ..Self::list(server, name, fields)
        }
    }

    /// Which buffer it is, whatever its options. All its keys lie under its name, in either layout.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Server { addresses, cluster, db, .. } = &self.server;
        let (kind, db) = if *cluster { ("redis-cluster", 0) } else { ("redis", *db) };
        let name = encoded(&self.name);
        let what = match &self.layout {
            Layout::List => format!("list={name}"),
            Layout::Stream { group, .. } => format!("stream={name}&group={}", encoded(group)),
        };
        let storage = vec![format!("{db} {}", self.name)];
        Identity::at_hosts(kind, addresses.iter().cloned(), format!("/{db}?{what}"), storage)
    }

    /// Whether a buffer can be opened with these.
    ///
    /// # Errors
    /// [`Error::Open`] that names the option and its bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Open(what));
        if self.server.addresses.is_empty() {
            return refuse("redis: name at least one host".to_owned());
        }
        if self.name.is_empty() || self.name.len() > 512 || self.name.contains(['{', '}']) {
            return refuse(
                "redis: the list or stream must have a name of 1 to 512 bytes without braces: the \
                 buffer adds its own hash tag"
                    .to_owned(),
            );
        }
        if let Layout::Stream { group, .. } = &self.layout
            && group.is_empty()
        {
            return refuse("redis: the consumer group must have a name".to_owned());
        }
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return refuse(format!("redis: shards must be 1 to {SHARDS_MAX}, not {}", self.shards));
        }
        if self.process.len() > PROCESS_BYTES_MAX {
            return refuse(format!(
                "redis: process must be at most {PROCESS_BYTES_MAX} bytes, not {}",
                self.process.len()
            ));
        }
        if self.server.cluster && self.server.db != 0 {
            return refuse("redis: a cluster has database 0 only".to_owned());
        }
        for (option, value, min) in [
            ("events_max", i64::try_from(self.events_max).unwrap_or(i64::MAX), 1),
            ("dead_max", i64::try_from(self.dead_max).unwrap_or(i64::MAX), 1),
            ("lease_ms", self.lease_ms, 30),
            ("member_ms", self.member_ms, 100),
            (
                "response_timeout_ms",
                i64::try_from(self.response_timeout_ms).unwrap_or(i64::MAX),
                10,
            ),
        ] {
            if value < min {
                return refuse(format!("redis: {option} must be at least {min}, not {value}"));
            }
        }
        if !self.fields.are_named() {
            return refuse("redis: the fields of id and key must have names".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_has_a_bound() {
        let server = Server::plain("127.0.0.1:6379");
        let named = |bytes: usize| Options {
            process: "p".repeat(bytes),
            ..Options::list(server.clone(), "tx_queue", Fields::named("id", "key"))
        };
        assert!(named(PROCESS_BYTES_MAX).validate().is_ok());
        let refused = named(PROCESS_BYTES_MAX + 1).validate().unwrap_err().to_string();
        assert!(refused.contains("process must be at most 128 bytes, not 129"), "{refused}");
    }
}
