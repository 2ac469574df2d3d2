//! The `processes` table: the processes that run, one row for each, with a heartbeat.
//!
//! A process writes its row every [`HEARTBEAT_EVERY`], and removes it at an orderly end. One that was not
//! heard of for [`LIVE_MAX`] no longer counts as live; whichever process writes next after [`KEEP_MAX`]
//! deletes its row. All times are taken by the store's clock.

use std::time::Duration;

use async_trait::async_trait;

use super::pipelines::check_name;
use crate::Error;

/// How often a process writes its row, at least.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// A process that was not heard of for longer does not count as live.
pub const LIVE_MAX: Duration = Duration::from_secs(15);
/// The row of a process that was not heard of for longer is deleted.
pub const KEEP_MAX: Duration = Duration::from_secs(60);

/// The longest id, host, version or list of roles, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// The longest list of pipelines, in bytes as [`written`] has it: some thousand pipelines.
pub const PIPELINES_BYTES_MAX: usize = 256 * 1024;

/// What a process says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its name, unlike that of any other process, and unlike its own after another start.
    pub id: String,
    /// The name of its machine.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// What it does, as `--roles` has it.
    pub roles: String,
    /// The pipelines that it runs.
    pub pipelines: Vec<Pipeline>,
}

/// One pipeline of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Where in its life it is, e.g. `ready` or `paused`.
    pub state: String,
    /// How many lanes settle; 0 where the process only offers.
    pub lanes: u32,
    /// How many calls may be under way where the pipeline calls an outside service; 0 where lanes settle.
    pub calls: u32,
}

/// A process, and how old what is known of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it said.
    pub process: Process,
    /// How long ago it said so.
    pub ago: Duration,
    /// How long ago it joined: its first heartbeat, or the first one after it had not been live.
    pub joined_ago: Duration,
}

impl Heard {
    /// Whether it counts as live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.ago <= LIVE_MAX
    }
}

/// Knows which processes run.
#[async_trait]
pub trait Processes: Send + Sync + 'static {
    /// Writes the row of a process, and deletes those that were not heard of for [`KEEP_MAX`].
    ///
    /// # Errors
    /// [`Error::Rejected`] when a text is out of bounds; or if it can't be written.
    async fn heartbeat(&self, process: &Process) -> Result<(), Error>;

    /// Removes the row of a process. Returns whether there was one.
    ///
    /// # Errors
    /// If it can't be written.
    async fn leave(&self, id: &str) -> Result<bool, Error>;

    /// All rows that are not deleted yet, by id. [`Heard::is_live`] says which of them count.
    ///
    /// # Errors
    /// If they can't be read.
    async fn heard(&self) -> Result<Vec<Heard>, Error>;
}

/// Checks the id of a process, which every family keeps in the same bounds.
///
/// # Errors
/// [`Error::Rejected`] when it is out of bounds.
pub fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > TEXT_BYTES_MAX || id.contains('\0') {
        return Err(Error::Rejected(format!(
            "the id of a process must be 1 to {TEXT_BYTES_MAX} bytes without a NUL"
        )));
    }
    Ok(())
}

/// Checks what every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first part out of bounds.
pub fn check(process: &Process) -> Result<(), Error> {
    let Process { id, host, version, roles, pipelines, .. } = process;
    check_id(id)?;
    for (part, text) in [("host", host), ("version", version), ("roles", roles)] {
        if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(Error::Rejected(format!(
                "the {part} of a process must be at most {TEXT_BYTES_MAX} bytes without a NUL"
            )));
        }
    }
    pipelines.iter().try_for_each(|one| check_name(&one.name))?;
    let is_odd = |text: &String| text.contains(['\0', '\t', '\n']);
    if pipelines.iter().any(|one| is_odd(&one.name) || is_odd(&one.state)) {
        return Err(Error::Rejected(
            "names and states of a process's pipelines must hold no NUL, tab or line end".into(),
        ));
    }
    if written(pipelines).len() > PIPELINES_BYTES_MAX {
        return Err(Error::Rejected(format!(
            "the pipelines of a process must be at most {PIPELINES_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

/// Pipelines as the column keeps them: a line for each, with name, state, lanes and, if there are any, calls between
/// tabs. An older program reads the first three.
#[must_use]
pub fn written(pipelines: &[Pipeline]) -> String {
    let line = |one: &Pipeline| {
        let calls = if one.calls > 0 { format!("\t{}", one.calls) } else { String::new() };
        format!("{}\t{}\t{}{calls}", one.name, one.state, one.lanes)
    };
    pipelines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Reads what [`written`] wrote. A line of another shape, as a newer program may write, is passed over.
#[must_use]
pub fn read(pipelines: &str) -> Vec<Pipeline> {
    let one = |line: &str| {
        let mut parts = line.split('\t');
        let (name, state) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let lanes = parts.next()?.parse().ok()?;
        let calls = parts.next().and_then(|calls| calls.parse().ok()).unwrap_or(0);
        Some(Pipeline { name, state, lanes, calls })
    };
    pipelines.lines().filter_map(one).collect()
}
