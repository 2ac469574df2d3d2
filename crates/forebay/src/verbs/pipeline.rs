//! `forebay pipeline`: what each pipeline is to do, and what it does in each process.

use std::collections::BTreeSet;

use anyhow::Result;
use model::units::{millis_whole, time};
use serde_json::{Value, json};
use store::Store;
use store::pipelines::{LANES_MAX, REASON_BYTES_MAX, Wanted};
use store::processes::{Heard, Pipeline};

use super::configured;
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::{identity, open, out};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// What each pipeline is to do, and what it does in each live process
    #[command(after_help = "Examples:\n  forebay pipeline list\n  forebay pipeline list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Settle nothing from now on; events are accepted as before
    #[command(after_help = "\
Examples:
  forebay pipeline pause consumer_batch
  forebay pipeline pause table:prices --reason 'the table is being rebuilt'

Every process follows within a second or two: it leases nothing more and finishes what it holds. A pause
survives restarts, until `forebay pipeline resume`. A buffer that keeps nothing (memory:) is settled all the
same when its process ends, because its events would be lost.")]
    Pause {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
        /// Why, for those who see the pause
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Settle again
    #[command(after_help = "Example:\n  forebay pipeline resume consumer_batch")]
    Resume {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
    },
    /// Settle with another number of lanes in each process
    #[command(after_help = "\
Examples:
  forebay pipeline scale consumer_batch --lanes 8
  forebay pipeline scale consumer_batch --configured

Every process finishes what it holds and goes on with the new number.")]
    Scale {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
        #[command(flatten)]
        lanes: Lanes,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Lanes {
    /// How many lanes settle in each process: 1 to 256
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LANES_MAX)))]
    lanes: Option<u32>,
    /// As many as each process is configured with
    #[arg(long)]
    configured: bool,
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let config = configured(flags)?;
    let beside = open::beside(&*config.store)?;
    match verb {
        Verb::List { json } => list(&config, &*beside, json).await,
        Verb::Pause { name, reason } => pause(&config, &*beside, &name, reason).await,
        Verb::Resume { name } => {
            let before = known(&config, &*beside, &name).await?;
            let now = beside.pipelines().resume(&name).await?;
            match before.as_ref().filter(|before| before.paused) {
                Some(before) => {
                    out::line(format_args!("Resumed {name}, {}.", paused(before)))?;
                }
                None => out::line(format_args!("{name} was not paused."))?,
            }
            alone(before.as_ref(), &now)
        }
        Verb::Scale { name, lanes } => {
            let before = known(&config, &*beside, &name).await?;
            let now = beside.pipelines().scale(&name, lanes.lanes).await?;
            out::line(format_args!("{name} settles with {} in each process.", lanes_of(&now)))?;
            alone(before.as_ref(), &now)
        }
    }
}

async fn pause(
    config: &Config,
    beside: &dyn Store,
    name: &str,
    reason: Option<String>,
) -> Result<Exit> {
    let before = known(config, beside, name).await?;
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let by = format!("by {user}@{}", identity::host());
    let reason = reason.map_or_else(|| by.clone(), |reason| format!("{by}: {reason}"));
    if reason.len() > REASON_BYTES_MAX {
        let problem =
            format!("--reason is too long: with who pauses, {REASON_BYTES_MAX} bytes at most");
        return Err(Error(problem).into());
    }
    let now = beside.pipelines().pause(name, &reason).await?;
    match before.as_ref().filter(|before| before.paused) {
        Some(before) => out::line(format_args!("{name} was paused already, {}.", paused(before)))?,
        None => out::line(format_args!(
            "{name} is paused; `forebay pipeline list` shows each process."
        ))?,
    }
    alone(before.as_ref(), &now)
}

/// Says so if another writer changed the row meanwhile.
fn alone(before: Option<&Wanted>, now: &Wanted) -> Result<Exit> {
    let expected = before.map_or(0, |before| before.revision) + 1;
    if now.revision == expected {
        return Ok(Exit::Done);
    }
    out::note(format_args!(
        "{} was changed by another command at the same time; look at `forebay pipeline list`",
        now.name
    ));
    Ok(Exit::Trouble)
}

/// What is wanted of the pipeline so far.
///
/// # Errors
/// If there is no such pipeline; names those that there are.
async fn known(config: &Config, beside: &dyn Store, name: &str) -> Result<Option<Wanted>> {
    let wanted = beside.pipelines().wanted().await?;
    let mut names = names(config, &beside.processes().heard().await?);
    // A pause may outlive the configuration of its pipeline.
    names.extend(wanted.iter().map(|wanted| wanted.name.clone()));
    if !names.contains(name) {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error(format!("there is no pipeline {name}; there are: {names}")).into());
    }
    Ok(wanted.into_iter().find(|wanted| wanted.name == name))
}

/// Those that are configured, and those of live processes.
fn names(config: &Config, heard: &[Heard]) -> BTreeSet<String> {
    let live = heard.iter().filter(|heard| heard.is_live());
    let running = live.flat_map(|heard| &heard.process.pipelines).map(|one| one.name.clone());
    running.chain(config.lines.iter().map(|line| line.pipeline.clone())).collect()
}

async fn list(config: &Config, beside: &dyn Store, as_json: bool) -> Result<Exit> {
    let (wanted, heard) = (beside.pipelines().wanted().await?, beside.processes().heard().await?);
    let mut names = names(config, &heard);
    names.extend(wanted.iter().map(|wanted| wanted.name.clone()));
    let wanted = |name: &str| wanted.iter().find(|wanted| wanted.name == *name);
    if as_json {
        let all: Vec<_> =
            names.iter().map(|name| shown_as_json(name, wanted(name), &heard)).collect();
        out::json(&Value::from(all))?;
        return Ok(Exit::Done);
    }
    for name in &names {
        let wish = match wanted(name) {
            Some(wanted) if wanted.paused => format!("{}, {}", paused(wanted), lanes_of(wanted)),
            Some(wanted) => format!("runs, {}", lanes_of(wanted)),
            None => "runs, the lanes as configured".to_owned(),
        };
        out::line(format_args!("{name}  {wish}"))?;
        for (heard, pipeline) in running(name, &heard) {
            out::line(format_args!("  {}", line(heard, pipeline)))?;
        }
    }
    Ok(Exit::Done)
}

/// The processes that run the pipeline.
fn running<'h>(
    name: &'h str,
    heard: &'h [Heard],
) -> impl Iterator<Item = (&'h Heard, &'h Pipeline)> {
    heard.iter().flat_map(move |heard| {
        let of_it = heard.process.pipelines.iter().filter(move |one| one.name == name);
        of_it.map(move |one| (heard, one))
    })
}

fn line(heard: &Heard, pipeline: &Pipeline) -> String {
    let Heard { process, ago, .. } = heard;
    let ago = millis_whole(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
    let lanes = match pipeline.lanes {
        0 => "only accepts".to_owned(),
        1 => "1 lane".to_owned(),
        lanes => format!("{lanes} lanes"),
    };
    let state = if heard.is_live() { &pipeline.state } else { "silent" };
    format!("{}  {state}  {lanes}  last heartbeat {ago} ago", process.id)
}

fn paused(wanted: &Wanted) -> String {
    let reason = if wanted.reason.is_empty() { "" } else { " " };
    format!("paused since {}{reason}{}", time(wanted.since_ms), wanted.reason)
}

fn lanes_of(wanted: &Wanted) -> String {
    match wanted.lanes {
        None => "the lanes as configured".to_owned(),
        Some(1) => "1 lane".to_owned(),
        Some(lanes) => format!("{lanes} lanes"),
    }
}

fn shown_as_json(name: &str, wanted: Option<&Wanted>, heard: &[Heard]) -> Value {
    let processes: Vec<_> = running(name, heard)
        .map(|(heard, pipeline)| {
            json!({
                "process": heard.process.id,
                "live": heard.is_live(),
                "state": pipeline.state,
                "lanes": pipeline.lanes,
                "heard_ago_ms": u64::try_from(heard.ago.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    let wanted = wanted.map(|wanted| {
        json!({
            "paused": wanted.paused,
            "since": time(wanted.since_ms),
            "reason": wanted.reason,
            "lanes": wanted.lanes,
            "revision": wanted.revision,
        })
    });
    json!({ "pipeline": name, "wanted": wanted, "processes": processes })
}
