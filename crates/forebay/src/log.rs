//! Logs: to standard error, except while a picture fills the terminal ([`LogLines`]).

use std::io::{self, IsTerminal};

use lab::view::LogLines;
use tracing_subscriber::EnvFilter;

use crate::config;

/// Starts logging: `info` and up unless `filter` (of the form `warn` or `engine=debug`) says
/// otherwise.
///
/// # Errors
/// If `filter` can't be read.
pub(crate) fn start(filter: Option<&str>) -> Result<(), config::Error> {
    let directives = filter.unwrap_or("info");
    let filter = EnvFilter::try_new(directives).map_err(|_| {
        let problem = "write e.g. warn or engine=debug";
        config::Error(format!("FOREBAY_LOG is \"{directives}\"; {problem}"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogLines)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
