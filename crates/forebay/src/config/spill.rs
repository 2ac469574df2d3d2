//! Where events of a pipeline go while its buffer is out of reach.

use std::sync::Arc;

use buffer::Location;
use model::url::redacted;

use super::Error;
use super::next::Next;
use super::settings::Settings;
use crate::registry;

/// The buffer on this machine that takes events while `buffer` is out of reach.
pub(super) fn spill(
    settings: &Settings,
    url: &str,
    buffer: &dyn Location,
) -> Result<Option<Arc<dyn Location>>, Error> {
    if url == "none" {
        return Ok(None);
    }
    match settings.buffer(url, &registry::payment_fields()) {
        Ok(spill) if spill.is_shared() || spill.is_volatile() => Err(wrong(url)),
        Ok(_) if !buffer.is_shared() => {
            let problem = "spill: the buffer is on this machine already; leave it \"none\"";
            Err(Error(problem.to_owned()))
        }
        Ok(spill) => Ok(Some(spill)),
        Err(_) => Err(wrong(url)),
    }
}

/// Refuses a spill of a buffer that is being left.
pub(super) fn alone(next: Option<&Next>, spill: Option<&Arc<dyn Location>>) -> Result<(), Error> {
    if next.is_some() && spill.is_some() {
        let problem = "next_buffer: a buffer with a spill can't be left; leave `spill` out until the \
                       move is through";
        return Err(Error(problem.to_owned()));
    }
    Ok(())
}

fn wrong(url: &str) -> Error {
    Error(format!(
        "spill is \"{}\"; it must be \"none\" or a journal, e.g. journal:{{data}}/spill",
        redacted(url)
    ))
}
