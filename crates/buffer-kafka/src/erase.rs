//! Why a buffer in Kafka is not taken away again.

use buffer::Error;

use crate::options::{Mode, Options};

/// Refuses. A topic may have consumer groups of others, which Kafka does not tell apart from a late process of ours; it
/// deletes a topic some time after it has answered, with what was produced meanwhile; and where topics are made
/// automatically, a late producer makes it anew.
///
/// # Errors
/// Always [`Error::Unsupported`], with what to do instead.
pub async fn erase(options: &Options) -> Result<(), Error> {
    let topic = &options.topic;
    if options.mode == Mode::Source {
        return Err(Error::Unsupported(format!(
            "cannot erase the topic {topic}: it belongs to other producers (mode=source); to forget how far the group \
             {0} has read, run `kafka-consumer-groups.sh --delete --group {0}`",
            options.group
        )));
    }
    Err(Error::Unsupported(format!(
        "cannot erase the topic {topic}: other consumer groups may read it, and Kafka deletes it only later, with what \
         is produced meanwhile; stop all that use it, then run `kafka-topics.sh --delete --topic {topic}`, and the \
         same for {topic}.dead"
    )))
}

#[cfg(test)]
mod tests {
    use buffer::foreign::Fields;

    use super::*;

    #[tokio::test]
    async fn erasing_a_source_does_not_advise_to_delete_its_topic() {
        let own = Options::new(vec!["h:1".to_owned()], "t", "g", Fields::named("id", "key"));
        let source =
            Options { mode: Mode::Source, dead: Some("letters".to_owned()), ..own.clone() };
        let said = async |options: &Options| erase(options).await.unwrap_err().to_string();
        assert!(said(&own).await.contains("kafka-topics.sh --delete --topic t"));
        let refused = said(&source).await;
        assert!(refused.contains("belongs to other producers") && !refused.contains("--topic"));
    }
}
