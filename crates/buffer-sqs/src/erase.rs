//! Why a buffer in SQS is not taken away again.

use buffer::Error;

use crate::options::Options;

/// Refuses. SQS deletes a queue within 60 s after it has answered, with what is sent meanwhile. Its counts, by which
/// a queue would be known to be empty, are late. A queue may have other consumers, and nothing can be left behind
/// that keeps a late process from making it anew.
///
/// # Errors
/// Always [`Error::Unsupported`], with what to do instead.
pub async fn erase(options: &Options) -> Result<(), Error> {
    let Options { queue, dead, .. } = options;
    Err(Error::Unsupported(format!(
        "cannot erase the queue {queue}: SQS deletes a queue up to 60 s later, with what is sent meanwhile; stop all \
         that use it, then run `aws sqs delete-queue` for {queue} and {dead}"
    )))
}
