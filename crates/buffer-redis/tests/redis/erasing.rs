//! Erasing a buffer while others offer to it, join it, come back late, or while Redis dies.

use std::sync::OnceLock;
use std::time::Duration;

use crate::place;
use crate::place::{events, ids, options, receipts, take, until};
use buffer::{Buffer, Error};
use buffer_redis::{ERASED_FOR, Options, RedisBuffer, erase, purge};
use testbed::{Fault, Proxy, Redis};

const ROUNDS: usize = 30;

fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| Redis::start().unwrap())
}

/// The keys of a buffer.
fn keys(redis: &Redis, options: &Options) -> Vec<String> {
    let mut keys = Vec::new();
    for pattern in [options.name.clone(), format!("{{{}}}:*", options.name)] {
        let found = redis.call(&["KEYS", &pattern]).unwrap();
        keys.extend(found.array().iter().map(|key| key.text().unwrap().to_owned()));
    }
    keys
}

fn mark(options: &Options) -> String {
    format!("{{{}}}:erased", options.name)
}

/// Takes events through it and lets go of it.
async fn used(options: &Options) {
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..20)).await.unwrap();
    let leased = take(&buffer, 20).await;
    assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 20);
    buffer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_but_a_mark_that_lasts_and_can_be_taken_away() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        used(&options).await;
        erase(&options).await.unwrap();
        assert_eq!(keys(redis(), &options), [mark(&options)]);
        let left = redis().call(&["PTTL", &mark(&options)]).unwrap().integer().unwrap();
        let left = Duration::from_millis(u64::try_from(left).unwrap());
        assert!(left <= ERASED_FOR && left + place::PATIENCE > ERASED_FOR, "{left:?}");

        let refused = RedisBuffer::open(options.clone()).await.err().unwrap().to_string();
        let way = format!("run DEL \"{}\" in redis-cli", mark(&options));
        assert!(refused.contains(&way), "{refused}");
        redis().call(&["DEL", &mark(&options)]).unwrap();
        used(&options).await;
    }
}

/// A producer is no member: only its offers show that it has the buffer open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_during_an_erasure_is_refused_or_keeps_the_buffer() {
    let (mut kept, mut erased) = (0, 0);
    for round in 0..ROUNDS {
        let options = options(&redis().address(), round % 2 == 1, 4);
        used(&options).await;
        let producer = RedisBuffer::open(options.clone()).await.unwrap();
        let event = events(0..1);
        let (offer_ms, erase_ms) = [(0, 20), (0, 0), (1, 0), (20, 0)][round % 4];
        let offer = async {
            tokio::time::sleep(Duration::from_millis(offer_ms)).await;
            producer.offer(&event).await
        };
        let erasing = async {
            tokio::time::sleep(Duration::from_millis(erase_ms)).await;
            erase(&options).await
        };
        let (answer, offered) = tokio::join!(erasing, offer);
        match (offered, answer) {
            (Ok(()), Err(Error::Held(_))) => {
                kept += 1;
                assert_eq!(ids(&take(&producer, 1).await), ["id-0"]);
            }
            (Err(Error::Open(_)), Ok(())) => {
                erased += 1;
                assert_eq!(keys(redis(), &options), [mark(&options)]);
            }
            (offered, answer) => panic!("offered: {offered:?}, erased: {answer:?}"),
        }
    }
    assert!(kept > 0 && erased > 0, "{kept} kept, {erased} erased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_during_an_erasure_is_refused_or_keeps_the_buffer() {
    for round in 0..ROUNDS {
        let options = options(&redis().address(), round % 2 == 1, 4);
        let options = Options { process: format!("worker-{round}"), ..options };
        used(&options).await;
        let worker = RedisBuffer::open(options.clone()).await.unwrap();
        let (leased, answer) =
            tokio::join!(worker.lease(1, Duration::from_millis(20)), erase(&options));
        match (leased, answer) {
            (Ok(leased), Err(Error::Held(why))) => {
                assert!(leased.is_empty() && why.contains(&options.process), "{why}");
                worker.close().await.unwrap();
                erase(&options).await.unwrap();
            }
            (Err(Error::Open(_)), Ok(())) => {}
            (leased, answer) => panic!("leased: {leased:?}, erased: {answer:?}"),
        }
        assert_eq!(keys(redis(), &options), [mark(&options)]);
    }
}

/// It was silent for longer than it may be, while somebody erased the buffer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_comes_back_late_makes_nothing_anew() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        used(&options).await;
        let proxy = Proxy::start(&redis().address()).unwrap();
        let cut_off = Options {
            server: place::server(&proxy.address()),
            response_timeout_ms: 300,
            ..options.clone()
        };
        let late = RedisBuffer::open(cut_off).await.unwrap();
        assert!(late.lease(1, Duration::from_millis(30)).await.unwrap().is_empty());
        let refused = erase(&options).await.unwrap_err();
        assert!(matches!(refused, Error::Held(_)), "{refused}");
        proxy.set(Fault::HalfOpen);
        until("it is not heard of any more", || erase(&options), Result::is_ok).await.unwrap();
        proxy.set(Fault::None);
        proxy.cut();

        let is_erased = |answer: &Result<(), Error>| matches!(answer, Err(Error::Open(_)));
        let offer = || async { late.offer(&events(0..1)).await };
        until("its offer is refused", offer, is_erased).await.unwrap_err();
        let lease = || async { late.lease(1, Duration::from_millis(50)).await.map(drop) };
        until("its lease is refused", lease, is_erased).await.unwrap_err();
        late.close().await.unwrap();
        assert_eq!(keys(redis(), &options), [mark(&options)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_during_an_erasure_has_the_buffer_whole_or_erased() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    for round in 0..8 {
        let options = options(&redis.address(), round % 2 == 1, 4);
        // Over connections of their own: those of the round before were cut.
        let options = Options { response_timeout_ms: 3_000 + round, ..options };
        used(&options).await;
        let whole = keys(&redis, &options).len();
        let erasing = tokio::spawn({
            let options = options.clone();
            async move { erase(&options).await }
        });
        tokio::time::sleep(Duration::from_micros(300 * round)).await;
        redis.kill();
        let answer = erasing.await.unwrap();
        redis.start_again().unwrap();
        let left = keys(&redis, &options);
        if left == [mark(&options)] {
            assert!(RedisBuffer::open(options.clone()).await.is_err());
        } else {
            assert!(answer.is_err(), "it was said to be erased, and {left:?} are there");
            assert_eq!(left.len(), whole, "{left:?}");
            until("it can be opened", || RedisBuffer::open(options.clone()), Result::is_ok)
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_takes_all_of_a_buffer_away_whatever_it_holds() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        buffer.offer(&events(0..20)).await.unwrap();
        take(&buffer, 5).await;
        drop(buffer);
        purge(&options).await.unwrap();
        assert_eq!(keys(redis(), &options), Vec::<String>::new());
        used(&options).await;
        erase(&options).await.unwrap();
        purge(&options).await.unwrap();
        assert_eq!(keys(redis(), &options), Vec::<String>::new());
    }
}
