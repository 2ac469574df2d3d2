//! Events to call for, and the request of each.

use anyhow::Result;
use buffer::Buffer;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use model::Event;

use super::EVENT_BYTES;

/// Keys of all events: so many that one key never has two events held.
const KEYS: usize = 100_000;
const OFFER_BATCH: usize = 1_000;

/// Event `n`. Its id names the member, so that the ledger of the service has one effect for each event.
pub(super) fn event(n: usize) -> Event {
    let (id, key) = (format!("call-{n:010}"), format!("{:08}", n % KEYS));
    let mut payload = format!("{{\"member\":\"{id}\",\"amount\":{n},\"note\":\"");
    let rest = EVENT_BYTES - id.len() - key.len() - payload.len() - 2;
    payload.extend(std::iter::repeat_n('x', rest));
    payload.push_str("\"}");
    Event::new(id.as_bytes(), key.as_bytes(), payload.as_bytes()).expect("within bounds")
}

/// Offers so many events; returns once all of them are durable.
pub(super) async fn offer(buffer: &dyn Buffer, count: usize) -> Result<()> {
    for first in (0..count).step_by(OFFER_BATCH) {
        let batch: Vec<Event> = (first..(first + OFFER_BATCH).min(count)).map(event).collect();
        buffer.offer(&batch).await?;
    }
    Ok(())
}

/// The request of an event, under its id as the idempotency key.
pub(super) fn request(url: &Uri, event: &Event) -> Request<Bytes> {
    let mut request = Request::post(url.clone())
        .body(Bytes::copy_from_slice(event.payload()))
        .expect("the address of the service is one");
    let key = HeaderValue::from_bytes(event.id()).expect("an id is plain text");
    let headers = request.headers_mut();
    headers.insert("idempotency-key", key);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}
