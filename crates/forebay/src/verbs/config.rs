//! `forebay config`: what is configured, where it comes from, and what it guarantees.

use anyhow::{Result, anyhow, bail};
use serde_json::json;
use store::card::Guard;

use super::configured;
use crate::config::{Config, Flags, Settings};
use crate::exit::Exit;
use crate::moving::{refuse_left, way};
use crate::{distinct, fingerprint, guarantee, open, out, url, write_behind};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Open everything that is configured, and say what it guarantees
    #[command(after_help = "Example:\n  forebay config check --config /etc/forebay.toml")]
    Check,
    /// Every value, and where it comes from
    #[command(after_help = "Example:\n  forebay config show --set engine.lanes=4")]
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let (settings, config) = configured(flags)?;
    match verb {
        Verb::Check => check(&config).await,
        Verb::Show { json } => show(&settings, json),
    }
}

/// Opens each part, and goes on to the next when one can't be: all trouble is told at once.
async fn check(config: &Config) -> Result<Exit> {
    let mut troubles: Vec<_> =
        distinct::check(config).await.err().into_iter().map(anyhow::Error::from).collect();
    troubles.extend(check_move(config).await.err());
    for buffer in guarantee::payments(config) {
        match guarantee::asked(buffer).await {
            // What is promised holds whether or not a running server has it all open just now.
            Ok((accepted, problems)) => {
                out::line(accepted)?;
                troubles.extend(problems.into_iter().map(anyhow::Error::msg));
            }
            // It is looked at below, and the trouble is told again among the others.
            Err(why) => out::line(guarantee::unasked(buffer, &why))?,
        }
        troubles.extend(check_buffer(buffer, config).await.err());
    }
    let of_spill = config.spill.as_ref().and_then(|spill| spill.key.read().err());
    troubles.extend(of_spill.map(|error| anyhow::Error::from(error).context("spill")));
    let of_store = check_store(config).await;
    for line in guarantee::beyond(config, of_store.as_ref().err()) {
        out::line(line)?;
    }
    for table in &config.tables {
        let problems = guarantee::asked(&table.buffer).await.map_or(Vec::new(), |(_, them)| them);
        let problems = problems.into_iter().map(anyhow::Error::msg);
        let trouble = check_buffer(&table.buffer, config).await.err();
        let all = problems.chain(trouble);
        troubles.extend(all.map(|trouble| trouble.context(format!("table {}", table.name()))));
    }
    match of_store {
        Ok(of_store) => troubles.extend(of_store),
        Err(trouble) => troubles.push(trouble),
    }
    if let Err(error) = tokio::net::TcpListener::bind(config.bind).await {
        let bind = config.bind;
        troubles.push(anyhow!("can't listen on {bind}: {error}; choose another with http.bind"));
    }
    for trouble in &troubles {
        out::note(format_args!("forebay: {trouble:#}"));
    }
    Ok(Exit::done_if(troubles.is_empty()))
}

/// Opens the buffer; a Redis or a Kafka, where opening would be joining those at work, is looked at. How it
/// keeps what it holds has been asked already.
async fn check_buffer(buffer: &url::Buffer, config: &Config) -> Result<()> {
    if let url::Buffer::Redis(options) = buffer {
        let obstacles = buffer_redis::inspect::obstacles(options).await?;
        if !obstacles.is_empty() {
            bail!("{}", obstacles.join("; "));
        }
        let shards = buffer_redis::inspect::distribution(options).await?.backlog.len();
        if shards != usize::from(options.shards) {
            bail!(
                "the buffer has {shards} shards, and {} are configured; write shards={shards} in \
                 its URL, or drain it and take another name",
                options.shards
            );
        }
        return Ok(());
    }
    if let url::Buffer::Kafka(options) = buffer {
        let partitions = buffer_kafka::inspect::partitions(options).await?;
        out::line(format_args!(
            "At most {partitions} processes settle at once: one for each partition."
        ))?;
        return Ok(());
    }
    let opened = open::buffer(buffer, config).await?;
    for line in opened.recovery.iter().flat_map(open::recovered) {
        out::line(line)?;
    }
    Ok(opened.buffer.close().await?)
}

/// Holds the buffers that are configured against the move that the store has recorded. A store that can't be
/// read is looked at by itself.
async fn check_move(config: &Config) -> Result<()> {
    let Some(next) = &config.next else { return refuse_left(config, &config.buffer).await };
    let Ok(moves) = open::moves(&config.store).await else { return Ok(()) };
    let Ok(recorded) = moves.recorded().await else { return Ok(()) };
    Ok(way(config, next).of(recorded).await.map(drop)?)
}

/// Opens the store if it is this machine's alone; a PostgreSQL is looked at. Returns what is wrong
/// beside it: with the key of card fingerprints, and with the tables in it that are written behind.
///
/// # Errors
/// If it can't be opened, or is not as payments need it to be settled once.
async fn check_store(config: &Config) -> Result<Vec<anyhow::Error>> {
    if let url::Store::Postgres(options) = &config.store {
        let view = store_postgres::inspect::open(options).await?;
        let problems = view.check().await?;
        if !problems.is_empty() {
            bail!("{}", problems.join("; "));
        }
        let rights = view.rights().await?.into_iter().map(anyhow::Error::msg);
        let of_key = check_key(config, &view).await.err();
        let of_tables = write_behind::check(config, &*open::tables(config, None)?).await;
        return Ok(rights.chain(of_key).chain(of_tables).collect());
    }
    let (store, _) = open::store(config).await?;
    let troubles = write_behind::check(config, &*open::tables(config, Some(&store))?).await;
    store.close().await?;
    Ok(troubles)
}

/// Reads the key of card fingerprints as a process that settles here would, and compares it with the one the
/// store was begun with. Makes and keeps none: the first process of a store without payments does.
async fn check_key(config: &Config, view: &store_postgres::inspect::View) -> Result<()> {
    let path = &config.key_file;
    if !path.exists() && view.counts().await?.total == 0 {
        return Ok(());
    }
    let guard = Guard::new(&fingerprint::key(path, Some("in PostgreSQL"))?, config.cards_clear);
    if view.key_check().await?.is_some_and(|kept| kept != guard.key_check()) {
        return Err(fingerprint::another(path));
    }
    Ok(())
}

fn show(settings: &Settings, json: bool) -> Result<Exit> {
    if json {
        let entries: Vec<_> = settings
            .entries()
            .map(|entry| {
                let (key, from) = (&entry.setting.key, entry.origin.to_string());
                json!({ "key": key, "value": settings.shown(entry).to_json(), "from": from })
            })
            .chain(settings.shown_tables().into_iter().map(
                |(key, value, from)| json!({ "key": key, "value": value.to_json(), "from": from }),
            ))
            .collect();
        out::json(&entries)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = settings
        .entries()
        .map(|entry| {
            let (key, from) = (entry.setting.key.clone(), entry.origin.to_string());
            (key, settings.shown(entry).to_string(), from)
        })
        .chain(
            settings
                .shown_tables()
                .into_iter()
                .map(|(key, value, from)| (key, value.to_string(), from)),
        )
        .collect();
    let keys = rows.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    for (key, value, origin) in rows {
        out::line(format_args!("{key:<keys$}  {value:<values$}  {origin}"))?;
    }
    Ok(Exit::Done)
}
