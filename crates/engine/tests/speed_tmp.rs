#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::print_stderr)]
use std::sync::Arc; use std::sync::Mutex; use std::time::{Duration, Instant};
use async_trait::async_trait; use buffer::*; use engine::*; use model::Event; use model::clock::{Clock, System};
struct Ready(Mutex<(u64, Vec<Event>)>, u64);
#[async_trait]
impl Buffer for Ready {
    async fn offer(&self, _: &[Event]) -> Result<(), buffer::Error> { Ok(()) }
    async fn lease(&self, max: usize, _: Duration) -> Result<Vec<Envelope>, buffer::Error> {
        let mut g = self.0.lock().unwrap(); let n = (self.1 - g.0).min(max as u64); let now = System.now_ms();
        let len = g.1.len() as u64;
        let out = (0..n).map(|i| { let seq = g.0 + i; Envelope { receipt: Receipt { seq, epoch: 1 }, accepted_at_ms: now - (seq % 3) as i64/2, attempt: 1, event: g.1[(seq % len) as usize].clone() } }).collect();
        g.0 += n; Ok(out)
    }
    async fn ack(&self, r: &[Receipt]) -> Result<usize, buffer::Error> { Ok(r.len()) }
    async fn release(&self, r: &[Receipt], _: Duration) -> Result<usize, buffer::Error> { Ok(r.len()) }
    async fn bury(&self, r: &[(Receipt, String)]) -> Result<usize, buffer::Error> { Ok(r.len()) }
    async fn extend(&self, r: &[Receipt], _: Duration) -> Result<usize, buffer::Error> { Ok(r.len()) }
    async fn depth(&self) -> Result<Depth, buffer::Error> { let g = self.0.lock().unwrap(); Ok(Depth { ready: self.1 - g.0, ..Depth::default() }) }
    fn kind(&self) -> Kind { unimplemented!() }
    fn dead_letters(&self) -> &dyn DeadLetters { unimplemented!() }
    async fn close(&self) -> Result<(), buffer::Error> { Ok(()) }
}
struct Null;
impl Handler for Null { fn pipeline(&self) -> &'static str { "n" } fn lane(&self) -> Box<dyn Lane> { Box::new(Null) } }
#[async_trait]
impl Lane for Null { async fn settle(&mut self, b: &[Envelope]) -> Result<Vec<Outcome>, Failure> { Ok(vec![Outcome::Settled; b.len()]) } }
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed() {
    let events: Vec<Event> = (0..10_000).map(|n| Event::new(format!("tx-{n:016}").as_bytes(), format!("4000-{:011}", n * 7919 % 5000).as_bytes(), &[b'x'; 200]).unwrap()).collect();
    const N: u64 = 5_000_000;
    let b = Ready(Mutex::new((0, events.clone())), N); let t = Instant::now();
    let mut sum = 0; loop { let v = b.lease(2000, Duration::ZERO).await.unwrap(); if v.is_empty() { break } sum += v.len(); }
    eprintln!("lease alone: {:.0} ns/event ({sum})", t.elapsed().as_nanos() as f64 / N as f64);
    for lanes in [1, 2, 4] {
        let t = Instant::now();
        let shutdown = tokio_util::sync::CancellationToken::new();
        let h = Service { buffer: Arc::new(Ready(Mutex::new((0, events.clone())), N)), handler: Arc::new(Null), completions: None, clock: Arc::new(System), seed: 1, shutdown: shutdown.clone() }.start(Options { lanes, ..Options::default() }).unwrap();
        h.drained().await; let e = t.elapsed(); shutdown.cancel();
        let s = h.join().await.unwrap();
        eprintln!("lanes {lanes}: {:.0} ns/event wall, {} settled", e.as_nanos() as f64 / N as f64, s.counts.settled);
    }
}
