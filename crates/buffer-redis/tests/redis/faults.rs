//! What a network and a server can do to the buffer, and what must hold all the same.

use std::sync::OnceLock;
use std::time::Duration;

use crate::place;
use crate::place::{event, events, ids, options, receipts, take, until};
use buffer::{Buffer, Class, Classify, Error};
use buffer_redis::{Connections, Layout, Options, RedisBuffer, Server, inspect};
use testbed::{Fault, Proxy, Redis, RedisCluster};

fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| Redis::start().unwrap())
}

/// Takes every step once. Redis then knows all scripts, and a step whose reply is lost was done: of one
/// it does not know, the reply that is lost would only have said so.
async fn know_scripts(buffer: &RedisBuffer) {
    buffer.offer(&events(0..3)).await.unwrap();
    let leased = take(buffer, 3).await;
    buffer.extend(&receipts(&leased[..1]), Duration::from_secs(9)).await.unwrap();
    buffer.release(&receipts(&leased[..1]), Duration::ZERO).await.unwrap();
    buffer.bury(&[(leased[1].receipt, "bad".to_owned())]).await.unwrap();
    let again = take(buffer, 1).await;
    assert_eq!(buffer.ack(&receipts(&[&again[..], &leased[2..]].concat())).await.unwrap(), 2);
    let letters = buffer.dead_letters().list(0, 1).await.unwrap();
    assert_eq!(buffer.dead_letters().drop_letters(&[letters[0].seq]).await.unwrap(), 1);
}

/// A buffer behind a proxy, which waits a short time for replies.
async fn behind_proxy(stream: bool) -> (Proxy, Options, RedisBuffer) {
    let proxy = Proxy::start(&redis().address()).unwrap();
    let options = Options {
        server: place::server(&proxy.address()),
        response_timeout_ms: 200,
        // Membership must not end while replies are lost.
        member_ms: 60_000,
        ..options(&redis().address(), stream, 4)
    };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    know_scripts(&buffer).await;
    (proxy, options, buffer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_reply_was_lost_is_answered_with_the_same_batch() {
    for stream in [false, true] {
        let (proxy, _, buffer) = behind_proxy(stream).await;
        buffer.offer(&events(0..10)).await.unwrap();
        let first = take(&buffer, 1).await;
        proxy.set(Fault::DropReplies);
        let lost = buffer.lease(5, Duration::ZERO).await.unwrap_err();
        assert_eq!(lost.class(), Class::Retryable, "{lost}");
        proxy.set(Fault::None);
        // Two first, though the lost batch had five: the rest of it comes next.
        let two = take(&buffer, 2).await;
        let rest = take(&buffer, 7).await;
        let came: Vec<String> =
            ids(&first).into_iter().chain(ids(&two)).chain(ids(&rest)).collect();
        assert_eq!(came, (0..10).map(|n| format!("id-{n}")).collect::<Vec<_>>());
        let all: Vec<_> = first.iter().chain(&two).chain(&rest).collect();
        assert!(all.iter().all(|envelope| envelope.attempt == 1), "nothing was leased twice");
        let receipts: Vec<_> = all.iter().map(|envelope| envelope.receipt).collect();
        assert_eq!(buffer.ack(&receipts).await.unwrap(), 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_or_a_burial_whose_reply_was_lost_is_done_once() {
    for stream in [false, true] {
        let (proxy, options, buffer) = behind_proxy(stream).await;
        buffer.offer(&events(0..10)).await.unwrap();
        let leased = take(&buffer, 10).await;
        let burials: Vec<_> =
            leased[..3].iter().map(|envelope| (envelope.receipt, "bad".to_owned())).collect();

        proxy.set(Fault::DropReplies);
        assert_eq!(buffer.bury(&burials).await.unwrap_err().class(), Class::Retryable);
        assert!(buffer.ack(&receipts(&leased[3..7])).await.is_err());
        proxy.set(Fault::None);
        until("it answers", || buffer.bury(&burials), Result::is_ok).await.unwrap();
        let some = receipts(&leased[3..7]);
        until("it answers", || buffer.ack(&some), Result::is_ok).await.unwrap();

        assert_eq!(inspect::dead(&options).await.unwrap().len(), 3, "each is dead once");
        let depth = buffer.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased, depth.dead), (0, 3, 3));
        assert_eq!(buffer.ack(&receipts(&leased[7..])).await.unwrap(), 3);
        assert_eq!(buffer.depth().await.unwrap().oldest_accepted_ms, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_whose_reply_was_lost_leaves_every_event_where_it_can_be_acked() {
    for stream in [false, true] {
        let (proxy, _, buffer) = behind_proxy(stream).await;
        buffer.offer(&events(0..10)).await.unwrap();
        let leased = take(&buffer, 10).await;
        proxy.set(Fault::DropReplies);
        let hour = Duration::from_secs(3600);
        assert!(buffer.extend(&receipts(&leased[..4]), hour).await.is_err());
        proxy.set(Fault::None);
        let all = receipts(&leased);
        let acked = until("it answers", || buffer.ack(&all), Result::is_ok).await;
        assert_eq!(acked.unwrap(), 10);
        assert_eq!(buffer.depth().await.unwrap().leased, 0);
    }
}

/// As when a heartbeat and the lane that finishes a batch meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acked_while_it_is_being_extended_is_acked() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        let buffer = RedisBuffer::open(options).await.unwrap();
        buffer.offer(&events(0..500)).await.unwrap();
        let leased = take(&buffer, 500).await;
        let hour = Duration::from_secs(3600);
        for some in leased.chunks(5) {
            let both = receipts(&some[..4]);
            let (extended, acked) = tokio::join!(buffer.extend(&both, hour), buffer.ack(&both));
            assert_eq!((extended.is_ok(), acked.unwrap()), (true, 4));
            assert_eq!(buffer.ack(&receipts(&some[4..])).await.unwrap(), 1);
        }
        assert_eq!(buffer.depth().await.unwrap().leased, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_whose_reply_was_lost_is_held_once_for_each_time_it_was_made() {
    let (proxy, _, buffer) = behind_proxy(false).await;
    proxy.set(Fault::DropReplies);
    assert_eq!(buffer.offer(&events(0..3)).await.unwrap_err().class(), Class::Retryable);
    proxy.set(Fault::None);
    let depth = until("it answers", || buffer.depth(), Result::is_ok).await.unwrap();
    assert_eq!(depth.ready, 3, "an error does not mean that it is not held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_redis_is_told_in_time_and_come_back_it_is_used_again() {
    for connections in [Connections::Shared, Connections::Dedicated] {
        let (proxy, options, buffer) = behind_proxy(true).await;
        buffer.close().await.unwrap();
        let buffer = RedisBuffer::open(Options { connections, ..options.clone() }).await.unwrap();
        buffer.offer(&events(0..5)).await.unwrap();
        for fault in [Fault::HalfOpen, Fault::Refuse] {
            proxy.set(fault);
            let one = events(5..6);
            let told = tokio::time::timeout(Duration::from_secs(6), buffer.offer(&one));
            let error = told.await.expect("it is told in time").unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "{error}");
            let opened = RedisBuffer::open(options.clone());
            let opened = tokio::time::timeout(Duration::from_secs(6), opened).await;
            assert!(opened.expect("it is told in time").is_err());
            let lazy = RedisBuffer::open(Options { lazy: true, ..options.clone() }).await.unwrap();
            assert!(!lazy.kind().durable, "nothing is promised of what can't be seen");
            assert!(lazy.lease(1, Duration::ZERO).await.is_err());
            proxy.set(Fault::None);
            until("it answers", || buffer.depth(), Result::is_ok).await.unwrap();
            until("it answers", || lazy.depth(), Result::is_ok).await.unwrap();
            assert!(lazy.kind().durable);
        }
        let leased = take(&buffer, 5).await;
        // What the faults kept on its way may have arrived since.
        assert_eq!(ids(&leased)[..5], (0..5).map(|n| format!("id-{n}")).collect::<Vec<_>>());
    }
}

/// More than one claim moves out of their pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_whose_pause_is_over_are_leased_before_later_ones_however_many_they_are() {
    for stream in [false, true] {
        let redis = Redis::start().unwrap();
        let buffer = RedisBuffer::open(options(&redis.address(), stream, 4)).await.unwrap();
        buffer.offer(&events(0..2_600)).await.unwrap();
        let mut leased = take(&buffer, 2_500).await;
        leased.sort_by_key(|envelope| envelope.receipt.seq);
        let (first, behind) = leased.split_at(2_400);
        buffer.release(&receipts(first), Duration::from_millis(50)).await.unwrap();
        buffer.release(&receipts(behind), Duration::ZERO).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let again = take(&buffer, 2_600).await;
        let came: Vec<u64> = again.iter().map(|envelope| envelope.receipt.seq).collect();
        assert!(came[..2_500].is_sorted(), "later ones came before earlier ones");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_expired_leases_are_leased_before_later_ones_however_many_leases_they_had() {
    for stream in [false, true] {
        let redis = Redis::start().unwrap();
        let options = Options { lease_ms: 2_000, ..options(&redis.address(), stream, 1) };
        let buffer = RedisBuffer::open(options).await.unwrap();
        buffer.offer(&events(0..300)).await.unwrap();
        let mut first = Vec::new();
        for _ in 0..250 {
            first.extend(take(&buffer, 1).await);
        }
        // The first ones expire last.
        buffer.extend(&receipts(&first[..50]), Duration::from_millis(2_100)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let again = take(&buffer, 300).await;
        let came: Vec<u64> = again.iter().map(|envelope| envelope.receipt.seq).collect();
        assert!(came.is_sorted(), "later ones came before earlier ones");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_there_after_redis_was_killed() {
    for stream in [false, true] {
        let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
        let options = Options { lease_ms: 1_000, ..options(&redis.address(), stream, 4) };
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        assert!(buffer.kind().durable && buffer.kind().survives.contains("power cut"));
        buffer.offer(&events(0..100)).await.unwrap();
        let leased = take(&buffer, 30).await;
        assert_eq!(buffer.ack(&receipts(&leased[..10])).await.unwrap(), 10);
        let burial = [(leased[10].receipt, "bad".to_owned())];
        assert_eq!(buffer.bury(&burial).await.unwrap(), 1);

        redis.kill();
        assert!(buffer.offer(&events(100..101)).await.is_err());
        redis.start_again().unwrap();

        let depth = until("it answers", || buffer.depth(), Result::is_ok).await.unwrap();
        assert_eq!((depth.ready + depth.leased, depth.dead), (89, 1));
        // The leases outlived it too: what is held can be acked, and the rest comes again.
        assert_eq!(buffer.ack(&receipts(&leased[11..20])).await.unwrap(), 9);
        let rest = take(&buffer, 80).await;
        let mut came = ids(&rest);
        came.sort_by_key(|id| id[3..].parse::<u32>().unwrap());
        assert_eq!(came, (20..100).map(|n| format!("id-{n}")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_emptied_is_begun_anew_and_old_receipts_do_nothing() {
    for stream in [false, true] {
        let redis = Redis::start().unwrap();
        let buffer = RedisBuffer::open(options(&redis.address(), stream, 4)).await.unwrap();
        buffer.offer(&events(0..5)).await.unwrap();
        let leased = take(&buffer, 3).await;
        redis.call(&["FLUSHALL"]).unwrap();
        buffer.offer(&events(5..8)).await.unwrap();
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 0);
        assert_eq!(ids(&take(&buffer, 3).await), ["id-5", "id-6", "id-7"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_shards_or_layout_is_refused_with_a_way_out() {
    let list = options(&redis().address(), false, 16);
    let buffer = RedisBuffer::open(list.clone()).await.unwrap();
    buffer.offer(&events(0..1)).await.unwrap();
    let other = RedisBuffer::open(Options { shards: 4, ..list.clone() }).await.err().unwrap();
    assert!(matches!(other, Error::Open(_)));
    assert!(other.to_string().contains("shards=16"), "{other}");
    let layout = Layout::Stream { group: "g".to_owned(), field: None };
    let other = RedisBuffer::open(Options { layout, ..list.clone() }).await.err().unwrap();
    assert!(matches!(other, Error::Open(_)) && other.to_string().contains("list"), "{other}");
    redis().call(&["SET", "taken", "x"]).unwrap();
    let taken = RedisBuffer::open(Options { name: "taken".to_owned(), ..list }).await.unwrap();
    let other = taken.lease(1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(other, Error::Open(_)), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_or_evicts_is_not_called_durable() {
    let forgets = [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")];
    let redis = Redis::start_with(&forgets).unwrap();
    let options = options(&redis.address(), false, 4);
    let found = inspect::durability(&options).await.unwrap();
    assert_eq!((found.aof, found.policy.as_deref()), (Some(false), Some("allkeys-lru")));
    assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    assert!(found.problems[0].contains("CONFIG SET appendonly yes"));
    assert!(found.problems[1].contains("noeviction"));
    let kind = RedisBuffer::open(options.clone()).await.unwrap().kind();
    assert!(!kind.durable && kind.shared, "{kind:?}");

    redis.call(&["CONFIG", "SET", "appendonly", "yes"]).unwrap();
    redis.call(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    redis.call(&["CONFIG", "SET", "appendfsync", "always"]).unwrap();
    let found = inspect::durability(&options).await.unwrap();
    assert_eq!((found.aof, found.fsync.as_deref()), (Some(true), Some("always")));
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(found.survives.contains("appendfsync always"), "{}", found.survives);
    assert!(RedisBuffer::open(options.clone()).await.unwrap().kind().durable);

    redis.call(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]).unwrap();
    let found = inspect::durability(&options).await.unwrap();
    assert!(found.survives.contains("no-appendfsync-on-rewrite yes"), "{}", found.survives);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_out_of_memory_refuses_offers_and_can_be_drained() {
    for stream in [false, true] {
        let redis = Redis::start_with(&[("maxmemory", "20mb")]).unwrap();
        let options = Options { events_max: 1_000_000, ..options(&redis.address(), stream, 4) };
        let buffer = RedisBuffer::open(options).await.unwrap();
        let payload = vec![b'x'; 10_000];
        let mut held = 0;
        let refused = loop {
            let id = format!("id-{held}");
            let one = model::Event::new(id.as_bytes(), b"", &payload).unwrap();
            match buffer.offer(&[one]).await {
                Ok(()) => held += 1,
                Err(error) => break error,
            }
            assert!(held < 3_000, "it should be full by now");
        };
        assert!(
            matches!(&refused, Error::Full { bound, .. } if bound.contains("mem")),
            "{refused}"
        );
        let leased = take(&buffer, held).await;
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), held);
        let again = || async { buffer.offer(&[event("after", "")]).await };
        until("there is room again", again, Result::is_ok).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_waits_for_its_replicas_and_says_when_there_are_none() {
    let options = options(&redis().address(), false, 4);
    let options = Options { wait_replicas: 1, response_timeout_ms: 400, ..options };
    let buffer = RedisBuffer::open(options).await.unwrap();
    let refused = buffer.offer(&events(0..1)).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(why) if why.contains("0 of 1")), "{refused}");
    let replica = Redis::start().unwrap();
    let master = redis().address();
    let (host, port) = master.rsplit_once(':').unwrap();
    replica.call(&["REPLICAOF", host, port]).unwrap();
    let offer = || async { buffer.offer(&events(1..2)).await };
    until("the replica has it", offer, Result::is_ok).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_and_given_back_needs_no_restart() {
    let redis = Redis::start().unwrap();
    let rights = |rights: &[&str]| {
        let user = ["ACL", "SETUSER", "app", "on", ">s3cret", "~*", "&*"];
        redis.call(&[&user[..], rights].concat()).unwrap();
    };
    rights(&["+@all"]);
    let mut options = options(&redis.address(), false, 4);
    (options.server.user, options.server.password) = (Some("app".into()), Some("s3cret".into()));
    let buffer = RedisBuffer::open(options).await.unwrap();
    buffer.offer(&events(0..1)).await.unwrap();

    rights(&["-@write"]);
    let refused = buffer.offer(&events(1..2)).await.unwrap_err();
    assert_eq!(refused.class(), Class::Retryable, "{refused}");
    let refused = until("a lease is refused", || buffer.lease(1, Duration::ZERO), Result::is_err);
    assert_eq!(refused.await.unwrap_err().class(), Class::Retryable);

    rights(&["+@all"]);
    until("it takes events", || async { buffer.offer(&events(1..2)).await }, Result::is_ok)
        .await
        .unwrap();
    let mut came = ids(&take(&buffer, 2).await);
    came.sort();
    assert_eq!(came, ["id-0", "id-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_is_told_and_never_printed() {
    let redis = Redis::start().unwrap();
    redis.call(&["CONFIG", "SET", "requirepass", "s3cret"]).unwrap();
    let mut options = options(&redis.address(), false, 4);
    for password in [None, Some("wr0ng".to_owned())] {
        options.server.password = password;
        let refused = RedisBuffer::open(options.clone()).await.err().unwrap();
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        assert!(!format!("{refused} {options:?}").contains("wr0ng"));
        let refused = inspect::depth(&options).await.unwrap_err();
        assert!(matches!(refused, Error::Open(_)), "whoever only looks hears the same: {refused}");
    }
    options.server.password = Some("s3cret".to_owned());
    RedisBuffer::open(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_password_is_logged_in_as_that_user_or_refused() {
    let redis = Redis::start().unwrap();
    let rights = ["~*", "&*", "+@all"];
    let set = |user: &[&str]| {
        redis.call(&[&["ACL", "SETUSER"], user, &rights[..]].concat()).unwrap();
    };
    set(&["free", "on", "nopass"]);
    set(&["off", "off", "nopass"]);
    set(&["locked", "on", ">s3cret"]);
    for db in [0, 1] {
        let mut options = options(&redis.address(), false, 4);
        options.server.db = db;
        for user in ["off", "locked", "unknown"] {
            options.server.user = Some(user.to_owned());
            let opened = RedisBuffer::open(options.clone()).await.err().unwrap();
            let looked = inspect::durability(&options).await.unwrap_err();
            for refused in [opened, looked] {
                let told = format!("cannot log in as the user {user} without a password");
                let named = matches!(&refused, Error::Open(why) if why.contains(&told));
                assert!(named, "{refused}");
            }
        }
        options.server.user = Some("free".to_owned());
        let buffer = RedisBuffer::open(options).await.unwrap();
        buffer.offer(&events(0..1)).await.unwrap();
        let clients = redis.call(&["CLIENT", "LIST"]).unwrap();
        assert!(format!("{clients:?}").contains("user=free "), "{clients:?}");
    }
    // The default user wants a password, and none is given: also with another database.
    redis.call(&["CONFIG", "SET", "requirepass", "s3cret"]).unwrap();
    let mut options = options(&redis.address(), false, 4);
    options.server.db = 1;
    let refused = RedisBuffer::open(options).await.err().unwrap();
    assert!(matches!(&refused, Error::Open(why) if why.contains("REDIS_PASSWORD")), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_password_is_refused_by_a_cluster_too() {
    let cluster = RedisCluster::start().unwrap();
    let server = Server { user: Some("worker".to_owned()), ..crate::place::cluster(&cluster) };
    let options = Options { server, ..options("127.0.0.1:1", false, 4) };
    let refused = RedisBuffer::open(options.clone()).await.err().unwrap();
    let named =
        matches!(&refused, Error::Open(why) if why.contains("the user worker without a password"));
    assert!(named, "{refused}");
    for node in 0..cluster.addresses().len() {
        let user = ["ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all"];
        cluster.node(node).call(&user).unwrap();
    }
    RedisBuffer::open(options).await.unwrap().offer(&events(0..1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_changed_while_it_runs_is_waited_for() {
    for connections in [Connections::Shared, Connections::Dedicated] {
        let redis = Redis::start().unwrap();
        let user = |password: &str| {
            let password = format!(">{password}");
            let user = ["ACL", "SETUSER", "worker", "on", "resetpass", &password];
            redis.call(&[&user[..], &["~*", "&*", "+@all"]].concat()).unwrap();
        };
        user("old");
        let mut options = Options { connections, ..options(&redis.address(), false, 4) };
        options.server.user = Some("worker".to_owned());
        options.server.password = Some("old".to_owned());
        let buffer = RedisBuffer::open(options).await.unwrap();
        user("new");
        redis.call(&["CLIENT", "KILL", "USER", "worker"]).unwrap();
        let offer = |n| {
            let buffer = &buffer;
            move || async move { buffer.offer(&events(n..n + 1)).await }
        };
        let denied = |told: &Result<(), Error>| {
            let error = told.as_ref().unwrap_err();
            assert_eq!(error.class(), Class::Retryable, "{error}");
            error.to_string().contains("REDIS_PASSWORD")
        };
        until("it is told why", offer(0), denied).await.unwrap_err();
        user("old");
        until("it takes events again", offer(1), Result::is_ok).await.unwrap();
        assert_eq!(ids(&take(&buffer, 1).await), ["id-1"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_stream_whose_lease_was_deleted_by_hand_come_again() {
    let redis = Redis::start().unwrap();
    let options = Options { lease_ms: 1_000, member_ms: 600, ..options(&redis.address(), true, 4) };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..300)).await.unwrap();
    let lost = take(&buffer, 250).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(buffer.extend(&receipts(&lost[..10]), hour).await.unwrap(), 10);
    for name in [format!("{{{}}}:leases", options.name)] {
        let members = redis.call(&["ZRANGE", &name, "0", "-1"]).unwrap();
        let testbed::Reply::Array(members) = members else { panic!("{members:?}") };
        for member in members.iter().filter_map(testbed::Reply::text) {
            // All but the one that was split off and lasts an hour.
            let key = format!("{{{}}}:lease:{member}", options.name);
            if redis.call(&["HLEN", &key]).unwrap().integer() != Some(10) {
                redis.call(&["DEL", &key]).unwrap();
                redis.call(&["ZREM", &name, member]).unwrap();
            }
        }
    }
    let mut came = Vec::new();
    while came.len() < 290 {
        let again = take(&buffer, 1).await;
        assert_eq!(buffer.ack(&receipts(&again)).await.unwrap(), 1);
        came.extend(ids(&again));
    }
    came.sort_by_key(|id| id[3..].parse::<u32>().unwrap());
    assert_eq!(came, (10..300).map(|n| format!("id-{n}")).collect::<Vec<_>>());
    assert_eq!(buffer.ack(&receipts(&lost[..10])).await.unwrap(), 10, "these were never lost");
    let depth = buffer.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (0, 0));
}

/// How many entries there are in the stream of the only shard.
fn entries(redis: &Redis, options: &Options) -> i64 {
    redis.call(&["XLEN", &format!("{{{}}}:0", options.name)]).unwrap().integer().unwrap()
}

#[tokio::test]
async fn acked_entries_are_cut_off_only_where_no_earlier_one_is_held() {
    let redis = Redis::start().unwrap();
    let options = options(&redis.address(), true, 1);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..500)).await.unwrap();
    let first = take(&buffer, 100).await;
    let second = take(&buffer, 100).await;
    let third = take(&buffer, 100).await;
    let fourth = take(&buffer, 100).await;
    assert_eq!(buffer.ack(&receipts(&second)).await.unwrap(), 100);
    assert_eq!(entries(&redis, &options), 400);
    assert_eq!(buffer.ack(&receipts(&first)).await.unwrap(), 100);
    assert_eq!(entries(&redis, &options), 300);

    // Somebody takes one off the group by hand, which is still leased.
    let stream = format!("{{{}}}:0", options.name);
    let oldest = redis.call(&["XRANGE", &stream, "-", "+", "COUNT", "1"]).unwrap();
    let testbed::Reply::Array(oldest) = oldest else { panic!("{oldest:?}") };
    let testbed::Reply::Array(oldest) = &oldest[0] else { panic!("{oldest:?}") };
    let oldest = oldest[0].text().unwrap();
    assert_eq!(redis.call(&["XACK", &stream, "forebay", oldest]).unwrap().integer(), Some(1));
    assert_eq!(buffer.ack(&receipts(&third[1..])).await.unwrap(), 99);
    let bad = [(fourth[0].receipt, "bad".to_owned())];
    assert_eq!(buffer.bury(&bad).await.unwrap(), 1);
    assert_eq!(buffer.ack(&receipts(&fourth[1..])).await.unwrap(), 99);
    assert_eq!(entries(&redis, &options), 101);
    assert_eq!(buffer.release(&receipts(&third[..1]), Duration::ZERO).await.unwrap(), 1);
    let again = take(&buffer, 1).await;
    assert_eq!(ids(&again), ids(&third[..1]));
    assert_eq!(buffer.ack(&receipts(&again)).await.unwrap(), 1);
    let left = take(&buffer, 100).await;
    assert_eq!(buffer.ack(&receipts(&left)).await.unwrap(), 100);
    assert_eq!(entries(&redis, &options), 0);
}

/// How many entries, pending ones and leases there are in all shards.
fn left(redis: &Redis, options: &Options) -> i64 {
    let mut left = 0;
    for shard in 0..options.shards {
        let stream = format!("{{{}}}:{shard}", options.name);
        left += redis.call(&["XLEN", &stream]).unwrap().integer().unwrap();
        let pending = redis.call(&["XPENDING", &stream, "forebay"]).unwrap();
        let testbed::Reply::Array(pending) = pending else { panic!("{pending:?}") };
        left += pending[0].integer().unwrap();
    }
    let leases = redis.call(&["KEYS", &format!("{{{}}}:lease:*", options.name)]).unwrap();
    let testbed::Reply::Array(leases) = leases else { panic!("{leases:?}") };
    left + i64::try_from(leases.len()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_what_was_acked_whole_in_parts_late_and_at_several_attempts() {
    let redis = Redis::start().unwrap();
    let options = Options { lease_ms: 3_000, ..options(&redis.address(), true, 16) };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    let offered: Vec<_> =
        (0..400).map(|n| event(&format!("id-{n}"), &format!("key-{}", n % 50))).collect();
    buffer.offer(&offered).await.unwrap();
    let first = take(&buffer, 150).await;
    let second = take(&buffer, 150).await;
    assert_eq!(buffer.release(&receipts(&first[..60]), Duration::ZERO).await.unwrap(), 60);
    let again = take(&buffer, 60).await;
    assert!(again.iter().all(|envelope| envelope.attempt == 2));
    // Of the first lease a part, with those of it that came again, and of the second a part.
    let parts = [&first[60..100], &again[..], &second[..70]].concat();
    assert_eq!(buffer.ack(&receipts(&parts)).await.unwrap(), 170);
    // A lease of which a part is left, whole ones, and one that has expired.
    let third = take(&buffer, 100).await;
    assert_eq!(buffer.ack(&receipts(&first)).await.unwrap(), 50);
    assert_eq!(buffer.ack(&receipts(&third)).await.unwrap(), 100);
    assert!(left(&redis, &options) > 80);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert_eq!(buffer.ack(&receipts(&second)).await.unwrap(), 80);
    assert_eq!(left(&redis, &options), 0);
    let depth = buffer.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (0, 0));
}

/// How often a script was called.
fn scripts_run(redis: &Redis) -> u64 {
    let stats = redis.call(&["INFO", "commandstats"]).unwrap();
    let line = stats.text().unwrap().lines().find(|line| line.starts_with("cmdstat_evalsha:"));
    let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()).unwrap();
    calls.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_lease_of_a_stream_hears_the_doorbell_and_does_not_poll() {
    let redis = Redis::start().unwrap();
    let options = options(&redis.address(), true, 16);
    let consumer = RedisBuffer::open(options.clone()).await.unwrap();
    let producer = RedisBuffer::open(options.clone()).await.unwrap();
    let before = scripts_run(&redis);
    assert!(consumer.lease(1, Duration::from_secs(2)).await.unwrap().is_empty());
    let asked = scripts_run(&redis) - before;
    assert!(asked < 30, "{asked} scripts in two seconds of silence");
    for n in 0..5 {
        let waiting = consumer.lease(10, place::PATIENCE);
        let (leased, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            producer.offer(&events(n..n + 1)).await.unwrap();
        });
        assert_eq!(ids(&leased.unwrap()), [format!("id-{n}")]);
    }
    redis.call(&["XADD", &options.name, "*", "json", r#"{"tx_id":"foreign"}"#]).unwrap();
    assert_eq!(ids(&take(&consumer, 1).await), ["foreign"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_to_block_is_polled() {
    let redis = Redis::start().unwrap();
    redis.call(&["ACL", "SETUSER", "default", "-xread"]).unwrap();
    let options = options(&redis.address(), true, 4);
    let consumer = RedisBuffer::open(options.clone()).await.unwrap();
    let producer = RedisBuffer::open(options).await.unwrap();
    let before = scripts_run(&redis);
    let (leased, ()) = tokio::join!(consumer.lease(10, 2 * place::PATIENCE), async {
        let polls = || async { scripts_run(&redis) - before };
        until("it polls", polls, |polls| *polls > 20).await;
        producer.offer(&events(0..1)).await.unwrap();
    });
    assert_eq!(ids(&leased.unwrap()), ["id-0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_ask_for_consumers_finds_what_was_pending_all_the_same() {
    let redis = Redis::start().unwrap();
    redis.call(&["ACL", "SETUSER", "default", "-xinfo"]).unwrap();
    let options = Options { lease_ms: 1_000, ..options(&redis.address(), true, 1) };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..2)).await.unwrap();
    let shard = format!("{{{}}}:0", options.name);
    let read = ["XREADGROUP", "GROUP", "forebay", "stranger", "STREAMS", &shard, ">"];
    redis.call(&read).unwrap();
    assert_eq!(ids(&take(&buffer, 2).await), ["id-0", "id-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_left_on_the_stage_is_nobodys_event_and_goes() {
    let options = options(&redis().address(), false, 4);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    let stage = format!("{{{}}}:stage", options.name);
    redis().call(&["LPUSH", &stage, "left", "behind"]).unwrap();
    buffer.offer(&events(0..3)).await.unwrap();
    assert_eq!(ids(&take(&buffer, 3).await), ["id-0", "id-1", "id-2"]);
    redis().call(&["LPUSH", &stage, "left", "behind"]).unwrap();
    assert!(buffer.lease(1, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(redis().call(&["EXISTS", &stage]).unwrap().integer(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_wait_outlive_the_loss_of_what_the_buffer_knows_of_itself() {
    let options = options(&redis().address(), false, 4);
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    for n in 0..6 {
        if n == 3 {
            redis().call(&["DEL", &format!("{{{}}}:meta", options.name)]).unwrap();
        }
        // More than what joins the block before.
        buffer.offer(&events(n * 20..n * 20 + 20)).await.unwrap();
    }
    let expected: Vec<String> = (0..120).map(|n| format!("id-{n}")).collect();
    assert_eq!(ids(&take(&buffer, 120).await), expected);
}
