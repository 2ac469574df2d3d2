//! What a reload came to.

/// What was changed in a running process: the names of pipelines.
#[derive(Debug)]
pub struct Reloaded<E> {
    /// They run now.
    pub added: Vec<String>,
    /// They were drained, and run no more.
    pub removed: Vec<String>,
    /// They were drained, and run again with another configuration.
    pub changed: Vec<String>,
    /// What could not be done, and was to be.
    pub failed: Vec<E>,
}

impl<E> Default for Reloaded<E> {
    fn default() -> Self {
        let (added, removed, changed) = (Vec::new(), Vec::new(), Vec::new());
        Self { added, removed, changed, failed: Vec::new() }
    }
}

impl<E> Reloaded<E> {
    /// Adds what another domain has changed.
    pub fn and(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
        self.changed.extend(other.changed);
        self.failed.extend(other.failed);
    }

    /// What was changed, as a clause.
    #[must_use]
    pub fn said(&self) -> String {
        let parts =
            [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        let named = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let named: Vec<_> =
            named.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
        if named.is_empty() { "no pipeline changed".to_owned() } else { named.join("; ") }
    }
}
