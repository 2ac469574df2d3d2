//! Events to measure with.

use model::Event;

/// The size of the journal's bench events, in bytes, id and key among them.
pub(crate) const EVENT_BYTES: usize = 256;

/// `count` events of [`EVENT_BYTES`], numbered from `first` on.
pub(crate) fn plain(first: usize, count: usize) -> Vec<Event> {
    (first..first + count)
        .map(|n| {
            let (id, key) = (format!("tx-{n:013}"), format!("{:016}", n % 100_000));
            let payload = vec![b'x'; EVENT_BYTES - id.len() - key.len()];
            Event::new(id.as_bytes(), key.as_bytes(), &payload).expect("within bounds")
        })
        .collect()
}
