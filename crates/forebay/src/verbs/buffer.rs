//! `forebay buffer`: looking at a buffer from outside, and repairing a journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use buffer::Depth;
use buffer_journal::inspect::{self, Segment, Stat};
use buffer_journal::{Options, Repaired};
use jiff::Timestamp;
use journal::KeyId;
use journal::fs::{Fs, disk::Disk};
use serde_json::json;

use super::{configured_buffer, migrate};
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::outside::Held;
use crate::{mask, open, out, outside, url};
use lab::progress::Unit;
use model::units::{bytes, grouped};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// How much is in it (works while a server runs)
    #[command(after_help = "Example:\n  forebay buffer stat --json")]
    Stat {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The oldest events that are not settled (works while a server runs)
    #[command(after_help = "Example:\n  forebay buffer peek --count 3")]
    Peek {
        /// How many
        #[arg(long, default_value_t = 10)]
        count: usize,
        /// Show card numbers unmasked
        #[arg(long)]
        reveal: bool,
        /// As JSON, one event to a line
        #[arg(long)]
        json: bool,
    },
    /// Read everything and check every checksum; exit code 1 when damage is found
    #[command(after_help = "Example:\n  forebay buffer verify")]
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Rewrite damaged segments without their damage, which stays in quarantine/
    #[command(after_help = "Example:\n  forebay buffer repair")]
    Repair {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Lead the pipeline to another buffer, share by share, while it runs
    Migrate(migrate::Args),
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let verb = match verb {
        Verb::Migrate(args) => return migrate::run(args, flags).await,
        other => other,
    };
    let config = configured_buffer(flags)?;
    let buffer = &config.buffer;
    match (verb, buffer) {
        (Verb::Stat { json }, url::Buffer::Redis(options)) => {
            let depth = buffer_redis::inspect::depth(options).await?;
            remote(&options.name, depth, json)
        }
        (Verb::Stat { json }, url::Buffer::Kafka(options)) => {
            let depth = buffer_kafka::inspect::depth(options).await?;
            remote(&options.topic, depth, json)
        }
        (Verb::Stat { json }, url::Buffer::Sqs(options)) => {
            let depth = buffer_sqs::inspect::depth(options).await?;
            remote(&options.queue_url(), depth, json)
        }
        (Verb::Stat { json }, _) => stat(open::journal(buffer)?, json),
        (Verb::Peek { count, reveal, json }, _) => peek(buffer, count, reveal, json).await,
        (Verb::Verify { .. } | Verb::Repair { .. }, url::Buffer::Redis(_)) => {
            let problem = "a Redis keeps no checksums of ours to verify or repair; \
                           `forebay config check` looks at how it is kept";
            bail!(Error(problem.to_owned()))
        }
        (Verb::Verify { .. } | Verb::Repair { .. }, url::Buffer::Kafka(_)) => {
            let problem = "Kafka verifies its own checksums as it is read, and mends a broker from \
                           its replicas; `forebay config check` looks at how it is kept";
            bail!(Error(problem.to_owned()))
        }
        (Verb::Migrate(_), _) => unreachable!("it was run above"),
        (Verb::Verify { json }, _) => verify(open::journal(buffer)?, json),
        (Verb::Repair { json }, _) => {
            open::journal(buffer)?;
            repair(buffer, json)
        }
    }
}

/// How much a server holds.
fn remote(name: &str, depth: Depth, json: bool) -> Result<Exit> {
    let Depth { ready, leased, dead, oldest_accepted_ms } = depth;
    if json {
        out::json(&json!({
            "ready": ready,
            "leased": leased,
            "pending": ready + leased,
            "dead": dead,
            "oldest_accepted_ms": oldest_accepted_ms,
        }))?;
        return Ok(Exit::Done);
    }
    let oldest = oldest_accepted_ms.map_or_else(|| "-".to_owned(), time);
    out::line(name)?;
    out::line(format_args!("  ready     {:>15}", grouped(ready)))?;
    out::line(format_args!("  leased    {:>15}", grouped(leased)))?;
    out::line(format_args!("  dead      {:>15}", grouped(dead)))?;
    out::line(format_args!("  oldest    {oldest:>15}"))?;
    Ok(Exit::Done)
}

fn stat(options: &Options, json: bool) -> Result<Exit> {
    let (dir, stat) = (&*options.dir, inspect::verify(options, |_, _| {})?);
    if json {
        out::json(&stat_json(&options.dir, &stat))?;
        return Ok(Exit::Done);
    }
    out::line(format_args!("{}", dir.display()))?;
    out::line(format_args!("  pending   {:>15}", grouped(stat.pending)))?;
    out::line(format_args!("  dead      {:>15}", grouped(stat.dead)))?;
    let oldest = stat.oldest_accepted_ms.map_or_else(|| "-".to_owned(), time);
    out::line(format_args!("  oldest    {oldest:>15}"))?;
    out::line(format_args!("  segments  {:>15}", stat.segments.len()))?;
    out::line(format_args!("  used      {:>15}", bytes(used(&stat.segments))))?;
    for line in keys(&stat) {
        out::line(line)?;
    }
    out::line("  as of the last checkpoint; a running server writes one each second")?;
    if stat.damaged() {
        out::line("  DAMAGED: see `forebay buffer verify`")?;
    }
    Ok(Exit::Done)
}

/// How many segments, of events and of dead letters, each key encrypts, and how many are in plain text.
fn keys(stat: &Stat) -> Vec<String> {
    let mut used: BTreeMap<Option<KeyId>, u64> = BTreeMap::new();
    for segment in stat.segments.iter().chain(&stat.dead_segments) {
        *used.entry(segment.key).or_default() += 1;
    }
    if used.keys().all(Option::is_none) {
        return vec!["  encrypted              no".to_owned()];
    }
    let line = |(key, segments): (Option<KeyId>, u64)| match key {
        Some(key) => format!("  encrypted with key {key}: {segments} segments"),
        None => format!("  in plain text: {segments} segments"),
    };
    used.into_iter().map(line).collect()
}

async fn peek(buffer: &url::Buffer, count: usize, reveal: bool, json: bool) -> Result<Exit> {
    let mut written = Ok(());
    let mut left = count;
    outside::pending(buffer, |held| {
        if left == 0 {
            return false;
        }
        left -= 1;
        written = print(&held, reveal, json);
        left > 0 && written.is_ok()
    })
    .await?;
    written?;
    if left == count && !json {
        out::line("Nothing waits to be settled.")?;
    }
    Ok(Exit::Done)
}

fn print(held: &Held, reveal: bool, json: bool) -> std::io::Result<()> {
    let Held { seq, accepted_at_ms, event } = held;
    let payload = shown(event.payload(), reveal);
    let (id, accepted_at) = (String::from_utf8_lossy(event.id()), time(*accepted_at_ms));
    if json {
        let line = json!({ "seq": seq, "id": id, "accepted_at": accepted_at, "payload": payload });
        return out::line(line);
    }
    let (id, payload) = (out::escaped(&id), out::escaped(&payload));
    out::line(format_args!("{seq}  {accepted_at}  {id}  {payload}"))
}

fn verify(options: &Options, json: bool) -> Result<Exit> {
    let mut progress = out::progress(Unit::Bytes);
    let stat = inspect::verify(options, |read, of| progress.at(read, of, String::new))?;
    progress.end();
    if json {
        out::json(&stat_json(&options.dir, &stat))?;
        return Ok(Exit::done_if(!stat.damaged()));
    }
    checked("records", &stat.segments)?;
    damage("segment", "events", &stat.segments)?;
    if !stat.dead_segments.is_empty() {
        checked("records of dead letters", &stat.dead_segments)?;
        damage("dead/ segment", "dead letters", &stat.dead_segments)?;
    }
    if stat.missing > 0 {
        let gone = open::gone(stat.missing, stat.end_known);
        out::line(format_args!("DAMAGE: {gone}."))?;
    }
    if stat.dead_missing > 0 {
        out::line(format_args!(
            "DAMAGE: {} dead letters, or notes that letters were dropped, are gone.",
            grouped(stat.dead_missing)
        ))?;
    }
    if !stat.end_known && !stat.segments.is_empty() {
        out::line(
            "The journal was not closed: a server has it open, or died. Events accepted after the \
             last checkpoint cannot be counted.",
        )?;
    }
    if stat.damaged() {
        out::line(
            "The server starts without them; `forebay buffer repair` rewrites the damaged segments.",
        )?;
    }
    Ok(Exit::done_if(!stat.damaged()))
}

fn checked(what: &str, segments: &[Segment]) -> std::io::Result<()> {
    let records: u64 = segments.iter().map(|segment| segment.records).sum();
    let damaged = segments.iter().any(|segment| !segment.damage.is_empty());
    out::line(format_args!(
        "{} {what} in {} segments, {}: {}.",
        grouped(records),
        segments.len(),
        bytes(used(segments)),
        if damaged { "readable, beside damage" } else { "checksums hold for all of them" },
    ))
}

fn damage(place: &str, of: &str, segments: &[Segment]) -> std::io::Result<()> {
    for segment in segments {
        for damage in &segment.damage {
            out::line(format_args!(
                "DAMAGE: {place} {:020}, bytes {} up to {}, {of} from {} up to {} (not included) are \
                 missing.",
                segment.base, damage.start, damage.end, damage.missing.0, damage.missing.1
            ))?;
        }
        if segment.torn_bytes > 0 {
            out::line(format_args!(
                "{place} {:020} ends in {} that are no record: an unfinished write, a write that is \
                 going on, or damage.",
                segment.base,
                bytes(segment.torn_bytes)
            ))?;
        }
    }
    Ok(())
}

fn repair(buffer: &url::Buffer, json: bool) -> Result<Exit> {
    let url::Buffer::Journal(options) = buffer else { bail!("only a journal can be repaired") };
    let disk: Arc<dyn Fs> = Arc::new(Disk);
    let repaired = buffer_journal::repair(&disk, options)?;
    let (recovery, Repaired { events, letters }) = (repaired.recovery(), repaired);
    if json {
        out::json(&json!({
            "rewritten": events.rewritten,
            "records": events.records,
            "quarantined_bytes": recovery.events.damaged_bytes,
            "torn_bytes": recovery.events.torn_bytes,
            "missing": recovery.events.missing,
            "end_known": recovery.events.end_known,
            "dead": {
                "rewritten": letters.rewritten,
                "records": letters.records,
                "quarantined_bytes": recovery.letters.damaged_bytes,
                "torn_bytes": recovery.letters.torn_bytes,
                "missing": recovery.letters.missing,
            },
        }))?;
        return Ok(Exit::Done);
    }
    for line in open::recovered(&recovery) {
        out::line(line)?;
    }
    for (segments, report) in [("segments", events), ("segments of dead letters", letters)] {
        out::line(format_args!(
            "{} {segments} rewritten, {} records kept.",
            grouped(report.rewritten),
            grouped(report.records)
        ))?;
    }
    Ok(Exit::Done)
}

/// RFC 3339, to the millisecond.
pub(super) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

/// The payload as text, masked unless the user asked to see it.
pub(super) fn shown(payload: &[u8], reveal: bool) -> String {
    if reveal { String::from_utf8_lossy(payload).into_owned() } else { mask::payload(payload) }
}

fn used(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.used_bytes).sum()
}

fn segments_json(segments: &[Segment]) -> Vec<serde_json::Value> {
    let of_one = |segment: &Segment| {
        let damage: Vec<_> = segment
            .damage
            .iter()
            .map(|damage| {
                let (start, end) = (damage.start, damage.end);
                let (from, to) = damage.missing;
                json!({ "start": start, "end": end, "missing_from": from, "missing_to": to })
            })
            .collect();
        json!({
            "base": segment.base,
            "bytes": segment.bytes,
            "used_bytes": segment.used_bytes,
            "records": segment.records,
            "torn_bytes": segment.torn_bytes,
            "key": segment.key.map(|key| key.to_string()),
            "damage": damage,
        })
    };
    segments.iter().map(of_one).collect()
}

fn stat_json(dir: &Path, stat: &Stat) -> serde_json::Value {
    json!({
        "dir": dir,
        "pending": stat.pending,
        "dead": stat.dead,
        "oldest_accepted_ms": stat.oldest_accepted_ms,
        "missing": stat.missing,
        "damaged": stat.damaged(),
        "end_known": stat.end_known,
        "segments": segments_json(&stat.segments),
        "dead_missing": stat.dead_missing,
        "dead_segments": segments_json(&stat.dead_segments),
    })
}
