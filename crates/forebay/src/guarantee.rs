//! What is promised with this configuration, in plain words.

use buffer_journal::{Key, Sync};
use buffer_redis::inspect::{self, Durability};

use store::tables::Mode;

use crate::config::{Config, Table};
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
        Buffer::Redis(options) => format!(
            "Accepted payments are held by Redis ({}) and survive what its persistence makes them \
             survive; `forebay config check` looks.",
            named(options)
        ),
        Buffer::Kafka(options) => format!(
            "Accepted payments are held by Kafka ({}) and survive what its topic makes them survive; \
             `forebay config check` looks.",
            topic(options)
        ),
        Buffer::Sqs(options) => format!(
            "Accepted payments are held by SQS ({}) until they are settled, or its retention period \
             is over; `forebay config check` looks.",
            queue(options)
        ),
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
        Buffer::Redis(options) => format!("what Redis survives ({})", named(options)),
        Buffer::Kafka(options) => format!("what Kafka survives ({})", topic(options)),
        Buffer::Sqs(options) => format!("what SQS survives ({})", queue(options)),
        Buffer::Memory(_) => "NOTHING (memory:)".to_owned(),
    }
}

/// One sentence on a buffer that could not be asked.
pub(crate) fn unasked(buffer: &Buffer, why: &buffer::Error) -> String {
    let survives = survives(buffer);
    format!("NOT CHECKED: accepted payments survive {survives}, which could not be asked: {why}")
}

/// One sentence on how effects are applied once.
pub(crate) fn settled(store: &Store) -> String {
    format!(
        "Settled once: {}, tx_id unique; a payment and its dedupe mark are one row in one \
         transaction.",
        kept(store)
    )
}

/// The store, and where.
fn kept(store: &Store) -> String {
    match store {
        Store::Sqlite(options) => {
            format!("SQLite {}, WAL, synchronous=FULL", options.path.display())
        }
        Store::Postgres(options) => {
            let hosts = options.hosts.iter().map(|(host, port)| format!("{host}:{port}"));
            let hosts = hosts.collect::<Vec<_>>().join(",");
            format!("PostgreSQL {hosts}/{}, schema {}", options.dbname, options.schema)
        }
    }
}

/// The same as [`accepted`], after asking a Redis, a Kafka or a queue how it is kept; and what is wrong
/// with that. A buffer of which something is wrong is not called durable.
///
/// # Errors
/// If it can't be asked.
pub(crate) async fn asked(buffer: &Buffer) -> Result<(String, Vec<String>), buffer::Error> {
    let options = match buffer {
        Buffer::Redis(options) => options,
        Buffer::Kafka(options) => return asked_kafka(options).await,
        Buffer::Sqs(options) => return asked_sqs(options).await,
        _ => return Ok((accepted(buffer), Vec::new())),
    };
    let Durability { problems, survives, .. } = inspect::durability(options).await?;
    let name = named(options);
    let sentence = match problems.is_empty() {
        true => format!("Accepted payments survive {survives}: Redis ({name})."),
        false => format!("NOT DURABLE: Redis ({name}) may lose accepted payments."),
    };
    Ok((sentence, problems))
}

async fn asked_sqs(options: &buffer_sqs::Options) -> Result<(String, Vec<String>), buffer::Error> {
    let buffer_sqs::inspect::Durability { survives, problems } =
        buffer_sqs::inspect::durability(options).await?;
    let name = queue(options);
    let sentence = match problems.is_empty() {
        true => format!("Accepted payments survive {survives}: SQS ({name})."),
        false => format!("NOT DURABLE: SQS ({name}) may lose accepted payments."),
    };
    Ok((sentence, problems))
}

async fn asked_kafka(
    options: &buffer_kafka::Options,
) -> Result<(String, Vec<String>), buffer::Error> {
    let found = buffer_kafka::inspect::durability(options).await?;
    let name = topic(options);
    let sentence = match found.problems.is_empty() {
        true => format!("Accepted payments survive {}: Kafka ({name}).", found.survives),
        false => format!("NOT DURABLE: Kafka ({name}) may lose accepted payments."),
    };
    // Not wrong, and to be known all the same.
    let sentence = [vec![sentence], found.warnings].concat().join("\n");
    Ok((sentence, found.problems))
}

/// The topic and the group, and where.
fn topic(options: &buffer_kafka::Options) -> String {
    let (topic, group) = (&options.topic, &options.group);
    format!("topic {topic}, group {group}, at {}", options.brokers.join(","))
}

/// The list or stream, and where.
fn named(options: &buffer_redis::Options) -> String {
    let what = match options.layout {
        buffer_redis::Layout::List => "list",
        buffer_redis::Layout::Stream { .. } => "stream",
    };
    let at = options.server.addresses.iter().map(|(host, port)| format!("{host}:{port}"));
    format!("{what} {} at {}", options.name, at.collect::<Vec<_>>().join(","))
}

/// The queue, and where.
fn queue(options: &buffer_sqs::Options) -> String {
    let kind = if options.fifo() { "FIFO" } else { "standard" };
    format!("{kind} queue {}", options.queue_url())
}

/// One sentence on what is kept of card numbers.
pub(crate) fn cards(config: &Config) -> String {
    if config.cards_clear {
        return "CARD NUMBERS ARE STORED IN CLEAR: cards.store = \"clear\".".to_owned();
    }
    let key = config.key_file.display();
    let spill = config.spill.as_ref().map(journal_holds);
    let held: Vec<String> = payments(config).map(held).chain(spill).collect();
    let held = held.join("; ");
    format!("Card numbers are stored masked with a fingerprint keyed by {key}; {held}.")
}

/// How a buffer holds payments, as a clause.
fn held(buffer: &Buffer) -> String {
    match buffer {
        Buffer::Journal(options) => journal_holds(options),
        _ => {
            "the buffer holds each payment as it came until it is settled, and dead letters until \
              they are dropped"
                .to_owned()
        }
    }
}

fn journal_holds(options: &buffer_journal::Options) -> String {
    let (dir, seconds) = (options.dir.display(), options.settled_ms_max() / 1000);
    let until = format!(
        "until {seconds} s after it, and all before it, are settled, and dead letters until they are \
         dropped"
    );
    let keys = match &options.key {
        Key::None => return format!("the journal {dir} holds each payment in plain text {until}"),
        Key::File(path) => format!("the keys in {}", path.display()),
        Key::Variable(name) => format!("the keys in {name}"),
    };
    format!(
        "the journal {dir} holds each payment encrypted, with {keys}, {until} (what was accepted \
         without a key is in plain text until then)"
    )
}

/// One sentence on a table that is written behind.
fn written_behind(table: &Table) -> String {
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
    let (name, survives) = (table.name(), survives(&table.buffer));
    format!("Table {name}: accepted rows survive {survives}; {how} in {target}.")
}

/// Everything, one sentence a line. A Redis or a Kafka is asked; one that does not answer is taken at its word
/// for now.
pub(crate) async fn all(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for buffer in payments(config) {
        let asked = asked(buffer).await;
        let (accepted, problems) = asked.unwrap_or_else(|_| (accepted(buffer), Vec::new()));
        lines.push(accepted);
        lines.extend(problems);
    }
    lines.extend(beyond(config, None));
    lines
}

/// Where accepted payments are: one buffer, or two while they move from one to the other.
pub(crate) fn payments(config: &Config) -> impl Iterator<Item = &Buffer> {
    [&config.buffer].into_iter().chain(config.next.as_ref().map(|next| &next.buffer))
}

/// What is promised besides what accepted events survive. Of a store that was looked at in vain, for
/// the reason given, nothing is.
pub(crate) fn beyond(config: &Config, unchecked: Option<&anyhow::Error>) -> Vec<String> {
    let spill = config.spill.as_ref().map(|options| {
        let dir = options.dir.display();
        format!("While the buffer is out of reach, payments spill into the journal {dir}.")
    });
    let alone = (config.buffer.shared() && matches!(config.store, Store::Sqlite(_))).then(|| {
        "ONE WORKER ONLY: a SQLite store is this machine's alone; a second worker elsewhere would \
         settle into another one. Use postgres: to have several."
            .to_owned()
    });
    let unordered = match &config.buffer {
        Buffer::Sqs(options) if !options.fifo() => Some(
            "NO ORDER: a standard queue of SQS gives out a card's payments in any order and to \
             several workers at once, so verdicts may differ from those of one that sees them in \
             order; use a .fifo queue to keep each card's order."
                .to_owned(),
        ),
        _ => None,
    };
    let lines = spill.into_iter().chain(unordered).chain(alone);
    let settled = match unchecked {
        None => settled(&config.store),
        Some(why) => {
            let kept = kept(&config.store);
            format!("NOT CHECKED: whether payments are settled once in {kept}: {why:#}")
        }
    };
    let tables = config.tables.iter().map(|table| match unchecked {
        None => written_behind(table),
        Some(_) => format!("NOT CHECKED: table {}, which lies in that store.", table.name()),
    });
    lines.chain([settled, cards(config)]).chain(tables).collect()
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
