//! The topics: made if they are not there, and asked how they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buffer::Error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{self, Speech, Trouble, blocking, failure};
use crate::reader::Reader;
use crate::{Mode, Options};

/// Between two looks for a topic that was just made.
const POLL: Duration = Duration::from_millis(20);
/// A bound that is none.
pub(crate) const UNLIMITED: &str = "-1";

/// How many partitions the topic has; both topics are there afterwards. Of a source none is made.
pub(crate) async fn ensure(reader: &Arc<Reader>, options: &Options) -> Result<i32, Error> {
    if options.mode == Mode::Source {
        return there(reader, options).await;
    }
    let unlimited = [
        ("retention.ms", UNLIMITED),
        ("retention.bytes", UNLIMITED),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let mut settings = vec![("cleanup.policy", "delete")];
    settings.extend(unlimited);
    let (topic, partitions) = (&options.topic, options.partitions.into());
    let partitions = one(reader, options, (topic, partitions), &settings).await?;
    // A letter's record bears its event's place for a key: what is dropped is compacted away.
    settings[0].1 = "compact";
    one(reader, options, (&options.dead_topic(), 1), &settings).await?;
    Ok(partitions)
}

/// How many partitions the topic has, if both topics are there. Makes none.
///
/// # Errors
/// [`Error::Open`] if one is missing, or may not be looked at.
pub(crate) async fn there(reader: &Arc<Reader>, options: &Options) -> Result<i32, Error> {
    let (topic, dead) = (&options.topic, options.dead_topic());
    let Some(partitions) = find(reader, topic).await? else {
        return Err(missing(reader, options, topic).await?);
    };
    match find(reader, &dead).await? {
        Some(_) => Ok(partitions),
        None => Err(missing(reader, options, &dead).await?),
    }
}

/// Why a topic was not found, and what to do.
async fn missing(reader: &Arc<Reader>, options: &Options, name: &str) -> Result<Error, Error> {
    let (reader, asked) = (Arc::clone(reader), name.to_owned());
    if blocking(move || reader.replication(&asked)).await? > 0 {
        return Ok(Error::Unavailable(format!("kafka: a partition of topic {name} has no leader")));
    }
    let topic = &options.topic;
    Ok(Error::Open(match options.mode {
        Mode::Own => {
            format!(
                "kafka: there is no topic {name} yet; `forebay serve` makes it, or make it by hand"
            )
        }
        Mode::Source if name == topic => format!(
            "kafka: cannot open the source {topic}: there is no such topic; correct its name, or ask its \
             owner to create it"
        ),
        Mode::Source => format!(
            "kafka: cannot open the source {topic}: there is no topic {name} for its dead letters; create it \
             with `kafka-topics.sh --bootstrap-server {} --create --topic {name} --partitions 1 --config \
             cleanup.policy=compact`",
            options.brokers.join(",")
        ),
    }))
}

async fn one(
    reader: &Arc<Reader>,
    options: &Options,
    (topic, partitions): (&str, i32),
    settings: &[(&str, &str)],
) -> Result<i32, Error> {
    if let Some(there) = find(reader, topic).await? {
        return Ok(there);
    }
    let min_insync = options.min_insync.to_string();
    let replication = if options.replication == 0 { -1 } else { i32::from(options.replication) };
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    if options.min_insync > 0 {
        new = new.set("min.insync.replicas", &min_insync);
    }
    let made = admin(options)?.create_topics([&new], &patience(options)).await;
    for result in made.map_err(|error| failure(&error))? {
        match result {
            // Another process was quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Error::Open(format!(
                    "kafka: topic {topic} is not there and can't be made ({code}); make it by hand, \
                     with retention.ms=-1 and retention.bytes=-1"
                )));
            }
        }
    }
    let made = Instant::now();
    while made.elapsed() < client::timeout(options) {
        if let Some(there) = find(reader, topic).await? {
            return Ok(there);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Error::Unavailable(format!("kafka: topic {topic} was made and is not there yet")))
}

async fn find(reader: &Arc<Reader>, topic: &str) -> Result<Option<i32>, Error> {
    let (reader, name) = (Arc::clone(reader), topic.to_owned());
    let found = blocking(move || reader.partitions(&name)).await;
    found.map_err(|error| match error {
        Error::Open(why) => {
            Error::Open(format!("{why}: cannot look at topic {topic}; allow Describe on it"))
        }
        other => other,
    })
}

/// The settings of a topic; none if they may not be asked.
pub(crate) async fn settings(
    options: &Options,
    topic: &str,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let asked = [ResourceSpecifier::Topic(topic)];
    let told = admin(options)?.describe_configs(&asked, &patience(options)).await;
    let mut settings = BTreeMap::new();
    for resource in told.map_err(|error| failure(&error))? {
        let resource = resource.map_err(|code| Error::Unavailable(format!("kafka: {code}")))?;
        for entry in resource.entries {
            settings.insert(entry.name, entry.value.unwrap_or_default());
        }
    }
    // The client library leaves out why there are none; a topic that may be asked always has some.
    Ok(Some(settings).filter(|settings| !settings.is_empty()))
}

/// Deletes what lies below these offsets.
pub(crate) async fn delete_below(options: &Options, lows: &[(i32, i64)]) -> Result<(), Error> {
    let mut list = TopicPartitionList::new();
    for (partition, low) in lows {
        list.add_partition_offset(&options.topic, *partition, Offset::Offset(*low))
            .map_err(|error| failure(&error))?;
    }
    let deleted = admin(options)?.delete_records(&list, &patience(options)).await;
    let deleted = deleted.map_err(|error| failure(&error))?;
    for element in deleted.elements() {
        element.error().map_err(|error| failure(&error))?;
    }
    Ok(())
}

fn admin(options: &Options) -> Result<AdminClient<Speech>, Error> {
    let made = client::config(options).create_with_context(Speech(Trouble::default()));
    made.map_err(|error| failure(&error))
}

fn patience(options: &Options) -> AdminOptions {
    let timeout = client::timeout(options);
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
