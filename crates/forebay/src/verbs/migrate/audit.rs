//! The audit of a move: what was accepted, held against what was settled, buried, or is still held.

use std::time::{Duration, Instant};

use anyhow::Result;
use model::route::SHARE_MAX;
use serde_json::json;
use store::moves::{Heard, Recorded, Start, Step};

use super::{LOOK_EVERY, Leader};
use crate::exit::Exit;
use crate::units::grouped;
use crate::{out, outside};

/// How long the audit waits for what is counted a little later (duplicates, each ten seconds).
const AUDIT_MAX: Duration = Duration::from_secs(30);

/// What a count came to.
struct Audit {
    /// Held at the start, and accepted since by the processes that went along, without `empty`.
    accepted: u64,
    /// Places that counted as held and turned out to hold no event.
    empty: u64,
    /// Settled, found settled already, buried, or held.
    accounted: u64,
    /// Payments that are in the store more than once.
    double: u64,
    pending: [u64; 2],
    live: Vec<Heard>,
}

impl Audit {
    fn new(start: Start, offered: u64, empty: u64, accounted: u64) -> Self {
        // A place that came after the start, and one that two processes read past, is none of the start's.
        let empty = empty.saturating_sub(start.empty).min(start.pending);
        let accepted = start.pending - empty + offered.saturating_sub(start.offered);
        Self { accepted, empty, accounted, double: 0, pending: [0; 2], live: Vec::new() }
    }

    fn missing(&self) -> u64 {
        self.accepted.saturating_sub(self.accounted)
    }

    fn exit(&self) -> Exit {
        Exit::done_if(self.missing() == 0 && self.double == 0)
    }
}

impl Leader {
    /// What there is before anything moves. What is on its way meanwhile is counted once or not at all, so
    /// that the audit never misses what was not lost.
    pub(super) async fn start(&self) -> Result<Start> {
        let settled = outside::counts(&self.store).await?.unwrap_or_default().total;
        let duplicates = outside::duplicates(&self.store).await?;
        let empty = self.heard().await?.empty;
        let held = self.heard_after(Instant::now()).await?;
        let offered = self.heard_after(Instant::now()).await?.offered.iter().sum();
        let (pending, dead) = (held.pending.iter().sum(), held.dead.iter().sum());
        Ok(Start { settled, pending, dead, duplicates, offered, empty })
    }

    /// Counts, and says what came out of it.
    pub(super) async fn close(&self, through: bool) -> Result<Exit> {
        let Some(Recorded { name, step, .. }) = self.recorded().await? else {
            self.line("Nothing has moved yet.")?;
            if self.json {
                out::json(&json!({ "share": 0, "phase": "open" }))?;
            }
            return Ok(Exit::Done);
        };
        let start = self.moves.start(&name).await?.unwrap_or_default();
        let audit = self.audit(start).await?;
        if self.json {
            tell_json(&audit, step)?;
        } else {
            tell(&audit, step)?;
            self.tell_end(step, through)?;
        }
        Ok(audit.exit())
    }

    fn tell_end(&self, step: Step, through: bool) -> Result<()> {
        if through && step.route.share == SHARE_MAX {
            let to = &self.to;
            let password = if to.contains("***") { " with its password" } else { "" };
            out::line(format_args!(
                "All is moved. Set buffer = \"{to}\"{password}, take next_buffer out, and restart each \
                 process. Dead letters stay where they were buried."
            ))?;
        } else if through {
            out::line("All is back in the old buffer. next_buffer may be taken out.")?;
        }
        Ok(())
    }

    async fn audit(&self, start: Start) -> Result<Audit> {
        let end = Instant::now() + AUDIT_MAX;
        loop {
            let audit = self.count(start).await?;
            if audit.missing() == 0 || audit.live.is_empty() || Instant::now() >= end {
                return Ok(audit);
            }
            tokio::time::sleep(LOOK_EVERY * 10).await;
        }
    }

    /// What was accepted first, then what the buffers hold, then what the store has: an event that
    /// passes from one to the next meanwhile is counted twice rather than not at all.
    async fn count(&self, start: Start) -> Result<Audit> {
        let offered: u64 = self.heard().await?.offered.iter().sum();
        let seen = self.heard_after(Instant::now()).await?;
        let counts = outside::counts(&self.store).await?.unwrap_or_default();
        let duplicates = outside::duplicates(&self.store).await?;
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let dead: u64 = seen.dead.iter().sum();
        let accounted = since(counts.total, start.settled)
            + since(duplicates, start.duplicates)
            + since(dead, start.dead)
            + seen.pending.iter().sum::<u64>();
        Ok(Audit {
            double: counts.total - counts.distinct,
            pending: seen.pending,
            live: seen.live,
            ..Audit::new(start, offered, seen.empty, accounted)
        })
    }
}

fn tell_json(audit: &Audit, Step { route, .. }: Step) -> Result<()> {
    let process = |heard: &Heard| {
        let report = &heard.report;
        json!({
            "process": report.process,
            "heard_ms_ago": heard.ago_ms,
            "offered": { "source": report.offered[0], "target": report.offered[1] },
            "done": { "source": report.done[0], "target": report.done[1] },
        })
    };
    let [old, new] = audit.pending;
    out::json(&json!({
        "share": route.share,
        "phase": route.phase.name(),
        "processes": audit.live.iter().map(process).collect::<Vec<_>>(),
        "pending": { "source": old, "target": new },
        "accepted": audit.accepted,
        "empty_places": audit.empty,
        "accounted": audit.accounted,
        "missing": audit.missing(),
        "double": audit.double,
    }))?;
    Ok(())
}

fn tell(audit: &Audit, Step { route, .. }: Step) -> Result<()> {
    let (share, phase) = (route.share, route.phase.name());
    out::line(format_args!("{share} % of the keys go to the new buffer ({phase})."))?;
    for heard in &audit.live {
        let (report, ago) = (&heard.report, heard.ago_ms / 1_000);
        let [source, target] = report.offered.map(grouped);
        out::line(format_args!(
            "  {}  offered {source} to the old one and {target} to the new, heard {ago} s ago",
            report.process
        ))?;
    }
    let [old, new] = audit.pending.map(grouped);
    out::line(format_args!("Held: {old} in the old buffer, {new} in the new."))?;
    let (accepted, on_the_way) =
        (grouped(audit.accepted), grouped(audit.accounted.saturating_sub(audit.accepted)));
    out::line(format_args!(
        "Audit: {accepted} accepted since it began; {} missing, {} settled twice (counted to \
         within {on_the_way}: what was on its way at the beginning and now, or came from elsewhere).",
        grouped(audit.missing()),
        grouped(audit.double)
    ))?;
    if audit.empty > 0 {
        out::line(format_args!(
            "{} offsets of Kafka counted as held at the beginning, and hold no event. They are left out. Offsets \
             that no worker has read yet still count: an upper bound.",
            grouped(audit.empty)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_held_no_event_is_neither_accepted_nor_missing() {
        let start = Start { pending: 10, offered: 5, empty: 100, ..Start::default() };
        let check = |offered, empty, accounted, expect: (u64, u64, u64)| {
            let audit = Audit::new(start, offered, empty, accounted);
            assert_eq!((audit.accepted, audit.empty, audit.missing()), expect);
        };
        check(5, 100, 10, (10, 0, 0));
        check(5, 104, 6, (6, 4, 0));
        check(5, 104, 5, (6, 4, 1));
        check(8, 104, 9, (9, 4, 0));
        // Places that came later: no more than were held are left out.
        check(8, 999, 3, (3, 10, 0));
        check(5, 0, 10, (10, 0, 0));
    }
}
