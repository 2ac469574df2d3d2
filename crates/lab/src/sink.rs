//! Where events are offered: a buffer in this process, a server, a stream of lines.
//!
//! Invariants
//! - What a sink says was accepted is accepted: durable as far as what is behind it promises.
//! - Every event offered has exactly one [`Fate`].

mod buffered;
mod error;
mod http;
mod lines;
mod offered;
mod opened;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
pub use buffered::Buffered;
pub use error::Error;
pub use http::{BODY_BYTES_MAX, Http, REQUEST_TIMEOUT};
pub use lines::Lines;
use model::Event;
pub use offered::{Fate, Offered, Rejection};
pub use opened::Opened;

/// Somewhere to offer events.
#[async_trait]
pub trait Sink: Send {
    /// Offers `events`, in order.
    ///
    /// # Errors
    /// When nothing is known of what became of them: they may be held or not, and offering them
    /// again is always right, because effects are deduped by id. Being full is not an error.
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error>;

    /// Hands on what the sink itself still holds. Call it after the last offer.
    ///
    /// # Errors
    /// If it can't be handed on.
    async fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl<S: Sink + ?Sized> Sink for Box<S> {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        (**self).offer(events).await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        (**self).finish().await
    }
}
