//! The domains of this binary, one line each.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use clap::Command;
use runtime::Line;
use settings::{Error, Section};

use crate::config::Config;
use crate::domain::{Domain, Verb};
use crate::{payments, webhooks, write_behind};

/// Every domain, in the order in which a process starts them.
const DOMAINS: &[&dyn Domain] = &[&payments::Domain, &write_behind::Domain, &webhooks::Domain];

/// Domains that another program adds.
static MORE: OnceLock<&[&dyn Domain]> = OnceLock::new();

/// Adds domains to those of the list. Only the first call has an effect.
pub(crate) fn add(more: &'static [&'static dyn Domain]) {
    MORE.get_or_init(|| more);
}

/// Every domain, in the order in which a process starts them.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Domain> {
    let more: &[&dyn Domain] = MORE.get().copied().unwrap_or_default();
    DOMAINS.iter().chain(more).copied()
}

/// The keys of all domains.
pub(crate) fn sections() -> impl Iterator<Item = Section> {
    all().map(|domain| domain.section())
}

/// The buffers of all pipelines that a process runs with this configuration.
///
/// # Errors
/// If a domain can't use it, or two pipelines share a name in the fleet or a name of their moves.
pub(crate) fn lines(config: &Config) -> Result<Vec<Line>, Error> {
    let mut lines: Vec<Line> = Vec::new();
    for line in all().map(|domain| domain.lines(config)) {
        for line in line? {
            add_line(&mut lines, line)?;
        }
    }
    Ok(lines)
}

/// Adds a line whose names no other line has. Pipelines with one name for their moves would share them.
fn add_line(lines: &mut Vec<Line>, line: Line) -> Result<(), Error> {
    let names = |line: &Line| [line.pipeline.clone(), line.subject.pipeline.clone()];
    let taken: Vec<_> = lines.iter().flat_map(names).collect();
    if let Some(name) = names(&line).iter().find(|&name| taken.contains(name)) {
        return Err(Error(format!("there are two pipelines {name}; rename one")));
    }
    lines.push(line);
    Ok(())
}

/// The domain that runs the pipeline of `line`.
///
/// # Errors
/// If none does.
pub(crate) fn of(config: &Config, line: &Line) -> Result<&'static dyn Domain> {
    for domain in all() {
        if domain.lines(config)?.iter().any(|own| own.pipeline == line.pipeline) {
            return Ok(domain);
        }
    }
    None.with_context(|| format!("no domain runs the pipeline {}", line.pipeline))
}

/// The verb of this name, if a domain has it.
pub(crate) fn verb(name: &str) -> Option<&'static dyn Verb> {
    verbs().find(|verb| verb.command().get_name() == name)
}

/// The command line with the verbs of all domains.
pub(crate) fn with_verbs(command: Command) -> Command {
    verbs().fold(command, |command, verb| command.subcommand(verb.command()))
}

fn verbs() -> impl Iterator<Item = &'static dyn Verb> {
    all().filter_map(|domain| domain.verb())
}

#[cfg(test)]
mod tests {
    use runtime::moving::Subject;

    use super::*;
    use crate::config::PARSE;
    use crate::registry;

    fn line(pipeline: &str, moves: &str) -> Line {
        let buffer = registry::buffer_of_payments("journal:./unused").unwrap();
        let line = Line::new(Subject::led_by_name(moves, PARSE), buffer, "events");
        Line { pipeline: pipeline.to_owned(), ..line }
    }

    #[test]
    fn two_pipelines_share_neither_a_name_nor_the_name_of_their_moves() {
        let mut lines = vec![line("consumer_batch", "payments")];
        let refused = |lines: &mut Vec<Line>, line| add_line(lines, line).unwrap_err().to_string();
        for (pipeline, moves) in [("payments", "payments"), ("consumer_batch", "orders")] {
            let error = refused(&mut lines, line(pipeline, moves));
            assert_eq!(error, format!("there are two pipelines {pipeline}; rename one"));
        }
        add_line(&mut lines, line("orders", "orders")).unwrap();
        assert_eq!(lines.len(), 2);
    }
}
