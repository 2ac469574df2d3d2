//! Retries, until a deadline, of a start that failed for a cause that may pass.

use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// For how long a server that is out of reach, or what another process has, is tried.
pub const WITHIN: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Tries again until `end` while what is needed may come: servers that start together come up in any order, and a
/// process that is to be replaced ends when it is done.
///
/// # Errors
/// If it can't be opened by then, or for another reason.
pub async fn in_time<T, E: Display>(
    end: Instant,
    may_come: impl Fn(&E) -> bool,
    mut open: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    loop {
        match open().await {
            Err(error) if may_come(&error) && Instant::now() < end => {
                let left = end.saturating_duration_since(Instant::now()).as_secs();
                tracing::warn!("not started yet, trying for {left} s more: {error:#}");
            }
            done => return done,
        }
        sleep(PAUSE).await;
    }
}
