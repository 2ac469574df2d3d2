//! A buffer in this process.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Buffer;
use model::Event;

use super::{Error, Offered, Sink};

/// Offers into a buffer in this process.
#[derive(Clone)]
pub struct Buffered(Arc<dyn Buffer>);

impl Buffered {
    /// Offers into `buffer`.
    #[must_use]
    pub fn new(buffer: Arc<dyn Buffer>) -> Self {
        Self(buffer)
    }
}

#[async_trait]
impl Sink for Buffered {
    /// In one piece where the buffer takes it so, and else in halves, down to single events.
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        let mut offered = Offered::default();
        let (mut from, mut at_once) = (0, events.len());
        while from < events.len() {
            let to = events.len().min(from + at_once);
            match self.0.offer(&events[from..to]).await {
                Ok(()) => {
                    offered.accepted += to - from;
                    from = to;
                }
                Err(buffer::Error::TooMany { .. }) if at_once > 1 => at_once = at_once.div_ceil(2),
                Err(buffer::Error::Full { retry_after, .. }) => {
                    offered.refused = events.len() - from;
                    offered.retry_after = Some(retry_after);
                    return Ok(offered);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(offered)
    }
}
