//! A sink, and the buffer that was opened for it.

use std::sync::Arc;

use anyhow::Context as _;
use buffer::Buffer;

use super::{Buffered, Sink};

/// A sink that is to be closed.
pub struct Opened {
    /// Where to offer.
    pub sink: Box<dyn Sink>,
    buffer: Option<Arc<dyn Buffer>>,
}

impl Opened {
    /// A sink that needs no buffer in this process.
    pub fn new(sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), buffer: None }
    }

    /// The buffer as a sink. It is closed with it.
    #[must_use]
    pub fn buffered(buffer: Arc<dyn Buffer>) -> Self {
        Self { sink: Box::new(Buffered::new(buffer.clone())), buffer: Some(buffer) }
    }

    /// Hands on what the sink still holds, and closes what was opened.
    ///
    /// # Errors
    /// If either fails.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.sink.finish().await?;
        if let Some(buffer) = self.buffer {
            buffer.close().await.context("the buffer could not be closed")?;
        }
        Ok(())
    }
}
