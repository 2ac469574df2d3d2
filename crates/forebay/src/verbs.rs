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
pub(crate) mod simulate;
pub(crate) mod store;
pub(crate) mod webhook;

use crate::config::{Config, Error, Flags};
use crate::configured::{looked_at, read};

/// Reads all layers and resolves them.
///
/// # Errors
/// If the configuration can't be used.
pub(crate) fn configured(flags: &Flags) -> Result<Config, Error> {
    let named = [("--table", &flags.table), ("--pipeline", &flags.pipeline)];
    match named.iter().find(|(_, name)| name.is_some()) {
        None => read(flags),
        Some((flag, _)) => {
            Err(Error(format!("{flag} goes with advise, buffer, dead and monitor; leave it out")))
        }
    }
}

/// The same, for verbs that look at one pipeline: that of `--table` or `--pipeline`, or else the main one.
///
/// # Errors
/// If the configuration can't be used, or has no such pipeline.
fn configured_pipeline(flags: &Flags) -> Result<Config, Error> {
    let config = read(flags)?;
    Ok(match looked_at(flags, &config)? {
        None => config,
        Some(name) => config.looking_at(&name),
    })
}
