//! `forebay monitor`: which processes run, and what each holds of a Redis.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use buffer::backend::{Distribution, Member};
use serde_json::{Value, json};
use store::processes::Heard;

use super::configured_pipeline;
use crate::config::Flags;
use crate::exit::Exit;
use crate::{open, out, signals};
use model::units::{grouped, millis_whole};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Erases the screen and begins again at its top (ECMA-48: ED, CUP).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";
/// How wide a full bar is, in characters.
const BAR: u64 = 24;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay monitor
  forebay monitor --once --json

Shows the live processes of the store. Of a Redis it shows as well which process holds which shards and
leases; `forebay buffer stat` looks at any other buffer.")]
pub(crate) struct Args {
    /// Which process holds which shards and leases of a Redis: what is shown without this flag, too
    #[arg(long)]
    distribution: bool,
    /// Look once
    #[arg(long)]
    once: bool,
    /// As JSON, one object for each look
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured_pipeline(flags)?;
    let buffer = config.buffer();
    let running = open::beside(&*config.store)?.processes();
    let stop = signals::stop()?;
    let live = std::io::stdout().is_terminal() && !args.once && !args.json;
    loop {
        let heard = running.heard().await;
        let distribution = match buffer.distribution().await {
            Err(buffer::Error::Unsupported(_)) => None,
            seen => Some(seen?),
        };
        // Without a distribution there is nothing else to show.
        let heard = match distribution {
            None => Ok(heard?),
            Some(_) => heard.map_err(|error| error.to_string()),
        };
        if args.json {
            let mut shown = distribution.as_ref().map_or_else(|| json!({}), as_json);
            shown["processes"] = heard.map_or(Value::Null, |heard| processes_as_json(&heard));
            out::line(shown)?;
        } else {
            let clear = if live { CLEAR } else { "" };
            let processes = heard.map_or_else(
                |error| format!("The live processes cannot be read: {error}"),
                |heard| processes(&heard),
            );
            let name = buffer.name();
            let shards = distribution.map(|seen| format!("\n\n{}", drawn(&name, &seen)));
            out::line(format_args!("{clear}{processes}{}", shards.unwrap_or_default()))?;
        }
        if args.once || stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(Exit::Done);
        }
    }
}

/// A line for each process that the store has heard of.
fn processes(heard: &[Heard]) -> String {
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
        let ago = format!("{} ago", millis_whole(ago_ms(heard)));
        let shown = if heard.is_live() { pipelines.join(", ") } else { "silent".to_owned() };
        let (id, roles, version) = (&process.id, &process.roles, &process.version);
        format!("{id:<width$}  {roles:<10}  {version:<9}  {ago:<10}  {shown}")
    }));
    lines.join("\n")
}

fn ago_ms(heard: &Heard) -> u64 {
    u64::try_from(heard.ago.as_millis()).unwrap_or(u64::MAX)
}

fn processes_as_json(heard: &[Heard]) -> Value {
    let one = |heard: &Heard| {
        let process = &heard.process;
        let pipelines = process.pipelines.iter().map(|pipeline| {
            json!({ "name": pipeline.name, "state": pipeline.state, "lanes": pipeline.lanes })
        });
        json!({
            "id": process.id,
            "host": process.host,
            "pid": process.pid,
            "version": process.version,
            "roles": process.roles,
            "live": heard.is_live(),
            "heard_ago_ms": ago_ms(heard),
            "joined_ago_ms": u64::try_from(heard.joined_ago.as_millis()).unwrap_or(u64::MAX),
            "pipelines": pipelines.collect::<Vec<_>>(),
        })
    };
    heard.iter().map(one).collect()
}

/// Stands where a process would.
const NOBODY: &str = "nobody holds";

fn drawn(name: &str, seen: &Distribution) -> String {
    let waiting: u64 = seen.backlog.iter().sum();
    let source = match seen.source {
        0 => String::new(),
        events => format!(", {} not yet routed", grouped(events)),
    };
    let width =
        seen.members.iter().map(|member| member.id.len()).max().unwrap_or(0).max(NOBODY.len());
    let mut lines = vec![
        format!(
            "{name}: {} processes, {} shards, {} events wait{source}",
            seen.members.len(),
            seen.backlog.len(),
            grouped(waiting)
        ),
        String::new(),
        format!("{:<width$}  given up in  leases    leased     waits  shards", "process"),
    ];
    let most = seen.members.iter().map(|member| backlog(seen, member)).max().unwrap_or(0).max(1);
    for member in &seen.members {
        let behind = backlog(seen, member);
        let bar = "█".repeat(usize::try_from(behind * BAR / most).unwrap_or(0));
        lines.push(format!(
            "{:<width$}  {:>9.1} s  {:>6}  {:>8}  {:>8}  {}  {bar}",
            member.id,
            Duration::from_millis(given_up_in_ms(seen, member)).as_secs_f64(),
            member.leases,
            grouped(member.events),
            grouped(behind),
            ranges(&member.shards),
        ));
    }
    let free = free(seen);
    if !free.is_empty() {
        lines.push(format!("{NOBODY:<width$}  {}", ranges(&free)));
    }
    lines.join("\n")
}

/// How long until a member is given up, unless it is heard of again.
fn given_up_in_ms(seen: &Distribution, member: &Member) -> u64 {
    u64::try_from(member.deadline_ms - seen.now_ms).unwrap_or(0)
}

/// The shards that nobody holds.
fn free(seen: &Distribution) -> Vec<u16> {
    let held = |shard: &u16| seen.members.iter().any(|member| member.shards.contains(shard));
    let shards = u16::try_from(seen.backlog.len()).expect("shards are counted in 16 bits");
    (0..shards).filter(|shard| !held(shard)).collect()
}

/// Events that wait in a member's shards.
fn backlog(seen: &Distribution, member: &Member) -> u64 {
    let waiting = |shard: &u16| seen.backlog.get(usize::from(*shard)).copied().unwrap_or(0);
    member.shards.iter().map(waiting).sum()
}

/// `0-3 7 9-10`.
fn ranges(shards: &[u16]) -> String {
    let mut shards = shards.to_vec();
    shards.sort_unstable();
    let runs = shards.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

fn as_json(seen: &Distribution) -> serde_json::Value {
    let members: Vec<_> = seen
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.id,
                "given_up_in_ms": given_up_in_ms(seen, member),
                "shards": member.shards,
                "leases": member.leases,
                "leased": member.events,
                "waiting": backlog(seen, member),
            })
        })
        .collect();
    json!({
        "members": members,
        "waiting_by_shard": seen.backlog,
        "free_shards": free(seen),
        "not_routed": seen.source,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn member(id: &str, shards: &[u16]) -> Member {
        Member {
            id: id.to_owned(),
            deadline_ms: 10_240,
            shards: shards.to_vec(),
            leases: 2,
            events: 1_500,
        }
    }

    #[test]
    fn each_process_has_a_line_with_its_shards_and_what_waits_in_them() {
        let seen = Distribution {
            now_ms: 1_000,
            members: vec![member("host:7:a1", &[0, 1, 3]), member("b2", &[2])],
            backlog: vec![10, 0, 0, 2, 1],
            source: 7,
        };
        let drawn = drawn("tx_queue", &seen);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines[0], "tx_queue: 2 processes, 5 shards, 13 events wait, 7 not yet routed");
        assert!(
            lines[3].starts_with("host:7:a1           9.2 s       2     1,500        12  0-1 3"),
            "{}",
            lines[3]
        );
        assert!(lines[3].ends_with(&"█".repeat(24)), "{}", lines[3]);
        assert!(lines[4].ends_with("         0  2  "), "{}", lines[4]);
        assert_eq!(lines[2].find("given up in"), lines[5].find('4'));
        assert_eq!(lines[5], "nobody holds  4");
        assert_eq!(as_json(&seen)["free_shards"], json!([4]));
        assert_eq!(as_json(&seen)["members"][0]["waiting"], 12);
        assert_eq!(as_json(&seen)["members"][0]["given_up_in_ms"], 9_240);
    }

    #[test]
    fn its_only_view_needs_no_flag_and_takes_the_one_it_had() {
        for line in [&["forebay", "monitor"][..], &["forebay", "monitor", "--distribution"]] {
            assert!(crate::args::Args::try_parse_from(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn shards_that_follow_each_other_are_drawn_together() {
        assert_eq!(ranges(&[10, 0, 1, 2, 7, 9]), "0-2 7 9-10");
        assert_eq!(ranges(&[]), "");
    }
}
