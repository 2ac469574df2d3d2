//! What an entry is to the list of pipelines that a process runs.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use buffer::foreign::Fields;
use engine::Handling;
use guard::Guard;
use model::clock::Clock;
use notify::Sender;
use runtime::line::NONE;
use runtime::{Line, Lines, listed, sharing};
use settings::{Error, Settings};

use crate::entry::Entry;
use crate::handler::Handler;

/// The sentence about a rate that processes cannot share.
const RATE_FOR_EACH: &str = " rate_per_s holds for each process by itself: the store is of one process; use a \
                             postgres: store to share the rate.";

impl listed::Entry for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn is_same(&self, other: &Self) -> bool {
        let mut here = self.clone();
        here.place.clone_from(&other.place);
        here == *other
    }

    fn urls(&self) -> [String; 3] {
        let or_none = |url: &Option<String>| url.clone().unwrap_or_else(|| NONE.to_owned());
        [self.buffer_url(), or_none(&self.next_buffer), or_none(&self.spill)]
    }

    fn fields(&self) -> Fields {
        self.fields.clone()
    }

    fn engine(&self, shared: engine::Options) -> Result<engine::Options, engine::Error> {
        Entry::engine(self, shared)
    }
}

impl Entry {
    /// Whether its URL and its secret can be used.
    ///
    /// # Errors
    /// If one can't be.
    pub fn usable(&self, settings: &Settings) -> Result<(), Error> {
        self.url(settings)?;
        self.signer(settings).map(drop)
    }

    /// What sends its events.
    ///
    /// # Errors
    /// If its URL or its secret can't be used, or the machine's certificates can't be read.
    pub fn sender(&self, settings: &Settings, clock: Arc<dyn Clock>) -> Result<Sender, Error> {
        let (url, signer) = (self.url(settings)?, self.signer(settings)?);
        Sender::new(url, signer, self.calls_max, self.timeout(), clock).map_err(|error| {
            Error(format!(
                "{}: cannot read the machine's certificates: {error}; install ca-certificates",
                self.place
            ))
        })
    }

    /// What delivers the events of `line`, one of `lines`. A rate is of all live processes together, where the store
    /// lets them share it.
    ///
    /// # Errors
    /// As [`Entry::sender`].
    pub fn handling(
        &self,
        settings: &Settings,
        line: &Line,
        lines: &Lines,
        clock: Arc<dyn Clock>,
    ) -> Result<Handling, Error> {
        let sender = self.sender(settings, clock.clone())?;
        let guard = match self.rate_per_s {
            0 => Guard::new(self.guard(), Instant::now()),
            _ => sharing::guard(self.guard(), line, lines),
        };
        let guard = Arc::new(Mutex::new(guard));
        let handler = Handler::new(line.pipeline.clone(), sender, guard, self.give_up(), clock);
        Ok(Handling::calls(handler, self.calls()))
    }

    /// What is promised of its events in `line`, one of `lines`.
    #[must_use]
    pub fn promise(&self, line: &Line, lines: &Lines) -> String {
        let Self { name, give_up_h, .. } = self;
        let (survives, url) = (line.buffer.survives(), self.shown_url());
        let spill = line.spill.as_ref().map_or_else(String::new, |spill| {
            format!(" While its buffer is out of reach, events spill into {}.", spill.place())
        });
        let is_for_each = self.rate_per_s > 0 && sharing::is_for_each(line, lines);
        let rate = if is_for_each { RATE_FOR_EACH } else { "" };
        let unordered = line.accepting().find_map(|buffer| buffer.unordered());
        let order = if unordered.is_none() { "in order for each key, " } else { "" };
        let unordered = unordered.map_or_else(String::new, |unordered| {
            format!(" {}", unordered.said("they may be delivered so"))
        });
        format!(
            "Webhook {name}: accepted events survive {survives}; each is POSTed to {url} {order}at least once, or is \
             a dead letter after {give_up_h} h of failures.{spill}{rate}{unordered}"
        )
    }
}
