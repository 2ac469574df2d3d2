//! `forebay config`: what is configured, where it comes from, and what it guarantees.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use buffer::Location;
use serde_json::json;
use store::card::Guard;
use store::inspect::Inspect;
use store::key_file;

use super::configured;
use crate::config::{Config, Flags, Settings};
use crate::exit::Exit;
use crate::moving::{Line, check_way, refuse_left};
use crate::{buffers, distinct, guarantee, open, out, write_behind};

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
    troubles.extend(check_move(config, &Line::of_payments(config)).await.err());
    for buffer in guarantee::payments(config) {
        let looked = Looked::at(&**buffer, config).await;
        out::line(match &looked.unchecked {
            None => looked.accepted.clone(),
            Some(why) => guarantee::unchecked(&**buffer, why),
        })?;
        troubles.extend(looked.tell()?);
    }
    for spill in Line::all(config).into_iter().filter_map(|line| line.spill) {
        let of_spill = spill.validate().err();
        troubles.extend(of_spill.map(|error| anyhow::Error::from(error).context("spill")));
    }
    let of_store = check_store(config).await;
    for line in guarantee::beyond(config, of_store.as_ref().err()) {
        out::line(line)?;
    }
    for table in &config.tables {
        let looked = Looked::at(&*table.buffer, config).await;
        let name = table.name();
        out::line(match (&of_store, &looked.unchecked) {
            (Err(_), _) => format!("NOT CHECKED: table {name}, which lies in that store."),
            (_, Some(why)) => format!("NOT CHECKED: table {name}, whose buffer {why}"),
            (Ok(beside), None) => match beside.tables.get(name) {
                Some(why) => format!("NOT CHECKED: table {name}, which could not be used: {why:#}"),
                None => guarantee::written_behind(table),
            },
        })?;
        let mut of_table = looked.tell()?;
        if let Some(next) = &table.next {
            of_table.extend(Looked::at(&*next.buffer, config).await.tell()?);
        }
        of_table.extend(check_move(config, &Line::of_table(table)).await.err());
        troubles
            .extend(of_table.into_iter().map(|trouble| trouble.context(format!("table {name}"))));
    }
    match of_store {
        Ok(Beside { troubles: beside, tables }) => {
            troubles.extend(beside);
            let named = |(name, why): (String, anyhow::Error)| why.context(format!("table {name}"));
            troubles.extend(tables.into_iter().map(named));
        }
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

/// What a look at a buffer came to.
struct Looked {
    /// What is promised of accepted payments.
    accepted: String,
    /// Why it could not be asked or opened, as a clause.
    unchecked: Option<String>,
    /// What a person should know.
    found: Vec<String>,
    troubles: Vec<anyhow::Error>,
}

impl Looked {
    /// Asks how the buffer is kept, and whether it can be used.
    async fn at(buffer: &dyn Location, config: &Config) -> Self {
        let mut looked = Self {
            accepted: String::new(),
            unchecked: None,
            found: Vec::new(),
            troubles: Vec::new(),
        };
        match guarantee::asked(buffer).await {
            Ok((accepted, problems)) => {
                looked.accepted = accepted;
                looked.troubles.extend(problems.into_iter().map(anyhow::Error::msg));
            }
            // It is used below, and the trouble is told again among the others.
            Err(why) => looked.unchecked = Some(format!("could not be asked: {why}")),
        }
        match try_out(buffer, config).await {
            Ok(found) => looked.found = found,
            Err(trouble) => {
                // What is promised holds whether or not a running server has it open just now.
                if looked.unchecked.is_none() && !is_held(&trouble) {
                    looked.unchecked = Some(format!("could not be used: {trouble:#}"));
                }
                looked.troubles.push(trouble);
            }
        }
        looked
    }

    /// Prints what a person should know. Returns the troubles.
    fn tell(self) -> Result<Vec<anyhow::Error>> {
        for line in self.found {
            out::line(line)?;
        }
        Ok(self.troubles)
    }
}

/// Opens the buffer, unless opening it would join the processes at work: then it is looked at.
async fn try_out(buffer: &dyn Location, config: &Config) -> Result<Vec<String>> {
    if let Some(found) = buffer.look().await? {
        return Ok(found);
    }
    let opened = buffers::open(buffer, config).await?;
    opened.buffer.close().await?;
    Ok(opened.found)
}

fn is_held(trouble: &anyhow::Error) -> bool {
    matches!(trouble.downcast_ref(), Some(buffer::Error::Held(_)))
}

/// Holds the buffers of a pipeline against the moves that the store has recorded.
async fn check_move(config: &Config, line: &Line<'_>) -> Result<()> {
    match line.way() {
        Some(way) => check_way(config, &way).await,
        None => refuse_left(config, &line.buffer.identity()).await,
    }
}

/// What is wrong beside a store that could be used.
#[derive(Default)]
struct Beside {
    /// Rights that are missing, and the key of card fingerprints.
    troubles: Vec<anyhow::Error>,
    /// The tables in it that are written behind, by their names.
    tables: BTreeMap<String, anyhow::Error>,
}

/// Opens the store if it lies in a file of this machine; one elsewhere is looked at.
///
/// # Errors
/// If it can't be opened, or is not as payments need it to be settled once.
async fn check_store(config: &Config) -> Result<Beside> {
    if config.store.file().is_some() {
        let (store, _) = open::store(config).await?;
        let tables = write_behind::check(config, &*open::tables(config, Some(&store))?).await;
        store.close().await?;
        return Ok(Beside { tables, ..Beside::default() });
    }
    let view = config.store.inspect().await?;
    let problems = view.problems().await?;
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    let rights = view.rights().await?.into_iter().map(anyhow::Error::msg);
    let troubles = rights.chain(check_key(config, &*view).await.err()).collect();
    let tables = write_behind::check(config, &*open::tables(config, None)?).await;
    Ok(Beside { troubles, tables })
}

/// Reads the key of card fingerprints as a process that settles here would, and compares it with the one the
/// store was begun with. Makes and keeps none: the first process of a store without payments does.
async fn check_key(config: &Config, view: &dyn Inspect) -> Result<()> {
    let path = &config.key_file;
    if !path.exists() && view.counts().await?.total == 0 {
        return Ok(());
    }
    let key = key_file::key(path, Some(&config.store.place()))?;
    let guard = Guard::new(&key, config.cards_clear);
    if view.key_check().await?.is_some_and(|kept| kept != guard.key_check()) {
        return Err(key_file::another(path).into());
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
