//! The `pipelines` table: what operators want of each pipeline, one row for each name. Every process
//! reads it once a second and follows it.

use async_trait::async_trait;
use model::clock::EpochMs;

use crate::Error;

/// The longest name of a pipeline in any family, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The longest reason of a pause, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Most lanes that can be wanted.
pub const LANES_MAX: u32 = 256;

/// What is wanted of one pipeline. A pipeline without a row runs as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the pipeline.
    pub name: String,
    /// Whether it is to lease nothing.
    pub paused: bool,
    /// Since when it is to be paused, or to run, by the store's clock.
    pub since_ms: EpochMs,
    /// Who paused it, and why. Empty while it is to run.
    pub reason: String,
    /// How many lanes each process is to settle with; `None` as each is configured.
    pub lanes: Option<u32>,
    /// Counts the changes of this row, from 1. Two writers get two numbers, so a writer that gets
    /// another number than the one after the row it has read was not alone.
    pub revision: u64,
}

/// Keeps what is wanted of each pipeline.
///
/// A change writes its own part of the row and leaves the others as they are.
#[async_trait]
pub trait Pipelines: Send + Sync + 'static {
    /// All rows, by name.
    ///
    /// # Errors
    /// If they can't be read.
    async fn wanted(&self) -> Result<Vec<Wanted>, Error>;

    /// The pipeline is to be paused. One that is to be paused already keeps its `since_ms`, and gets the
    /// new reason. Returns the row as it is now.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the name is empty or it or the reason is too long; or if it can't be
    /// written.
    async fn pause(&self, name: &str, reason: &str) -> Result<Wanted, Error>;

    /// The pipeline is to run. Returns the row as it is now.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the name is empty or too long; or if it can't be written.
    async fn resume(&self, name: &str) -> Result<Wanted, Error>;

    /// Each process is to settle with this many lanes; with `None` as it is configured. Returns the row as
    /// it is now.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the name is empty or too long, or `lanes` is not 1 to [`LANES_MAX`]; or if
    /// it can't be written.
    async fn scale(&self, name: &str, lanes: Option<u32>) -> Result<Wanted, Error>;
}

/// Checks the name of a pipeline, which every family keeps in the same bounds.
///
/// # Errors
/// [`Error::Rejected`] when it is out of bounds.
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(Error::Rejected(format!(
            "the name of a pipeline must be 1 to {NAME_BYTES_MAX} bytes without a NUL"
        )));
    }
    Ok(())
}

/// Checks what every adapter is given.
///
/// # Errors
/// [`Error::Rejected`], which names the first part out of bounds.
pub fn check(name: &str, reason: &str, lanes: Option<u32>) -> Result<(), Error> {
    check_name(name)?;
    if reason.len() > REASON_BYTES_MAX || reason.contains('\0') {
        return Err(Error::Rejected(format!(
            "the reason of a pause must be at most {REASON_BYTES_MAX} bytes without a NUL"
        )));
    }
    if lanes.is_some_and(|lanes| lanes == 0 || lanes > LANES_MAX) {
        return Err(Error::Rejected(format!("lanes must be 1 to {LANES_MAX}")));
    }
    Ok(())
}
