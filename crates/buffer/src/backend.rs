//! The port of backends: what a program needs to use any of them by a URL.
//!
//! A [`Backend`] reads the URLs of its schemes. Each names a [`Location`]: a buffer that is not open. A location
//! opens the buffer, and answers questions about it without opening it.
//!
//! Invariants
//! - A program names its backends in one list. It learns everything else through these traits.
//! - Reading a URL opens nothing and reads no environment of its own: variables come through [`Reading`].
//! - A question that a backend can't answer has a default: [`Error::Unsupported`] with what to do instead.

mod asked;
mod held;
mod location;
mod members;
mod report;

use std::sync::Arc;

use model::url::{self, Url, listed};

use crate::foreign::Fields;

pub use asked::asked;
pub use held::{Each, Held, in_pages};
pub use location::{Disk, Durability, Location, Opened, Opening, Server, Stop, Unordered};
pub use members::{Distribution, Member};
pub use report::{Progress, Report};

#[cfg(doc)]
use crate::Error;

/// What a URL of a buffer names, as the first word of errors about it.
pub const ROLE: &str = "buffer";

/// Everything that reads the URLs of one kind of buffer.
pub trait Backend: Sync {
    /// The schemes of its URLs, as lists of backends show them.
    fn schemes(&self) -> &'static [&'static str];

    /// Further schemes of its URLs, which no list shows: the same over TLS, or without it.
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
    /// If the URL names no buffer, or an option is unknown or out of bounds. The sentence says what to write.
    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error>;
}

/// What a URL is read with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The fields of events of other producers, unless the URL names others.
    pub fields: &'a Fields,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads the URL of a buffer with the one of `backends` that has its scheme. `later` are the schemes of backends
/// that are planned.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn a_url_is_read_by_the_backend_of_its_scheme_or_refused_with_the_list_of_all() {
        let reading = Reading { fields: &Fields::named("i", "k"), variable: &|_| None };
        let read = |url| parse(&[&memory::Backend], &["later"], url, &reading);
        assert_eq!(read("memory:?capacity=3").unwrap().kind(), "memory");
        let refused = |url| read(url).unwrap_err().to_string();
        assert_eq!(refused("x:"), "buffer: there is no backend x: ; memory: is built in");
        let expect = "buffer: later: is not built into this version yet; memory: is";
        assert_eq!(refused("later:"), expect);
        assert_eq!(refused("x"), "buffer: \"x\" names no backend; memory: is built in");
    }
}
