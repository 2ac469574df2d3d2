//! What is accepted is held as it was offered.

use super::Subject;
use super::steps::{ack, came, keyed, take};

/// Buffers do not dedupe: only the store can tell.
pub async fn an_id_offered_twice_is_held_twice(subject: &dyn Subject) {
    let buffer = subject.open().await;
    buffer.offer(&[keyed(1, 1), keyed(1, 2)]).await.expect("there is room");
    buffer.offer(&[keyed(1, 3)]).await.expect("there is room");
    let leased = take(&*buffer, 3).await;
    came(subject, &leased, [1, 1, 1]);
    ack(&*buffer, &leased[..1]).await;
    assert_eq!(buffer.depth().await.expect("it can be read").leased, 2);
}
