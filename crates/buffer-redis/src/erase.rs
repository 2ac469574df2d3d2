//! Taking a buffer away again.

use buffer::Error;

use crate::failure::Failure;
use crate::options::Options;
use crate::place::Place;

/// Removes the buffer with everything it holds, its source and its dead letters: for buffers made
/// to measure or to try. Does nothing where there is none. A process that still has it open makes
/// it anew, empty.
///
/// # Errors
/// If Redis can't be reached.
pub async fn erase(options: &Options) -> Result<(), Error> {
    let place = Place::checked(options)?;
    let removed: Result<u64, Failure> = place.call(&place.rest, &place.scripts.erase, |_| {}).await;
    removed.map(drop).map_err(Failure::at_open)
}
