//! What is promised of payments with this configuration, in plain words.

use buffer::Location;
use buffer::backend::{Durability, Unordered};
use runtime::Line;

use crate::config::Config;

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

/// What accepted events survive, after asking how the buffer is kept; and what is wrong with that. A buffer of
/// which something is wrong is not called durable. `events` are what they are called.
///
/// # Errors
/// If it can't be asked.
pub(crate) async fn asked(
    buffer: &dyn Location,
    events: &str,
) -> Result<(String, Vec<String>), buffer::Error> {
    let Some(Durability { survives, problems, warnings }) = buffer.durability().await? else {
        return Ok((buffer.accepted(events), Vec::new()));
    };
    let place = buffer.place();
    let sentence = match problems.is_empty() {
        true => format!("Accepted {events} survive {survives}: {place}."),
        false => format!("NOT DURABLE: {place} may lose accepted {events}."),
    };
    // A warning is nothing wrong, and to be known all the same.
    Ok(([vec![sentence], warnings].concat().join("\n"), problems))
}

/// One sentence on what is kept of card numbers.
fn cards(config: &Config, line: &Line) -> String {
    if config.cards_clear {
        return "CARD NUMBERS ARE STORED IN CLEAR: cards.store = \"clear\".".to_owned();
    }
    let key = config.key_file.display();
    let held: Vec<_> = line.buffers().map(|buffer| buffer.holds("payment")).collect();
    let held = held.join("; ");
    format!("Card numbers are stored masked with a fingerprint keyed by {key}; {held}.")
}

/// Everything, one sentence a line. A buffer is asked how it is kept; one that does not answer is taken at its
/// word for now.
pub(crate) async fn all(config: &Config, line: &Line) -> Vec<String> {
    let mut lines = Vec::new();
    for buffer in line.accepting() {
        let asked = asked(&**buffer, line.events).await;
        let (accepted, problems) =
            asked.unwrap_or_else(|_| (buffer.accepted(line.events), Vec::new()));
        lines.push(accepted);
        lines.extend(problems);
    }
    lines.extend(beyond(config, line, None));
    lines
}

/// What is promised of payments besides what accepted ones survive. Of a store that was looked at in vain, for
/// the reason given, nothing is.
pub(crate) fn beyond(config: &Config, line: &Line, unchecked: Option<&str>) -> Vec<String> {
    let spill = line.spill.as_ref().map(|spill| {
        format!("While the buffer is out of reach, payments spill into {}.", spill.place())
    });
    let alone = (line.buffer.is_shared() && config.store.shared().is_none()).then(|| {
        "ONE WORKER ONLY: a SQLite store is this machine's alone; a second worker elsewhere would \
         settle into another one. Use postgres: to have several."
            .to_owned()
    });
    let unordered = line.buffer.unordered().map(|Unordered { by, remedy }| {
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
            format!("NOT CHECKED: whether payments are settled once in {kept}: {why}")
        }
    };
    let key = unchecked.map(|_| {
        let key = config.key_file.display();
        format!("NOT CHECKED: whether the store was begun with the key in {key}.")
    });
    lines.chain([settled, cards(config, line)]).chain(key).collect()
}
