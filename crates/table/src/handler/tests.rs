use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buffer::memory::{self, Memory};
use buffer::{Buffer, Receipt};
use engine::Handler as _;
use model::clock::{Clock, Manual};
use store::tables::{Bound, Mode, Takes, Value};
use tokio::sync::Semaphore;

use super::*;
use crate::definition::tests::{prices, stamped};
use crate::{Found, Source, sweep};

const NOW: i64 = 1_772_334_000_000;

/// A table in memory: refuses prices below 0, and can be held up or be away.
struct Fake {
    definition: Definition,
    rows: Mutex<BTreeMap<String, Record>>,
    away: Mutex<bool>,
    reads: AtomicUsize,
    /// What its column `sku` takes.
    characters_max: AtomicUsize,
    /// A read waits for a permit, after it has looked.
    gate: Semaphore,
    writes: Mutex<Vec<usize>>,
}

impl Fake {
    fn new(definition: &Definition) -> Arc<Self> {
        Arc::new(Self {
            definition: definition.clone(),
            rows: Mutex::default(),
            away: Mutex::new(false),
            reads: AtomicUsize::new(0),
            characters_max: AtomicUsize::new(255),
            gate: Semaphore::new(1_000_000),
            writes: Mutex::default(),
        })
    }

    fn price(&self, key: &str) -> Option<String> {
        match &self.rows.lock().unwrap().get(key)?[2] {
            Value::Numeric(price) => Some(price.clone()),
            _ => None,
        }
    }
}

#[async_trait]
impl Table for Fake {
    async fn write(&self, rows: Vec<Record>) -> Result<Vec<Written>, Error> {
        if *self.away.lock().unwrap() {
            return Err(Error::Unavailable("away".into()));
        }
        let bad = |row: &Record| matches!(&row[2], Value::Numeric(price) if price.starts_with('-'));
        if rows.iter().any(bad) {
            return Err(Error::Refused("price is below 0".into()));
        }
        self.writes.lock().unwrap().push(rows.len());
        let target = &self.definition.target;
        let mut there = self.rows.lock().unwrap();
        let write = |row: Record| {
            let key = crate::key::show(&target.key(&row));
            match there.get(&key) {
                Some(old) if target.mode == Mode::Insert && *old == row => Written::Same,
                Some(_) if target.mode == Mode::Insert => Written::Another("it differs".into()),
                Some(old) if target.version(old) >= target.version(&row) => Written::Older,
                _ => {
                    there.insert(key, row);
                    Written::Written
                }
            }
        };
        Ok(rows.into_iter().map(write).collect())
    }

    async fn read(&self, key: Vec<Value>) -> Result<Option<Record>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if *self.away.lock().unwrap() {
            return Err(Error::Unavailable("away".into()));
        }
        let found = self.rows.lock().unwrap().get(&crate::key::show(&key)).cloned();
        self.gate.acquire().await.unwrap().forget();
        Ok(found)
    }

    async fn problems(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn bounds(&self) -> Result<Vec<Bound>, Error> {
        if *self.away.lock().unwrap() {
            return Err(Error::Unavailable("away".into()));
        }
        let max = self.characters_max.load(Ordering::SeqCst);
        let takes = Takes::Characters { max, in_key: true };
        let shown = format!("varchar({max})");
        let open = Bound { not_null: false, takes: Takes::All, shown: "open".into() };
        Ok(vec![Bound { not_null: true, takes, shown }, open.clone(), open.clone(), open])
    }

    async fn rows(&self) -> Result<u64, Error> {
        Ok(self.rows.lock().unwrap().len() as u64)
    }

    async fn create(&self) -> Result<bool, Error> {
        Ok(false)
    }
}

struct Rig {
    store: Arc<Fake>,
    front: Front,
    buffer: Arc<dyn Buffer>,
    lane: Box<dyn engine::Lane>,
    clock: Manual,
}

fn rig_of(definition: Definition, informed: bool) -> Rig {
    rig_with(definition, informed, crate::Options::default())
}

fn rig_with(definition: Definition, informed: bool, options: crate::Options) -> Rig {
    let store = Fake::new(&definition);
    rig_on(store, definition, informed, options, None, NOW)
}

/// A process on `store` whose clock says `now_ms`.
fn rig_on(
    store: Arc<Fake>,
    definition: Definition,
    informed: bool,
    options: crate::Options,
    mark: Option<crate::Mark>,
    now_ms: i64,
) -> Rig {
    let clock = Manual::at(now_ms);
    let inner: Arc<dyn Buffer> =
        Arc::new(Memory::new(memory::Options::default(), Arc::new(clock.clone())));
    let shown = Arc::new(clock.clone());
    let front = Front::new(definition.clone(), inner, store.clone(), shown, options, mark);
    let handler =
        Handler::new("table:prices", definition, store.clone(), informed.then(|| front.clone()));
    Rig { store, buffer: front.buffer(), lane: handler.lane(), front, clock }
}

fn rig() -> Rig {
    rig_of(prices(), true)
}

impl Rig {
    /// PUT.
    async fn put(&self, path: &str, json: &str) {
        let event = self.front.event(json.as_bytes(), Some(path)).unwrap();
        self.buffer.offer(&[event]).await.unwrap();
    }

    async fn price(&self, path: &str, price: &str, version: i64) {
        self.put(path, &format!("{{\"price\":{price},\"version\":{version}}}")).await;
    }

    /// GET: the price, and where it came from.
    async fn get(&self, path: &str) -> (Option<String>, Source) {
        let Found { row, source } = self.front.get(path).await.unwrap();
        let price = row.map(|row| {
            let row: serde_json::Value = serde_json::from_slice(&row).unwrap();
            row["price"].as_str().unwrap_or("null").to_owned()
        });
        (price, source)
    }

    async fn lease(&self) -> Vec<Envelope> {
        self.buffer.lease(1_000, Duration::ZERO).await.unwrap()
    }

    /// Settles a batch as the engine does, and acks it.
    async fn settle(&mut self, batch: &[Envelope]) -> Vec<Outcome> {
        let outcomes = self.lane.settle(batch).await.unwrap();
        let receipts: Vec<Receipt> = batch.iter().map(|envelope| envelope.receipt).collect();
        self.buffer.ack(&receipts).await.unwrap();
        outcomes
    }
}

fn from(price: &str, source: Source) -> (Option<String>, Source) {
    (Some(price.to_owned()), source)
}

#[tokio::test]
async fn what_was_put_is_read_at_once_and_is_in_the_table_after_the_batch() {
    let mut rig = rig();
    rig.price("7,a", "1.50", 1).await;
    assert_eq!(rig.get("7,a").await, from("1.50", Source::Buffer));
    assert_eq!(rig.store.price("7,a"), None);
    let batch = rig.lease().await;
    assert_eq!(rig.settle(&batch).await, [Outcome::Settled]);
    assert_eq!(rig.store.price("7,a").as_deref(), Some("1.50"));
    assert_eq!(rig.get("7,a").await, from("1.50", Source::Cache));
    rig.clock.advance(5_000);
    assert_eq!(rig.get("7,a").await, from("1.50", Source::Store));
    assert_eq!(rig.get("7,b").await, (None, Source::Store));
    assert_eq!(rig.get("7,b").await, (None, Source::Cache));
}

#[tokio::test]
async fn several_writes_of_a_key_in_a_batch_become_one_row() {
    let mut rig = rig();
    for version in 1..=5 {
        rig.price("7,a", &format!("{version}"), version).await;
    }
    rig.price("7,b", "9", 1).await;
    let batch = rig.lease().await;
    assert_eq!(rig.settle(&batch).await, vec![Outcome::Settled; 6]);
    assert_eq!(*rig.store.writes.lock().unwrap(), [2]);
    assert_eq!(rig.store.price("7,a").as_deref(), Some("5"));
}

#[tokio::test]
async fn an_older_write_that_is_redelivered_after_a_newer_one_changes_nothing() {
    let mut rig = rig();
    rig.price("7,a", "1", 1).await;
    let older = rig.lease().await;
    rig.lane.settle(&older).await.unwrap();
    // Its ack is lost; meanwhile a newer one is settled and acked.
    rig.price("7,a", "2", 2).await;
    let newer = rig.lease().await;
    rig.settle(&newer).await;
    assert_eq!(rig.settle(&older).await, [Outcome::Duplicate]);
    assert_eq!(rig.store.price("7,a").as_deref(), Some("2"));
    assert_eq!(rig.get("7,a").await.0.as_deref(), Some("2"));
    // A client that sends the older one anew is told the newer one as well.
    rig.price("7,a", "1", 1).await;
    assert_eq!(rig.get("7,a").await.0.as_deref(), Some("2"));
    rig.clock.advance(10_000);
    rig.price("7,a", "1", 1).await;
    assert_eq!(rig.get("7,a").await.0.as_deref(), Some("2"), "the cache has forgotten it");
    let batch = rig.lease().await;
    assert_eq!(rig.settle(&batch).await, vec![Outcome::Duplicate; 2]);
    assert_eq!(rig.store.price("7,a").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_bad_row_is_refused_with_the_reason_and_read_no_more_once_it_is_buried() {
    let mut rig = rig();
    rig.price("7,a", "-1", 1).await;
    rig.price("7,b", "1", 1).await;
    let batch = rig.lease().await;
    let whole = rig.lane.settle(&batch).await.unwrap_err();
    let refused = Failure::Refused("price is below 0".into());
    assert_eq!(whole, refused, "the engine bisects");
    assert_eq!(rig.lane.settle(&batch[..1]).await, Err(refused));
    assert_eq!(rig.settle(&batch[1..]).await, [Outcome::Settled]);
    assert_eq!(rig.get("7,a").await.1, Source::Buffer, "it may still be written");
    rig.lane.buried(&batch[0]);
    assert_eq!(rig.get("7,a").await, (None, Source::Store));
    assert_eq!(rig.get("7,b").await, from("1", Source::Cache));
}

#[tokio::test]
async fn what_is_no_row_is_rejected_by_column_and_its_neighbours_settle() {
    let mut rig = rig();
    let event = model::Event::new(b"foreign", b"k", br#"{"sku":"a","shop":"x","version":1}"#);
    rig.buffer.offer(&[event.unwrap()]).await.unwrap();
    rig.price("7,b", "1", 1).await;
    let batch = rig.lease().await;
    let outcomes = rig.settle(&batch).await;
    let reason = "shop: must be a whole number of 64 bits";
    assert_eq!(outcomes, [Outcome::Rejected(reason.into()), Outcome::Settled]);
}

#[tokio::test]
async fn an_insert_that_comes_again_is_a_duplicate_and_another_one_is_rejected() {
    let mut definition = prices();
    definition.target.mode = Mode::Insert;
    let mut rig = rig_of(definition, true);
    rig.price("7,a", "1.5", 1).await;
    let first = rig.lease().await;
    rig.settle(&first).await;
    assert_eq!(rig.settle(&first).await, [Outcome::Duplicate]);
    rig.price("7,a", "1.5", 1).await;
    rig.price("7,a", "2", 1).await;
    rig.price("7,b", "3", 1).await;
    rig.price("7,b", "3", 1).await;
    rig.price("7,b", "4", 1).await;
    assert_eq!(rig.get("7,a").await.0.as_deref(), Some("1.5"), "the first one stands");
    let batch = rig.lease().await;
    let outcomes = rig.settle(&batch).await;
    let conflict = |outcome: &Outcome| match outcome {
        Outcome::Rejected(reason) => reason.contains("another row of this key (it differs)"),
        _ => false,
    };
    assert_eq!(outcomes[0], Outcome::Duplicate);
    assert!(conflict(&outcomes[1]), "{outcomes:?}");
    assert_eq!(outcomes[2..4], [Outcome::Settled, Outcome::Duplicate]);
    assert!(conflict(&outcomes[4]), "{outcomes:?}");
    assert_eq!(rig.store.price("7,b").as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_readers_cost_one_query() {
    let rig = rig();
    rig.store.rows.lock().unwrap().insert(
        "7,a".into(),
        vec![
            Value::Text("a".into()),
            Value::Bigint(7),
            Value::Numeric("1".into()),
            Value::Bigint(1),
        ],
    );
    rig.store.gate.forget_permits(1_000_000);
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let front = rig.front.clone();
            tokio::spawn(async move { front.get("7,a").await.unwrap().row.unwrap() })
        })
        .collect();
    while rig.store.reads.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The one who asked first goes away; the others are told all the same.
    readers[0].abort();
    rig.store.gate.add_permits(1_000);
    for reader in readers.into_iter().skip(1) {
        assert!(reader.await.unwrap().starts_with(b"{\"sku\":\"a\""));
    }
    assert_eq!(rig.store.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_the_store_is_away_writes_are_read_and_nothing_is_blamed() {
    let mut rig = rig();
    *rig.store.away.lock().unwrap() = true;
    rig.price("7,a", "1", 1).await;
    assert_eq!(rig.get("7,a").await, from("1", Source::Buffer));
    assert!(matches!(rig.front.get("7,b").await, Err(crate::Failure::Store(_))));
    let batch = rig.lease().await;
    assert_eq!(rig.lane.settle(&batch).await, Err(Failure::Unavailable("away".into())));
    *rig.store.away.lock().unwrap() = false;
    assert_eq!(rig.settle(&batch).await, [Outcome::Settled]);
    assert_eq!(rig.get("7,a").await, from("1", Source::Cache));
}

#[tokio::test]
async fn what_another_process_settles_is_read_from_the_store_after_it_left_the_buffer() {
    let mut rig = rig_of(prices(), false);
    rig.price("7,a", "1", 1).await;
    rig.clock.advance(10);
    let batch = rig.lease().await;
    sweep::once(rig.front.shared()).await;
    assert_eq!(rig.get("7,a").await, from("1", Source::Buffer), "the buffer still holds it");
    rig.settle(&batch).await;
    sweep::once(rig.front.shared()).await;
    assert_eq!(rig.front.shared().known.pending(), 0);
    rig.clock.advance(5_000);
    assert_eq!(rig.get("7,a").await, from("1", Source::Store));
}

#[tokio::test]
async fn what_the_buffer_held_at_the_start_is_read_unless_the_store_has_something_newer() {
    let rig = rig();
    let event = |price: &str, version: i64| {
        let json = format!("{{ \"price\": {price}, \"version\": {version} }}");
        rig.front.event(json.as_bytes(), Some("7,a")).unwrap()
    };
    assert!(rig.front.remember(&event("1", 1), NOW));
    assert!(rig.front.remember(&event("2", 2), NOW));
    assert_eq!(rig.get("7,a").await, from("2", Source::Buffer));
    let newer = vec![
        Value::Text("b".into()),
        Value::Bigint(7),
        Value::Numeric("9".into()),
        Value::Bigint(9),
    ];
    rig.store.rows.lock().unwrap().insert("7,b".into(), newer);
    let older = rig.front.event(b"{\"price\":1,\"version\":8}", Some("7,b")).unwrap();
    assert!(rig.front.remember(&older, NOW));
    assert_eq!(rig.get("7,b").await.0.as_deref(), Some("9"));
}

#[tokio::test]
async fn stamped_versions_grow_though_the_clock_stands_still_or_goes_back() {
    let mut rig = rig_of(stamped(), true);
    for price in ["1", "2", "3"] {
        rig.put("7,a", &format!("{{\"price\":{price}}}")).await;
    }
    rig.clock.set_wall(-60_000);
    rig.put("7,a", "{\"price\":4}").await;
    assert_eq!(rig.get("7,a").await, from("4", Source::Buffer));
    let batch = rig.lease().await;
    rig.settle(&batch).await;
    assert_eq!(rig.store.price("7,a").as_deref(), Some("4"));
    assert!(rig.clock.now_ms() < NOW);
}

#[tokio::test]
async fn past_the_bound_of_what_is_pending_writes_are_refused() {
    let clock = Manual::at(NOW);
    let inner: Arc<dyn Buffer> =
        Arc::new(Memory::new(memory::Options::default(), Arc::new(clock.clone())));
    let options = crate::Options { pending_max: 2, ..crate::Options::default() };
    let store = Fake::new(&prices());
    let front = Front::new(prices(), inner.clone(), store, Arc::new(clock), options, None);
    let offer = async |sku: &str, version: i64| {
        let json = format!("{{\"version\":{version}}}");
        let event = front.event(json.as_bytes(), Some(&format!("7,{sku}"))).unwrap();
        front.buffer().offer(&[event]).await
    };
    offer("a", 1).await.unwrap();
    offer("a", 2).await.unwrap();
    offer("b", 1).await.unwrap();
    assert!(matches!(offer("c", 1).await, Err(buffer::Error::Full { .. })));
    assert_eq!(inner.depth().await.unwrap().ready, 3, "what was refused is not in the buffer");
}

/// The price that is read; `None` where the store cannot be asked and there is no answer without it.
async fn price_of(rig: &Rig, path: &str) -> Option<String> {
    let found = rig.front.get(path).await.ok()?;
    let row: serde_json::Value = serde_json::from_slice(&found.row?).unwrap();
    row["price"].as_str().map(str::to_owned)
}

impl Rig {
    fn is_away(&self, away: bool) {
        *self.store.away.lock().unwrap() = away;
    }

    /// Writes a row and settles it.
    async fn price_settled(&mut self, path: &str, price: &str, version: i64) {
        self.price(path, price, version).await;
        let batch = self.lease().await;
        self.settle(&batch).await;
    }
}

#[tokio::test]
async fn an_older_write_hides_no_row_that_was_shown_while_the_store_is_away() {
    let mut rig = rig();
    rig.price_settled("7,a", "5", 5).await;
    assert_eq!(rig.get("7,a").await, from("5", Source::Cache));
    rig.clock.advance(6_000);
    rig.price("7,a", "4", 4).await;
    rig.is_away(true);
    assert_eq!(rig.get("7,a").await, from("5", Source::Cache));
    rig.is_away(false);
    assert_eq!(rig.get("7,a").await, from("5", Source::Store));
    let batch = rig.lease().await;
    assert_eq!(rig.settle(&batch).await, [Outcome::Duplicate]);
    // What the settled older write leaves is known as well.
    rig.clock.advance(6_000);
    rig.price("7,a", "3", 3).await;
    rig.is_away(true);
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("5"));
    // A newer write is read at once, as ever.
    rig.price("7,a", "6", 6).await;
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("6"));
}

#[tokio::test]
async fn an_older_write_that_was_accepted_while_the_row_was_cached_hides_it_no_more_than_later() {
    let mut rig = rig();
    rig.price_settled("7,a", "5", 5).await;
    rig.price("7,a", "4", 4).await;
    rig.clock.advance(6_000);
    rig.is_away(true);
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("5"));
}

#[tokio::test]
async fn what_was_shown_before_another_process_settled_it_is_hidden_by_no_older_write() {
    let mut rig = rig_of(prices(), false);
    rig.price("7,a", "7", 7).await;
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("7"));
    rig.clock.advance(10);
    let batch = rig.lease().await;
    rig.settle(&batch).await;
    sweep::once(rig.front.shared()).await;
    assert_eq!(rig.front.shared().known.pending(), 0);
    rig.price("7,a", "6", 6).await;
    rig.is_away(true);
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_row_that_another_process_buried_hides_no_write_once_the_store_was_asked() {
    let rig = rig_of(prices(), false);
    rig.price("7,a", "7", 7).await;
    rig.clock.advance(10);
    let batch = rig.lease().await;
    rig.buffer.bury(&[(batch[0].receipt, "bad".into())]).await.unwrap();
    sweep::once(rig.front.shared()).await;
    // The mended row bears the same version.
    rig.price("7,a", "8", 7).await;
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("8"));
    rig.is_away(true);
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("8"));
}

#[tokio::test]
async fn past_the_bound_of_the_cache_an_older_write_is_not_taken_for_the_newest() {
    let options = crate::Options { cache_entries_max: 0, ..crate::Options::default() };
    let mut rig = rig_with(prices(), true, options);
    rig.price_settled("7,a", "5", 5).await;
    assert_eq!(rig.get("7,a").await, from("5", Source::Store));
    rig.price("7,a", "4", 4).await;
    rig.is_away(true);
    assert_eq!(price_of(&rig, "7,a").await, None, "a newer row may have been shown");
    rig.price("7,a", "6", 6).await;
    assert_eq!(price_of(&rig, "7,a").await.as_deref(), Some("6"), "no newer row was shown");
    rig.is_away(false);
    rig.price("7,b", "1", 1).await;
    assert_eq!(price_of(&rig, "7,b").await.as_deref(), Some("1"));
}

/// A process that stamps, with its mark in `folder`, on `store`.
fn stamping(store: &Arc<Fake>, folder: &Path, now_ms: i64) -> Rig {
    let mark = crate::Mark::open(&folder.join("prices")).unwrap();
    rig_on(store.clone(), stamped(), true, crate::Options::default(), Some(mark), now_ms)
}

#[tokio::test]
async fn a_stamped_write_after_a_restart_with_the_clock_set_back_is_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fake::new(&stamped());
    let mut rig = stamping(&store, folder.path(), NOW + 3_000);
    rig.put("7,a", "{\"price\":1}").await;
    let batch = rig.lease().await;
    rig.settle(&batch).await;
    drop(rig);
    let mut rig = stamping(&store, folder.path(), NOW);
    rig.put("7,a", "{\"price\":2}").await;
    assert_eq!(rig.get("7,a").await, from("2", Source::Buffer));
    let batch = rig.lease().await;
    assert_eq!(rig.settle(&batch).await, [Outcome::Settled]);
    assert_eq!(store.price("7,a").as_deref(), Some("2"));
    rig.clock.advance(7_000);
    assert_eq!(rig.get("7,a").await, from("2", Source::Store));
}

#[tokio::test]
async fn nothing_is_accepted_under_a_stamp_that_cannot_be_remembered() {
    let mark = crate::Mark::open(Path::new("/dev/full")).unwrap();
    let store = Fake::new(&stamped());
    let rig = rig_on(store, stamped(), true, crate::Options::default(), Some(mark), NOW);
    let event = rig.front.event(b"{\"price\":1}", Some("7,a")).unwrap();
    let refused = rig.buffer.offer(&[event]).await.unwrap_err();
    assert!(refused.to_string().contains("cannot write the stamp mark /dev/full"), "{refused}");
    assert_eq!(rig.buffer.depth().await.unwrap().ready, 0);
}

#[tokio::test]
async fn stamps_follow_what_is_read_unless_it_is_a_day_ahead() {
    let rig = rig_of(stamped(), true);
    let store = |path: &str, sku: &str, version: i64| {
        let (sku, price) = (Value::Text(sku.into()), Value::Numeric("1".into()));
        let row = vec![sku, Value::Bigint(7), price, Value::Bigint(version)];
        rig.store.rows.lock().unwrap().insert(path.into(), row);
    };
    let day_us = 86_400_000_000;
    store("7,ahead", "ahead", NOW * 1_000 + day_us);
    store("7,beyond", "beyond", NOW * 1_000 + day_us + 1);
    rig.get("7,beyond").await;
    assert_eq!(rig.front.shared().stamp(), NOW * 1_000);
    rig.get("7,ahead").await;
    assert_eq!(rig.front.shared().stamp(), NOW * 1_000 + day_us + 1);
}

#[tokio::test]
async fn a_row_that_the_table_is_known_to_refuse_is_refused_and_a_changed_table_is_noticed() {
    let rig = rig();
    rig.store.characters_max.store(3, Ordering::SeqCst);
    let event = |sku: &str| {
        let json = format!("{{\"sku\":\"{sku}\",\"shop\":7,\"version\":1}}");
        rig.front.event(json.as_bytes(), None)
    };
    *rig.store.away.lock().unwrap() = true;
    assert!(rig.front.learn_bounds().await.is_err());
    event("long").expect("nothing is known of the table yet");
    *rig.store.away.lock().unwrap() = false;
    rig.front.learn_bounds().await.unwrap();
    let problem = "sku: is 4 characters; must be at most 3, since the column is varchar(3)";
    assert_eq!(event("long").unwrap_err().to_string(), problem);
    event("abc").unwrap();
    rig.store.characters_max.store(4, Ordering::SeqCst);
    rig.clock.advance(59_999);
    rig.front.learn_bounds().await.unwrap();
    event("long").expect_err("it is not asked all the time");
    rig.clock.advance(1);
    rig.front.learn_bounds().await.unwrap();
    event("long").unwrap();
}
