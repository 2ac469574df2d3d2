//! Queues to test on, and what tests do with them.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use buffer::foreign::Fields;
use buffer::{Buffer, Envelope, Receipt};
use buffer_sqs::{Credentials, Options};
use model::Event;
use testbed::Sqs;

/// How long anything that must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests of a file; each has queues of its own in it.
pub(crate) fn server() -> &'static Sqs {
    static SQS: OnceLock<Sqs> = OnceLock::new();
    SQS.get_or_init(|| Sqs::start().unwrap())
}

/// Options with short times, for a new queue.
pub(crate) fn options(fifo: bool) -> Options {
    at(&server().address(), fifo)
}

/// The same behind another address of the server.
pub(crate) fn at(address: &str, fifo: bool) -> Options {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let name = format!("place-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    let name = if fifo { format!("{name}.fifo") } else { name };
    let endpoint = format!("http://{address}");
    Options {
        create: true,
        visibility_ms: 4_000,
        events_max: 100_000,
        response_timeout_ms: 10_000,
        credentials: Some(Credentials {
            access_key: "AKIATEST".to_owned(),
            secret_key: "s3cret".to_owned(),
            session_token: None,
        }),
        ..Options::new(
            &endpoint,
            "123456789012",
            &name,
            "us-east-1",
            Fields::named("tx_id", "card_number"),
        )
    }
}

pub(crate) fn both() -> [Options; 2] {
    [false, true].map(options)
}

pub(crate) fn event(id: &str, key: &str) -> Event {
    Event::new(id.as_bytes(), key.as_bytes(), b"{}").unwrap()
}

/// Each with a key of its own.
pub(crate) fn events(range: std::ops::Range<usize>) -> Vec<Event> {
    range.map(|n| event(&format!("id-{n}"), &format!("key-{n}"))).collect()
}

/// The ids, in order of their numbers.
pub(crate) fn ids(envelopes: &[Envelope]) -> Vec<String> {
    let mut ids: Vec<String> =
        envelopes.iter().map(|e| String::from_utf8_lossy(e.event.id()).into_owned()).collect();
    ids.sort_by_key(|id| (id.len(), id.clone()));
    ids
}

pub(crate) fn ids_of(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("id-{n}")).collect()
}

pub(crate) fn receipts(envelopes: &[Envelope]) -> Vec<Receipt> {
    envelopes.iter().map(|envelope| envelope.receipt).collect()
}

/// Leases exactly `count` events; errors in between are passed over.
pub(crate) async fn take(buffer: &dyn Buffer, count: usize) -> Vec<Envelope> {
    let (deadline, mut taken) = (Instant::now() + PATIENCE, Vec::new());
    while taken.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} events came", taken.len());
        match buffer.lease(count - taken.len(), Duration::from_millis(200)).await {
            Ok(leased) => taken.extend(leased),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    taken
}

/// Asks until the answer is as it must be.
pub(crate) async fn until<T, F: Future<Output = T>>(
    what: &str,
    ask: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
