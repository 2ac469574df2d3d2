//! What is promised of payments, in plain words.

use std::path::Path;
use std::sync::Arc;

use buffer::Location;
use buffer::backend::asked;

/// What the events are called.
const EVENTS: &str = "payments";

/// Where payments are kept.
#[derive(Debug, Clone, Copy)]
pub struct Promise<'a> {
    /// The buffer that accepts them, and the one that it moves to, if any.
    pub buffers: &'a [Arc<dyn Location>],
    /// Where they go while the buffer is out of reach.
    pub spill: Option<&'a Arc<dyn Location>>,
    /// Where they are settled.
    pub store: &'a dyn store::Location,
    /// Whether card numbers are stored unmasked.
    pub cards_clear: bool,
    /// Where the key of card fingerprints lies.
    pub key_file: &'a Path,
}

/// One sentence on a buffer that could not be looked at; `why` is a clause: `could not be asked: …`.
#[must_use]
pub fn unchecked(buffer: &dyn Location, why: &str) -> String {
    format!("NOT CHECKED: accepted payments survive {}, which {why}", buffer.survives())
}

/// One sentence on how effects are applied once.
#[must_use]
pub fn settled(store: &dyn store::Location) -> String {
    format!(
        "Settled once: {}, tx_id unique; a payment and its dedupe mark are one row in one \
         transaction.",
        store.kept()
    )
}

impl Promise<'_> {
    /// Everything, one sentence a line. A buffer is asked how it is kept; one that does not answer is taken at its
    /// word for now.
    pub async fn all(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for buffer in self.buffers {
            let asked = asked(&**buffer, EVENTS).await;
            let (accepted, problems) =
                asked.unwrap_or_else(|_| (buffer.accepted(EVENTS), Vec::new()));
            lines.push(accepted);
            lines.extend(problems);
        }
        lines.extend(self.beyond(None));
        lines
    }

    /// What is promised besides what accepted payments survive. Of a store that was looked at in vain, for the
    /// reason given, nothing is.
    #[must_use]
    pub fn beyond(&self, unchecked: Option<&str>) -> Vec<String> {
        let spill = self.spill.map(|spill| {
            format!("While the buffer is out of reach, payments spill into {}.", spill.place())
        });
        let buffer = &self.buffers[0];
        let alone = (buffer.is_shared() && self.store.shared().is_none()).then(|| {
            "ONE WORKER ONLY: a SQLite store is this machine's alone; a second worker elsewhere would \
             settle into another one. Use postgres: to have several."
                .to_owned()
        });
        let effect = "verdicts may differ from those of one that sees a card's payments in order";
        let unordered = buffer.unordered().map(|unordered| unordered.said(effect));
        let lines = spill.into_iter().chain(unordered).chain(alone);
        let settled = match unchecked {
            None => settled(self.store),
            Some(why) => {
                let kept = self.store.kept();
                format!("NOT CHECKED: whether payments are settled once in {kept}: {why}")
            }
        };
        let key = unchecked.map(|_| {
            let key = self.key_file.display();
            format!("NOT CHECKED: whether the store was begun with the key in {key}.")
        });
        lines.chain([settled, self.cards()]).chain(key).collect()
    }

    /// One sentence on what is kept of card numbers.
    fn cards(&self) -> String {
        if self.cards_clear {
            return "CARD NUMBERS ARE STORED IN CLEAR: cards.store = \"clear\".".to_owned();
        }
        let key = self.key_file.display();
        let held: Vec<_> =
            self.buffers.iter().chain(self.spill).map(|buffer| buffer.holds("payment")).collect();
        let held = held.join("; ");
        format!("Card numbers are stored masked with a fingerprint keyed by {key}; {held}.")
    }
}
