//! Which queue, and its bounds.

use buffer::foreign::Fields;
use buffer::{Error, Identity};

/// What an SQS message may weigh at most unless a queue says otherwise, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 262_144;
/// The longest that SQS hides a message, in milliseconds: twelve hours.
pub const VISIBILITY_MS_MAX: i64 = 43_200_000;

/// The longest that a queue keeps a message, in seconds: fourteen days.
pub const RETENTION_SECONDS_MAX: u64 = 1_209_600;

/// Keys of an account of AWS. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// The session's token, of keys that expire.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Where a buffer lies, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Scheme, host and port of the service, e.g. `https://sqs.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The account's number.
    pub account: String,
    /// The queue's name. One that ends in `.fifo` is a FIFO queue.
    pub queue: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The name of the queue of dead letters, of the same kind.
    pub dead: String,
    /// Whether queues that are missing are made.
    pub create: bool,
    /// How long a lease lasts, and for how long SQS is told to hide what is leased (rounded up to
    /// seconds, at least two), in milliseconds.
    pub visibility_ms: i64,
    /// Most events that this process holds at once.
    pub in_flight_max: usize,
    /// Most events in the queue, leased ones among them, before offers are refused. As SQS counts,
    /// which is nearly and late.
    pub events_max: usize,
    /// Most dead letters, as SQS counts.
    pub dead_max: usize,
    /// What a message, and a request of ten, may weigh, in bytes.
    pub message_bytes_max: usize,
    /// The JSON fields of a foreign event that are its id and its key.
    pub fields: Fields,
    /// How long an answer may take, besides what it is told to wait, in milliseconds.
    pub response_timeout_ms: u64,
    /// Whether opening succeeds though SQS can't be reached, to go on trying later.
    pub lazy: bool,
    /// Keys to sign with. None: those of the environment, the profile, or the machine's role, as the
    /// tools of AWS find them.
    pub credentials: Option<Credentials>,
}

impl Options {
    /// This queue of this account, with the usual bounds.
    #[must_use]
    pub fn new(endpoint: &str, account: &str, queue: &str, region: &str, fields: Fields) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            account: account.to_owned(),
            queue: queue.to_owned(),
            region: region.to_owned(),
            dead: match queue.strip_suffix(".fifo") {
                Some(name) => format!("{name}-dead.fifo"),
                None => format!("{queue}-dead"),
            },
            create: false,
            visibility_ms: 30_000,
            in_flight_max: 10_000,
            events_max: 1_000_000,
            dead_max: 10_000,
            message_bytes_max: MESSAGE_BYTES_MAX,
            fields,
            response_timeout_ms: 5_000,
            lazy: false,
            credentials: None,
        }
    }

    /// Whether it is a FIFO queue.
    #[must_use]
    pub fn fifo(&self) -> bool {
        self.queue.ends_with(".fifo")
    }

    /// The queue's URL, as SQS names it.
    #[must_use]
    pub fn queue_url(&self) -> String {
        format!("{}/{}/{}", self.endpoint, self.account, self.queue)
    }

    /// The URL of the queue of dead letters.
    #[must_use]
    pub fn dead_url(&self) -> String {
        format!("{}/{}/{}", self.endpoint, self.account, self.dead)
    }

    /// Which queue it is, whatever its options. A region and an account of AWS name a queue; which of the
    /// region's hosts is asked does not.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let (scheme, authority) =
            self.endpoint.split_once("://").unwrap_or(("https", &self.endpoint));
        let (kind, port) = if scheme == "http" { ("sqs+http", 80) } else { ("sqs", 443) };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, given)) if !given.contains(']') => (host, given.parse().unwrap_or(port)),
            _ => (authority, port),
        };
        let Self { account, region, queue, dead, .. } = self;
        let host = host.to_ascii_lowercase();
        let of_aws = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
        let host = match of_aws.iter().any(|domain| host.ends_with(domain)) {
            true => format!("sqs.{region}.amazonaws.com"),
            false => host,
        };
        let within = |name: &str| format!("{region} {account} {name}");
        let place = format!("/{account}/{queue}?region={region}");
        Identity::at_hosts(kind, [(host, port)], place, vec![within(queue), within(dead)])
    }

    /// For how long SQS is told to hide what is leased, in seconds: short of two, a heartbeat at half
    /// time would have no time.
    pub(crate) fn visibility_seconds(&self) -> u64 {
        self.visibility_ms.unsigned_abs().div_ceil(1000).max(2)
    }

    /// Whether a buffer can be opened with these.
    ///
    /// # Errors
    /// [`Error::Open`] that names the option and its bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Open(format!("sqs: {what}")));
        for (what, name) in [("queue", &self.queue), ("queue of dead letters", &self.dead)] {
            let plain = name.strip_suffix(".fifo").unwrap_or(name);
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if plain.is_empty() || name.len() > 80 || !plain.chars().all(fits) {
                return refuse(format!(
                    "the {what} must have a name of 1 to 80 letters, digits, - and _ (and .fifo)"
                ));
            }
        }
        if self.dead.ends_with(".fifo") != self.fifo() || self.dead == self.queue {
            return refuse(
                "the queue of dead letters must be another one of the same kind, FIFO or standard"
                    .to_owned(),
            );
        }
        if self.account.is_empty() || self.region.is_empty() {
            return refuse(
                "name account and region, e.g. \
                 sqs://sqs.eu-central-1.amazonaws.com/123456789012/events?region=eu-central-1"
                    .to_owned(),
            );
        }
        for (option, value, min, max) in [
            ("visibility_ms", self.visibility_ms, 100, VISIBILITY_MS_MAX),
            ("in_flight_max", count(self.in_flight_max), 1, 120_000),
            ("events_max", count(self.events_max), 1, i64::MAX),
            ("dead_max", count(self.dead_max), 1, 100_000),
            ("message_bytes_max", count(self.message_bytes_max), 1_024, 16 << 20),
            (
                "response_timeout_ms",
                i64::try_from(self.response_timeout_ms).unwrap_or(i64::MAX),
                10,
                600_000,
            ),
        ] {
            if value < min || value > max {
                return refuse(format!("{option} must be {min} to {max}, not {value}"));
            }
        }
        if !self.fields.are_named() {
            return refuse("the fields of id and key must have names".to_owned());
        }
        Ok(())
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
