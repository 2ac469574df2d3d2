//! What is promised with this configuration, in plain words.

use buffer_journal::Sync;

use crate::config::Config;
use crate::url::{Buffer, Store};

/// One sentence on what accepted events survive.
pub(crate) fn accepted(buffer: &Buffer) -> String {
    match buffer {
        Buffer::Journal(options) => {
            let dir = options.dir.display();
            match options.sync {
                Sync::Always => format!(
                    "Accepted payments survive kill -9 and power loss: journal {dir}, sync=always, \
                     group commit."
                ),
                Sync::Os => format!(
                    "POWER LOSS LOSES ACCEPTED PAYMENTS: journal {dir}, sync=os. They survive \
                     kill -9 of this process, but not a power cut or a crash of the system; \
                     set sync=always for that."
                ),
            }
        }
        Buffer::Memory(options) => format!(
            "NOTHING SURVIVES: memory: holds up to {} accepted payments in this process alone, and \
             they are gone when it ends; use journal: to keep them.",
            options.events_max
        ),
    }
}

/// What accepted events survive, as a clause.
pub(crate) fn survives(buffer: &Buffer) -> String {
    match buffer {
        Buffer::Journal(options) => {
            let dir = options.dir.display();
            match options.sync {
                Sync::Always => format!("kill -9 and power loss (journal {dir}, sync=always)"),
                Sync::Os => format!("kill -9, NOT POWER LOSS (journal {dir}, sync=os)"),
            }
        }
        Buffer::Memory(_) => "NOTHING (memory:)".to_owned(),
    }
}

/// One sentence on how effects are applied once.
pub(crate) fn settled(store: &Store) -> String {
    let Store::Sqlite(options) = store;
    format!(
        "Settled once: SQLite {}, WAL, synchronous=FULL, tx_id unique; a payment and its dedupe \
         mark are one row in one transaction.",
        options.path.display()
    )
}

/// One sentence on what is kept of card numbers.
pub(crate) fn cards(config: &Config) -> String {
    if config.cards_clear {
        return "CARD NUMBERS ARE STORED IN CLEAR: cards.store = \"clear\".".to_owned();
    }
    let key = config.key_file.display();
    format!(
        "Card numbers are stored masked with a fingerprint keyed by {key}; the buffer holds each \
         payment as it came until it is settled, and dead letters until they are dropped."
    )
}

/// Everything, one sentence a line.
pub(crate) fn all(config: &Config) -> [String; 3] {
    [accepted(&config.buffer), settled(&config.store), cards(config)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_survived_is_said_loudly() {
        let check = |url: &str, expect: &str| {
            let got = accepted(&Buffer::parse(url).unwrap());
            assert!(got.starts_with(expect), "{got}");
        };
        check("journal:./b", "Accepted payments survive kill -9 and power loss: journal ./b, sync");
        check("journal:./b?sync=os", "POWER LOSS LOSES ACCEPTED PAYMENTS: journal ./b, sync=os.");
        check("memory:", "NOTHING SURVIVES: memory: holds up to 100000");
    }
}
