//! One file for each verb: its arguments, and what it does.

pub(crate) mod advise;
pub(crate) mod bench;
pub(crate) mod buffer;
pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod demo;
pub(crate) mod fraud;
pub(crate) mod generate;
pub(crate) mod migrate;
pub(crate) mod monitor;
pub(crate) mod pipeline;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod store;

use crate::config::{Config, Error, Flags, Settings, conventional};
use crate::registry;

/// Reads all layers and resolves them.
///
/// # Errors
/// If the configuration can't be used.
fn configured(flags: &Flags) -> Result<(Settings, Config), Error> {
    match &flags.table {
        None => read(flags),
        Some(_) => Err(Error(
            "--table goes with advise, buffer, dead and monitor; leave it out".to_owned(),
        )),
    }
}

/// The same, for verbs that look at one buffer: that of `--table`, or else the payments'.
///
/// # Errors
/// If the configuration can't be used, or has no such table.
fn configured_buffer(flags: &Flags) -> Result<Config, Error> {
    let (_, config) = read(flags)?;
    match &flags.table {
        None => Ok(config),
        Some(name) => config.of_table(name),
    }
}

/// The same, with all pipelines, whether or not `--table` names one.
///
/// # Errors
/// If the configuration can't be used.
fn configured_all(flags: &Flags) -> Result<Config, Error> {
    Ok(read(flags)?.1)
}

/// The table that `--table` names, if any.
///
/// # Errors
/// If the configuration can't be used.
fn configured_table(flags: &Flags) -> Result<Option<table::Definition>, Error> {
    let Some(name) = &flags.table else { return Ok(None) };
    let (_, config) = read(flags)?;
    Ok(config.tables.into_iter().map(|entry| entry.definition).find(|table| table.name == *name))
}

fn read(flags: &Flags) -> Result<(Settings, Config), Error> {
    let settings = crate::config::read(flags, variables()?)?;
    let config = Config::resolve(&settings)?;
    Ok((settings, config))
}

/// The environment, as far as it is ours.
fn variables() -> Result<Vec<(String, String)>, Error> {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let ours = name.starts_with("FOREBAY_") || conventional::NAMES.contains(&name.as_str());
        (ours || registry::asks_for(&name)).then_some(())?;
        Some((name, value))
    });
    ours.map(|(name, value)| {
        let value = value.into_string().map_err(|_| Error(format!("{name} is not UTF-8")))?;
        Ok((name, value))
    })
    .collect()
}
