//! Where events are sent: a buffer of this process, a running server, standard output.

use std::sync::Arc;

use anyhow::Result;
use buffer::Location;
use lab::sink::{Http, Lines, Opened};

use crate::config::Config;
use crate::{config, open, registry};

/// A target, as the user names it.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A buffer, which this process opens.
    Buffer(Arc<dyn Location>),
    /// The base address of a server.
    Server(String),
    /// Standard output, as NDJSON.
    Output,
}

impl Target {
    /// Reads `-`, `http://…` or a buffer URL.
    ///
    /// # Errors
    /// If it is none of them.
    pub(crate) fn parse(text: &str) -> Result<Self, config::Error> {
        if text == "-" {
            return Ok(Self::Output);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Server(text.to_owned()));
        }
        let buffer = registry::buffer_of_payments(text).map_err(|error| {
            config::Error(format!(
                "--to: {error}; http://… and - (standard output) are targets too"
            ))
        })?;
        Ok(Self::Buffer(buffer))
    }

    /// Opens it. Only a buffer needs the configuration: it may share a disk with the store.
    ///
    /// # Errors
    /// If it can't be opened, or is a buffer that a move has left.
    pub(crate) async fn open(
        &self,
        configured: impl FnOnce() -> Result<Config, config::Error>,
    ) -> Result<Opened> {
        match self {
            Self::Output => Ok(Opened::new(Lines::new(std::io::stdout()))),
            Self::Server(base) => {
                let http = Http::new(base.trim_end_matches('/'))
                    .map_err(|error| config::Error(error.to_string()))?;
                Ok(Opened::new(http))
            }
            Self::Buffer(buffer) => {
                let config = configured()?;
                let lines = config.lines();
                lines.refuse_left(&buffer.identity()).await.map_err(open::told)?;
                let buffer = lines.open(&**buffer).await.map_err(open::told)?.buffer;
                Ok(Opened::buffered(buffer))
            }
        }
    }
}
