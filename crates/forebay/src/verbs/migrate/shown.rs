//! What `forebay buffer migrate` shows: what it waits for, and the audit.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use model::route::SHARE_MAX;
use model::units::grouped;
use runtime::moving::{Audit, Told};
use serde_json::json;
use store::moves::{Heard, Step};

use crate::exit::Exit;
use crate::out;
use lab::progress::{Progress, Unit};

/// What the command waits for. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<Option<Progress>>>);

impl Waiting {
    /// Shows what a leader has to say.
    pub(super) fn tell(&self, told: Told) {
        match told {
            Told::Step { share, phase, processes, left, most } => {
                self.at(most - left, most, || {
                    format!("to {share} %: {}, {processes} processes", phase.name())
                });
            }
            Told::Staying { passed, pause, pending } => {
                let left = pause.saturating_sub(passed).as_secs();
                let [old, new] = pending.map(grouped);
                self.at(passed.as_secs(), pause.as_secs(), || {
                    format!(
                        "{left} s until the next share; held: {old} in the old buffer, {new} in the new"
                    )
                });
            }
            Told::Draining { left, most } => {
                self.at(most - left, most, || "draining the buffer that was left".to_owned());
            }
            Told::NoneJoined => {
                out::note("No running process has joined; waiting for one to start.");
            }
            Told::Silent { process, silent } => {
                let s = silent.as_secs();
                out::note(format_args!(
                    "{process} was not heard of for {s} s. If it has ended, run this again \
                     with --forget {process}."
                ));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(progress) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            progress.end();
        }
    }

    fn at(&self, done: u64, total: u64, message: impl FnOnce() -> String) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get_or_insert_with(|| out::progress(Unit::Events)).at(done, total, message);
    }
}

/// Shows the audit. `through` is the buffer that the command has moved all keys to, or from.
pub(super) fn show(
    audited: Option<(Step, Audit)>,
    json: bool,
    through: Option<&String>,
) -> Result<Exit> {
    let Some((step, audit)) = audited else {
        match json {
            true => out::json(&json!({ "share": 0, "phase": "open" }))?,
            false => out::line("Nothing has moved yet.")?,
        }
        return Ok(Exit::Done);
    };
    if json {
        tell_json(&audit, step)?;
    } else {
        tell(&audit, step)?;
        through.map(|to| tell_end(step, to)).transpose()?;
    }
    Ok(Exit::done_if(audit.is_good()))
}

fn tell_end(step: Step, to: &str) -> Result<()> {
    if step.route.share == SHARE_MAX {
        let password = if to.contains("***") { " with its password" } else { "" };
        out::line(format_args!(
            "All is moved. Set buffer = \"{to}\"{password}, take next_buffer out, and restart each \
             process. Dead letters stay where they were buried."
        ))?;
    } else {
        out::line("All is back in the old buffer. next_buffer may be taken out.")?;
    }
    Ok(())
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
    let mut told = json!({
        "share": route.share,
        "phase": route.phase.name(),
        "processes": audit.live.iter().map(process).collect::<Vec<_>>(),
        "pending": { "source": old, "target": new },
        "accepted": audit.accepted,
        "empty_places": audit.empty,
        "accounted": audit.accounted,
        "missing": audit.missing(),
        "double": audit.double,
    });
    if let Some(more) = audit.more_rows {
        told["more_rows"] = more.into();
    }
    out::json(&told)?;
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
    if let Some(more) = audit.more_rows {
        return tell_rows(audit, more);
    }
    out::line(format_args!(
        "Audit: {accepted} accepted since it began; {} missing, {} settled twice (counted to \
         within {on_the_way}: what was on its way at the beginning and now, or came from elsewhere).",
        grouped(audit.missing()),
        grouped(audit.double)
    ))?;
    tell_empty(audit)
}

/// The audit of a table, whose rows are no count of events.
fn tell_rows(audit: &Audit, more: u64) -> Result<()> {
    let on_the_way = grouped(audit.accounted.saturating_sub(audit.accepted));
    out::line(format_args!(
        "Audit: {} rows accepted since it began; {} missing (counted to within {on_the_way}). The table has {} \
         more rows than when it began.",
        grouped(audit.accepted),
        grouped(audit.missing()),
        grouped(more)
    ))?;
    out::line(
        "What the processes say they were done with counts: several events may have written one row, and others \
         may have written rows. What a killed process did in its last half second may count as missing.",
    )?;
    tell_empty(audit)
}

fn tell_empty(audit: &Audit) -> Result<()> {
    if audit.empty > 0 {
        out::line(format_args!(
            "{} offsets of Kafka counted as held at the beginning, and hold no event. They are left out. Offsets \
             that no worker has read yet still count: an upper bound.",
            grouped(audit.empty)
        ))?;
    }
    Ok(())
}
