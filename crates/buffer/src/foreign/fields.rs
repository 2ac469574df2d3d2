//! Which fields of an event hold its id and its key.

/// The JSON fields that hold the id and the key of an event. The handler of the events knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The name of the field that is the event's id, not escaped.
    pub id: String,
    /// The name of the field that is the event's key, not escaped. It may be the field of the id.
    pub key: String,
}

impl Fields {
    /// Fields of these names.
    #[must_use]
    pub fn named(id: &str, key: &str) -> Self {
        Self { id: id.to_owned(), key: key.to_owned() }
    }

    /// Whether both fields have a name.
    #[must_use]
    pub fn are_named(&self) -> bool {
        !self.id.is_empty() && !self.key.is_empty()
    }
}
