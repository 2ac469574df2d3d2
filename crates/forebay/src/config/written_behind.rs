//! The tables that are written behind, resolved: their entries with what the rest of the settings says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use buffer::Location;
use model::url::redacted;

use super::Error;
use super::next::Next;
use super::schema::DATA;
use super::settings::Settings;
use super::spill::{alone, spill};
use super::tables::Entry;
use crate::registry;

/// Batches of each lane that may be held at once.
const HELD_BATCHES: usize = 8;

/// One table, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// `forebay.toml:12`.
    pub(crate) place: String,
    pub(crate) definition: table::Definition,
    pub(crate) buffer: Arc<dyn Location>,
    /// Where its pipeline moves to from `buffer`; `None` while it stays.
    pub(crate) next: Option<Next>,
    /// Where rows go while the buffer is out of reach; `None` refuses them instead.
    pub(crate) spill: Option<Arc<dyn Location>>,
    /// Whether it is made where it is missing, by `store migrate` (and in SQLite by `serve`).
    pub(crate) create: bool,
    pub(crate) engine: engine::Options,
    pub(crate) front: table::Options,
    /// Where it is kept which stamps were given; `None` where clients give the versions.
    pub(crate) mark: Option<PathBuf>,
}

impl Table {
    pub(crate) fn name(&self) -> &str {
        &self.definition.name
    }
}

/// The tables with what the rest of the settings says of them.
pub(super) fn resolve(
    settings: &Settings,
    payments: &engine::Options,
) -> Result<Vec<Table>, Error> {
    let mut tables = Vec::new();
    for entry in &settings.tables {
        let Entry { place, definition, .. } = entry;
        let url = entry.url().replace(DATA, &settings.data());
        let at = |error: Error| Error(format!("{place}: {error}"));
        // The fields of rows of other producers are those of payments, unless the URL names others.
        let buffer = settings.buffer(&url, &registry::payment_fields()).map_err(at)?;
        let next = next(settings, entry).map_err(at)?;
        let spill = spill(settings, &entry.spill_url(&settings.data()), &*buffer).map_err(at)?;
        alone(next.as_ref(), spill.as_ref()).map_err(at)?;
        let next_lease_ms = next.as_ref().map_or(u64::MAX, |next| next.buffer.lease_ms());
        let engine = engine::Options {
            lanes: entry.lanes,
            batch_max: entry.batch_max,
            linger_ms: entry.linger_ms,
            held_max: entry.batch_max * entry.lanes * HELD_BATCHES,
            // The shorter of the two, while there are two.
            lease_ms: next_lease_ms.min(buffer.lease_ms()),
            ..payments.clone()
        };
        engine.validate().map_err(|error| Error(format!("{place}: {error}")))?;
        tables.push(Table {
            place: place.clone(),
            definition: definition.clone(),
            buffer,
            next,
            spill,
            create: entry.create,
            engine,
            front: entry.front,
            mark: definition
                .is_stamped()
                .then(|| Path::new(&settings.data()).join("stamps").join(&definition.name)),
        });
    }
    Ok(tables)
}

/// The buffer that a table moves to.
fn next(settings: &Settings, entry: &Entry) -> Result<Option<Next>, Error> {
    let Some(to) = entry.next_url(&settings.data()) else { return Ok(None) };
    let buffer = settings.buffer(&to, &registry::payment_fields());
    let buffer = buffer.map_err(|error| Error(format!("next_{error}")))?;
    Ok(Some(Next { buffer, to: redacted(&to) }))
}
