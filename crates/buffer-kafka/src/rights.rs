//! Rights that a worker needs and does not have, found without changing anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use buffer::Error;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::client::{self, blocking};
use crate::producer::{self, Client, Deliveries, Record};
use crate::reader::Reader;
use crate::shared::Shared;
use crate::topic;

/// One sentence for each right that is missing: which, and what to allow.
///
/// # Errors
/// If Kafka can't be reached.
pub(crate) async fn lacking(shared: &Arc<Shared>) -> Result<Vec<String>, Error> {
    let (topic, group) = (&shared.options.topic, &shared.options.group);
    let mut lacking = Vec::new();
    for (name, partitions) in [(topic, shared.partitions()), (&shared.dead_topic, 1)] {
        if !may_read(&shared.reader, name, partitions).await? {
            lacking.push(format!("kafka: cannot read the topic {name}; allow Read on it"));
        }
    }
    let reader = Arc::clone(&shared.reader);
    // Without any right on the group, Kafka does not name its coordinator, and a commit waits for long.
    match blocking(move || reader.committed(1).and_then(|_| reader.may_commit())).await {
        Ok(true) => {}
        Ok(false) | Err(Error::Open(_)) => lacking.push(format!(
            "kafka: cannot join the group {group} or commit for it; allow Read on the group"
        )),
        Err(error) => return Err(error),
    }
    if !may_bury(shared).await? {
        let dead = &shared.dead_topic;
        lacking.push(format!(
            "kafka: cannot write dead letters into the topic {dead}; allow Write on it"
        ));
    }
    Ok(lacking)
}

/// Whether the topic's records may be read: asks for what is behind the last of them.
async fn may_read(reader: &Arc<Reader>, topic: &str, partitions: i32) -> Result<bool, Error> {
    let (reader, topic) = (Arc::clone(reader), topic.to_owned());
    blocking(move || {
        let end = reader.highs(&topic, partitions)?.first().copied().unwrap_or(0);
        match reader.scan(&topic, &BTreeMap::from([(0, end)]), |_| Ok(false)) {
            Ok(()) => Ok(true),
            Err(Error::Open(_)) => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await
}

/// Whether dead letters may be written. A compacted topic refuses the record that is sent, because it has no
/// key, but only once the right was checked.
async fn may_bury(shared: &Shared) -> Result<bool, Error> {
    let settings = topic::settings(&shared.options, &shared.dead_topic).await?;
    let policy = settings.as_ref().and_then(|settings| settings.get("cleanup.policy"));
    if policy.is_none_or(|policy| policy != "compact") {
        return Ok(true);
    }
    // An idempotent one needs a right before it sends anything, and does not say which.
    let made = producer::config(&shared.options)
        .set("enable.idempotence", "false")
        .create_with_context(Deliveries::default());
    let client: Client = made.map_err(|error| client::failure(&error))?;
    let record =
        Record { topic: &shared.dead_topic, partition: 0, key: None, payload: None, headers: None };
    let patience = client::timeout(&shared.options);
    let written = producer::written(&Arc::new(client), [record].into_iter(), patience).await;
    match written.map_err(|error| (error.rdkafka_error_code(), error)) {
        Ok(()) | Err((Some(Code::InvalidRecord), _)) => Ok(true),
        Err((Some(Code::TopicAuthorizationFailed), _)) => Ok(false),
        Err((_, error)) => Err(client::failure(&error)),
    }
}
