//! What is promised with this configuration, in plain words.

use std::sync::Arc;

use buffer::Location;
use buffer::backend::{Durability, Unordered};
use store::tables::Mode;

use crate::config::{Config, Table};

/// What the events of the payments pipeline are called.
const PAYMENTS: &str = "payments";

/// One sentence on what accepted payments survive.
pub(crate) fn accepted(buffer: &dyn Location) -> String {
    buffer.accepted(PAYMENTS)
}

/// One sentence on a buffer that could not be looked at; `why` is a clause: `could not be asked: …`.
pub(crate) fn unchecked(buffer: &dyn Location, why: &str) -> String {
    format!("NOT CHECKED: accepted payments survive {}, which {why}", buffer.survives())
}

/// One sentence on how effects are applied once.
pub(crate) fn settled(store: &dyn store::Location) -> String {
    format!(
        "Settled once: {}, tx_id unique; a payment and its dedupe mark are one row in one \
         transaction.",
        store.kept()
    )
}

/// The same as [`accepted`], after asking how the buffer is kept; and what is wrong with that. A buffer of
/// which something is wrong is not called durable.
///
/// # Errors
/// If it can't be asked.
pub(crate) async fn asked(buffer: &dyn Location) -> Result<(String, Vec<String>), buffer::Error> {
    let Some(Durability { survives, problems, warnings }) = buffer.durability().await? else {
        return Ok((accepted(buffer), Vec::new()));
    };
    let place = buffer.place();
    let sentence = match problems.is_empty() {
        true => format!("Accepted payments survive {survives}: {place}."),
        false => format!("NOT DURABLE: {place} may lose accepted payments."),
    };
    // A warning is nothing wrong, and to be known all the same.
    Ok(([vec![sentence], warnings].concat().join("\n"), problems))
}

/// One sentence on what is kept of card numbers.
pub(crate) fn cards(config: &Config) -> String {
    if config.cards_clear {
        return "CARD NUMBERS ARE STORED IN CLEAR: cards.store = \"clear\".".to_owned();
    }
    let key = config.key_file.display();
    let buffers = payments(config).chain(config.spill.iter());
    let held: Vec<_> = buffers.map(|buffer| buffer.holds("payment")).collect();
    let held = held.join("; ");
    format!("Card numbers are stored masked with a fingerprint keyed by {key}; {held}.")
}

/// One sentence on a table that is written behind.
pub(crate) fn written_behind(table: &Table) -> String {
    let target = &table.definition.target;
    let how = match target.mode {
        Mode::Insert => "the first row of a key stands".to_owned(),
        Mode::Upsert { version, .. } => {
            format!(
                "the greater {} of a key wins, whatever comes when",
                target.columns[version].name
            )
        }
    };
    let (name, survives) = (table.name(), table.buffer.survives());
    let spill = table.spill.as_ref().map_or_else(String::new, |spill| {
        format!(" While its buffer is out of reach, rows spill into {}.", spill.place())
    });
    format!("Table {name}: accepted rows survive {survives}; {how} in {target}.{spill}")
}

/// Everything, one sentence a line. A buffer is asked how it is kept; one that does not answer is taken at its
/// word for now.
pub(crate) async fn all(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for buffer in payments(config) {
        let asked = asked(&**buffer).await;
        let (accepted, problems) = asked.unwrap_or_else(|_| (accepted(&**buffer), Vec::new()));
        lines.push(accepted);
        lines.extend(problems);
    }
    lines.extend(beyond(config, None));
    lines.extend(config.tables.iter().map(written_behind));
    lines
}

/// Where accepted payments are: one buffer, or two while they move from one to the other.
pub(crate) fn payments(config: &Config) -> impl Iterator<Item = &Arc<dyn Location>> {
    [&config.buffer].into_iter().chain(config.next.as_ref().map(|next| &next.buffer))
}

/// What is promised of payments besides what accepted ones survive. Of a store that was looked at in vain, for
/// the reason given, nothing is.
pub(crate) fn beyond(config: &Config, unchecked: Option<&anyhow::Error>) -> Vec<String> {
    let spill = config.spill.as_ref().map(|spill| {
        format!("While the buffer is out of reach, payments spill into {}.", spill.place())
    });
    let alone = (config.buffer.is_shared() && config.store.shared().is_none()).then(|| {
        "ONE WORKER ONLY: a SQLite store is this machine's alone; a second worker elsewhere would \
         settle into another one. Use postgres: to have several."
            .to_owned()
    });
    let unordered = config.buffer.unordered().map(|Unordered { by, remedy }| {
        format!(
            "NO ORDER: {by} gives out a card's payments in any order and to several workers at once, so \
             verdicts may differ from those of one that sees them in order; {remedy} to keep each card's \
             order."
        )
    });
    let lines = spill.into_iter().chain(unordered).chain(alone);
    let settled = match unchecked {
        None => settled(&*config.store),
        Some(why) => {
            let kept = config.store.kept();
            format!("NOT CHECKED: whether payments are settled once in {kept}: {why:#}")
        }
    };
    let key = unchecked.map(|_| {
        let key = config.key_file.display();
        format!("NOT CHECKED: whether the store was begun with the key in {key}.")
    });
    lines.chain([settled, cards(config)]).chain(key).collect()
}
