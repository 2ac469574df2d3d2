//! What the topics promise, by their settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use buffer::Error;

use crate::client::blocking;
use crate::reader::Reader;
use crate::topic::{self, UNLIMITED};
use crate::{Mode, Options};

const LOST_WITH_A_DISK: &str = "a crash of the broker, but NOT THE LOSS OF ITS DISK NOR A POWER CUT: \
                                each event lies on one broker alone (replication factor 1)";
const LOST_WITH_THE_LAST: &str = "a crash of any broker, and its loss unless it was the only one in \
                                  sync (min.insync.replicas 1)";
const REPLICATED: &str = "the loss of a broker (acks=all, at least two replicas in sync)";
const NOTHING: &str = "nothing that can be relied on: see `config check`";
const OF_OTHERS: &str =
    "a crash of this process, for as long as the owner of the topic keeps each record";
pub(crate) const UNKNOWN: &str = "whatever Kafka survives: it could not be asked yet";

/// What the topics promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// On how many brokers each event lies.
    pub replication: usize,
    /// How many of them must have it before it counts as accepted.
    pub min_insync: usize,
    /// After how long Kafka deletes what lies there, settled or not; -1 is never.
    pub retention_ms: Option<i64>,
    /// Past how many bytes of a partition it does; -1 is never.
    pub retention_bytes: Option<i64>,
    /// Its `cleanup.policy`.
    pub cleanup_policy: Option<String>,
    /// Whether nothing deletes events before they are settled, as far as the topics' settings say.
    pub durable: bool,
    /// What is wrong and how to mend it, one sentence each. With any, the buffer is not durable.
    pub problems: Vec<String>,
    /// What should be known all the same.
    pub warnings: Vec<String>,
    /// What an accepted event survives, in plain words.
    pub survives: &'static str,
}

/// What the topics promise.
pub(crate) async fn asked(reader: &Arc<Reader>, options: &Options) -> Result<Retention, Error> {
    let (topic, mode) = (&options.topic, options.mode);
    let (reader, name) = (Arc::clone(reader), topic.clone());
    let replication = blocking(move || reader.replication(&name)).await?;
    let mut found = match topic::settings(options, topic).await? {
        Some(settings) => kept(topic, replication, &settings, mode),
        None => Retention { replication, ..unknown(topic, mode) },
    };
    let dead = options.dead_topic();
    match topic::settings(options, &dead).await? {
        Some(settings) => found.problems.extend(problems(&dead, &settings, "compact")),
        None => {
            let unknown = unknown(&dead, mode);
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

/// Of a topic whose settings may not be asked. The owner of a source need not show them.
fn unknown(topic: &str, mode: Mode) -> Retention {
    let what = format!("kafka does not say how topic {topic} is kept; allow DescribeConfigs on it");
    match mode {
        Mode::Own => Retention { problems: vec![what], survives: NOTHING, ..Retention::default() },
        Mode::Source => {
            Retention { warnings: vec![what], survives: OF_OTHERS, ..Retention::default() }
        }
    }
}

/// How the topic is kept. The owner of a source alone can change that, so nothing of it is a problem.
fn kept(
    topic: &str,
    replication: usize,
    settings: &BTreeMap<String, String>,
    mode: Mode,
) -> Retention {
    let number = |name: &str| settings.get(name).and_then(|text| text.parse::<i64>().ok());
    let mut found = Retention {
        replication,
        min_insync: number("min.insync.replicas")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        cleanup_policy: settings.get("cleanup.policy").cloned(),
        ..Retention::default()
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

fn words(found: &Retention) -> &'static str {
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

fn warnings(topic: &str, found: &Retention) -> Vec<String> {
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
