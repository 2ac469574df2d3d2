//! A buffer sees bytes, and gives back the very same.

use model::Event;
use model::event::{ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};

use super::steps::take;
use super::{Order, Subject};

async fn round_trip(subject: &dyn Subject, events: &[Event]) {
    let buffer = subject.open().await;
    buffer.offer(events).await.expect("there is room");
    let mut leased = take(&*buffer, events.len()).await;
    if subject.lacks().order != Order::Whole {
        leased.sort_by_key(|envelope| events.iter().position(|e| e.id() == envelope.event.id()));
    }
    for (offered, envelope) in events.iter().zip(&leased) {
        let came = &envelope.event;
        assert_eq!(came.id(), offered.id());
        assert_eq!(came.key(), offered.key());
        assert_eq!(came.payload(), offered.payload());
    }
}

/// Every byte value, in every part, newlines and zeros and invalid UTF-8 among them.
pub async fn bytes_come_back_exactly(subject: &dyn Subject) {
    let all: Vec<u8> = (0..=255).collect();
    let mut events = Vec::new();
    for part in all.chunks(ID_BYTES_MAX) {
        let reversed: Vec<u8> = part.iter().rev().copied().collect();
        events.push(Event::new(part, &reversed, &all).expect("within bounds"));
    }
    let texts = ["", "\n", "\r\n\0", "{\"a\":\"\u{1f4b3}\"}", "\u{feff}결제"];
    for (n, text) in texts.into_iter().enumerate() {
        let id = format!("text-{n}");
        events.push(Event::new(id.as_bytes(), b"", text.as_bytes()).expect("within bounds"));
    }
    round_trip(subject, &events).await;
}

/// One byte in all, and every part at its bound.
pub async fn the_smallest_and_the_largest_event_pass(subject: &dyn Subject) {
    let large: Vec<u8> = (0..=255).cycle().take(PAYLOAD_BYTES_MAX).collect();
    let events = [
        Event::new(b"x", b"", b"").expect("within bounds"),
        Event::new(&large[..ID_BYTES_MAX], &large[..KEY_BYTES_MAX], &large).expect("within bounds"),
        Event::new(b"y", b"", b"").expect("within bounds"),
        Event::new(b"z", b"z", &large).expect("within bounds"),
    ];
    round_trip(subject, &events).await;
}
