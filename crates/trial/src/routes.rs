//! `POST /v1/tickets`.

use std::sync::Arc;

use buffer::Buffer;
use model::Event;
use model::clock::EpochMs;
use server::{Bad, Door, Reads, Routes, intake};

use crate::PIPELINE;
use crate::ticket::Ticket;

/// Takes tickets into `buffer`.
pub(crate) fn of(buffer: Arc<dyn Buffer>) -> Routes {
    intake::routes("/v1/tickets", Door::of_pipeline(PIPELINE, buffer, Tickets))
}

struct Tickets;

impl Reads for Tickets {
    fn read(&self, json: &[u8], _: Option<&str>, _: EpochMs) -> Result<Event, Bad> {
        let bad = |problem: String| Bad { field: "ticket".into(), problem };
        // What serde says repeats values.
        let ticket = Ticket::read(json).map_err(|_| bad("must be a ticket".to_owned()))?;
        Event::new(ticket.id.as_bytes(), ticket.holder.as_bytes(), json)
            .map_err(|error| bad(error.to_string()))
    }

    fn is_vital(&self) -> bool {
        false
    }
}
