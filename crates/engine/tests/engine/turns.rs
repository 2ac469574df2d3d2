//! One engine after the other in one process: each key stays in order across the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{Failure, Meters, Options};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::faulty::{Faults, Faulty};
use crate::rig::{Rig, Step, events, holds, one_lane};

/// On the paused clock.
const PATIENCE: Duration = Duration::from_secs(600);

async fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_engine_waits_for_what_the_last_one_gave_back() {
    let mut rig = Rig::new();
    let meters = Meters::new("test");
    rig.offer(&events(1, 15)).await;
    let granted = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&granted);
    let options = Options { held_max: 10, batch_max: 5, ..one_lane() };
    let first = rig.start_again(options.clone(), rig.memory.clone(), &meters, move |batch| {
        let bad = holds(batch, "k000-0000") && !takes.load(Ordering::SeqCst);
        if bad { Step::Fail(Failure::Refused("as scripted".to_owned())) } else { Step::Settle }
    });
    // Nine were given back by now, and the last five lie behind them.
    let depth = async || rig.depth().await;
    let end = Instant::now() + PATIENCE;
    while depth().await != (9, 6) {
        assert!(Instant::now() < end, "nothing is given back: {:?}", depth().await);
        sleep(Duration::from_millis(1)).await;
    }
    granted.store(true, Ordering::SeqCst);
    until("the first is settled", || rig.ledger.settled().len() == 1).await;
    rig.shutdown.cancel();
    assert_eq!(first.join().await.unwrap().released, 5, "they waited for those given back");

    // A turn that ends at once changes nothing.
    rig.shutdown = CancellationToken::new();
    let between = rig.start_again(options.clone(), rig.memory.clone(), &meters, |_| Step::Settle);
    sleep(Duration::from_millis(10)).await;
    rig.shutdown.cancel();
    between.join().await.unwrap();

    rig.shutdown = CancellationToken::new();
    let second = rig.start_again(options, rig.memory.clone(), &meters, |_| Step::Settle);
    rig.finish(second).await;
    rig.ledger.assert_order(1, 15);
    assert!(rig.elapsed() < Duration::from_secs(10), "{:?}", rig.elapsed());
}

/// An engine that holds ten events can't release them, at so many tries; later ones of their keys are
/// offered, and the next engine starts. Returns how long it took from then on.
async fn cut_off_at_its_end(failures: usize) -> Duration {
    let mut rig = Rig::new();
    let meters = Meters::new("test");
    let buffer = Arc::new(Faulty(
        rig.memory.clone(),
        Faults { release: failures.into(), ..Faults::default() },
    ));
    let all = events(2, 10);
    rig.offer(&all[..10]).await;
    let options = Options { lanes: 2, drain_timeout_ms: 0, ..Options::default() };
    let first = rig.start_again(options.clone(), buffer.clone(), &meters, |_| {
        Step::Fail(Failure::Unavailable("as scripted".to_owned()))
    });
    sleep(Duration::from_secs(60)).await;
    rig.shutdown.cancel();
    assert_eq!(first.join().await.unwrap().released, 0, "the buffer does not answer");
    assert_eq!(rig.depth().await, (0, 10));

    rig.offer(&all[10..]).await;
    rig.shutdown = CancellationToken::new();
    let began = Instant::now();
    let second = rig.start_again(options, buffer, &meters, |_| Step::Settle);
    rig.finish(second).await;
    rig.ledger.assert_order(2, 10);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_next_engine_releases_what_the_last_one_could_not_before_it_leases() {
    let took = cut_off_at_its_end(5).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_engine_waits_for_the_leases_that_can_not_be_released_and_no_longer() {
    let took = cut_off_at_its_end(usize::MAX).await;
    assert!((Duration::from_secs(28)..Duration::from_secs(33)).contains(&took), "{took:?}");
}
