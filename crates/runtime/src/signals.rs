//! SIGINT, SIGTERM and SIGHUP: the first asks the process to stop, the second makes it. A process that reads its
//! configuration again does so at SIGHUP.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell reports of a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Signals that come so soon after the first belong to it: `timeout` and some supervisors send one to the
/// process and another to its group.
const SAME_WITHIN: Duration = Duration::from_millis(300);

/// A token that the first SIGINT, SIGTERM or SIGHUP cancels. After the second the process ends there and then,
/// as after kill -9: what was accepted is safe as far as the buffer's promise goes.
///
/// # Errors
/// If the signals can't be watched.
pub fn stop() -> io::Result<CancellationToken> {
    // A terminal that is closed asks the process to stop, too.
    let hangups = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    stop_on(hangups)
}

/// The same of a process that reads its configuration again at each SIGHUP: those are handed on, also where
/// SIGHUP was ignored when the process began.
///
/// # Errors
/// If the signals can't be watched.
pub fn stop_and_hangups() -> io::Result<(CancellationToken, Signal)> {
    let hangups = signal(SignalKind::hangup())?;
    Ok((stop_on(None)?, hangups))
}

fn stop_on(mut hangups: Option<Signal>) -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hangups.as_mut()?.recv().await } => {}
            }
            let first = *first.get_or_insert_with(Instant::now);
            if stop.is_cancelled() && first.elapsed() > SAME_WITHIN {
                let _ =
                    writeln!(io::stderr().lock(), "forebay: stopped at once by a second signal");
                std::process::exit(INTERRUPTED);
            }
            stop.cancel();
        }
    });
    Ok(token)
}

/// Whether SIGHUP was ignored when this process began, as `nohup` arranges it. Stopping at it would end
/// that. Where `/proc` does not tell, it was not.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}
