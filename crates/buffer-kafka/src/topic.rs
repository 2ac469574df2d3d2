//! The topics: made if they are not there, and asked how they are kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use buffer::Error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{self, Speech, Trouble, blocking, failure};
use crate::inspect::Durability;
use crate::shared::Shared;
use crate::{Mode, Options};

/// Between two looks for a topic that was just made.
const POLL: Duration = Duration::from_millis(20);
/// A bound that is none.
const UNLIMITED: &str = "-1";

const LOST_WITH_A_DISK: &str = "a crash of the broker, but NOT THE LOSS OF ITS DISK NOR A POWER CUT: \
                                each event lies on one broker alone (replication factor 1)";
const LOST_WITH_THE_LAST: &str = "a crash of any broker, and its loss unless it was the only one in \
                                  sync (min.insync.replicas 1)";
const REPLICATED: &str = "the loss of a broker (acks=all, at least two replicas in sync)";
const NOTHING: &str = "nothing that can be relied on: see `config check`";
const OF_OTHERS: &str =
    "a crash of this process, for as long as the owner of the topic keeps each record";
pub(crate) const UNKNOWN: &str = "whatever Kafka survives: it could not be asked yet";

/// How many partitions the topic has; both topics are there afterwards. Of a source none is made.
pub(crate) async fn ensure(shared: &Shared) -> Result<i32, Error> {
    let options = &shared.options;
    if options.mode == Mode::Source {
        return there(shared).await;
    }
    let unlimited = [
        ("retention.ms", UNLIMITED),
        ("retention.bytes", UNLIMITED),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let mut settings = vec![("cleanup.policy", "delete")];
    settings.extend(unlimited);
    let partitions = one(shared, &options.topic, options.partitions.into(), &settings).await?;
    // A letter's record bears its event's place for a key: what is dropped is compacted away.
    settings[0].1 = "compact";
    one(shared, &shared.dead_topic, 1, &settings).await?;
    Ok(partitions)
}

/// How many partitions the topic has, if both topics are there. Makes none.
///
/// # Errors
/// [`Error::Open`] if one is missing, or may not be looked at.
pub(crate) async fn there(shared: &Shared) -> Result<i32, Error> {
    let topic = &shared.options.topic;
    let Some(partitions) = find(shared, topic).await? else {
        return Err(missing(shared, topic).await?);
    };
    match find(shared, &shared.dead_topic).await? {
        Some(_) => Ok(partitions),
        None => Err(missing(shared, &shared.dead_topic).await?),
    }
}

/// Why a topic was not found, and what to do.
async fn missing(shared: &Shared, name: &str) -> Result<Error, Error> {
    let (reader, asked) = (shared.reader.clone(), name.to_owned());
    if blocking(move || reader.replication(&asked)).await? > 0 {
        return Ok(Error::Unavailable(format!("kafka: a partition of topic {name} has no leader")));
    }
    let topic = &shared.options.topic;
    Ok(Error::Open(match shared.options.mode {
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
            shared.options.brokers.join(",")
        ),
    }))
}

async fn one(
    shared: &Shared,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<i32, Error> {
    if let Some(there) = find(shared, topic).await? {
        return Ok(there);
    }
    let options = &shared.options;
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
        if let Some(there) = find(shared, topic).await? {
            return Ok(there);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Error::Unavailable(format!("kafka: topic {topic} was made and is not there yet")))
}

async fn find(shared: &Shared, topic: &str) -> Result<Option<i32>, Error> {
    let (reader, name) = (shared.reader.clone(), topic.to_owned());
    let found = blocking(move || reader.partitions(&name)).await;
    found.map_err(|error| match error {
        Error::Open(why) => {
            Error::Open(format!("{why}: cannot look at topic {topic}; allow Describe on it"))
        }
        other => other,
    })
}

/// What the topics promise.
pub(crate) async fn durability(shared: &Shared) -> Result<Durability, Error> {
    let topic = &shared.options.topic;
    let (reader, name) = (shared.reader.clone(), topic.clone());
    let replication = blocking(move || reader.replication(&name)).await?;
    let mode = shared.options.mode;
    let mut found = match settings(&shared.options, topic).await? {
        Some(settings) => kept(topic, replication, &settings, mode),
        None => Durability { replication, ..unknown(topic, mode) },
    };
    let dead = &shared.dead_topic;
    match settings(&shared.options, dead).await? {
        Some(settings) => found.problems.extend(problems(dead, &settings, "compact")),
        None => {
            let unknown = unknown(dead, mode);
            found.problems.extend(unknown.problems);
            found.warnings.extend(unknown.warnings);
        }
    }
    found.durable &= found.problems.is_empty();
    if !found.durable && mode == Mode::Own {
        found.survives = NOTHING;
    }
    Ok(found)
}

impl Shared {
    /// Whether the topic of dead letters refuses records without a key. `false` if its settings may not be
    /// asked.
    pub(crate) async fn dead_is_compacted(&self) -> Result<bool, Error> {
        let settings = settings(&self.options, &self.dead_topic).await?;
        let policy = settings.as_ref().and_then(|settings| settings.get("cleanup.policy"));
        Ok(policy.is_some_and(|policy| policy == "compact"))
    }
}

/// Of a topic whose settings may not be asked. The owner of a source need not show them.
fn unknown(topic: &str, mode: Mode) -> Durability {
    let what = format!("kafka does not say how topic {topic} is kept; allow DescribeConfigs on it");
    match mode {
        Mode::Own => {
            Durability { problems: vec![what], survives: NOTHING, ..Durability::default() }
        }
        Mode::Source => {
            Durability { warnings: vec![what], survives: OF_OTHERS, ..Durability::default() }
        }
    }
}

/// How the topic is kept. The owner of a source alone can change that, so nothing of it is a problem.
fn kept(
    topic: &str,
    replication: usize,
    settings: &BTreeMap<String, String>,
    mode: Mode,
) -> Durability {
    let number = |name: &str| settings.get(name).and_then(|text| text.parse::<i64>().ok());
    let mut found = Durability {
        replication,
        min_insync: number("min.insync.replicas")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        cleanup_policy: settings.get("cleanup.policy").cloned(),
        ..Durability::default()
    };
    let mut problems = problems(topic, settings, "delete");
    if replication > 1
        && settings.get("unclean.leader.election.enable").is_some_and(|on| on == "true")
    {
        problems.push(format!(
            "topic {topic} has unclean.leader.election.enable: a replica that misses accepted events \
             may become the leader; {}",
            mend(topic, "unclean.leader.election.enable=false")
        ));
    }
    found.durable = problems.is_empty();
    match mode {
        Mode::Own => {
            found.problems = problems;
            found.warnings = warnings(topic, &found);
            found.survives = words(&found);
        }
        Mode::Source => {
            found.warnings = problems.into_iter().map(|what| format!("NOT OURS: {what}")).collect();
            found.survives = OF_OTHERS;
        }
    }
    found
}

fn words(found: &Durability) -> &'static str {
    match (found.replication, found.min_insync) {
        (0 | 1, _) => LOST_WITH_A_DISK,
        (_, 0 | 1) => LOST_WITH_THE_LAST,
        _ => REPLICATED,
    }
}

/// What may delete events that are not settled.
fn problems(topic: &str, settings: &BTreeMap<String, String>, meant: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let policy = settings.get("cleanup.policy").map_or("delete", String::as_str);
    if policy.contains("compact") && meant != "compact" {
        problems.push(format!(
            "topic {topic} has cleanup.policy {policy}: of events with one key all but the last would \
             be deleted; {}",
            mend(topic, "cleanup.policy=delete")
        ));
    }
    if policy.contains("delete") {
        for (name, unit) in [("retention.ms", "ms"), ("retention.bytes", "bytes a partition")] {
            if let Some(value) = settings.get(name).filter(|value| *value != UNLIMITED) {
                problems.push(format!(
                    "topic {topic} has {name} {value} ({unit}): what lies longer is deleted, settled \
                     or not; {}",
                    mend(topic, &format!("{name}=-1"))
                ));
            }
        }
    }
    problems
}

fn warnings(topic: &str, found: &Durability) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.replication <= 1 {
        warnings.push(format!(
            "REPLICATION FACTOR 1: topic {topic} lies on one broker alone, and is gone with its disk; \
             where there are more brokers, give it 3"
        ));
    } else if found.min_insync <= 1 {
        warnings.push(format!(
            "min.insync.replicas is 1: while only one replica of topic {topic} is in sync, events are \
             accepted by it alone; {}",
            mend(topic, "min.insync.replicas=2")
        ));
    }
    warnings
}

fn mend(topic: &str, setting: &str) -> String {
    format!(
        "`kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}` mends it"
    )
}

/// The settings of a topic; none if they may not be asked.
async fn settings(
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
