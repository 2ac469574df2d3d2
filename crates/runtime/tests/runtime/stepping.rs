//! A process ends, or its buffer fails, between any two steps of adding and removing a pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;
use model::clock::Manual;
use runtime::Entry;
use runtime::fleet::OnFailure;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::rig::{Keeping, PATIENCE, Rig, events, fleet};

const NAME: &str = "table:a";
/// Longer than a lease.
const LEASE_OVER_MS: i64 = 120_000;
const KEYS: usize = 4;
/// How long a batch takes, and one that is not done in time.
const TAKES_MS: u64 = 7;
const HANGS_MS: u64 = 1_000_000_000;

/// A call of the buffer, before it is made or once it is.
type Step = (Call, bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Lease,
    Ack,
    Release,
    Depth,
    Close,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process ends there and then.
    Kill,
    /// The call fails, once.
    Error,
}

const STEPS: [Step; 10] = [
    (Call::Lease, false),
    (Call::Lease, true),
    (Call::Ack, false),
    (Call::Ack, true),
    (Call::Release, false),
    (Call::Release, true),
    (Call::Depth, false),
    (Call::Depth, true),
    (Call::Close, false),
    (Call::Close, true),
];

/// A buffer that outlives its process, as a Redis does, and a fault at one of its steps.
struct Stepping {
    inner: Arc<Keeping>,
    fault: Option<(Step, Fault)>,
    /// Only steps from then on count.
    armed: AtomicBool,
    failed: AtomicBool,
    reached: CancellationToken,
}

impl Stepping {
    fn open(rig: &Rig, fault: Option<(Step, Fault)>) -> Arc<Self> {
        let inner = Keeping::open(&rig.memory);
        let (armed, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { inner, fault, armed, failed, reached: CancellationToken::new() })
    }

    async fn at(&self, call: Call, done: bool) -> Result<(), Error> {
        let Some((step, fault)) = self.fault else { return Ok(()) };
        if step != (call, done) || !self.armed.load(Ordering::SeqCst) {
            return Ok(());
        }
        match fault {
            Fault::Kill => {
                self.reached.cancel();
                std::future::pending().await
            }
            Fault::Error if self.failed.swap(true, Ordering::SeqCst) => Ok(()),
            Fault::Error => {
                self.reached.cancel();
                Err(Error::Unavailable("as scripted".to_owned()))
            }
        }
    }
}

#[async_trait]
impl Buffer for Stepping {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.inner.offer(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.at(Call::Lease, false).await?;
        let leased = self.inner.lease(max, wait).await?;
        if !leased.is_empty() {
            self.at(Call::Lease, true).await?;
        }
        Ok(leased)
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.at(Call::Ack, false).await?;
        let acked = self.inner.ack(receipts).await?;
        self.at(Call::Ack, true).await?;
        Ok(acked)
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.at(Call::Release, false).await?;
        let released = self.inner.release(receipts, delay).await?;
        self.at(Call::Release, true).await?;
        Ok(released)
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.inner.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.inner.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.at(Call::Depth, false).await?;
        let depth = self.inner.depth().await?;
        self.at(Call::Depth, true).await?;
        Ok(depth)
    }

    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.inner.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.at(Call::Close, false).await?;
        self.inner.close().await?;
        self.at(Call::Close, true).await
    }
}

/// A pipeline under test, what was accepted for it so far, and the number of the next events.
struct Case {
    rig: Rig,
    clock: Manual,
    accepted: AtomicUsize,
}

impl Case {
    fn new() -> Self {
        let clock = Manual::at(1_700_000_000_000);
        let rig = Rig::with_clock(NAME, Arc::new(clock.clone()));
        rig.store.takes_ms.store(TAKES_MS, Ordering::SeqCst);
        Self { rig, clock, accepted: AtomicUsize::new(0) }
    }

    /// Offers events one after the other, until the buffer is closed. Never ends.
    async fn offer(&self, buffer: &dyn Buffer) {
        for number in self.accepted.load(Ordering::SeqCst) / KEYS.. {
            if buffer.offer(&events(KEYS, number, 1)).await.is_err() {
                break;
            }
            self.accepted.fetch_add(KEYS, Ordering::SeqCst);
            sleep(Duration::from_millis(3)).await;
        }
        std::future::pending().await
    }

    /// One process: adds the pipeline, and removes it while events are offered. Returns how much it settled.
    async fn process(&self, buffer: Arc<Stepping>, arm_at_removal: bool) -> usize {
        let (fleet, removed) = fleet();
        if !arm_at_removal {
            buffer.armed.store(true, Ordering::SeqCst);
        }
        fleet.add(Entry::pipeline(self.rig.pipeline(buffer.clone()), OnFailure::Restart)).unwrap();
        let work = async {
            sleep(Duration::from_millis(300)).await;
            if arm_at_removal {
                buffer.armed.store(true, Ordering::SeqCst);
            }
            if buffer.fault.is_some_and(|((call, _), _)| call == Call::Release) {
                // What is held is not done in time, and is given back.
                self.rig.store.takes_ms.store(HANGS_MS, Ordering::SeqCst);
            }
            let _ = fleet.remove(NAME).await;
            self.rig.store.takes_ms.store(TAKES_MS, Ordering::SeqCst);
            assert!(fleet.states().is_empty() && *removed.lock().unwrap() == [NAME]);
            // Its name is free, whatever went wrong.
            fleet.add(self.rig.keeping(OnFailure::Restart).0).unwrap();
            fleet.remove(NAME).await.unwrap();
        };
        tokio::select! {
            () = work => {}
            () = self.offer(&*buffer) => {}
        }
        self.rig.store.settled().len()
    }

    /// The same in a tokio runtime of its own, which is gone with all of its tasks where the buffer says so.
    /// Returns whether the step was reached.
    fn run(&self, fault: Option<(Step, Fault)>, arm_at_removal: bool) -> bool {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let buffer = Stepping::open(&self.rig, fault);
        let reached = buffer.reached.clone();
        let killed = async {
            match fault {
                Some((_, Fault::Kill)) => reached.cancelled().await,
                _ => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            let process = async {
                tokio::select! {
                    _ = self.process(buffer, arm_at_removal) => {}
                    () = killed => {}
                }
            };
            timeout(PATIENCE, process).await.expect("it ends");
        });
        drop(runtime);
        self.rig.store.takes_ms.store(TAKES_MS, Ordering::SeqCst);
        // What the process held comes again.
        self.clock.advance(LEASE_OVER_MS);
        reached.is_cancelled()
    }

    /// The last process settles all that is left.
    fn audit(&self, what: &str) {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let accepted = self.accepted.load(Ordering::SeqCst);
        runtime.block_on(async {
            let (fleet, _) = fleet();
            fleet.add(self.rig.keeping(OnFailure::Restart).0).unwrap();
            self.rig.until(what, |store| store.settled().len() >= accepted).await;
            assert_eq!(fleet.remove(NAME).await.unwrap().kept, 0, "{what}");
        });
        let settled = self.rig.store.assert_order();
        // An offer that a kill cut off may have been accepted.
        assert!((accepted..=accepted + KEYS).contains(&settled), "{what}: {settled} of {accepted}");
    }
}

#[test]
fn a_process_that_ends_between_any_two_steps_of_adding_or_removing_loses_nothing_and_keeps_order() {
    for at_removal in [false, true] {
        for step in STEPS {
            for fault in [Fault::Kill, Fault::Error] {
                if (step, fault) == ((Call::Lease, true), Fault::Error) {
                    // A buffer answers a lease whose reply was lost with the same events.
                    continue;
                }
                let case = Case::new();
                let what = format!("{fault:?} at {step:?}, removing: {at_removal}");
                println!("{what}");
                assert!(!case.run(None, at_removal), "{what}: the process before it");
                let reached = case.run(Some((step, fault)), at_removal);
                // A pipeline that is removed leases no more.
                assert!(reached || (at_removal && step.0 == Call::Lease), "{what}: not reached");
                case.audit(&what);
            }
        }
    }
}

#[test]
fn a_process_that_ends_between_opening_a_buffer_and_adding_its_pipeline_loses_nothing() {
    let case = Case::new();
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let buffer = Stepping::open(&case.rig, None);
    runtime.block_on(async {
        tokio::select! {
            () = case.offer(&*buffer) => {}
            () = sleep(Duration::from_millis(100)) => {}
        }
    });
    drop((runtime, buffer));
    assert!(case.accepted.load(Ordering::SeqCst) > 0);
    case.audit("the buffer was opened alone");
}
