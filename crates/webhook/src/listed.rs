//! What an entry is to the list of pipelines that a process runs.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use buffer::Location;
use buffer::foreign::Fields;
use engine::Handling;
use guard::Guard;
use model::clock::Clock;
use runtime::line::NONE;
use runtime::{Lines, listed, sharing};
use settings::{Error, Settings};

use crate::entry::Entry;
use crate::handler::Handler;
use crate::sender::Sender;

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
            Error(format!("{}: cannot read the machine's certificates: {error}", self.place))
        })
    }

    /// What delivers the events of `pipeline`, one of `lines`. A rate is of all live processes together.
    ///
    /// # Errors
    /// As [`Entry::sender`].
    pub fn handling(
        &self,
        settings: &Settings,
        pipeline: &str,
        lines: &Lines,
        clock: Arc<dyn Clock>,
    ) -> Result<Handling, Error> {
        let sender = self.sender(settings, clock.clone())?;
        let guard = match self.rate_per_s {
            0 => Guard::new(self.guard(), Instant::now()),
            _ => sharing::guard(self.guard(), lines),
        };
        let guard = Arc::new(Mutex::new(guard));
        let handler = Handler::new(pipeline.to_owned(), sender, guard, self.give_up(), clock);
        Ok(Handling::calls(handler, self.calls()))
    }

    /// One sentence on what is promised of its events. `survives` is what accepted ones survive, as a noun; `spill`
    /// is where they go while the buffer is out of reach.
    #[must_use]
    pub fn promise(&self, survives: &str, spill: Option<&dyn Location>) -> String {
        let Self { name, give_up_h, .. } = self;
        let spill = spill.map_or_else(String::new, |spill| {
            format!(" While its buffer is out of reach, events spill into {}.", spill.place())
        });
        format!(
            "Webhook {name}: accepted events survive {survives}; each is POSTed to {} in order for each key, at \
             least once, or is a dead letter after {give_up_h} h of failures.{spill}",
            self.shown_url()
        )
    }
}
