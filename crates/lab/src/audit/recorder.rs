//! A sink that keeps a ledger.

use std::sync::Arc;

use async_trait::async_trait;
use model::Event;
use model::clock::Clock;

use super::Ledger;
use crate::sink::{Error, Offered, Sink};

/// Hands everything on to another sink and writes down what it answered.
pub struct Recorder<S> {
    sink: S,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

impl<S: Sink> Recorder<S> {
    /// Records what `sink` answers in `ledger`.
    pub fn new(sink: S, ledger: Ledger, clock: Arc<dyn Clock>) -> Self {
        Self { sink, ledger, clock }
    }

    /// The ledger, and the sink.
    pub fn into_parts(self) -> (Ledger, S) {
        (self.ledger, self.sink)
    }
}

#[async_trait]
impl<S: Sink> Sink for Recorder<S> {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        let answer = self.sink.offer(events).await;
        self.ledger.record(events, &answer, self.clock.now_ms());
        answer
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.sink.finish().await
    }
}
