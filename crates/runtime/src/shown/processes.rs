//! The processes that the store has heard of.

use model::units::millis_whole;
use serde_json::{Value, json};
use store::processes::Heard;

use super::millis;

/// A line for each process that the store has heard of.
#[must_use]
pub fn lines(heard: &[Heard]) -> Vec<String> {
    let width = heard.iter().map(|heard| heard.process.id.len()).max().unwrap_or(0).max(7);
    let mut lines = vec![format!(
        "{:<width$}  {:<10}  {:<9}  heartbeat   pipelines",
        "process", "roles", "version"
    )];
    lines.extend(heard.iter().map(|heard| {
        let process = &heard.process;
        let pipelines: Vec<_> = process
            .pipelines
            .iter()
            .map(|pipeline| format!("{} {}", pipeline.name, pipeline.state))
            .collect();
        let ago = format!("{} ago", millis_whole(millis(heard.ago)));
        let shown = if heard.is_live() { pipelines.join(", ") } else { "silent".to_owned() };
        let (id, roles, version) = (&process.id, &process.roles, &process.version);
        format!("{id:<width$}  {roles:<10}  {version:<9}  {ago:<10}  {shown}")
    }));
    lines
}

/// The same for a script: an object for each process.
#[must_use]
pub fn json(heard: &[Heard]) -> Value {
    let one = |heard: &Heard| {
        let process = &heard.process;
        let pipelines = process.pipelines.iter().map(|pipeline| {
            json!({
                "name": pipeline.name,
                "state": pipeline.state,
                "lanes": pipeline.lanes,
                "calls": pipeline.calls,
            })
        });
        json!({
            "id": process.id,
            "host": process.host,
            "pid": process.pid,
            "version": process.version,
            "roles": process.roles,
            "live": heard.is_live(),
            "heard_ago_ms": millis(heard.ago),
            "joined_ago_ms": millis(heard.joined_ago),
            "pipelines": pipelines.collect::<Vec<_>>(),
        })
    };
    heard.iter().map(one).collect()
}
