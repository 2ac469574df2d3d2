//! Runs against sinks that are quick, slow, full and broken. Time stands still but for the waits, so
//! that nothing depends on how busy the machine is.

use std::time::Duration;

use async_trait::async_trait;
use model::Event;
use tokio_util::sync::CancellationToken;

use super::{OnRefusal, Outcome, Plan, Profile, RATE_TOLERANCE, run};
use crate::sink::{Error, Offered, Sink};

/// A sink of a test: `answer` says what becomes of each batch, `takes` how long an offer takes.
struct Scripted<F> {
    answer: F,
    takes: Duration,
    ids: Vec<Vec<u8>>,
}

#[async_trait]
impl<F: FnMut(usize) -> Result<Offered, Error> + Send> Sink for Scripted<F> {
    async fn offer(&mut self, events: &[Event]) -> Result<Offered, Error> {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let answer = (self.answer)(events.len());
        if let Ok(offered) = &answer {
            let accepted = &events[..offered.accepted];
            self.ids.extend(accepted.iter().map(|event| event.id().to_vec()));
        }
        answer
    }
}

fn scripted<F: FnMut(usize) -> Result<Offered, Error> + Send>(answer: F) -> Scripted<F> {
    Scripted { answer, takes: Duration::ZERO, ids: Vec::new() }
}

async fn go(plan: &Plan, sink: &mut dyn Sink) -> Outcome {
    let mut index = 0_u32;
    let mut make = |_| {
        index += 1;
        Event::new(index.to_string().as_bytes(), b"", b"{}").unwrap()
    };
    run(plan, &mut make, sink, &CancellationToken::new(), &mut |_| {}).await
}

fn ids(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|index| index.to_string().into_bytes()).collect()
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn what_is_due_over_a_whole_run_is_the_rate_times_the_duration() {
    for profile in Profile::ALL {
        let plan = Plan { profile, ..Plan::steady(700.0, millis(10_000)) };
        assert_eq!((plan.total(), plan.due(plan.duration)), (7_000, 7_000), "{profile}");
        assert_eq!((plan.at(0), plan.due(Duration::ZERO)), (Duration::ZERO, 1));
        for index in 0..6_999 {
            let at = plan.at(index);
            assert!(at <= plan.at(index + 1), "{profile} at {index}");
            let due = plan.due(at);
            assert!((index..=index + 2).contains(&due), "{profile}: {due} due when {index} is");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_sink_is_offered_everything_in_order_and_in_time() {
    for profile in Profile::ALL {
        let plan = Plan { profile, ..Plan::steady(4_000.0, millis(500)) };
        let mut sink = scripted(|count| Ok(Offered::accepted(count)));
        let outcome = go(&plan, &mut sink).await;
        assert_eq!((outcome.offered, outcome.accepted, outcome.unoffered), (2_000, 2_000, 0));
        assert!(outcome.held, "{profile}: {outcome:?}");
        let off = (outcome.achieved_tps / 4_000.0 - 1.0).abs();
        assert!(off <= RATE_TOLERANCE, "{profile}: {outcome:?}");
        assert_eq!(sink.ids, ids(2_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_gets_all_the_same_and_the_rate_is_reported_as_not_held() {
    // 10 events in 5 ms or more: at most 2,000 a second, where 4,000 are asked for.
    let plan = Plan { batch_max: 10, ..Plan::steady(4_000.0, millis(250)) };
    let mut sink = Scripted { takes: millis(5), ..scripted(|count| Ok(Offered::accepted(count))) };
    let outcome = go(&plan, &mut sink).await;
    assert_eq!((outcome.accepted, outcome.unoffered), (1_000, 0));
    assert!(!outcome.held && outcome.achieved_tps <= 2_000.0, "{outcome:?}");
    assert!(outcome.late_ms_max >= 200.0, "{outcome:?}");
    assert_eq!(sink.ids, ids(1_000));
}

#[tokio::test(start_paused = true)]
async fn what_a_hopeless_sink_never_came_to_is_counted_when_the_overrun_is_used_up() {
    let plan = Plan { batch_max: 1, overrun_max: millis(50), ..Plan::steady(1_000.0, millis(100)) };
    let mut sink = Scripted { takes: millis(10), ..scripted(|count| Ok(Offered::accepted(count))) };
    let outcome = go(&plan, &mut sink).await;
    assert!(!outcome.held && outcome.accepted < 20, "{outcome:?}");
    assert_eq!(outcome.offered + outcome.unoffered, 100);
}

#[tokio::test(start_paused = true)]
async fn refused_events_are_dropped_and_counted_and_the_pause_is_kept() {
    let plan = Plan { batch_max: 10, ..Plan::steady(1_000.0, millis(100)) };
    let mut offers = Vec::new();
    let mut sink = scripted(|count| {
        offers.push(tokio::time::Instant::now());
        Ok(if offers.len() == 1 {
            Offered { refused: count, retry_after: Some(millis(60)), ..Offered::default() }
        } else {
            Offered::accepted(count)
        })
    });
    let outcome = go(&plan, &mut sink).await;
    assert!(outcome.refused > 0 && outcome.retried == 0, "{outcome:?}");
    assert_eq!(outcome.accepted + outcome.refused, 100);
    assert!(offers[1] - offers[0] >= millis(60));
}

#[tokio::test(start_paused = true)]
async fn refused_events_are_offered_again_before_newer_ones_when_asked_to() {
    let plan =
        Plan { batch_max: 10, on_refusal: OnRefusal::Retry, ..Plan::steady(2_000.0, millis(100)) };
    let mut call = 0;
    // Every other offer is taken only in part.
    let mut sink = scripted(|count| {
        call += 1;
        let accepted = if call % 2 == 0 { count } else { count / 3 };
        let retry_after = Some(millis(1));
        Ok(Offered { accepted, refused: count - accepted, retry_after, ..Offered::default() })
    });
    let outcome = go(&plan, &mut sink).await;
    assert_eq!((outcome.accepted, outcome.refused), (200, 0), "{outcome:?}");
    assert!(outcome.retried > 0);
    assert_eq!(sink.ids, ids(200));
}

#[tokio::test(start_paused = true)]
async fn what_a_full_sink_refuses_until_the_overrun_is_used_up_is_counted_as_refused() {
    let plan = Plan {
        batch_max: 10,
        on_refusal: OnRefusal::Retry,
        overrun_max: millis(50),
        ..Plan::steady(1_000.0, millis(100))
    };
    let mut room = 2;
    let mut sink = scripted(|count| {
        let accepted = count.min(room);
        room -= accepted;
        let retry_after = Some(millis(20));
        Ok(Offered { accepted, refused: count - accepted, retry_after, ..Offered::default() })
    });
    let outcome = go(&plan, &mut sink).await;
    assert_eq!((outcome.accepted, outcome.unknown, outcome.failure.clone()), (2, 0, None));
    assert!(outcome.refused > 0 && outcome.unoffered > 0, "{outcome:?}");
    assert_eq!(outcome.accepted + outcome.refused + outcome.unoffered, 100);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_a_broken_sink_ends_the_run() {
    let plan = Plan::steady(1_000.0, millis(50));
    let mut call = 0;
    let mut sink = scripted(|count| {
        call += 1;
        if call == 1 {
            return Err(Error::Unavailable("away".into()));
        }
        Ok(Offered::accepted(count))
    });
    let outcome = go(&plan, &mut sink).await;
    assert_eq!((outcome.accepted, outcome.failure), (50, None));

    let away = Error::Unavailable("away".into());
    let outcome = go(&plan, &mut scripted(|_| Err(away.clone()))).await;
    assert_eq!((outcome.unknown, outcome.failure), (outcome.offered, Some(away.clone())));

    let outcome = go(&plan, &mut scripted(|_| Err(Error::ReaderGone))).await;
    assert_eq!(outcome.failure, Some(Error::ReaderGone));
    assert_eq!(outcome.unknown, outcome.offered);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_even_a_pause() {
    let stop = CancellationToken::new();
    let plan = Plan { on_refusal: OnRefusal::Retry, ..Plan::steady(1_000.0, millis(60_000)) };
    let mut sink = scripted(|count| {
        stop.cancel();
        Ok(Offered::refused(count, millis(3_600_000)))
    });
    let mut make = |_| Event::new(b"1", b"", b"{}").unwrap();
    let outcome = run(&plan, &mut make, &mut sink, &stop, &mut |_| {}).await;
    assert_eq!((outcome.offered, outcome.refused), (1, 1));
}

#[test]
fn a_run_that_gave_up_says_why_and_how_many_were_not_sent() {
    let check = |refused: u64, unoffered: u64, says: Option<&str>| {
        let outcome = Outcome { refused, unoffered, retried: 7, ..Outcome::default() };
        let said = Plan::steady(100.0, Duration::from_secs(1)).shortfall(&outcome);
        assert_eq!(said.as_deref(), says);
    };
    let full = "gave up 30 s after the last was due: the buffer is full; 1,998 were not sent";
    check(998, 1_000, Some(full));
    let slow = "gave up 30 s after the last was due: the target is too slow; 5 were not sent";
    check(0, 5, Some(slow));
    check(0, 0, None);
}
