//! Several processes lease from one buffer: each shard has one owner at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::place;
use crate::place::{ids, options, owned, receipts, take, until};
use buffer::{Buffer, Envelope};
use buffer_redis::{Options, RedisBuffer, inspect};
use model::Event;
use testbed::{Proxy, Redis, Reply};
use tokio::task::JoinHandle;

fn redis() -> &'static Redis {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    REDIS.get_or_init(|| Redis::start().unwrap())
}

const KEYS: usize = 40;

/// The order events must be done in, and who does what: told by every process as it works.
#[derive(Default)]
struct Ledger {
    /// Which number of each key is to be done next.
    next: BTreeMap<Vec<u8>, usize>,
    /// Which process holds events of a key, and how many.
    holders: BTreeMap<Vec<u8>, (usize, usize)>,
    /// The terms under which a process did a key's events, in turn.
    terms: BTreeMap<Vec<u8>, Vec<(usize, u64)>>,
    done: BTreeSet<Vec<u8>>,
    wrong: Vec<String>,
}

impl Ledger {
    fn begin(&mut self, who: usize, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let key = envelope.event.key().to_vec();
            let holder = self.holders.entry(key).or_insert((who, 0));
            if holder.0 != who && holder.1 > 0 {
                self.wrong.push(format!("{who} was given what {} holds", holder.0));
            }
            *holder = (who, holder.1 + 1);
            let turns = self.terms.entry(envelope.event.key().to_vec()).or_default();
            if turns.last() != Some(&(who, envelope.term)) {
                turns.push((who, envelope.term));
            }
        }
    }

    fn end(&mut self, who: usize, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let n: usize = String::from_utf8_lossy(envelope.event.payload()).parse().unwrap();
            let next = self.next.entry(envelope.event.key().to_vec()).or_default();
            if n > *next {
                let key = String::from_utf8_lossy(envelope.event.key()).into_owned();
                self.wrong.push(format!("{key}: {n} was done while {next} was next"));
            }
            *next = (*next).max(n + 1);
            self.done.insert(envelope.event.id().to_vec());
            let holder = self.holders.get_mut(envelope.event.key()).unwrap();
            if holder.0 == who {
                holder.1 -= 1;
            }
        }
    }

    /// It holds nothing any more.
    fn died(&mut self, who: usize) {
        for holder in self.holders.values_mut().filter(|holder| holder.0 == who) {
            holder.1 = 0;
        }
    }
}

/// A process: leases, works a little, acks.
fn work(who: usize, buffer: &Arc<RedisBuffer>, ledger: &Arc<Mutex<Ledger>>) -> JoinHandle<()> {
    let (buffer, ledger) = (Arc::clone(buffer), Arc::clone(ledger));
    tokio::spawn(async move {
        loop {
            let leased = buffer.lease(20, Duration::from_millis(50)).await.unwrap();
            ledger.lock().unwrap().begin(who, &leased);
            tokio::time::sleep(Duration::from_millis(3)).await;
            // They are done before they are acked: as soon as they are, others may have the key.
            ledger.lock().unwrap().end(who, &leased);
            buffer.ack(&receipts(&leased)).await.unwrap();
        }
    })
}

fn batch(round: usize) -> Vec<Event> {
    (0..KEYS)
        .map(|key| {
            let id = format!("{key}-{round}");
            let key = format!("key-{key}");
            Event::new(id.as_bytes(), key.as_bytes(), round.to_string().as_bytes()).unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_come_and_die_and_each_key_stays_in_order_with_one_of_them() {
    for stream in [false, true] {
        // A machine that stands still for a moment is not to make strangers of them.
        let options = Options { member_ms: 4_000, ..options(&redis().address(), stream, 16) };
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let open = || async { Arc::new(RedisBuffer::open(options.clone()).await.unwrap()) };
        let (first, second) = (open().await, open().await);
        let producer = open().await;
        let offering = tokio::spawn(async move {
            for round in 0..400 {
                producer.offer(&batch(round)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let workers = [work(1, &first, &ledger), work(2, &second, &ledger)];
        until("two share", || owned(&options), |owned| *owned == [8, 8]).await;

        let third = open().await;
        let third_worker = work(3, &third, &ledger);
        until("three share", || owned(&options), |owned| *owned == [4, 6, 6]).await;

        // A process dies in the middle of its work: it neither closes nor says anything.
        workers[0].abort();
        let _ = { workers }.into_iter().next().unwrap().await;
        ledger.lock().unwrap().died(1);
        drop(first);
        until("two share again", || owned(&options), |owned| *owned == [8, 8]).await;

        offering.await.unwrap();
        let done = || async { ledger.lock().unwrap().done.len() };
        until("all is done", done, |done| *done == 400 * KEYS).await;
        let settled = || async { second.depth().await.unwrap() };
        until("nothing is held", settled, |depth| depth.ready + depth.leased == 0).await;
        third_worker.abort();
        let ledger = ledger.lock().unwrap();
        assert_eq!(ledger.wrong, Vec::<String>::new());
        // Whoever gets a key again after another had it gets it under another term.
        for turns in ledger.terms.values() {
            assert!(turns.iter().all(|(_, term)| *term > 0));
            let unlike: BTreeSet<_> = turns.iter().collect();
            assert_eq!(unlike.len(), turns.len(), "a term came twice: {turns:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_not_heard_of_is_fenced_and_its_receipts_do_nothing() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        let proxy = Proxy::start(&redis().address()).unwrap();
        let cut_off = Options { server: place::server(&proxy.address()), ..options.clone() };
        let silent =
            RedisBuffer::open(Options { response_timeout_ms: 300, ..cut_off }).await.unwrap();
        silent.offer(&place::events(0..10)).await.unwrap();
        let lost = take(&silent, 10).await;

        proxy.set(testbed::Fault::HalfOpen);
        let other = RedisBuffer::open(options.clone()).await.unwrap();
        let taken = take(&other, 10).await;
        assert_eq!(ids(&taken), ids(&lost));
        assert!(taken.iter().all(|envelope| envelope.attempt == 2));

        proxy.set(testbed::Fault::None);
        proxy.cut();
        let burial = [(lost[0].receipt, "not mine".to_owned())];
        let stale = receipts(&lost);
        // Until the way is there again, these may fail; what they must never do is act.
        let acked = until("it answers", || silent.ack(&stale), Result::is_ok).await;
        assert_eq!(acked.unwrap(), 0);
        let buried = until("it answers", || silent.bury(&burial), Result::is_ok).await;
        assert_eq!(buried.unwrap(), 0);
        let hour = Duration::from_secs(3600);
        let extended = until("it answers", || silent.extend(&stale, hour), Result::is_ok);
        assert_eq!(extended.await.unwrap(), 0);
        let released = until("it answers", || silent.release(&stale, hour), Result::is_ok).await;
        assert_eq!(released.unwrap(), 0);
        assert_eq!(other.depth().await.unwrap().leased, 10);
        // Given back by the other, they are still not those the stale receipts name.
        assert_eq!(other.release(&receipts(&taken[..1]), hour).await.unwrap(), 1);
        let acked = until("it answers", || silent.ack(&stale), Result::is_ok).await;
        assert_eq!(acked.unwrap(), 0);
        assert_eq!(other.ack(&receipts(&taken)).await.unwrap(), 9);

        // It is a member again, under another name and another term.
        // Each connection that was cut is found out when it is used next.
        let lease = || silent.lease(1, Duration::from_secs(1));
        let (_, came) = tokio::join!(until("it leases", lease, Result::is_ok), async {
            until("both are members", || owned(&options), |owned| *owned == [2, 2]).await
        });
        assert_eq!(came, [2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_closes_leaves_its_shards_at_once_and_what_it_held_comes_again() {
    for stream in [false, true] {
        // So long that only leaving, and no timeout, can be what gives them back.
        let options = Options {
            member_ms: 3_600_000,
            lease_ms: 3_600_000,
            ..options(&redis().address(), stream, 4)
        };
        let first = RedisBuffer::open(options.clone()).await.unwrap();
        first.offer(&place::events(0..10)).await.unwrap();
        let held = take(&first, 4).await;
        first.close().await.unwrap();
        let second = RedisBuffer::open(options.clone()).await.unwrap();
        let taken = take(&second, 10).await;
        assert_eq!(taken.len(), 10);
        assert_eq!(first.ack(&receipts(&held)).await.unwrap(), 0, "another has them");
        assert_eq!(second.ack(&receipts(&taken)).await.unwrap(), 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_only_offers_takes_no_shard() {
    let options = options(&redis().address(), false, 4);
    let producer = RedisBuffer::open(options.clone()).await.unwrap();
    producer.offer(&place::events(0..5)).await.unwrap();
    let consumer = RedisBuffer::open(options.clone()).await.unwrap();
    assert_eq!(take(&consumer, 5).await.len(), 5);
    assert_eq!(owned(&options).await, [4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_of_which_something_is_held_is_not_given_up() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        let options = Options { lease_ms: 60_000, ..options };
        let first = RedisBuffer::open(options.clone()).await.unwrap();
        first.offer(&place::events(0..20)).await.unwrap();
        let held = take(&first, 20).await;
        first.offer(&place::events(20..40)).await.unwrap();
        let second = RedisBuffer::open(options.clone()).await.unwrap();
        // Far longer than it takes to spread the shards when nothing is held.
        assert!(second.lease(20, Duration::from_secs(3)).await.unwrap().is_empty());
        assert_eq!(owned(&options).await, [0, 4]);
        assert_eq!(first.ack(&receipts(&held)).await.unwrap(), 20);
        until("they share", || owned(&options), |owned| *owned == [2, 2]).await;
        assert_eq!(take(&second, 1).await[0].attempt, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_goes_to_another_process_is_waited_for_one_lease_though_its_events_are_held_on()
 {
    for stream in [false, true] {
        let options = Options { lease_ms: 1_500, ..options(&redis().address(), stream, 4) };
        let first = Arc::new(RedisBuffer::open(options.clone()).await.unwrap());
        first.offer(&place::events(0..20)).await.unwrap();
        let held = take(&*first, 20).await;
        let (keeper, kept) = (Arc::clone(&first), receipts(&held));
        let keeping = tokio::spawn(async move {
            loop {
                keeper.extend(&kept, Duration::from_millis(1_500)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        first.offer(&place::events(20..40)).await.unwrap();
        let second = RedisBuffer::open(options.clone()).await.unwrap();
        let began = tokio::time::Instant::now();
        let leased = take(&second, 1).await;
        assert!(began.elapsed() >= Duration::from_millis(1_000), "{:?}", began.elapsed());
        until("they share", || owned(&options), |owned| *owned == [2, 2]).await;
        assert_eq!(leased[0].attempt, 2, "what was held comes before what was not");
        let lost = first.ack(&receipts(&held)).await.unwrap();
        assert!((1..20).contains(&lost), "{lost} acked of those that it still has");
        keeping.abort();
    }
}

/// The member that holds all shards.
async fn only_member(options: &Options) -> String {
    inspect::distribution(options).await.unwrap().members[0].id.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_was_struck_off_leases_nothing_before_joining_under_another_term() {
    for stream in [false, true] {
        // It hears of it by nothing but what Redis says to a claim.
        let options = Options { member_ms: 3_600_000, ..options(&redis().address(), stream, 4) };
        let key = |part: &str| format!("{{{}}}:{part}", options.name);
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        buffer.offer(&place::events(0..8)).await.unwrap();
        let before = take(&buffer, 4).await;
        let member = only_member(&options).await;
        redis().call(&["ZREM", &key("members"), &member]).unwrap();
        let after = take(&buffer, 4).await;
        assert_ne!(only_member(&options).await, member);
        let terms = |of: &[Envelope]| of.iter().map(|e| e.term).collect::<BTreeSet<_>>();
        assert!(terms(&before).is_disjoint(&terms(&after)));

        // Another living member was given its shards, and it was told nothing.
        let far = (inspect::distribution(&options).await.unwrap().now_ms + 3_600_000).to_string();
        redis().call(&["ZADD", &key("members"), &far, "other"]).unwrap();
        for shard in 0..4 {
            redis().call(&["HSET", &key("shards"), &shard.to_string(), "other"]).unwrap();
        }
        buffer.offer(&place::events(8..20)).await.unwrap();
        let leased = buffer.lease(20, Duration::from_millis(300)).await.unwrap();
        assert_eq!(ids(&leased), Vec::<String>::new());
    }
}

/// The first owner knows that its fresh events wait for those it has given back. The next one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_comes_before_fresh_events_once_another_process_has_the_shard() {
    for stream in [false, true] {
        let options = Options { lease_ms: 60_000, ..options(&redis().address(), stream, 4) };
        let first = RedisBuffer::open(options.clone()).await.unwrap();
        let events: Vec<_> = (0..2_500).map(|n| place::event(&n.to_string(), "key")).collect();
        first.offer(&events[..2_300]).await.unwrap();
        let leased = take(&first, 2_300).await;
        let hour = Duration::from_secs(3_600);
        assert_eq!(first.release(&receipts(&leased), hour).await.unwrap(), 2_300);
        first.offer(&events[2_300..]).await.unwrap();
        first.close().await.unwrap();

        let next = RedisBuffer::open(options).await.unwrap();
        let mut came = Vec::new();
        while came.len() < 2_500 {
            let leased = take(&next, 100).await;
            assert_eq!(next.ack(&receipts(&leased)).await.unwrap(), 100);
            came.extend(ids(&leased));
        }
        let expected: Vec<String> = (0..2_500).map(|n: usize| n.to_string()).collect();
        assert!(came == expected, "out of order: {came:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_receipt_acts_only_while_nobody_has_leased_its_event_since() {
    for stream in [false, true] {
        let options = Options { member_ms: 3_600_000, ..options(&redis().address(), stream, 4) };
        let late = RedisBuffer::open(options.clone()).await.unwrap();
        late.offer(&place::events(0..3)).await.unwrap();
        let lost = take(&late, 3).await;
        let members = format!("{{{}}}:members", options.name);
        redis().call(&["ZREM", &members, &only_member(&options).await]).unwrap();

        // Opening gives back what the lost one held.
        let other = RedisBuffer::open(options.clone()).await.unwrap();
        assert_eq!(late.ack(&[lost[0].receipt]).await.unwrap(), 1, "nobody has it");
        let taken = take(&other, 2).await;
        assert_eq!(
            (ids(&taken), taken[0].attempt),
            (vec!["id-1".to_owned(), "id-2".to_owned()], 2)
        );
        let hour = Duration::from_secs(3600);
        assert_eq!(other.release(&receipts(&taken), hour).await.unwrap(), 2);
        assert_eq!(late.ack(&[lost[1].receipt]).await.unwrap(), 0);
        assert_eq!(late.bury(&[(lost[2].receipt, "late".to_owned())]).await.unwrap(), 0);
        let depth = other.depth().await.unwrap();
        assert_eq!((depth.ready, depth.leased, depth.dead), (2, 0, 0));
    }
}

/// Asks of the group in each shard.
fn of_groups(options: &Options, question: &[&str]) -> Vec<Reply> {
    let ask = |shard| {
        let stream = format!("{{{}}}:{shard}", options.name);
        redis().call(&[question, &[stream.as_str(), "forebay"]].concat()).unwrap()
    };
    (0..options.shards).map(ask).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_kept_for_what_it_held_goes_once_that_is_acked_late() {
    let options = Options { lease_ms: 3_600_000, ..options(&redis().address(), true, 4) };
    let options = Options { member_ms: 4_000, ..options };
    let first = RedisBuffer::open(options.clone()).await.unwrap();
    let (held, member, shard) = hold_six(&options, &first).await;
    first.close().await.unwrap();
    assert_eq!(consumes(&options, &member), [shard]);
    assert_eq!(first.ack(&receipts(&held)).await.unwrap(), 6);

    let second = RedisBuffer::open(options.clone()).await.unwrap();
    assert!(second.lease(1, Duration::ZERO).await.unwrap().is_empty());
    let left = || async { consumes(&options, &member) };
    until("nobody but members is left", left, Vec::is_empty).await;
}

/// In which shards the group has a consumer of this name.
fn consumes(options: &Options, member: &str) -> Vec<usize> {
    let named = |told: &Reply| told.array().iter().any(|one| one.array()[1].text() == Some(member));
    let groups = of_groups(options, &["XINFO", "CONSUMERS"]);
    (0..groups.len()).filter(|shard| named(&groups[*shard])).collect()
}

/// What is pending in each shard: how much, from where to where, and how much of it for whom.
fn pending(options: &Options) -> Vec<Reply> {
    of_groups(options, &["XPENDING"])
}

/// Has a buffer take events of all four shards and ack them, but for the six of one key: these it
/// holds, its name, and the shard they are in.
async fn hold_six(options: &Options, buffer: &RedisBuffer) -> (Vec<Envelope>, String, usize) {
    buffer.offer(&place::events(0..42)).await.unwrap();
    let (held, done): (Vec<_>, Vec<_>) =
        take(buffer, 42).await.into_iter().partition(|one| one.event.key() == b"key-0");
    let member = only_member(options).await;
    assert_eq!(consumes(options, &member), [0, 1, 2, 3]);
    assert_eq!(buffer.ack(&receipts(&done)).await.unwrap(), 36);
    let counts: Vec<_> =
        pending(options).iter().map(|told| told.array()[0].integer().unwrap()).collect();
    assert_eq!(counts.iter().sum::<i64>(), 6, "{counts:?}");
    let shard = counts.iter().position(|count| *count == 6).unwrap();
    (held, member, shard)
}

/// What another one held comes to this one, and nothing is pending once it is acked.
async fn comes_again(options: &Options, held: &[Envelope], buffer: &RedisBuffer) {
    let again = take(buffer, held.len()).await;
    assert_eq!(ids(&again), ids(held));
    assert!(again.iter().all(|envelope| envelope.attempt == 2));
    assert_eq!(buffer.ack(&receipts(&again)).await.unwrap(), held.len());
    assert!(pending(options).iter().all(|told| told.array()[0].integer() == Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_closes_takes_its_consumers_along_but_for_one_that_has_something_pending() {
    // So long that only closing and opening, and no timeout, can be what changes anything.
    let hour = 3_600_000;
    let options = options(&redis().address(), true, 4);
    let options = Options { member_ms: hour, lease_ms: hour, ..options };
    let first = RedisBuffer::open(options.clone()).await.unwrap();
    let (held, member, shard) = hold_six(&options, &first).await;
    let before = pending(&options);
    first.close().await.unwrap();
    // With the consumer Redis would have dropped what is pending for it.
    assert_eq!(consumes(&options, &member), [shard]);
    assert_eq!(pending(&options), before);

    // Whoever opens ends the leases of those who are gone.
    let second = RedisBuffer::open(options.clone()).await.unwrap();
    assert_eq!(consumes(&options, &member), Vec::<usize>::new());
    comes_again(&options, &held, &second).await;
    let member = only_member(&options).await;
    assert!(consumes(&options, &member).contains(&shard));
    second.close().await.unwrap();
    assert_eq!(consumes(&options, &member), Vec::<usize>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumers_of_a_process_that_was_struck_off_go_once_nothing_is_pending_for_them() {
    // Its leases last, so that only its silence can be what brings anything back.
    let options = Options { lease_ms: 3_600_000, ..options(&redis().address(), true, 4) };
    let silent = RedisBuffer::open(options.clone()).await.unwrap();
    let (held, member, _) = hold_six(&options, &silent).await;
    let before = pending(&options);
    drop(silent);
    // However long it is silent, one who only opens strikes nobody off.
    let distribution = || async { inspect::distribution(&options).await.unwrap() };
    let is_over = |seen: &inspect::Distribution| seen.members[0].deadline_ms < seen.now_ms;
    until("it has been silent for too long", distribution, is_over).await;
    let other = RedisBuffer::open(options.clone()).await.unwrap();
    assert_eq!(consumes(&options, &member), [0, 1, 2, 3]);
    assert_eq!(pending(&options), before);

    comes_again(&options, &held, &other).await;
    assert_eq!(consumes(&options, &member), Vec::<usize>::new());
}

/// A worker that gave an event back, and holds later ones of its key, waits for it. So does another process for the
/// shard, until nothing of it is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_is_leased_again_from_a_shard_that_is_to_be_given_up() {
    for stream in [false, true] {
        let options = options(&redis().address(), stream, 4);
        let options = Options { member_ms: 3_000, lease_ms: 60_000, ..options };
        let first = RedisBuffer::open(options.clone()).await.unwrap();
        first.offer(&batch(0)).await.unwrap();
        first.offer(&batch(1)).await.unwrap();
        let leased = take(&first, 2 * KEYS).await;
        let (back, held): (Vec<_>, Vec<_>) =
            leased.into_iter().partition(|envelope| envelope.event.payload() == b"0");
        assert_eq!((back.len(), held.len()), (KEYS, KEYS));

        let second = Arc::new(RedisBuffer::open(options.clone()).await.unwrap());
        let joined = Arc::clone(&second);
        let joining = tokio::spawn(async move { joined.lease(1, Duration::from_secs(60)).await });
        // Nothing can be seen of a shard that is to be given up. Each beat comes after a third of this time.
        tokio::time::sleep(Duration::from_millis(3_000)).await;
        first.release(&receipts(&back), Duration::ZERO).await.unwrap();
        let again = take(&first, KEYS).await;
        assert_eq!(ids(&again), ids(&back));

        first.ack(&receipts(&again)).await.unwrap();
        first.ack(&receipts(&held)).await.unwrap();
        until("two share", || owned(&options), |owned| *owned == [2, 2]).await;
        joining.abort();
    }
}
