//! What a look at a journal found, for a person and for a script.

use std::collections::BTreeMap;
use std::path::Path;

use buffer::backend::Report;
use journal::KeyId;
use model::units::{bytes, grouped, time};
use serde_json::{Value, json};

use crate::inspect::{Segment, Stat};
use crate::recovery::{Repaired, gone};

/// How much a journal holds.
pub(crate) fn stat(dir: &Path, stat: &Stat) -> Report {
    let oldest = stat.oldest_accepted_ms.map_or_else(|| "-".to_owned(), time);
    let mut lines = vec![
        dir.display().to_string(),
        format!("  pending   {:>15}", grouped(stat.pending)),
        format!("  dead      {:>15}", grouped(stat.dead)),
        format!("  oldest    {oldest:>15}"),
        format!("  segments  {:>15}", stat.segments.len()),
        format!("  used      {:>15}", bytes(used(&stat.segments))),
    ];
    lines.extend(keys(stat));
    lines.push("  as of the last checkpoint; a running server writes one each second".to_owned());
    if stat.damaged() {
        lines.push("  DAMAGED: see `forebay buffer verify`".to_owned());
    }
    Report { lines, json: json_of(dir, stat), is_damaged: stat.damaged() }
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

/// What reading everything found.
pub(crate) fn verified(dir: &Path, stat: &Stat) -> Report {
    let mut lines = vec![checked("records", &stat.segments)];
    lines.extend(damage("segment", "events", &stat.segments));
    if !stat.dead_segments.is_empty() {
        lines.push(checked("records of dead letters", &stat.dead_segments));
        lines.extend(damage("dead/ segment", "dead letters", &stat.dead_segments));
    }
    if stat.missing > 0 {
        lines.push(format!("DAMAGE: {}.", gone(stat.missing, stat.end_known)));
    }
    if stat.dead_missing > 0 {
        lines.push(format!(
            "DAMAGE: {} dead letters, or notes that letters were dropped, are gone.",
            grouped(stat.dead_missing)
        ));
    }
    if !stat.end_known && !stat.segments.is_empty() {
        lines.push(
            "The journal was not closed: a server has it open, or died. Events accepted after the \
             last checkpoint cannot be counted."
                .to_owned(),
        );
    }
    if stat.damaged() {
        lines.push(
            "The server starts without them; `forebay buffer repair` rewrites the damaged segments."
                .to_owned(),
        );
    }
    Report { lines, json: json_of(dir, stat), is_damaged: stat.damaged() }
}

fn checked(what: &str, segments: &[Segment]) -> String {
    let records: u64 = segments.iter().map(|segment| segment.records).sum();
    let damaged = segments.iter().any(|segment| !segment.damage.is_empty());
    format!(
        "{} {what} in {} segments, {}: {}.",
        grouped(records),
        segments.len(),
        bytes(used(segments)),
        if damaged { "readable, beside damage" } else { "checksums hold for all of them" },
    )
}

fn damage(place: &str, of: &str, segments: &[Segment]) -> Vec<String> {
    let mut lines = Vec::new();
    for segment in segments {
        lines.extend(segment.damage.iter().map(|damage| {
            format!(
                "DAMAGE: {place} {:020}, bytes {} up to {}, {of} from {} up to {} (not included) are \
                 missing.",
                segment.base, damage.start, damage.end, damage.missing.0, damage.missing.1
            )
        }));
        if segment.torn_bytes > 0 {
            lines.push(format!(
                "{place} {:020} ends in {} that are no record: an unfinished write, a write that is \
                 going on, or damage.",
                segment.base,
                bytes(segment.torn_bytes)
            ));
        }
    }
    lines
}

/// What was mended.
pub(crate) fn repaired(repaired: Repaired) -> Report {
    let (recovery, Repaired { events, letters }) = (repaired.recovery(), repaired);
    let json = json!({
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
    });
    let mut lines = recovery.sentences();
    for (segments, report) in [("segments", events), ("segments of dead letters", letters)] {
        lines.push(format!(
            "{} {segments} rewritten, {} records kept.",
            grouped(report.rewritten),
            grouped(report.records)
        ));
    }
    Report { lines, json, is_damaged: false }
}

fn used(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.used_bytes).sum()
}

fn segments_json(segments: &[Segment]) -> Vec<Value> {
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

fn json_of(dir: &Path, stat: &Stat) -> Value {
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
