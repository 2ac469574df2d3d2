//! What the process says at its end: 0 done, 1 ran and found trouble, 2 unusable arguments or
//! configuration.

use std::io;
use std::process::ExitCode;

use model::url;

use crate::{config, out};

/// How a verb ended when nothing stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// It ran, and what it found (and has said) is trouble.
    Trouble,
}

impl Exit {
    /// [`Exit::Done`] if `good`.
    #[must_use]
    pub fn done_if(good: bool) -> Self {
        if good { Self::Done } else { Self::Trouble }
    }
}

/// Says what went wrong, if anything did, and turns it into the exit code.
pub(crate) fn code(result: &anyhow::Result<Exit>) -> ExitCode {
    match result {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Trouble) => ExitCode::from(1),
        Err(error) if reader_gone(error) => ExitCode::SUCCESS,
        Err(error) => {
            out::note(format_args!("forebay: {error:#}"));
            ExitCode::from(if is_unusable(error) { 2 } else { 1 })
        }
    }
}

/// Whether the arguments or the configuration can't be used, or ask a backend for what it can't do.
fn is_unusable(error: &anyhow::Error) -> bool {
    let unsupported = matches!(error.downcast_ref(), Some(buffer::Error::Unsupported(_)));
    unsupported || error.is::<config::Error>() || error.is::<url::Error>()
}

fn reader_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        cause.downcast_ref::<io::Error>().is_some_and(broken)
            || matches!(cause.downcast_ref(), Some(lab::sink::Error::ReaderGone))
    })
}
