//! What an entry is to the list of pipelines that a process runs.

use buffer::foreign::Fields;
use model::payment;
use runtime::line::NONE;
use runtime::listed;

use crate::entry::Entry;

/// Batches of each lane that may be held at once.
const HELD_BATCHES: usize = 8;

impl listed::Entry for Entry {
    fn name(&self) -> &str {
        &self.definition.name
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn is_same(&self, other: &Self) -> bool {
        Self { place: other.place.clone(), ..self.clone() } == *other
    }

    fn urls(&self) -> [String; 3] {
        let or_none = |url: &Option<String>| url.clone().unwrap_or_else(|| NONE.to_owned());
        [self.buffer_url(), or_none(&self.next_buffer), or_none(&self.spill)]
    }

    /// The fields of rows of other producers are those of payments, unless the URL names others.
    fn fields(&self) -> Fields {
        Fields::named(payment::ID_FIELD, payment::KEY_FIELD)
    }

    fn engine(&self, shared: engine::Options) -> Result<engine::Options, engine::Error> {
        let Self { lanes, batch_max, linger_ms, .. } = *self;
        let held_max = batch_max * lanes * HELD_BATCHES;
        Ok(engine::Options { lanes, batch_max, linger_ms, held_max, ..shared })
    }
}
