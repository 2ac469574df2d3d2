//! Where the buffer lies in Kafka, and its bounds.

use buffer::Error;
use buffer::foreign::Fields;
use buffer::identity::{Identity, encoded};

use crate::place::PARTITIONS_MAX;

/// What a broker listens on unless told otherwise.
const PORT: u16 = 9092;

/// What the name of a topic is made of; `.dead` has room behind it.
const NAME: &str = "1 to 244 letters, digits, dots, underscores and hyphens";

/// What a group reads first of a topic that it has committed nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Everything that is there.
    Earliest,
    /// What comes from the first opening on.
    Latest,
}

/// Who owns the topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Forebay: it makes the topics, writes offers into the topic, and moves records into the partitions of
    /// their keys.
    #[default]
    Own,
    /// Other producers: Forebay makes no topic and writes nothing into this one. See the crate's docs for
    /// the order that is left.
    Source,
}

/// Where a buffer lies, and its bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Some of the cluster's brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// The topic. Its dead letters lie in [`Options::dead_topic`].
    pub topic: String,
    /// Who owns the topic.
    pub mode: Mode,
    /// The topic of the dead letters: required of a [`Mode::Source`], which may share it with other sources
    /// or a topic of ours, and refused of a [`Mode::Own`].
    pub dead: Option<String>,
    /// The consumer group that settles. Dead letters are the topic's, whatever the group.
    pub group: String,
    /// What a new group reads first.
    pub start: Start,
    /// How many partitions the topic gets if it is made here: at most this many processes settle.
    pub partitions: u16,
    /// On how many brokers each record lies if the topic is made here; 0 is the cluster's default.
    pub replication: u16,
    /// How many of them must have a record before it counts as accepted, if the topic is made here;
    /// 0 is the cluster's default.
    pub min_insync: u16,
    /// Most events held at once, leased ones among them.
    pub events_max: usize,
    /// Most events of one partition read ahead of the first that is not done.
    pub in_flight_max: usize,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: i64,
    /// How long a partition that goes to another process is waited for until what is held of it is
    /// done, in milliseconds.
    pub drain_ms: u64,
    /// After how much silence a process is given up, in milliseconds.
    pub session_ms: u64,
    /// Most dead letters held at once.
    pub dead_max: usize,
    /// The JSON fields of a foreign event that are its id and its key.
    pub fields: Fields,
    /// How long the cluster may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// Whether records that are settled are deleted from the topic. Other groups can't read them
    /// then.
    pub delete_settled: bool,
    /// How to connect, in librdkafka's own words: `security.protocol`, `sasl.…`, `ssl.…`. Their
    /// values are never printed.
    pub security: Vec<(String, String)>,
    /// Whether opening succeeds though Kafka can't be reached, to go on trying later.
    pub lazy: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let security: Vec<&str> = self.security.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("security", &security)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A buffer in this topic, with the usual bounds.
    #[must_use]
    pub fn new(brokers: Vec<String>, topic: &str, group: &str, fields: Fields) -> Self {
        Self {
            brokers,
            topic: topic.to_owned(),
            mode: Mode::Own,
            dead: None,
            group: group.to_owned(),
            start: Start::Earliest,
            partitions: 16,
            replication: 0,
            min_insync: 0,
            events_max: 1_000_000,
            in_flight_max: 10_000,
            lease_ms: 30_000,
            drain_ms: 3_000,
            session_ms: 10_000,
            dead_max: 10_000,
            fields,
            timeout_ms: 10_000,
            delete_settled: false,
            security: Vec::new(),
            lazy: false,
        }
    }

    /// The topic of the dead letters: [`Options::dead`], or `{topic}.dead`.
    #[must_use]
    pub fn dead_topic(&self) -> String {
        self.dead.clone().unwrap_or_else(|| format!("{}.dead", self.topic))
    }

    /// Which buffer it is, whatever its options and which of the brokers it names. Another group reads the
    /// same topic, and so the same events.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let host = |broker: &String| match broker.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().unwrap_or(PORT)),
            None => (broker.clone(), PORT),
        };
        let (topic, group) = (encoded(&self.topic), encoded(&self.group));
        let storage = vec![self.topic.clone(), self.dead_topic()];
        let hosts = self.brokers.iter().map(host);
        Identity::at_hosts("kafka", hosts, format!("/{topic}?group={group}"), storage)
    }

    /// Whether a buffer can be opened with these.
    ///
    /// # Errors
    /// [`Error::Open`] that names the option and its bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Open(what));
        if self.brokers.is_empty() || self.brokers.iter().any(|broker| broker.is_empty()) {
            return refuse("kafka: name at least one broker, as host:port".to_owned());
        }
        if !is_name(&self.topic) {
            return refuse(format!("kafka: the topic must have a name of {NAME}"));
        }
        self.validate_mode()?;
        if self.group.is_empty() {
            return refuse("kafka: the consumer group must have a name".to_owned());
        }
        if !self.fields.are_named() {
            return refuse("kafka: the fields of id and key must have names".to_owned());
        }
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let lease_ms = u64::try_from(self.lease_ms).unwrap_or(0);
        for (option, value, min, max) in [
            ("partitions", self.partitions.into(), 1, PARTITIONS_MAX.into()),
            ("events_max", wide(self.events_max), 1, u64::MAX),
            ("in_flight_max", wide(self.in_flight_max), 1, 1 << 20),
            ("dead_max", wide(self.dead_max), 1, u64::MAX),
            ("lease_ms", lease_ms, 30, u64::MAX),
            ("drain_ms", self.drain_ms, 0, 60_000),
            ("session_ms", self.session_ms, 1_000, 300_000),
            ("timeout_ms", self.timeout_ms, 100, 300_000),
        ] {
            if value < min || value > max {
                let bounds = if max == u64::MAX {
                    format!("at least {min}")
                } else {
                    format!("{min} to {max}")
                };
                return refuse(format!("kafka: {option} must be {bounds}, not {value}"));
            }
        }
        self.validate_security()
    }

    fn validate_mode(&self) -> Result<(), Error> {
        let topic = &self.topic;
        let problem = match (self.mode, &self.dead) {
            (Mode::Own, None) => return Ok(()),
            (Mode::Own, Some(_)) => {
                format!(
                    "kafka: dead is for mode=source; the dead letters of {topic} lie in {topic}.dead"
                )
            }
            (Mode::Source, None) => {
                "kafka: mode=source needs a topic for the dead letters; add dead=NAME".to_owned()
            }
            (Mode::Source, Some(dead)) if !is_name(dead) => {
                format!("kafka: dead must be the name of a topic, {NAME}")
            }
            (Mode::Source, Some(dead)) if dead == topic => format!(
                "kafka: dead must not be {topic} itself; mode=source writes nothing into that topic"
            ),
            (Mode::Source, Some(_)) if self.delete_settled => {
                "kafka: delete_settled deletes records of others in mode=source; leave it out"
                    .to_owned()
            }
            (Mode::Source, Some(_)) => return Ok(()),
        };
        Err(Error::Open(problem))
    }

    fn validate_security(&self) -> Result<(), Error> {
        for (name, value) in &self.security {
            let known = name == "security.protocol"
                || ["sasl.", "ssl.", "enable.ssl."].iter().any(|start| name.starts_with(start));
            if !known {
                let problem =
                    format!("kafka: {name} can't be set; security.protocol, sasl. and ssl. can");
                return Err(Error::Open(problem));
            }
            let value = value.to_ascii_lowercase();
            let needs_tls = name.contains("ssl.")
                || (name == "security.protocol" && value.ends_with("ssl"))
                || (name.starts_with("sasl.mechanism") && value.starts_with("scram"));
            if needs_tls && !cfg!(feature = "tls") {
                return Err(Error::Open(format!(
                    "kafka: {name} needs TLS, which this build leaves out; build it with \
                     `cargo build --release --features kafka-tls` (minutes, and it needs a Perl)"
                )));
            }
        }
        Ok(())
    }
}

fn is_name(topic: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=244).contains(&topic.len()) && topic.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new(vec!["localhost:9092".to_owned()], "t", "g", Fields::named("id", "key"))
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_bounds() {
        let check = |options: Options, expect: &str| {
            let said = options.validate().unwrap_err().to_string();
            assert!(said.contains(expect), "{said}");
        };
        assert!(options().validate().is_ok());
        check(Options { brokers: Vec::new(), ..options() }, "broker");
        check(Options { topic: "a/b".to_owned(), ..options() }, "topic");
        let source = |dead: &str| Options {
            mode: Mode::Source,
            dead: Some(dead.to_owned()).filter(|dead| !dead.is_empty()),
            ..options()
        };
        assert!(source("t.dead").validate().is_ok());
        check(source(""), "add dead=NAME");
        check(source("t"), "must not be t itself");
        check(source("a/b"), "dead must be the name of a topic");
        check(Options { delete_settled: true, ..source("d") }, "deletes records of others");
        check(Options { mode: Mode::Own, ..source("d") }, "dead is for mode=source");
        check(Options { partitions: 0, ..options() }, "partitions must be 1 to 16384, not 0");
        check(Options { lease_ms: 29, ..options() }, "lease_ms must be at least 30, not 29");
        let set = |name: &str, value: &str| Options {
            security: vec![(name.to_owned(), value.to_owned())],
            ..options()
        };
        check(set("acks", "0"), "acks can't be set");
        assert!(set("sasl.mechanism", "PLAIN").validate().is_ok());
        if !cfg!(feature = "tls") {
            check(set("security.protocol", "SASL_SSL"), "--features kafka-tls");
            check(set("sasl.mechanism", "SCRAM-SHA-512"), "--features kafka-tls");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let security = vec![("sasl.password".to_owned(), "s3cret".to_owned())];
        let text = format!("{:?}", Options { security, ..options() });
        assert!(text.contains("sasl.password") && !text.contains("s3cret"), "{text}");
    }
}
