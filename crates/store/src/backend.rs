//! The port of backends: what a program needs to use any of them by a URL.
//!
//! A [`Backend`] reads the URLs of its schemes. Each names a [`Location`]: a store that is not open. A
//! location opens the store, and looks at it without opening it.
//!
//! Invariants
//! - A program names its backends in one list. It learns everything else through these traits.
//! - Reading a URL opens nothing and reads no environment of its own: variables come through [`Reading`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use model::clock::Clock;
use model::url::{self, Url, listed};

use crate::inspect::Inspect;
use crate::plain::Plain;
use crate::{Claimed, Error, Store};

/// What a URL of a store names, as the first word of errors about it.
pub const ROLE: &str = "store";

/// Everything that reads the URLs of one kind of store.
pub trait Backend: Sync {
    /// The schemes of its URLs, as lists of backends show them.
    fn schemes(&self) -> &'static [&'static str];

    /// Further schemes of its URLs, which no list shows.
    fn variants(&self) -> &'static [&'static str] {
        &[]
    }

    /// The environment variables that [`Backend::parse`] asks for.
    fn variables(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads a URL of one of its schemes. Opens nothing.
    ///
    /// # Errors
    /// If the URL names no store, or an option is unknown or out of bounds. The sentence says what to write.
    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error>;
}

/// What a URL is read with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads the URL of a store with the one of `backends` that has its scheme. `later` are the schemes of
/// backends that are planned.
///
/// # Errors
/// If none has it, or as [`Backend::parse`].
pub fn parse(
    backends: &[&dyn Backend],
    later: &[&str],
    url: &str,
    reading: &Reading<'_>,
) -> Result<Arc<dyn Location>, url::Error> {
    let schemes: Vec<_> = backends.iter().flat_map(|backend| backend.schemes()).copied().collect();
    let built_in = listed(&schemes);
    let url = Url::split(ROLE, url, &built_in)?;
    let has = |schemes: &[&str]| schemes.contains(&url.scheme());
    let found = backends.iter().find(|one| has(one.schemes()) || has(one.variants()));
    found.ok_or_else(|| url.no_backend(&built_in, later))?.parse(&url, reading)
}

/// A store that a URL names, not open. Its secrets are never printed.
///
/// Where a store lies on this machine's disk, a call may block, so that the runtime needs a second thread.
#[async_trait]
pub trait Location: fmt::Debug + Send + Sync + 'static {
    /// The name of its backend: `sqlite`.
    fn kind(&self) -> &'static str;

    /// What stands behind the word "store": `./data/forebay.db`, `in PostgreSQL`.
    fn place(&self) -> String;

    /// The store, where it lies and how it is kept, as a noun.
    fn kept(&self) -> String;

    /// The file of this machine that it lies in, if it lies in one. The file may be missing: the process
    /// that opens the store makes it. Elsewhere [`Location::migrate`] makes the store.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether its file is missing.
    fn is_missing(&self) -> bool {
        self.file().is_some_and(|file| !file.exists())
    }

    /// The same store, to be settled into beside other processes. `None` where one process alone can.
    fn shared(&self) -> Option<Arc<dyn Location>> {
        None
    }

    /// A store in another file, kept as this one is. `None` where it lies in no file.
    fn in_file(&self, path: &Path) -> Option<Arc<dyn Location>> {
        let _ = path;
        None
    }

    /// Whether it holds what belongs to a card fingerprint key: payments, or, in a file, anything.
    ///
    /// # Errors
    /// As [`Location::open`], but that no claim is asked for.
    async fn is_begun(&self) -> Result<bool, Error>;

    /// Opens it with the claim to settle into it.
    ///
    /// # Errors
    /// [`Error::Fatal`] when it can't be used as it is, or another process has a claim that excludes this
    /// one; [`Error::Unavailable`] when it is worth trying again.
    async fn open(&self, clock: Arc<dyn Clock>) -> Result<Claimed, Error>;

    /// The store of a process that does not settle, beside those that do. It connects when it is first
    /// used; until there is a store, calls fail.
    ///
    /// # Errors
    /// [`Error::Fatal`] when an option is wrong.
    fn beside(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, Error>;

    /// Opens it for reading alone, beside processes that settle.
    ///
    /// # Errors
    /// [`Error::Fatal`] when there is no store, or not of this program's version;
    /// [`Error::Unavailable`] when it can't be reached.
    async fn inspect(&self) -> Result<Box<dyn Inspect>, Error>;

    /// The same; `None` where its file is missing.
    ///
    /// # Errors
    /// The same.
    async fn look(&self) -> Result<Option<Box<dyn Inspect>>, Error> {
        if self.is_missing() {
            return Ok(None);
        }
        Ok(Some(self.inspect().await?))
    }

    /// A store beside this one on the same server, under its name and this suffix, and the plain ways to write into
    /// it: for a bench. `None` where a backend offers none.
    fn beside_to_measure(&self, suffix: &str) -> Option<(Arc<dyn Location>, Arc<dyn Plain>)> {
        let _ = suffix;
        None
    }

    /// Makes the store, or brings an older one to this program's version, where opening does not. Returns
    /// whether anything was changed.
    ///
    /// # Errors
    /// [`Error::Fatal`] when it is another program's or of a newer version, or may not be changed;
    /// [`Error::Unavailable`] when it can't be reached.
    async fn migrate(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
