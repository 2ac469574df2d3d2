//! What is served under a name of the configuration, and may come and go while the server runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use tokio_util::sync::CancellationToken;

use crate::answer::Refusal;

/// Values by name. Clones share them.
pub(crate) struct Named<T> {
    /// What the configuration calls one: `table`.
    noun: &'static str,
    names: Arc<RwLock<Names<T>>>,
}

struct Names<T> {
    served: HashMap<String, Arc<Held<T>>>,
    /// Those that are there again soon when they are not served.
    expected: HashSet<String>,
}

/// A value while it is served, or while a request uses it.
pub(crate) struct Held<T> {
    pub(crate) value: T,
    /// Cancelled with the last request that uses the value.
    unused: CancellationToken,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.unused.cancel();
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self { noun: self.noun, names: self.names.clone() }
    }
}

impl<T> Named<T> {
    /// Serves none yet. The configuration calls one `noun`.
    pub(crate) fn new(noun: &'static str) -> Self {
        let names = Names { served: HashMap::new(), expected: HashSet::new() };
        Self { noun, names: Arc::new(RwLock::new(names)) }
    }

    /// Serves `value` from now on, in place of another of its name.
    pub(crate) fn add(&self, name: &str, value: T) {
        let held = Held { value, unused: CancellationToken::new() };
        self.names_mut().served.insert(name.to_owned(), Arc::new(held));
    }

    /// Serves it no more. Returns what is cancelled once no request uses it, if it was there.
    pub(crate) fn remove(&self, name: &str) -> Option<CancellationToken> {
        Some(self.names_mut().served.remove(name)?.unused.clone())
    }

    /// Answers 503 for these while they are not served, and 404 for all others, from now on.
    pub(crate) fn expect(&self, names: impl IntoIterator<Item = String>) {
        self.names_mut().expected = names.into_iter().collect();
    }

    /// The value of this name.
    ///
    /// # Errors
    /// If it is not served.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Held<T>>, Refusal> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let noun = self.noun;
        match names.served.get(name) {
            Some(held) => Ok(held.clone()),
            None if names.expected.contains(name) => Err(Refusal::unavailable(format!(
                "this {noun} is not served just now; try again later"
            ))),
            None => Err(Refusal::absent(format!(
                "there is no such {noun} here; [[{noun}]] entries of forebay.toml name them"
            ))),
        }
    }

    fn names_mut(&self) -> RwLockWriteGuard<'_, Names<T>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}
