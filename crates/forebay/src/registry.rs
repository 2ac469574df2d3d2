//! The backends of this program, one line each. No other file names them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use buffer::backend::{self, Reading};
use buffer::foreign::Fields;
use buffer::{Backend, Location, memory};
use model::{payment, url};

/// Every buffer backend.
const BUFFERS: &[&dyn Backend] = &[
    &buffer_journal::Backend,
    &buffer_redis::Backend,
    &buffer_kafka::Backend,
    &buffer_sqs::Backend,
    &memory::Backend,
];

/// The scheme of the buffer that is used where none is named.
const EMBEDDED: &str = "journal";
/// Schemes of backends that are planned.
pub(crate) const LATER: &[&str] = &["mysql"];

/// The backends of a program that is this one and more.
static MORE: OnceLock<&[&dyn Backend]> = OnceLock::new();

/// Adds buffer backends to those of the list. Only the first call has an effect.
pub(crate) fn add(more: &'static [&'static dyn Backend]) {
    MORE.get_or_init(|| more);
}

fn buffers() -> impl Iterator<Item = &'static dyn Backend> {
    let more: &[&dyn Backend] = MORE.get().copied().unwrap_or_default();
    BUFFERS.iter().chain(more).copied()
}

/// Reads a buffer URL.
///
/// # Errors
/// If no backend has its scheme, or as the backend refuses it.
pub(crate) fn buffer(url: &str, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
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

/// A buffer in `folder`, as it is without a word about it.
///
/// # Errors
/// If the folder's name does not fit into a URL.
pub(crate) fn embedded(folder: &Path) -> Result<Arc<dyn Location>, url::Error> {
    let url = format!("{EMBEDDED}:{}", folder.display());
    buffer(&url, &Reading { fields: &payment_fields(), variable: &|_| None })
}

/// The fields of payments of other producers.
pub(crate) fn payment_fields() -> Fields {
    Fields::named(payment::ID_FIELD, payment::KEY_FIELD)
}

/// Whether a backend asks for this environment variable.
pub(crate) fn asks_for(variable: &str) -> bool {
    buffers().any(|backend| backend.variables().contains(&variable))
}
