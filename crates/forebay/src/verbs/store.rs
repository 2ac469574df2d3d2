//! `forebay store`: the store's schema, and whether it is sound.

use anyhow::Result;
use serde_json::json;
use store::Location;

use super::configured;
use crate::config::{Config, Flags};
use crate::exit::Exit;
use crate::{domains, open, out, payments};
use model::units::grouped;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Make the schema, or bring an older one to the present version
    #[command(after_help = "\
Examples:
  forebay store migrate
  forebay store migrate --store 'postgres://forebay@127.0.0.1/shop?schema=fds'

In PostgreSQL everything lies in a schema of its own, beside other people's tables and never in
public. A SQLite store is also made by `forebay serve` itself.")]
    Migrate {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read everything and check it; exit code 1 when something is wrong
    #[command(after_help = "Example:\n  forebay store check --json")]
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let config = configured(flags)?;
    match verb {
        Verb::Migrate { json } => migrate(&config, json).await,
        Verb::Check { json } => check(&*config.store, json).await,
    }
}

async fn migrate(config: &Config, json: bool) -> Result<Exit> {
    let store = &*config.store;
    let is_changed = if store.file().is_some() {
        let made = store.is_missing();
        // Opening makes it, with its key, and brings an older one to the present version.
        open::store(config).await?.0.close().await?;
        made
    } else {
        store.migrate().await?
    };
    let beside = open::beside(store)?;
    let mut tables = Vec::new();
    for domain in domains::all() {
        tables.extend(domain.create(config, &*beside).await?);
    }
    if json {
        out::json(&json!({ "changed": is_changed, "tables": tables }))?;
        return Ok(Exit::Done);
    }
    let said = match is_changed {
        true => "The schema is made, or brought to the present version.",
        false => "Nothing to do: the schema is of the present version.",
    };
    out::line(said)?;
    for table in tables {
        out::line(format_args!("Made the table {table}."))?;
    }
    out::line(payments::settled(store))?;
    Ok(Exit::Done)
}

async fn check(store: &dyn Location, json: bool) -> Result<Exit> {
    let view = store.inspect().await?;
    let (problems, counts) = (view.problems().await?, view.counts().await?);
    let double = counts.total - counts.distinct;
    if json {
        out::json(&json!({
            "payments": counts.total,
            "double": double,
            "flagged": counts.flagged,
            "problems": problems,
        }))?;
    } else {
        let (total, flagged) = (grouped(counts.total), grouped(counts.flagged));
        out::line(format_args!("{total} payments, {flagged} flagged, {double} more than once."))?;
        for problem in &problems {
            out::line(problem)?;
        }
    }
    Ok(Exit::done_if(problems.is_empty() && double == 0))
}
