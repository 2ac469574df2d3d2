//! A component made of a buffer, a handler and the options of an engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use buffer::Buffer;
use engine::{Handle, Handling, LANES_MAX, Meters, Probe, Service, Stats, Work};
use guard::Guard;
use model::Event;
use model::clock::Clock;
use store::Completions;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::component::Component;
use crate::state::{Reason, Remains};
use crate::turn::{Over, Turn};

/// Events read at once from what is left.
const PAGE: usize = 1_000;
/// How often a drain is looked at between two engines.
const DRAINED_POLL: Duration = Duration::from_millis(20);

/// How long [`unused`] waits, and how often it looks.
const USED_MAX: Duration = Duration::from_secs(5);
const USED_POLL: Duration = Duration::from_millis(20);

/// Resolves when nothing uses the buffer of a pipeline that was removed any more, or after 5 s. A journal is locked
/// until then: the history of the load looks at it once a second.
pub async fn unused(buffer: Weak<dyn Buffer>) {
    let end = Instant::now() + USED_MAX;
    while buffer.strong_count() > 0 && Instant::now() < end {
        sleep(USED_POLL).await;
    }
}

/// Something that runs beside a pipeline, such as what follows a move of its buffer.
#[async_trait]
pub trait Companion: Send + 'static {
    /// Ends it. The buffer is closed by now.
    async fn stop(self: Box<Self>);
}

/// What settles the events of a pipeline.
pub struct Settling {
    /// What applies their effects. Its name is the pipeline's.
    pub handler: Handling,
    /// The bounds of the engine.
    pub options: engine::Options,
    /// Where finished work is recorded, if anywhere.
    pub completions: Option<Arc<dyn Completions>>,
    /// Latencies and completions follow it.
    pub clock: Arc<dyn Clock>,
    /// What the jitter of retries is drawn from.
    pub seed: u64,
}

/// A pipeline that is not running yet. [`crate::Life`] starts it.
pub struct Pipeline {
    name: Arc<str>,
    buffer: Arc<dyn Buffer>,
    companions: Vec<Box<dyn Companion>>,
    /// `None` in a process that only offers.
    engine: Option<Engine>,
}

struct Engine {
    settling: Settling,
    meters: Meters,
    probe: Arc<Mutex<Option<Probe>>>,
}

/// What is known of a pipeline from outside. Clones read the same; it outlives the pipeline.
#[derive(Clone)]
pub struct Source {
    /// Where its events come from.
    pub buffer: Arc<dyn Buffer>,
    /// What its engines did.
    pub stats: Arc<Stats>,
    /// How much they have worked.
    pub work: Work,
    /// Most events that one transaction settles; 1 of a pipeline of calls.
    pub batch_max: usize,
    /// How many lanes it is configured to settle with; 1 of a pipeline of calls.
    pub lanes: usize,
    handler: Handling,
    probe: Arc<Mutex<Option<Probe>>>,
}

impl Pipeline {
    /// A pipeline that settles what is in `buffer`, which it closes at its end. Metrics go to the
    /// recorder that is installed by now.
    ///
    /// # Errors
    /// [`engine::Error::Option`] when an option is out of bounds.
    pub fn new(buffer: Arc<dyn Buffer>, settling: Settling) -> Result<Self, engine::Error> {
        settling.handler.validate(&settling.options)?;
        let name = Arc::from(settling.handler.pipeline());
        let meters = settling.handler.meters();
        let engine = Engine { settling, meters, probe: Arc::default() };
        Ok(Self { name, buffer, companions: Vec::new(), engine: Some(engine) })
    }

    /// The part of a pipeline in a process that only offers to `buffer`, which it closes at its end.
    #[must_use]
    pub fn offering(name: &str, buffer: Arc<dyn Buffer>) -> Self {
        Self { name: name.into(), buffer, companions: Vec::new(), engine: None }
    }

    /// The same pipeline, with this beside it.
    #[must_use]
    pub fn with(mut self, companion: impl Companion) -> Self {
        self.companions.push(Box::new(companion));
        self
    }

    /// Where its events come from.
    #[must_use]
    pub fn buffer(&self) -> &Arc<dyn Buffer> {
        &self.buffer
    }

    /// What is known of it from outside; nothing where it only offers.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let engine = self.engine.as_ref()?;
        let Settling { handler, options, .. } = &engine.settling;
        let (batch_max, lanes) = match handler.calls_max() {
            Some(_) => (1, 1),
            None => (options.batch_max, options.lanes),
        };
        Some(Source {
            buffer: self.buffer.clone(),
            stats: engine.meters.stats(),
            work: engine.meters.work(),
            batch_max,
            lanes,
            handler: handler.clone(),
            probe: engine.probe.clone(),
        })
    }
}

impl Source {
    /// Calls under way at once, at most; nothing where lanes settle.
    #[must_use]
    pub fn calls_max(&self) -> Option<usize> {
        self.handler.calls_max()
    }

    /// What bounds its calls.
    pub(crate) fn guard(&self) -> Option<&Mutex<Guard>> {
        self.handler.guard()
    }

    /// Resolves when the buffer has nothing ready or leased, and an engine runs that holds nothing. It
    /// looks every 20 ms.
    pub async fn drained(&self) {
        loop {
            let probe = locked(&self.probe).clone();
            if let Some(probe) = probe
                && probe.is_drained().await
            {
                return;
            }
            sleep(DRAINED_POLL).await;
        }
    }
}

impl Engine {
    fn start(
        &self,
        buffer: &Arc<dyn Buffer>,
        lanes: Option<usize>,
        shutdown: &CancellationToken,
    ) -> Result<Handle, engine::Error> {
        let Settling { handler, options, completions, clock, seed } = &self.settling;
        let lanes = lanes.map_or(options.lanes, |lanes| lanes.clamp(1, LANES_MAX));
        let service = Service {
            buffer: buffer.clone(),
            handler: handler.clone(),
            completions: completions.clone(),
            clock: clock.clone(),
            seed: *seed,
            shutdown: shutdown.clone(),
        };
        service.start_again(engine::Options { lanes, ..options.clone() }, &self.meters)
    }
}

/// Forgets the engine's probe when the turn ends, however it does.
struct Probed<'a>(&'a Mutex<Option<Probe>>);

impl Drop for Probed<'_> {
    fn drop(&mut self) {
        *locked(self.0) = None;
    }
}

fn locked(probe: &Mutex<Option<Probe>>) -> MutexGuard<'_, Option<Probe>> {
    probe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Component for Pipeline {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn keeps(&self) -> bool {
        let kind = self.buffer.kind();
        kind.durable || kind.shared || self.engine.is_none()
    }

    async fn work(&mut self, turn: &mut Turn) -> Result<(), Reason> {
        let Some(engine) = &self.engine else {
            turn.ready();
            turn.over().await;
            return Ok(());
        };
        let shutdown = CancellationToken::new();
        let handle = engine.start(&self.buffer, turn.lanes(), &shutdown)?;
        let (probe, abandon) = (handle.probe(), handle.abandon());
        *locked(&engine.probe) = Some(probe.clone());
        let _probed = Probed(&engine.probe);
        turn.ready();
        let mut ended = std::pin::pin!(handle.join());
        let over = tokio::select! {
            ended = &mut ended => return Ok(ended.map(drop)?),
            over = turn.over() => over,
        };
        if over == Over::Drain && !self.keeps() {
            tokio::select! {
                ended = &mut ended => return Ok(ended.map(drop)?),
                () = probe.drained() => {}
                () = turn.deadline() => {}
            }
        }
        shutdown.cancel();
        tokio::select! {
            ended = &mut ended => return Ok(ended.map(drop)?),
            () = turn.deadline() => abandon.cancel(),
        }
        Ok(ended.await.map(drop)?)
    }

    async fn close(&mut self) -> Result<Remains, Reason> {
        let remains = if self.keeps() {
            // Of a buffer that is out of reach, what its spill holds is known at most.
            let depth = match self.buffer.depth().await {
                Ok(depth) => depth,
                Err(_) => self.buffer.spilled().await.ok().flatten().unwrap_or_default(),
            };
            Ok(Remains { kept: depth.ready + depth.leased, ..Remains::default() })
        } else {
            left(&*self.buffer).await
        };
        let closed = self.buffer.close().await;
        for companion in self.companions.drain(..) {
            companion.stop().await;
        }
        let remains = remains?;
        closed?;
        let lost = remains.left.len();
        if lost > 0 {
            tracing::error!(
                pipeline = &*self.name,
                lost,
                "accepted events were not settled in time, and are lost"
            );
        }
        Ok(remains)
    }
}

/// What a buffer that keeps nothing holds: the events, and the dead letters.
async fn left(buffer: &dyn Buffer) -> Result<Remains, buffer::Error> {
    let mut remains = Remains::default();
    loop {
        let leased = buffer.lease(PAGE, Duration::ZERO).await?;
        if leased.is_empty() {
            break;
        }
        remains.left.extend(leased.into_iter().map(|envelope| envelope.event));
    }
    let mut from = 0;
    loop {
        let page = buffer.dead_letters().list(from, PAGE).await?;
        let Some(last) = page.last() else { break };
        from = last.seq + 1;
        let letters: Vec<Event> = page.into_iter().map(|letter| letter.event).collect();
        remains.dead.extend(letters);
    }
    Ok(remains)
}
