//! Dead letters have a bound, and who finds no room there keeps nobody waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use buffer::Buffer;
use model::Event;
use tokio::time::{Instant, sleep};

use crate::rig::{Rig, Step, events, id_of, one_lane};

const BAD: usize = 8;
const ROOM: usize = 3;
/// On the paused clock.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_among_the_dead_letters_waits_for_it_and_keeps_nobody_else_waiting() {
    let rig = Rig::with_dead_max(ROOM);
    let bad = |n: usize| Event::new(format!("bad-{n}").as_bytes(), b"bad", b"{}").unwrap();
    rig.offer(&(0..BAD).map(bad).collect::<Vec<_>>()).await;
    rig.offer(&events(40, 1)).await;
    let handle = rig.start(one_lane(), |batch| {
        Step::Reject(batch.iter().map(id_of).filter(|id| id.starts_with("bad")).collect())
    });
    let end = Instant::now() + PATIENCE;
    while rig.ledger.settled().len() < 40 || rig.dead().await.len() < ROOM {
        assert!(Instant::now() < end, "{:?} and {:?}", rig.ledger.settled(), rig.depth().await);
        sleep(Duration::from_secs(1)).await;
    }
    let (ready, leased) = rig.depth().await;
    assert_eq!(ready + leased, (BAD - ROOM) as u64, "none is lost, nor given up for good");

    // Each time room is made, some more of them are buried, each of them once.
    let mut buried = BTreeSet::new();
    while buried.len() < BAD {
        assert!(Instant::now() < end, "only {buried:?}");
        let letters = rig.dead().await;
        let seqs: Vec<u64> = letters.iter().map(|letter| letter.seq).collect();
        rig.memory.dead_letters().drop_letters(&seqs).await.unwrap();
        for letter in letters {
            let id = String::from_utf8_lossy(letter.event.id()).into_owned();
            assert!(buried.insert(id), "buried twice: {:?}", letter.event.id());
        }
        sleep(Duration::from_secs(1)).await;
    }
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (40, BAD as u64));
}
