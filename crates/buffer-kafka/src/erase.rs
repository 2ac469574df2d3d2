//! Why a buffer in Kafka is not taken away again.

use buffer::Error;

use crate::options::Options;

/// Refuses. A topic may have consumer groups of others, which Kafka does not tell apart from a late process of ours; it
/// deletes a topic some time after it has answered, with what was produced meanwhile; and where topics are made
/// automatically, a late producer makes it anew.
///
/// # Errors
/// Always [`Error::Unsupported`], with what to do instead.
pub async fn erase(options: &Options) -> Result<(), Error> {
    let topic = &options.topic;
    Err(Error::Unsupported(format!(
        "cannot erase the topic {topic}: other consumer groups may read it, and Kafka deletes it only later, with what \
         is produced meanwhile; stop all that use it, then run `kafka-topics.sh --delete --topic {topic}`, and the \
         same for {topic}.dead"
    )))
}
