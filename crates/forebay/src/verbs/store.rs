//! `forebay store`: the store's schema, and whether it is sound.

use anyhow::Result;
use serde_json::json;

use super::configured;
use crate::config::{Config, Flags};
use crate::exit::Exit;
use crate::{guarantee, open, out, outside, url, write_behind};
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
    let (_, config) = configured(flags)?;
    match verb {
        Verb::Migrate { json } => migrate(&config, json).await,
        Verb::Check { json } => check(&config.store, json).await,
    }
}

async fn migrate(config: &Config, json: bool) -> Result<Exit> {
    let store = &config.store;
    let tables;
    let changed = match store {
        url::Store::Sqlite(options) => {
            let there = options.path.exists();
            // Opening makes it, with its key, and brings an older one to the present version.
            let (store, _) = open::store(config).await?;
            let made = write_behind::create(config, &*open::tables(config, Some(&store))?).await;
            store.close().await?;
            tables = made?;
            (!there).then_some(())
        }
        url::Store::Postgres(options) => {
            let store_postgres::Migrated { from, to } = store_postgres::migrate(options).await?;
            tables = write_behind::create(config, &*open::tables(config, None)?).await?;
            (from != to).then_some(())
        }
    };
    if json {
        out::json(&json!({ "changed": changed.is_some(), "tables": tables }))?;
        return Ok(Exit::Done);
    }
    let said = changed.map_or(
        "Nothing to do: the schema is of the present version.",
        |()| "The schema is made, or brought to the present version.",
    );
    out::line(said)?;
    for table in tables {
        out::line(format_args!("Made the table {table}."))?;
    }
    out::line(guarantee::settled(store))?;
    Ok(Exit::Done)
}

async fn check(store: &url::Store, json: bool) -> Result<Exit> {
    let problems = match store {
        url::Store::Sqlite(options) => {
            store_sqlite::inspect::open(&options.path)?.damage()?.into_iter().collect()
        }
        url::Store::Postgres(options) => {
            store_postgres::inspect::open(options).await?.check().await?
        }
    };
    let counts = outside::counts(store).await?.unwrap_or_default();
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
