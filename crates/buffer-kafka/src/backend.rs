//! `kafka://HOST,HOST/TOPIC?group=NAME`.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::{Durability, Each, Opened, Opening, Reading, Stop, Unordered, in_pages};
use buffer::{DeadLetter, Depth, Error, Identity, Location};
use model::url::{self, Url};

use crate::options::{Mode, Options, Start};
use crate::{KafkaBuffer, erase, inspect};

/// What a broker listens on when the URL says nothing.
const PORT: u16 = 9092;
/// Most partitions of a topic that is made. A topic that is there may have more.
const PARTITIONS_MADE_MAX: u16 = 1_024;
/// Most replicas.
const REPLICAS_MAX: u16 = 100;
/// What a buffer may be told in its URL, besides `sasl.…` and `ssl.…`.
const OPTIONS: [&str; 18] = [
    "group",
    "mode",
    "dead",
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

/// Kafka as a backend.
pub struct Backend;

impl buffer::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["kafka"]
    }

    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(options(url, reading)?))
    }
}

fn options(url: &Url<'_>, reading: &Reading<'_>) -> Result<Options, url::Error> {
    let invalid = |what: &str| {
        let example = format!("kafka://127.0.0.1:{PORT}/transactions?group=fds");
        url.error(format!("{what}; write e.g. {example}"))
    };
    let servers = url.servers().ok_or_else(|| invalid("a Kafka URL needs //"))?;
    if servers.rest.is_empty() {
        return Err(invalid("a Kafka URL names a topic"));
    }
    let hosts = servers.hosts(PORT);
    let hosts = hosts.ok_or_else(|| invalid("no broker, or no port, that could be read"))?;
    let brokers = hosts.into_iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let (topic, fields) = (url.decoded(servers.rest, "topic")?, reading.fields.clone());
    let mut options = Options::new(brokers, &topic, "forebay", fields);
    if let Some((user, password)) = servers.login {
        for (name, text) in [("sasl.username", user), ("sasl.password", password)] {
            options.security.push((name.to_owned(), url.decoded(text, "the login")?));
        }
        options.security.push(("security.protocol".to_owned(), "sasl_plaintext".to_owned()));
        options.security.push(("sasl.mechanism".to_owned(), "PLAIN".to_owned()));
    }
    for (option, text) in url.options() {
        set(&mut options, url, option, text)?;
    }
    options.validate().map_err(|error| url.error(error))?;
    Ok(options)
}

fn set(options: &mut Options, url: &Url<'_>, option: &str, text: &str) -> Result<(), url::Error> {
    match option {
        "group" => options.group = url.decoded(text, option)?,
        "mode" => {
            let choices = [("own", Mode::Own), ("source", Mode::Source)];
            options.mode = url.one_of(option, text, choices)?;
        }
        "dead" => options.dead = Some(url.decoded(text, option)?),
        "start" => {
            let choices = [("earliest", Start::Earliest), ("latest", Start::Latest)];
            options.start = url.one_of(option, text, choices)?;
        }
        "partitions" => options.partitions = url.small(option, text, PARTITIONS_MADE_MAX)?,
        "replication" => options.replication = url.small(option, text, REPLICAS_MAX)?,
        "min_insync" => options.min_insync = url.small(option, text, REPLICAS_MAX)?,
        "events_max" => options.events_max = url.number(option, text, 1)?,
        "in_flight_max" => options.in_flight_max = url.number(option, text, 1)?,
        "lease_ms" => options.lease_ms = url.number(option, text, 100)?,
        "drain_ms" => options.drain_ms = url.number(option, text, 0_u64)?,
        "session_ms" => options.session_ms = url.number(option, text, 1_000_u64)?,
        "dead_max" => options.dead_max = url.number(option, text, 1)?,
        "id" => options.fields.id = url.decoded(text, option)?,
        "key" => options.fields.key = url.decoded(text, option)?,
        "timeout_ms" => options.timeout_ms = url.number(option, text, 100_u64)?,
        "delete_settled" => {
            options.delete_settled = url.one_of(option, text, [("yes", true), ("no", false)])?;
        }
        _ if option == "security.protocol" || is_security(option) => {
            // What is said twice counts as it was said last.
            options.security.retain(|(name, _)| name != option);
            options.security.push((option.to_owned(), url.decoded(text, option)?));
        }
        _ => return Err(url.no_option(option, &OPTIONS)),
    }
    Ok(())
}

fn is_security(option: &str) -> bool {
    ["sasl.", "ssl.", "enable.ssl."].iter().any(|start| option.starts_with(start))
}

/// The topic and the group, and where.
fn named(options: &Options) -> String {
    let (topic, group) = (&options.topic, &options.group);
    format!("topic {topic}, group {group}, at {}", options.brokers.join(","))
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn name(&self) -> String {
        self.topic.clone()
    }

    fn place(&self) -> String {
        format!("Kafka ({})", named(self))
    }

    fn identity(&self) -> Identity {
        self.identity()
    }

    fn lease_ms(&self) -> u64 {
        self.lease_ms.unsigned_abs()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn accepted(&self, events: &str) -> String {
        format!(
            "Accepted {events} are held by {} and survive what its topic makes them survive; \
             `forebay config check` looks.",
            self.place()
        )
    }

    fn survives(&self) -> String {
        format!("what Kafka survives ({})", named(self))
    }

    fn unordered(&self) -> Option<Unordered> {
        let source = Unordered {
            by: "a topic whose producers put a key into several partitions (mode=source)",
            remedy: "send each event with its key as the record's key",
        };
        (self.mode == Mode::Source).then_some(source)
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        let lazy = opening.is_lazy;
        Ok(Opened::new(KafkaBuffer::open(Self { lazy, ..self.clone() }).await?))
    }

    async fn look(&self) -> Result<Option<Vec<String>>, Error> {
        let obstacles = inspect::obstacles(self).await?;
        if !obstacles.is_empty() {
            return Err(Error::Open(obstacles.join("; ")));
        }
        let partitions = inspect::partitions(self).await?;
        let said =
            format!("At most {partitions} processes settle at once: one for each partition.");
        Ok(Some(vec![said]))
    }

    async fn durability(&self) -> Result<Option<Durability>, Error> {
        let found = inspect::durability(self).await?;
        let inspect::Retention { survives, problems, warnings, .. } = found;
        Ok(Some(Durability { survives: survives.to_owned(), problems, warnings }))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        inspect::depth(self).await
    }

    async fn pending(&self, each: Each<'_>) -> Result<(), Error> {
        in_pages(|from, max| inspect::events(self, from, max), each).await
    }

    async fn dead(&self, _: Stop<'_>) -> Result<Vec<DeadLetter>, Error> {
        inspect::dead(self).await
    }

    async fn erase(&self) -> Result<(), Error> {
        erase::erase(self).await
    }

    fn refusal(&self) -> String {
        "Kafka verifies its own checksums as it is read, and mends a broker from its replicas; \
         `forebay config check` looks at how it is kept"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use buffer::conformance;
    use buffer::foreign::Fields;
    use model::url::redacted;

    use super::*;

    fn tried(url: &str) -> Result<Options, String> {
        let url = Url::split(buffer::backend::ROLE, url, "").unwrap();
        let reading = Reading { fields: &Fields::named("i", "k"), variable: &|_| None };
        options(&url, &reading).map_err(|error| error.to_string())
    }

    fn read(url: &str) -> Options {
        tried(url).unwrap()
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
        let options = read("kafka://h/t?mode=source&dead=fds.dead");
        assert_eq!((options.mode, options.dead_topic().as_str()), (Mode::Source, "fds.dead"));
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
            let error = tried(url).unwrap_err();
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
        refused("kafka://h/t?mode=source", "buffer: kafka: mode=source needs a topic for the dead");
        refused("kafka://h/t?acks=1", "buffer: the URL has no option \"acks\"; there are group,");
        refused("kafka://h/t?partitions=0", "buffer: partitions is");
        refused("kafka://h/t?partitions=1025", "buffer: partitions is");
        assert_eq!(read("kafka://h/t?partitions=1024").partitions, 1_024);
    }

    #[test]
    fn a_buffer_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
        conformance::spelled(
            &|url| read(url).identity(),
            &["kafka://a,b:9093/t?group=fds", "kafka://u:p@B:9093/t?partitions=3&group=fds"],
            &["kafka://a/t?group=other", "kafka://a/u?group=fds", "kafka://a:1/t?group=fds"],
        );
    }

    #[test]
    fn what_shares_records_overlaps() {
        let overlaps = |one, other| read(one).identity().overlaps(&read(other).identity());
        assert!(overlaps("kafka://h/t?group=a", "kafka://h/t?group=b"));
        assert!(overlaps("kafka://h/t", "kafka://h/t.dead"));
    }
}
