//! A real server on a free port, with the memory buffer behind it.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, DeadLetters, Depth, Envelope, Kind, Receipt};
use model::Event;
use model::clock::Manual;
use serde_json::Value;
use server::{Error, Handle, Options, Readiness, Service, events, telemetry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// 2026-03-01T03:00:00Z.
pub const NOW_MS: i64 = 1_772_334_000_000;
pub const CARD: &str = "4000123412345678";
/// Far more than anything here takes; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Running {
    pub addr: SocketAddr,
    pub buffer: Arc<dyn Buffer>,
    pub clock: Manual,
    pub handle: Handle,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), Error>>,
    pub client: reqwest::Client,
}

pub async fn start(options: Options) -> Running {
    start_with(options, memory::Options::default(), |memory| memory).await
}

pub async fn start_holding(events_max: usize, options: Options) -> Running {
    let bounds = memory::Options { events_max, ..memory::Options::default() };
    start_with(options, bounds, |memory| memory).await
}

pub async fn start_with<B: Buffer>(
    options: Options,
    bounds: memory::Options,
    wrap: impl FnOnce(Memory) -> B,
) -> Running {
    let clock = Manual::at(NOW_MS);
    let buffer: Arc<dyn Buffer> = Arc::new(wrap(Memory::new(bounds, Arc::new(clock.clone()))));
    let telemetry = telemetry::install().unwrap();
    let watched = buffer.clone();
    let watched = move || vec![(watched.kind().name.to_owned(), watched.clone())];
    let clock_of_server = Arc::new(clock.clone());
    let service = Service::new(watched, clock_of_server, telemetry, Readiness::new(), options)
        .with(events::routes(buffer.clone()));
    let handle = service.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(service.run(listener, stop.clone()));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    Running { addr, buffer, clock, handle, stop, task, client }
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(self.url("/v1/events"));
        let response =
            request.header("content-type", content_type).body(body).send().await.unwrap();
        Answer::of(response).await
    }

    pub async fn one(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.post("application/json", body).await
    }

    pub async fn lines(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.post("application/x-ndjson", body).await
    }

    /// The ids of everything that can be leased, in order, taken out of the buffer.
    pub async fn drain(&self) -> Vec<String> {
        self.drain_events()
            .await
            .iter()
            .map(|event| String::from_utf8(event.id().to_vec()).unwrap())
            .collect()
    }

    pub async fn drain_events(&self) -> Vec<Event> {
        let leased = self.buffer.lease(1_000_000, Duration::ZERO).await.unwrap();
        let receipts: Vec<Receipt> = leased.iter().map(|envelope| envelope.receipt).collect();
        assert_eq!(self.buffer.ack(&receipts).await.unwrap(), leased.len());
        leased.into_iter().map(|envelope| envelope.event).collect()
    }

    pub async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.addr).await.unwrap())
    }

    /// Waits until `met`, looking again and again.
    pub async fn until(&self, what: &str, met: impl AsyncFn(&Self) -> bool) {
        let look = async {
            while !met(self).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub async fn ready_events(&self) -> u64 {
        self.buffer.depth().await.unwrap().ready
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, head) = (response.status().as_u16(), response.headers().clone());
        Self { status, head, body: response.text().await.unwrap() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn field(&self) -> String {
        self.json()["error"]["field"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and body are as the golden file says.
    #[track_caller]
    pub fn is(&self, status: u16, golden: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, golden.trim_end()));
        assert_eq!(self.header("content-type"), "application/json");
    }
}

/// A connection without a client library.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything up to the end of the connection, which must come.
    pub async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.0.read_to_end(&mut text);
        tokio::time::timeout(PATIENCE, read).await.expect("the server never closes").unwrap();
        String::from_utf8(text).unwrap()
    }

    /// What comes until it holds `end`.
    pub async fn up_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        let read = async {
            let mut piece = [0; 1024];
            while !text.contains(end) {
                let n = self.0.read(&mut piece).await.unwrap();
                assert!(n > 0, "closed after {text:?}");
                text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("never comes");
        text
    }
}

/// One payment's JSON.
pub fn payment(id: &str) -> String {
    let who = format!(r#""card_number":"{CARD}","user_id":"u-1","tier":"normal""#);
    let what = r#""amount":12000,"merchant":"m-1","category":"coffee""#;
    format!(r#"{{"tx_id":"{id}",{who},{what},"created_at":{NOW_MS}}}"#)
}

/// One payment's JSON of exactly `bytes` bytes.
pub fn payment_of(bytes: usize) -> String {
    let bare = payment("tx-1");
    let padding = bytes - bare.len() - r#","note":"""#.len();
    format!(r#"{},"note":"{}"}}"#, &bare[..bare.len() - 1], "x".repeat(padding))
}

pub fn bad_payment(id: &str) -> String {
    payment(id).replace("12000", "-1")
}

/// The memory buffer behind a gate: an offer waits for a permit, after it has been counted.
pub struct Gated {
    pub memory: Memory,
    pub gate: Arc<Gate>,
}

pub struct Gate {
    pub passes: Semaphore,
    pub waiting: std::sync::atomic::AtomicUsize,
}

impl Gate {
    pub fn shut() -> Arc<Self> {
        Arc::new(Self { passes: Semaphore::new(0), waiting: Default::default() })
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[async_trait]
impl Buffer for Gated {
    async fn offer(&self, events: &[Event]) -> Result<(), buffer::Error> {
        self.gate.waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.gate.passes.acquire().await.unwrap().forget();
        self.memory.offer(events).await
    }
    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, buffer::Error> {
        self.memory.lease(max, wait).await
    }
    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, buffer::Error> {
        self.memory.ack(receipts).await
    }
    async fn release(&self, receipts: &[Receipt], by: Duration) -> Result<usize, buffer::Error> {
        self.memory.release(receipts, by).await
    }
    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, buffer::Error> {
        self.memory.bury(burials).await
    }
    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, buffer::Error> {
        self.memory.extend(receipts, by).await
    }
    async fn depth(&self) -> Result<Depth, buffer::Error> {
        self.memory.depth().await
    }
    fn kind(&self) -> Kind {
        self.memory.kind()
    }
    fn dead_letters(&self) -> &dyn DeadLetters {
        self.memory.dead_letters()
    }
    async fn close(&self) -> Result<(), buffer::Error> {
        self.memory.close().await
    }
}

/// A buffer that answers offers with an error, and can't tell its depth, for as long as `fails` is set.
pub struct Failing {
    memory: Memory,
    error: fn() -> buffer::Error,
    fails: &'static AtomicBool,
}

impl Failing {
    pub fn always(memory: Memory, error: fn() -> buffer::Error) -> Self {
        static ALWAYS: AtomicBool = AtomicBool::new(true);
        Self::while_set(memory, error, &ALWAYS)
    }

    pub fn while_set(
        memory: Memory,
        error: fn() -> buffer::Error,
        fails: &'static AtomicBool,
    ) -> Self {
        Self { memory, error, fails }
    }

    fn failure(&self) -> Option<buffer::Error> {
        self.fails.load(std::sync::atomic::Ordering::SeqCst).then(self.error)
    }
}

#[async_trait]
impl Buffer for Failing {
    async fn offer(&self, events: &[Event]) -> Result<(), buffer::Error> {
        match self.failure() {
            Some(error) => Err(error),
            None => self.memory.offer(events).await,
        }
    }
    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, buffer::Error> {
        self.memory.lease(max, wait).await
    }
    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, buffer::Error> {
        self.memory.ack(receipts).await
    }
    async fn release(&self, receipts: &[Receipt], by: Duration) -> Result<usize, buffer::Error> {
        self.memory.release(receipts, by).await
    }
    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, buffer::Error> {
        self.memory.bury(burials).await
    }
    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, buffer::Error> {
        self.memory.extend(receipts, by).await
    }
    async fn depth(&self) -> Result<Depth, buffer::Error> {
        match self.failure() {
            Some(error) => Err(error),
            None => self.memory.depth().await,
        }
    }
    fn kind(&self) -> Kind {
        self.memory.kind()
    }
    fn dead_letters(&self) -> &dyn DeadLetters {
        self.memory.dead_letters()
    }
    async fn close(&self) -> Result<(), buffer::Error> {
        self.memory.close().await
    }
}
