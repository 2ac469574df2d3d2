//! Dead letters can be listed, offered again, and forgotten.

use super::Subject;
use super::steps::{ack, buried, bury, came, event, nothing_ready, offer, reasons, take, take_one};
use crate::{Class, Classify};

/// By `seq`, from any `seq` on.
pub async fn letters_are_listed_in_order_and_in_pages(subject: &dyn Subject) {
    let buffer = subject.open().await;
    assert!(buried(&*buffer).await.is_empty());
    bury(&*buffer, 0..3).await;
    bury(&*buffer, 3..5).await;
    let all = buried(&*buffer).await;
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let expected: Vec<String> = (0..5).map(|n| format!("reason {n}")).collect();
    assert_eq!(reasons(&all), expected);

    let letters = buffer.dead_letters();
    let page = letters.list(0, 2).await.expect("they can be listed");
    assert_eq!(page, all[..2]);
    let page = letters.list(page[1].seq + 1, 2).await.expect("they can be listed");
    assert_eq!(page, all[2..4]);
    let page = letters.list(page[1].seq, 100).await.expect("they can be listed");
    assert_eq!(page, all[3..]);
    assert!(letters.list(0, 0).await.expect("they can be listed").is_empty());
}

/// Back in the buffer as if just offered, and no longer dead.
pub async fn a_replayed_letter_is_a_new_event(subject: &dyn Subject) {
    let buffer = subject.open().await;
    bury(&*buffer, 0..3).await;
    let seqs: Vec<u64> = buried(&*buffer).await.iter().map(|letter| letter.seq).collect();
    if subject.lacks().offers {
        let refused = buffer.dead_letters().replay(&seqs).await.expect_err("it is only read");
        assert_eq!(refused.class(), Class::Rejected);
        assert_eq!(buried(&*buffer).await.len(), 3);
        return;
    }
    let replayed = buffer.dead_letters().replay(&[seqs[0], seqs[2], seqs[2] + 99]).await;
    assert_eq!(replayed.expect("they can be replayed"), 2, "unknown ones are passed over");
    assert_eq!(reasons(&buried(&*buffer).await), ["reason 1"]);

    let leased = take(&*buffer, 2).await;
    came(subject, &leased, [0, 2]);
    assert!(leased.iter().all(|envelope| [event(0), event(2)].contains(&envelope.event)));
    assert!(leased.iter().all(|envelope| envelope.attempt == 1));
    nothing_ready(&*buffer).await;
    ack(&*buffer, &leased).await;
    let again = buffer.dead_letters().replay(&seqs[..1]).await;
    assert_eq!(again.expect("they can be replayed"), 0, "it is dead no longer");
}

/// Unknown ones are passed over.
pub async fn a_dropped_letter_is_gone(subject: &dyn Subject) {
    let buffer = subject.open().await;
    bury(&*buffer, 0..3).await;
    let seqs: Vec<u64> = buried(&*buffer).await.iter().map(|letter| letter.seq).collect();
    let letters = buffer.dead_letters();
    let dropped = letters.drop_letters(&[seqs[1], seqs[1], seqs[2] + 99]).await;
    assert_eq!(dropped.expect("they can be dropped"), 1);
    assert_eq!(reasons(&buried(&*buffer).await), ["reason 0", "reason 2"]);
    assert_eq!(buffer.depth().await.expect("it can be read").dead, 2);
    nothing_ready(&*buffer).await;
}

/// A number written down by a person must never come to mean another letter.
pub async fn numbers_are_never_used_twice(subject: &dyn Subject) {
    let buffer = subject.open().await;
    bury(&*buffer, 0..2).await;
    let seqs: Vec<u64> = buried(&*buffer).await.iter().map(|letter| letter.seq).collect();
    buffer.dead_letters().drop_letters(&seqs[1..]).await.expect("they can be dropped");
    if subject.lacks().offers {
        buffer.dead_letters().drop_letters(&seqs[..1]).await.expect("they can be dropped");
        offer(&*buffer, 2..3).await;
    } else {
        buffer.dead_letters().replay(&seqs[..1]).await.expect("they can be replayed");
    }
    let leased = take_one(&*buffer).await;
    let burial = [(leased.receipt, "bad again".to_owned())];
    buffer.bury(&burial).await.expect("it can be buried");
    let letters = buried(&*buffer).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].seq > seqs[1], "{} must be past {}", letters[0].seq, seqs[1]);
}
