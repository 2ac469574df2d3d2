//! Looking at a buffer from outside, without leasing from it. What is held can't be shown: SQS shows
//! nothing without handing it out.

use buffer::backend::Durability;
use buffer::{DeadLetter, Depth, Error};

use crate::api::About;
use crate::options::{Options, RETENTION_SECONDS_MAX};
use crate::shared::Shared;

/// A queue that keeps messages for less than this is not called durable, in seconds.
const RETENTION_SECONDS_MIN: u64 = 86_400;
/// What an accepted event survives, where the queue was not asked.
pub(crate) const SURVIVES: &str = "what SQS promises: the loss of machines and of a data centre, until \
                                   the queue's retention period is over";
const UNKNOWN: &str = "unknown: SQS can't be reached";

/// How much is held.
///
/// # Errors
/// If SQS can't be asked, or a queue is missing.
pub async fn depth(options: &Options) -> Result<Depth, Error> {
    Shared::new(options.clone())?.depth_now().await
}

/// What this queue promises.
///
/// # Errors
/// If SQS can't be asked, or a queue is missing.
pub async fn durability(options: &Options) -> Result<Durability, Error> {
    let shared = Shared::new(options.clone())?;
    let about = shared.ensure_open().await?;
    let kept = days(about.retention.unwrap_or(0));
    let survives = format!(
        "the loss of machines and of a data centre, for {kept}: what is older the queue forgets"
    );
    Ok(Durability { survives, problems: problems(options, about), ..Durability::default() })
}

/// All dead letters. They are hidden from others meanwhile, and given back at once when `stop` resolves.
///
/// # Errors
/// If SQS can't be read, or [`Error::Closed`] after `stop`.
pub async fn dead(
    options: &Options,
    stop: impl Future<Output = ()>,
) -> Result<Vec<DeadLetter>, Error> {
    let shared = Shared::new(options.clone())?;
    let letters = shared.letters(0, usize::MAX);
    tokio::pin!(letters, stop);
    tokio::select! {
        letters = &mut letters => return letters,
        () = stop => {}
    }
    shared.set_closed();
    letters.await
}

/// What is wrong with a queue, one sentence each.
pub(crate) fn problems(options: &Options, about: &About) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(seconds) = about.retention.filter(|seconds| *seconds < RETENTION_SECONDS_MIN) {
        problems.push(format!(
            "the queue forgets what is older than {}; set its MessageRetentionPeriod to \
             {RETENTION_SECONDS_MAX}",
            days(seconds)
        ));
    }
    if about.redrives {
        problems.push(
            "the queue has a RedrivePolicy: SQS takes away what was received too often, as every \
             event is in an outage; remove it, events that can't be settled are buried anyway"
                .to_owned(),
        );
    }
    if let Some(bytes) = about.message_bytes_max.filter(|max| *max < options.message_bytes_max) {
        problems.push(format!(
            "the queue takes messages of up to {bytes} bytes; set message_bytes_max={bytes}, or its \
             MaximumMessageSize to {}",
            options.message_bytes_max
        ));
    }
    problems
}

/// What an accepted event survives, and whether that is enough to be called durable.
pub(crate) fn kind(options: &Options, opened: Option<&About>) -> (bool, &'static str) {
    match opened {
        None => (false, UNKNOWN),
        Some(about) => (problems(options, about).is_empty(), SURVIVES),
    }
}

fn days(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{} minutes", seconds / 60),
        3_600..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use buffer::foreign::Fields;

    use super::*;

    #[test]
    fn a_queue_that_forgets_or_moves_events_by_itself_is_not_called_durable() {
        let options = Options::new("http://127.0.0.1:1", "1", "q", "r", Fields::named("id", "key"));
        let well = About {
            retention: Some(345_600),
            message_bytes_max: Some(1 << 20),
            ..About::default()
        };
        assert_eq!(kind(&options, Some(&well)), (true, SURVIVES));
        assert!(!kind(&options, None).0);
        for (about, expect) in [
            (About { retention: Some(86_399), ..well.clone() }, "older than 23 hours"),
            (About { redrives: true, ..well.clone() }, "RedrivePolicy"),
            (About { message_bytes_max: Some(1024), ..well }, "message_bytes_max=1024"),
        ] {
            assert!(!kind(&options, Some(&about)).0);
            let problems = problems(&options, &about);
            assert!(problems.len() == 1 && problems[0].contains(expect), "{problems:?}");
        }
    }
}
