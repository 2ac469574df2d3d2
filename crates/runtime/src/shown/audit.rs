//! How far a move is, and its audit.

use model::route::SHARE_MAX;
use model::units::grouped;
use serde_json::{Value, json};
use store::moves::{Heard, Step};

use crate::moving::{Audit, Evidence};

/// How far a move is, and what its audit came to; `None` where nothing has moved yet.
#[must_use]
pub fn lines(audited: Option<&(Step, Audit)>) -> Vec<String> {
    let Some((Step { route, .. }, audit)) = audited else {
        return vec!["Nothing has moved yet.".to_owned()];
    };
    let (share, phase) = (route.share, route.phase.name());
    let mut lines = vec![format!("{share} % of the keys go to the new buffer ({phase}).")];
    lines.extend(audit.live.iter().map(process));
    let [old, new] = audit.pending.map(grouped);
    lines.push(format!("Held: {old} in the old buffer, {new} in the new."));
    let on_the_way = grouped(audit.accounted.saturating_sub(audit.accepted));
    let (accepted, missing) = (grouped(audit.accepted), grouped(audit.missing()));
    match audit.evidence {
        Evidence::Events => lines.push(format!(
            "Audit: {accepted} accepted since it began; {missing} missing, {} settled twice (counted to \
             within {on_the_way}: what was on its way at the beginning and now, or came from elsewhere).",
            grouped(audit.double)
        )),
        // The rows of a table are no count of events.
        Evidence::Rows => lines.extend([
            format!(
                "Audit: {accepted} rows accepted since it began; {missing} missing (counted to within \
                 {on_the_way}). The table has {} more rows than when it began.",
                grouped(audit.more_rows)
            ),
            "What the processes say they were done with counts: several events may have written one row, and \
             others may have written rows. What a killed process did in its last half second may count as missing."
                .to_owned(),
        ]),
        Evidence::Nothing => lines.extend([
            format!(
                "Audit: {accepted} events accepted since it began; {missing} missing (counted to within \
                 {on_the_way})."
            ),
            "What the processes say they were done with counts: the store keeps nothing of these events. What a \
             killed process did in its last half second may count as missing."
                .to_owned(),
        ]),
    }
    lines.extend((audit.empty > 0).then(|| {
        format!(
            "{} offsets of Kafka counted as held at the beginning, and hold no event. They are left out. Offsets \
             that no worker has read yet still count: an upper bound.",
            grouped(audit.empty)
        )
    }));
    lines
}

/// What to do once all keys go to one buffer. `to` is the new one, as its URL is shown.
#[must_use]
pub fn end(step: Step, to: &str) -> String {
    if step.route.share < SHARE_MAX {
        return "All is back in the old buffer. next_buffer may be taken out.".to_owned();
    }
    let password = if to.contains("***") { " with its password" } else { "" };
    format!(
        "All is moved. Set buffer = \"{to}\"{password}, take next_buffer out, and restart each process. Dead \
         letters stay where they were buried."
    )
}

/// The same as [`lines`] for a script: an object.
#[must_use]
pub fn json(audited: Option<&(Step, Audit)>) -> Value {
    let Some((Step { route, .. }, audit)) = audited else {
        return json!({ "share": 0, "phase": "open" });
    };
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
    let mut shown = json!({
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
    if audit.evidence == Evidence::Rows {
        shown["more_rows"] = audit.more_rows.into();
    }
    shown
}

fn process(heard: &Heard) -> String {
    let (report, ago) = (&heard.report, heard.ago_ms / 1_000);
    let [source, target] = report.offered.map(grouped);
    format!(
        "  {}  offered {source} to the old one and {target} to the new, heard {ago} s ago",
        report.process
    )
}
