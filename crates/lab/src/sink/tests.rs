//! Sinks against what is really behind them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use buffer::Buffer;
use buffer::memory::{self, Memory};
use model::Event;
use model::clock::{EpochMs, Manual};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Buffered, Error, Http, Offered, Sink};
use crate::generator::{Generator, Options};

const NOW_MS: EpochMs = 1_772_420_400_000;

fn events(count: usize) -> Vec<Event> {
    let mut generator = Generator::new(&Options::default()).unwrap();
    (0..count).map(|_| generator.event(NOW_MS).0).collect()
}

fn memory(events_max: usize) -> Arc<dyn Buffer> {
    let options = memory::Options { events_max, ..memory::Options::default() };
    Arc::new(Memory::new(options, Arc::new(Manual::at(NOW_MS))))
}

/// There is one for each process.
fn telemetry() -> server::Telemetry {
    static TELEMETRY: OnceLock<server::Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| server::telemetry::install().unwrap()).clone()
}

/// A real server in front of `buffer`, on a free port, until the returned guard is dropped.
async fn serve(buffer: Arc<dyn Buffer>) -> (SocketAddr, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = server::Service::new(
        Vec::new,
        Arc::new(Manual::at(NOW_MS)),
        telemetry(),
        server::Readiness::new(),
        server::Options::default(),
    )
    .with(server::events::routes(buffer));
    let stop = CancellationToken::new();
    tokio::spawn(service.run(listener, stop.clone()));
    (address, stop.drop_guard())
}

async fn held(buffer: &Arc<dyn Buffer>) -> Vec<Event> {
    let envelopes = buffer.lease(10_000, Duration::ZERO).await.unwrap();
    envelopes.into_iter().map(|envelope| envelope.event).collect()
}

#[tokio::test]
async fn a_buffer_gets_what_it_has_room_for_and_refuses_the_rest() {
    let buffer = memory(1_000);
    let mut sink = Buffered::new(Arc::clone(&buffer));
    let events = events(1_500);
    assert_eq!(sink.offer(&events[..900]).await, Ok(Offered::accepted(900)));
    let full = sink.offer(&events[900..1_100]).await.unwrap();
    assert_eq!((full.accepted, full.refused), (0, 200));
    assert!(full.retry_after.is_some());
    assert_eq!(held(&buffer).await, events[..900]);
}

#[tokio::test]
async fn a_batch_larger_than_the_buffer_ever_takes_is_offered_in_pieces() {
    let buffer = memory(1_000);
    let events = events(1_500);
    let offered = Buffered::new(Arc::clone(&buffer)).offer(&events).await.unwrap();
    assert_eq!(offered.accepted + offered.refused, 1_500);
    assert!(offered.accepted >= 500, "{offered:?}");
    assert_eq!(held(&buffer).await, events[..offered.accepted]);
}

#[tokio::test]
async fn a_closed_buffer_is_an_error_and_not_a_refusal() {
    let buffer = memory(10);
    buffer.close().await.unwrap();
    let offered = Buffered::new(buffer).offer(&events(1)).await;
    assert!(matches!(offered, Err(Error::Fatal(_))), "{offered:?}");
}

#[tokio::test]
async fn a_server_accepts_events_as_they_are_and_in_order() {
    let buffer = memory(10_000);
    let (address, _stop) = serve(Arc::clone(&buffer)).await;
    let mut sink = Http::new(&format!("http://{address}/")).unwrap();
    let events = events(2_500);
    assert_eq!(sink.offer(&events).await, Ok(Offered::accepted(2_500)));
    assert_eq!(held(&buffer).await, events);
}

#[tokio::test]
async fn a_full_server_says_how_many_it_took_and_they_are_the_first_ones() {
    let buffer = memory(1_200);
    let (address, _stop) = serve(Arc::clone(&buffer)).await;
    let mut sink = Http::new(&format!("http://{address}")).unwrap();
    let events = events(3_000);
    let offered = sink.offer(&events).await.unwrap();
    assert!(offered.refused > 0 && offered.rejected == 0, "{offered:?}");
    assert_eq!(offered.accepted + offered.refused, 3_000);
    assert!(offered.retry_after >= Some(Duration::from_secs(1)));
    assert_eq!(held(&buffer).await, events[..offered.accepted]);
}

#[tokio::test]
async fn a_server_names_the_bad_ones_and_takes_their_neighbours() {
    let buffer = memory(10_000);
    let (address, _stop) = serve(Arc::clone(&buffer)).await;
    let mut sink = Http::new(&format!("http://{address}")).unwrap();
    let mut events = events(5);
    events[2] = Event::new(b"bad", b"", b"{\"tx_id\":\"bad\"}").unwrap();
    let offered = sink.offer(&events).await.unwrap();
    assert_eq!((offered.accepted, offered.rejected, offered.rejections[0].index), (4, 1, 2));
    let only_bad = sink.offer(&events[2..3]).await.unwrap();
    assert_eq!((only_bad.accepted, only_bad.rejected), (0, 1));
    events.remove(2);
    assert_eq!(held(&buffer).await, events);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // The port was free a moment ago, and nothing listens on it any more.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut sink = Http::new(&format!("http://{address}")).unwrap();
    let offered = sink.offer(&events(1)).await;
    assert!(matches!(&offered, Err(Error::Unavailable(text)) if text.contains("can't be reached")));
}
