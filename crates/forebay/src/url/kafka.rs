//! Kafka URLs.

use buffer::foreign::Fields;
use buffer_kafka::{Options, Start};

use super::redis::{decoded, one_of, small};
use super::{Parts, no_option, number};
use crate::config::Error;

/// What a broker listens on when the URL says nothing.
const PORT: u16 = 9092;
/// Most partitions a topic may be made with.
const PARTITIONS_MAX: u16 = 1_024;
/// Most replicas.
const REPLICAS_MAX: u16 = 100;
/// What a buffer may be told in its URL, besides `sasl.…` and `ssl.…`.
const KEYS: [&str; 16] = [
    "group",
    "start",
    "partitions",
    "replication",
    "min_insync",
    "events_max",
    "in_flight_max",
    "lease_ms",
    "drain_ms",
    "session_ms",
    "dead_max",
    "id",
    "key",
    "timeout_ms",
    "delete_settled",
    "security.protocol",
];

/// Reads the parts of a `kafka:` URL.
///
/// # Errors
/// If it names no broker or no topic, or an option is unknown or out of bounds.
pub(super) fn options(parts: &Parts<'_>, fields: Fields) -> Result<Options, Error> {
    let invalid = |what: &str| {
        Error(format!("buffer: {what}; write e.g. kafka://127.0.0.1:{PORT}/transactions?group=fds"))
    };
    let rest = parts.path.strip_prefix("//").ok_or_else(|| invalid("a Kafka URL needs //"))?;
    let (authority, topic) = rest.split_once('/').unwrap_or((rest, ""));
    if topic.is_empty() {
        return Err(invalid("a Kafka URL names a topic"));
    }
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    let brokers = hosts.split(',').map(broker).collect::<Option<Vec<_>>>();
    let brokers = brokers.ok_or_else(|| invalid("no broker, or no port, that could be read"))?;
    let mut options = Options::new(brokers, &decoded(topic, "topic")?, "forebay", fields);
    if let Some((user, password)) = login.map(|login| login.split_once(':').unwrap_or((login, "")))
    {
        for (name, text) in [("sasl.username", user), ("sasl.password", password)] {
            options.security.push((name.to_owned(), decoded(text, "the login")?));
        }
        options.security.push(("security.protocol".to_owned(), "sasl_plaintext".to_owned()));
        options.security.push(("sasl.mechanism".to_owned(), "PLAIN".to_owned()));
    }
    for (key, text) in &parts.query {
        set(&mut options, key, text)?;
    }
    options.validate().map_err(|error| Error(format!("buffer: {error}")))?;
    Ok(options)
}

fn set(options: &mut Options, key: &str, text: &str) -> Result<(), Error> {
    match key {
        "group" => options.group = decoded(text, key)?,
        "start" => {
            let choices = [("earliest", Start::Earliest), ("latest", Start::Latest)];
            options.start = one_of(key, text, choices)?;
        }
        "partitions" => options.partitions = small(key, text, PARTITIONS_MAX)?,
        "replication" => options.replication = small(key, text, REPLICAS_MAX)?,
        "min_insync" => options.min_insync = small(key, text, REPLICAS_MAX)?,
        "events_max" => options.events_max = number("buffer", key, text, 1)?,
        "in_flight_max" => options.in_flight_max = number("buffer", key, text, 1)?,
        "lease_ms" => options.lease_ms = number("buffer", key, text, 100)?,
        "drain_ms" => options.drain_ms = number("buffer", key, text, 0_u64)?,
        "session_ms" => options.session_ms = number("buffer", key, text, 1_000_u64)?,
        "dead_max" => options.dead_max = number("buffer", key, text, 1)?,
        "id" => options.fields.id = decoded(text, key)?,
        "key" => options.fields.key = decoded(text, key)?,
        "timeout_ms" => options.timeout_ms = number("buffer", key, text, 100_u64)?,
        "delete_settled" => {
            options.delete_settled = one_of(key, text, [("yes", true), ("no", false)])?;
        }
        _ if key == "security.protocol" || is_security(key) => {
            // What is said twice counts as it was said last.
            options.security.retain(|(name, _)| name != key);
            options.security.push((key.to_owned(), decoded(text, key)?));
        }
        _ => return Err(no_option("buffer", key, &KEYS)),
    }
    Ok(())
}

fn is_security(key: &str) -> bool {
    ["sasl.", "ssl.", "enable.ssl."].iter().any(|start| key.starts_with(start))
}

/// `host`, `host:port` or `[address]:port`, with its port.
fn broker(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, PORT),
    };
    (!host.is_empty()).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Buffer, redacted};
    use super::*;

    fn read(url: &str) -> Options {
        match Buffer::parse(url).unwrap() {
            Buffer::Kafka(options) => *options,
            other => panic!("{url} is {other:?}"),
        }
    }

    #[test]
    fn a_url_holds_brokers_topic_and_options() {
        let options = read(
            "kafka://a,b:19092,[::1]:3/transactions?group=fds&start=latest&partitions=4&lease_ms=5_000\
             &delete_settled=yes&min_insync=2",
        );
        assert_eq!(options.brokers, ["a:9092", "b:19092", "[::1]:3"]);
        assert_eq!((options.topic.as_str(), options.group.as_str()), ("transactions", "fds"));
        assert_eq!(
            (options.start, options.partitions, options.lease_ms),
            (Start::Latest, 4, 5_000)
        );
        assert!(options.delete_settled && options.min_insync == 2);
        let options = read("kafka://h/t");
        assert_eq!((options.group.as_str(), options.start), ("forebay", Start::Earliest));
    }

    #[test]
    fn how_to_connect_is_handed_on_and_never_shown() {
        let url = "kafka://h/t?security.protocol=sasl_plaintext&sasl.mechanism=PLAIN\
                   &sasl.username=u&sasl.password=p%26ss";
        let options = read(url);
        let password = ("sasl.password".to_owned(), "p&ss".to_owned());
        assert!(options.security.contains(&password));
        assert!(!format!("{options:?}").contains("p&ss"));
        assert!(!redacted(url).contains("p%26ss"), "{}", redacted(url));
        let options = read("kafka://u:p%40ss@h/t");
        assert!(options.security.contains(&("sasl.password".to_owned(), "p@ss".to_owned())));
        assert!(options.security.contains(&("sasl.mechanism".to_owned(), "PLAIN".to_owned())));
    }

    #[test]
    fn what_can_not_be_read_says_what_to_write() {
        let refused = |url: &str, expect: &str| {
            let error = Buffer::parse(url).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        refused(
            "kafka://h",
            "buffer: a Kafka URL names a topic; write e.g. kafka://127.0.0.1:9092/",
        );
        refused("kafka:h/t", "buffer: a Kafka URL needs //");
        refused("kafka://h:port/t", "buffer: no broker, or no port, that could be read");
        refused("kafka://h/a/b", "buffer: kafka: the topic must have a name of");
        refused("kafka://h/t?start=middle", "buffer: start is \"middle\"; it must be");
        refused("kafka://h/t?acks=1", "buffer: the URL has no option \"acks\"; there are group,");
        refused("kafka://h/t?partitions=0", "buffer: partitions is");
    }
}
