//! SIGINT and SIGTERM: the first asks the process to stop, the second makes it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::out;

/// What a shell reports of a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. After the second the process ends there and then, as
/// after kill -9: what was accepted is safe as far as the buffer's promise goes.
///
/// # Errors
/// If the signals can't be watched.
pub(crate) fn stop() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if second {
                out::note("forebay: stopped at once by a second signal");
                std::process::exit(INTERRUPTED);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
