//! The domains of this binary, one line each.

use clap::Command;

use crate::config::Config;
use crate::domain::{Domain, Verb};
use crate::{payments, write_behind};

/// Every domain, in the order in which a process starts them.
pub(crate) const DOMAINS: &[&dyn Domain] = &[&payments::Domain, &write_behind::Domain];

/// The verb of this name, if a domain has it.
pub(crate) fn verb(name: &str) -> Option<&'static dyn Verb> {
    verbs().find(|verb| verb.command().get_name() == name)
}

/// The names of all pipelines that a process runs with this configuration.
pub(crate) fn pipelines(config: &Config) -> impl Iterator<Item = String> {
    DOMAINS.iter().flat_map(|domain| domain.pipelines(config))
}

/// The command line with the verbs of all domains.
pub(crate) fn with_verbs(command: Command) -> Command {
    verbs().fold(command, |command, verb| command.subcommand(verb.command()))
}

fn verbs() -> impl Iterator<Item = &'static dyn Verb> {
    DOMAINS.iter().filter_map(|domain| domain.verb())
}
