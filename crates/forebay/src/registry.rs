//! The backends of this program, one line each. No other file names them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use buffer::backend::{self, Reading};
use buffer::foreign::Fields;
use buffer::{Backend, Location, memory};
use model::{payment, url};
use settings::Settings;
use store::backend as stores;

/// Every buffer backend.
const BUFFERS: &[&dyn Backend] = &[
    &buffer_journal::Backend,
    &buffer_redis::Backend,
    &buffer_kafka::Backend,
    &buffer_sqs::Backend,
    &memory::Backend,
];

/// Every store backend.
const STORES: &[&dyn store::Backend] = &[&store_sqlite::Backend, &store_postgres::Backend];

/// The scheme of the buffer that is used where none is named.
const EMBEDDED: &str = "journal";
/// The scheme of the store that is used where none is named.
const EMBEDDED_STORE: &str = "sqlite";
/// Schemes of backends that are planned.
const LATER: &[&str] = &["mysql"];

/// Backends that another program adds.
static MORE: OnceLock<&[&dyn Backend]> = OnceLock::new();

/// Adds buffer backends to those of the list. Only the first call has an effect.
pub(crate) fn add(more: &'static [&'static dyn Backend]) {
    MORE.get_or_init(|| more);
}

fn buffers() -> impl Iterator<Item = &'static dyn Backend> {
    let more: &[&dyn Backend] = MORE.get().copied().unwrap_or_default();
    BUFFERS.iter().chain(more).copied()
}

/// Reads a buffer URL of a configuration, with what the environment says of it. `fields` are those of events of
/// other producers.
///
/// # Errors
/// If no backend has its scheme, or as the backend refuses it.
pub(crate) fn buffer_of(
    settings: &Settings,
    url: &str,
    fields: &Fields,
) -> Result<Arc<dyn Location>, url::Error> {
    buffer(url, &Reading { fields, variable: &settings.variable() })
}

/// Reads a buffer URL.
///
/// # Errors
/// If no backend has its scheme, or as the backend refuses it.
fn buffer(url: &str, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
    let backends: Vec<_> = buffers().collect();
    backend::parse(&backends, LATER, url, reading)
}

/// Reads the URL of a buffer of payments that no configuration holds, with the environment of this process.
///
/// # Errors
/// The same.
pub(crate) fn buffer_of_payments(url: &str) -> Result<Arc<dyn Location>, url::Error> {
    let variable = |name: &str| std::env::var(name).ok();
    buffer(url, &Reading { fields: &payment_fields(), variable: &variable })
}

/// The default buffer, with its files in `folder`.
///
/// # Errors
/// If the folder's name does not fit into a URL.
pub(crate) fn embedded(folder: &Path) -> Result<Arc<dyn Location>, url::Error> {
    let url = format!("{EMBEDDED}:{}", folder.display());
    buffer(&url, &Reading { fields: &payment_fields(), variable: &|_| None })
}

/// Reads a store URL.
///
/// # Errors
/// If no backend has its scheme, or as the backend refuses it.
pub(crate) fn store(
    url: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<dyn store::Location>, url::Error> {
    stores::parse(STORES, LATER, url, &stores::Reading { variable })
}

/// The default store, in the file `path`.
///
/// # Errors
/// If the file's name does not fit into a URL.
pub(crate) fn embedded_store(path: &Path) -> Result<Arc<dyn store::Location>, url::Error> {
    store(&format!("{EMBEDDED_STORE}:{}", path.display()), &|_| None)
}

/// The fields of payments of other producers.
pub(crate) fn payment_fields() -> Fields {
    Fields::named(payment::ID_FIELD, payment::KEY_FIELD)
}

/// Whether a backend asks for this environment variable.
pub(crate) fn asks_for(variable: &str) -> bool {
    let buffers = buffers().flat_map(|backend| backend.variables());
    let stores = STORES.iter().flat_map(|backend| backend.variables());
    buffers.chain(stores).any(|asked| *asked == variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_no_backend_is_refused_with_the_list_of_all() {
        let refused = |text: &str, expect: &str| {
            assert_eq!(store(text, &|_| None).unwrap_err().to_string(), expect);
        };
        let expect = "store: mysql: is not built into this version yet; sqlite: and postgres: are";
        refused("mysql://u:p@h/db", expect);
        let expect = "store: \"data.db\" names no backend; sqlite: and postgres: are built in";
        refused("data.db", expect);
        let expect = "store: cannot read the URL: its login holds an unencoded character; \
                      percent-encode it (/ is %2F, ? is %3F, @ is %40)";
        refused("postgres://app:p@ss/w0rd@h:1/shop", expect);
    }
}
