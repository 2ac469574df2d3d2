//! Reading the configuration again while the process runs: at SIGHUP, as nginx, Prometheus and PostgreSQL do.
//!
//! Invariants
//! - A configuration that cannot be read or used changes nothing.
//! - Pipelines are added and removed. Every other key that changed is named in the log, and needs a restart.
//!
//! What it deliberately does not do: it knows no domain. Each domain applies what concerns it ([`Running`]).

use anyhow::Result;
use runtime::reloads::Meters;

use crate::config::{Config, Flags};
use crate::configured;
use crate::domain::{Reloaded, Running};
use crate::process::Process;

/// What is needed to read the configuration again.
pub(crate) struct Reloads {
    flags: Flags,
    meters: Meters,
}

/// A configuration that was read again, and the keys in it that need a restart.
struct Read {
    config: Config,
    unapplied: Vec<String>,
}

impl Reloads {
    /// `config` was read with `flags`, and the process runs with it. Metrics go to the recorder that is installed
    /// by now.
    pub(crate) fn new(flags: Flags, config: &Config) -> Self {
        Self { flags: flags.pinned(&config.settings), meters: Meters::new() }
    }

    /// Reads the configuration again and applies what can be applied. The log says what was done, or why
    /// nothing was.
    pub(crate) async fn reload(&mut self, process: &mut Process, domains: &mut [Box<dyn Running>]) {
        let read = match self.read(process, domains).await {
            Ok(read) => read,
            Err(error) => {
                self.meters.failed();
                tracing::error!(
                    "cannot reload the configuration: {error:#}; nothing was changed. Mend it and send SIGHUP again"
                );
                return;
            }
        };
        let Read { config, mut unapplied } = read;
        let mut all = Reloaded::default();
        for domain in domains {
            all.and(domain.reload(process, &config).await);
        }
        process.config = config;
        if all.failed.is_empty() {
            // Their domains change nothing while a process runs.
            let wanted = process.config.lines.iter().map(|line| &*line.pipeline);
            unapplied.extend(process.fleet.differing(wanted));
        }
        if !unapplied.is_empty() {
            let keys = unapplied.join(", ");
            tracing::warn!("restart the process to apply the changes of these keys: {keys}");
        }
        for warning in process.unmoved().await {
            tracing::warn!("{warning}");
        }
        tracing::info!("reloaded the configuration: {}", all.said());
        for error in &all.failed {
            tracing::error!("{error:#}");
        }
        if all.failed.is_empty() { self.meters.done() } else { self.meters.failed() }
    }

    /// Changes nothing.
    async fn read(&self, process: &Process, domains: &[Box<dyn Running>]) -> Result<Read> {
        let new = configured::read(&self.flags)?;
        configured::distinct(&new).await?;
        let unapplied = process.config.settings.differing(&new.settings);
        // What needs a restart stays as it is, also in what new pipelines take from it.
        let config = configured::with_lists_of(&process.config, &new)?;
        let config = if process.part.api { config } else { config.without_spills() };
        for domain in domains {
            domain.check(process, &config).await?;
        }
        Ok(Read { config, unapplied })
    }
}
