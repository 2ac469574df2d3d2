//! `forebay config`: what is configured, where it comes from, and what it guarantees.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use runtime::Line;

use settings::shown;
use store::card::Guard;
use store::inspect::Inspect;
use store::{Store, key_file};

use super::configured;
use crate::config::{Config, Flags};
use crate::domain::Looked;
use crate::exit::Exit;
use crate::{configured, domains, open, out};

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
    let config = configured(flags)?;
    match verb {
        Verb::Check => check(&config).await,
        Verb::Show { json } => {
            let all = config.settings.all_shown()?;
            out::found(json, || shown::json(&all), || shown::lines(&all))?;
            Ok(Exit::Done)
        }
    }
}

/// Opens each part, and goes on to the next when one can't be: all trouble is told at once.
async fn check(config: &Config) -> Result<Exit> {
    let mut troubles: Vec<_> =
        configured::distinct(config).await.err().into_iter().map(anyhow::Error::from).collect();
    let store = check_store(config).await;
    for domain in domains::all() {
        let (mut looked, mut found) = (Vec::new(), Vec::new());
        for line in domain.lines(config)? {
            let (of_line, of_buffers, wrong) = look(config, line, &store).await;
            let of = of_line.line.of.trim_start_matches(" of ").split(" (").next();
            troubles.extend(wrong.into_iter().map(|trouble| match of {
                None | Some("") => trouble,
                Some(of) => trouble.context(of.to_owned()),
            }));
            looked.push(of_line);
            found.extend(of_buffers);
        }
        for said in domain.checked(config, &looked).await?.into_iter().chain(found) {
            out::line(said)?;
        }
    }
    match store {
        Ok(Beside { troubles: beside, warnings, .. }) => {
            for warning in warnings {
                out::note(format_args!("Warning: {warning}"));
            }
            troubles.extend(beside);
        }
        Err(trouble) => troubles.push(trouble),
    }
    if let Err(error) = tokio::net::TcpListener::bind(config.bind).await {
        let bind = config.bind;
        troubles.push(anyhow!("cannot listen on {bind}: {error}; choose another with http.bind"));
    }
    for trouble in &troubles {
        out::note(format_args!("forebay: {trouble:#}"));
    }
    Ok(Exit::done_if(troubles.is_empty()))
}

/// Looks at the buffers of a pipeline. Returns what a person should know besides, and the troubles.
async fn look(
    config: &Config,
    line: Line,
    store: &Result<Beside>,
) -> (Looked, Vec<String>, Vec<anyhow::Error>) {
    let mut troubles = Vec::new();
    let (mut buffers, mut found) = (Vec::new(), Vec::new());
    let lines = config.lines();
    troubles.extend(lines.check_move(&line).await.err());
    for buffer in line.accepting() {
        let seen = lines.look(&**buffer, line.events).await;
        buffers.push(seen.unchecked.map_or(Ok(seen.accepted), Err));
        found.extend(seen.found);
        troubles.extend(seen.troubles);
    }
    let mut troubles: Vec<_> = troubles.into_iter().map(open::told).collect();
    let of_spill = line.spill.as_ref().and_then(|spill| spill.validate().err());
    troubles.extend(of_spill.map(|error| anyhow::Error::from(error).context("spill")));
    let told = |error: &anyhow::Error| format!("{error:#}");
    let of_tables = store.as_ref().ok().and_then(|beside| beside.tables.get(&line.pipeline));
    let tables = of_tables.map(told);
    troubles.extend(tables.clone().map(anyhow::Error::msg));
    let looked = Looked { line, buffers, store: store.as_ref().err().map(told), tables };
    (looked, found, troubles)
}

/// What is wrong beside a store that could be used.
#[derive(Default)]
struct Beside {
    /// Rights that are missing, and the key of card fingerprints.
    troubles: Vec<anyhow::Error>,
    /// What a process settles without, one sentence each.
    warnings: Vec<String>,
    /// The pipelines whose own tables in it can't be used.
    tables: BTreeMap<String, anyhow::Error>,
}

/// Opens the store if it lies in a file of this machine; one elsewhere is looked at.
///
/// # Errors
/// If it can't be opened, or is not as payments need it to be settled once.
async fn check_store(config: &Config) -> Result<Beside> {
    if config.store.file().is_some() {
        let (store, _) = open::store(config).await?;
        let tables = check_tables(config, &**store.store()).await;
        store.close().await?;
        let tables = tables?;
        return Ok(Beside { tables, ..Beside::default() });
    }
    let view = config.store.inspect().await?;
    let problems = view.problems().await?;
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    let rights = view.rights().await?.into_iter().map(anyhow::Error::msg);
    let troubles = rights.chain(check_key(config, &*view).await.err()).collect();
    let warnings = view.rights_to_be_listed().await?;
    let tables = check_tables(config, &*open::beside(&*config.store)?).await?;
    Ok(Beside { troubles, warnings, tables })
}

/// What each domain finds wrong with its tables.
async fn check_tables(
    config: &Config,
    store: &dyn Store,
) -> Result<BTreeMap<String, anyhow::Error>> {
    let mut troubles = BTreeMap::new();
    for domain in domains::all() {
        troubles.extend(domain.check(config, store).await?);
    }
    Ok(troubles)
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
