//! Settles a batch of tickets in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Envelope;
use engine::{Failure, Outcome};
use store::tables::Written;
use store::{Error, Table};

use crate::PIPELINE;
use crate::ticket::Ticket;

pub(crate) struct Handler {
    pub(crate) made: Arc<dyn Table>,
    /// The largest amount that is settled.
    pub(crate) amount_max: i64,
}

impl engine::Handler for Handler {
    fn pipeline(&self) -> &str {
        PIPELINE
    }

    fn lane(&self) -> Box<dyn engine::Lane> {
        Box::new(Lane { made: self.made.clone(), amount_max: self.amount_max })
    }
}

struct Lane {
    made: Arc<dyn Table>,
    amount_max: i64,
}

#[async_trait]
impl engine::Lane for Lane {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = vec![Outcome::Settled; batch.len()];
        // Which event of the batch each row is of.
        let (mut rows, mut events) = (Vec::new(), Vec::new());
        for (at, envelope) in batch.iter().enumerate() {
            match Ticket::read(envelope.event.payload()) {
                Ok(ticket) if ticket.amount > self.amount_max => {
                    let reason = format!("amount: more than {}", self.amount_max);
                    outcomes[at] = Outcome::Rejected(reason);
                }
                Ok(ticket) => {
                    rows.push(ticket.row());
                    events.push(at);
                }
                Err(reason) => outcomes[at] = Outcome::Rejected(reason),
            }
        }
        let written = self.made.write(rows).await.map_err(failure)?;
        for (at, written) in events.into_iter().zip(written) {
            outcomes[at] = match written {
                Written::Written => Outcome::Settled,
                Written::Same | Written::Older => Outcome::Duplicate,
                Written::Another(how) => {
                    Outcome::Rejected(format!("another ticket of this id ({how})"))
                }
            };
        }
        Ok(outcomes)
    }
}

pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Unavailable(cause) => Failure::Unavailable(cause),
        Error::Refused(reason) => Failure::Refused(reason),
        Error::Rejected(reason) => Failure::Rejected(reason),
        Error::Fatal(cause) => Failure::Fatal(cause),
    }
}
