//! `forebay config`: what is configured, where it comes from, and what it guarantees.

use anyhow::{Result, anyhow};
use serde_json::json;

use super::configured;
use crate::config::{Config, Flags, Settings};
use crate::exit::Exit;
use crate::{guarantee, open, out};

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
    let mut troubles = Vec::new();
    match guarantee::asked(&config.buffer).await {
        // What is promised holds whether or not a running server has it all open just now.
        Ok((accepted, problems)) => {
            out::line(accepted)?;
            troubles.extend(problems.into_iter().map(anyhow::Error::msg));
        }
        Err(error) => troubles.push(anyhow!("the buffer can't be asked how it is kept: {error}")),
    }
    for line in guarantee::beyond(config) {
        out::line(line)?;
    }
    match open::configured_buffer(config).await {
        Ok(opened) => {
            for line in opened.recovery.iter().flat_map(open::recovered) {
                out::line(line)?;
            }
            troubles.extend(opened.buffer.close().await.err().map(anyhow::Error::from));
        }
        Err(error) => troubles.push(error),
    }
    match open::store(config).await {
        Ok((store, _)) => troubles.extend(store.close().await.err().map(anyhow::Error::from)),
        Err(error) => troubles.push(error),
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

fn show(settings: &Settings, json: bool) -> Result<Exit> {
    if json {
        let entries: Vec<_> = settings
            .entries()
            .map(|entry| {
                let (key, from) = (&entry.setting.key, entry.origin.to_string());
                json!({ "key": key, "value": settings.shown(entry).to_json(), "from": from })
            })
            .collect();
        out::json(&entries)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = settings
        .entries()
        .map(|entry| (entry.setting.key.as_str(), settings.shown(entry).to_string(), &entry.origin))
        .collect();
    let keys = rows.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    for (key, value, origin) in rows {
        out::line(format_args!("{key:<keys$}  {value:<values$}  {origin}"))?;
    }
    Ok(Exit::Done)
}
