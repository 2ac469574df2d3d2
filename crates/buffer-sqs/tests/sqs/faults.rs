//! What a network and a death can do to the buffer, and what must hold all the same.

use std::time::Duration;

use crate::place;
use crate::place::{both, events, ids, ids_of, options, receipts, server, take, until};
use buffer::{Buffer, Class, Classify, Depth, Error};
use buffer_sqs::{Options, SqsBuffer, inspect};
use testbed::{Fault, Proxy};

/// The same queue behind a proxy, which waits a short time for answers.
fn behind_proxy(options: &Options) -> (Proxy, Options) {
    let proxy = Proxy::start(&server().address()).unwrap();
    let endpoint = format!("http://{}", proxy.address());
    let options = Options { endpoint, response_timeout_ms: 1_500, ..options.clone() };
    (proxy, options)
}

/// Takes a step whose reply is lost once `arrived` shows, from near, that what it asked for was done.
async fn lose_reply<T>(
    proxy: &Proxy,
    near: &SqsBuffer,
    step: impl Future<Output = T>,
    arrived: impl Fn(&Depth) -> bool,
) -> T {
    // Slow enough that the reply is on its way when the step is seen to be done.
    proxy.set(Fault::Delay(Duration::from_millis(500)));
    let lost = async {
        let is = |depth: &Result<Depth, Error>| depth.as_ref().is_ok_and(&arrived);
        until("it has arrived", || near.depth(), is).await.unwrap();
        proxy.set(Fault::DropReplies);
    };
    let (told, ()) = tokio::join!(step, lost);
    proxy.set(Fault::None);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_whose_reply_was_lost_loses_nothing() {
    for options in both() {
        let near = SqsBuffer::open(options.clone()).await.unwrap();
        near.offer(&events(0..20)).await.unwrap();
        let (proxy, far) = behind_proxy(&options);
        let buffer = SqsBuffer::open(far).await.unwrap();
        proxy.set(Fault::DropReplies);
        let wait = Duration::from_secs(15);
        let lost = buffer.lease(10, wait).await.unwrap_err();
        assert_eq!(lost.class(), Class::Retryable, "{lost}");
        assert!(near.depth().await.unwrap().leased > 0, "it was received, and nobody knows");
        proxy.set(Fault::None);
        // They come at different times: each is acked as it comes.
        let mut leased = Vec::new();
        while leased.len() < 20 {
            let some = take(&buffer, 1).await;
            assert_eq!(buffer.ack(&receipts(&some)).await.unwrap(), 1);
            leased.extend(some);
        }
        assert_eq!(ids(&leased), ids_of(0..20));
        assert_eq!(near.depth().await.unwrap().leased, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_or_a_burial_whose_reply_was_lost_is_done_once() {
    for options in both() {
        let options = Options { visibility_ms: 20_000, ..options };
        let near = SqsBuffer::open(options.clone()).await.unwrap();
        near.offer(&events(0..10)).await.unwrap();
        let (proxy, far) = behind_proxy(&options);
        let buffer = SqsBuffer::open(far).await.unwrap();
        let leased = take(&buffer, 10).await;
        let burials: Vec<_> =
            leased[..3].iter().map(|envelope| (envelope.receipt, "bad".to_owned())).collect();
        let lost = lose_reply(&proxy, &near, buffer.bury(&burials), |depth| depth.dead == 3).await;
        assert_eq!(lost.unwrap_err().class(), Class::Retryable);
        let acking = receipts(&leased[3..7]);
        let lost = lose_reply(&proxy, &near, buffer.ack(&acking), |depth| depth.leased < 10).await;
        assert_eq!(lost.unwrap_err().class(), Class::Retryable);
        until("it answers", || buffer.bury(&burials), Result::is_ok).await.unwrap();
        let some = receipts(&leased[3..7]);
        until("it answers", || buffer.ack(&some), Result::is_ok).await.unwrap();
        let letters = inspect::dead(&options, std::future::pending()).await.unwrap();
        assert_eq!(letters.len(), 3, "each is dead once");
        let depth = near.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased), (0, 3));
        assert_eq!(buffer.ack(&receipts(&leased[7..])).await.unwrap(), 3);
    }
}

/// Both its burials arrived: its letter was sent, its process died before it deleted the event, and the
/// next process buried it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_was_sent_twice_is_one_letter() {
    for options in both() {
        let near = SqsBuffer::open(options.clone()).await.unwrap();
        near.offer(&events(0..1)).await.unwrap();
        let (proxy, far) = behind_proxy(&options);
        {
            let dying = SqsBuffer::open(far).await.unwrap();
            let leased = take(&dying, 1).await;
            let burial = [(leased[0].receipt, "bad".to_owned())];
            let lost =
                lose_reply(&proxy, &near, dying.bury(&burial), |depth| depth.dead == 1).await;
            assert!(lost.is_err());
            proxy.set(Fault::Refuse);
        }
        let again = take(&near, 1).await;
        assert_eq!(again[0].attempt, 2);
        let burial = [(again[0].receipt, "bad".to_owned())];
        assert_eq!(near.bury(&burial).await.unwrap(), 1);
        let letters = near.dead_letters().list(0, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(near.dead_letters().drop_letters(&[letters[0].seq]).await.unwrap(), 1);
        assert!(near.dead_letters().list(0, 10).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_whose_reply_was_lost_is_held_once_in_a_fifo_queue_when_it_is_sent_again() {
    let options = options(true);
    let near = SqsBuffer::open(options.clone()).await.unwrap();
    let (proxy, far) = behind_proxy(&options);
    let buffer = SqsBuffer::open(far).await.unwrap();
    buffer.offer(&events(0..1)).await.unwrap();
    proxy.set(Fault::DropReplies);
    let offering = tokio::spawn(async move { buffer.offer(&events(1..4)).await });
    until("it has arrived", || near.depth(), |d| d.as_ref().is_ok_and(|d| d.ready == 4))
        .await
        .unwrap();
    proxy.set(Fault::None);
    offering.await.unwrap().unwrap();
    assert_eq!(near.depth().await.unwrap().ready, 4, "the second try added nothing");
}

/// A heartbeat keeps it for as long as it is asked to, and one visibility after the process is gone it
/// comes again, though an hour was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_kept_by_a_heartbeat_and_comes_again_soon_after_its_holder_died() {
    for options in both() {
        let options = Options { visibility_ms: 3_000, ..options };
        let near = SqsBuffer::open(options.clone()).await.unwrap();
        near.offer(&events(0..15)).await.unwrap();
        let (proxy, far) = behind_proxy(&options);
        let holder = SqsBuffer::open(Options { response_timeout_ms: 5_000, ..far }).await.unwrap();
        let leased = take(&holder, 15).await;
        let hour = Duration::from_secs(3600);
        assert_eq!(holder.extend(&receipts(&leased), hour).await.unwrap(), 15);
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let came = near.lease(100, Duration::from_millis(50)).await.unwrap();
            assert!(came.is_empty(), "{:?} came though it is held", ids(&came));
        }
        assert_eq!(holder.ack(&receipts(&leased[..5])).await.unwrap(), 5);
        // As if it were killed: nothing of it arrives any more.
        proxy.set(Fault::Refuse);
        let again = take(&near, 10).await;
        assert!(again.iter().all(|envelope| envelope.attempt == 2));
        // What it says when it is back does nothing: others have its events.
        proxy.set(Fault::None);
        let stale = receipts(&leased[5..]);
        let _ = until("it answers", || holder.ack(&stale), Result::is_ok).await;
        assert_eq!(near.ack(&receipts(&again)).await.unwrap(), 10);
    }
}

/// Closing gives back what was received for nobody, and dropping what was not finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_finished_is_given_back_at_once() {
    for options in both() {
        let options = Options { visibility_ms: 600_000, ..options };
        let old = SqsBuffer::open(options.clone()).await.unwrap();
        old.offer(&events(0..30)).await.unwrap();
        let leased = take(&old, 12).await;
        assert_eq!(old.ack(&receipts(&leased[..4])).await.unwrap(), 4);
        old.close().await.unwrap();
        drop(old);
        let new = SqsBuffer::open(options).await.unwrap();
        let rest = take(&new, 26).await;
        let done = ids(&leased[..4]);
        assert!(ids(&rest).iter().all(|id| !done.contains(id)));
    }
}

/// Workers of which one after the other is replaced, without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_keeps_each_key_in_order() {
    for options in both() {
        let options = Options { visibility_ms: 20_000, ..options };
        let producer = SqsBuffer::open(options.clone()).await.unwrap();
        let offered: Vec<_> = (0..200)
            .map(|n| place::event(&format!("id-{n}"), &format!("key-{}", n % 11)))
            .collect();
        for some in offered.chunks(40) {
            producer.offer(some).await.unwrap();
        }
        let mut acked: Vec<(Vec<u8>, String)> = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..2 {
            workers.push(SqsBuffer::open(options.clone()).await.unwrap());
        }
        let mut turn = 0;
        while acked.len() < 200 {
            turn += 1;
            assert!(turn < 500, "only {} of 200 were settled", acked.len());
            let worker = &workers[turn % 2];
            let leased = worker.lease(7, Duration::from_millis(300)).await.unwrap();
            // The last one of each lease is left unfinished by a worker that goes now.
            let goes = turn % 5 == 0;
            let finished = if goes { leased.len().saturating_sub(1) } else { leased.len() };
            assert_eq!(worker.ack(&receipts(&leased[..finished])).await.unwrap(), finished);
            for envelope in &leased[..finished] {
                let id = String::from_utf8_lossy(envelope.event.id()).into_owned();
                acked.push((envelope.event.key().to_vec(), id));
            }
            if goes {
                worker.close().await.unwrap();
                workers[turn % 2] = SqsBuffer::open(options.clone()).await.unwrap();
            }
        }
        for key in 0..11 {
            let key = format!("key-{key}").into_bytes();
            let of_key: Vec<u32> = acked
                .iter()
                .filter(|(other, _)| *other == key)
                .map(|(_, id)| id[3..].parse().unwrap())
                .collect();
            let mut sorted = of_key.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), of_key.len(), "none twice");
            assert!(!options.fifo() || of_key == sorted, "{of_key:?} should ascend");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_held_than_may_be_in_flight() {
    for options in both() {
        let options = Options { in_flight_max: 15, ..options };
        let buffer = SqsBuffer::open(options).await.unwrap();
        buffer.offer(&events(0..40)).await.unwrap();
        let leased = take(&buffer, 15).await;
        let more = buffer.lease(10, Duration::from_millis(300)).await.unwrap();
        assert!(more.is_empty(), "{} more came", more.len());
        assert_eq!(buffer.depth().await.unwrap().leased, 15);
        assert_eq!(buffer.ack(&receipts(&leased[..3])).await.unwrap(), 3);
        assert_eq!(take(&buffer, 3).await.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lease_has_a_term_of_its_own() {
    for options in both() {
        let buffer = SqsBuffer::open(options).await.unwrap();
        let mut terms = Vec::new();
        for n in 0..3 {
            buffer.offer(&[place::event(&format!("id-{n}"), "card")]).await.unwrap();
            let leased = take(&buffer, 1).await;
            terms.push(leased[0].term);
            assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 1);
        }
        assert!(buffer.kind().shared && terms[0] > 0);
        assert!(terms.windows(2).all(|pair| pair[0] < pair[1]), "{terms:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_is_told_in_time_and_come_back_it_is_used_again() {
    let options = options(false);
    SqsBuffer::open(options.clone()).await.unwrap();
    let (proxy, far) = behind_proxy(&options);
    let buffer = SqsBuffer::open(far.clone()).await.unwrap();
    for fault in [Fault::HalfOpen, Fault::Refuse] {
        proxy.set(fault);
        let one = events(0..1);
        let told = tokio::time::timeout(Duration::from_secs(6), buffer.offer(&one));
        let error = told.await.expect("it is told in time").unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let refused = SqsBuffer::open(far.clone()).await.err().unwrap();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        let lazy = SqsBuffer::open(Options { lazy: true, ..far.clone() }).await.unwrap();
        assert!(!lazy.kind().durable, "nothing is promised of what can't be seen");
        proxy.set(Fault::None);
        let offer = || async { lazy.offer(&events(1..2)).await };
        until("it answers", offer, Result::is_ok).await.unwrap();
        assert!(lazy.kind().durable);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_missing_is_told_with_a_way_out_and_no_key_is_printed() {
    for options in both() {
        let options = Options { create: false, ..options };
        let refused = SqsBuffer::open(options.clone()).await.err().unwrap();
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        assert!(refused.to_string().contains("create=true"), "{refused}");
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
