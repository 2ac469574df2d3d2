//! What a scrape shows. One test, because the recorder is the process's.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "server/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;

use buffer::memory::{self, Memory};
use buffer::spill::Spill;
use harness::{Failing, NOW_MS, bad_payment, payment, start_holding, start_with};
use model::clock::Manual;
use server::Options;

/// A scrape: the type of each metric, and the value of each series.
struct Scrape {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the text format strictly: each line is a comment, blank, or a series with its value.
    fn of(text: &str) -> Self {
        let (mut types, mut series) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
        Self { types, series }
    }

    #[track_caller]
    fn shows(&self, series: &str, value: f64) {
        let got = self.series.get(series);
        assert_eq!(got, Some(&value), "{series} in {:#?}", self.series);
    }

    #[track_caller]
    fn is_a(&self, kind: &str, names: &[&str]) {
        for &name in names {
            assert_eq!(self.types.get(name).map(String::as_str), Some(kind), "{name}");
        }
    }
}

const COUNTERS: [&str; 11] = [
    "processed_tasks_total",
    "processed_tasks_failed_total",
    "redelivered_total",
    "duplicates_total",
    "dead_total",
    "flagged_payments_total",
    "journal_damaged_bytes_total",
    "accepted_total",
    "rejected_total",
    "refused_total",
    "http_requests_total",
];
const HISTOGRAMS: [&str; 4] = [
    "end_to_end_seconds",
    "journal_commit_seconds",
    "journal_fsync_seconds",
    "store_commit_seconds",
];
const GAUGES: [&str; 6] = [
    "buffer_reachable",
    "buffer_size",
    "buffer_ready",
    "buffer_leased",
    "dead_letters",
    "oldest_event_age_seconds",
];

#[tokio::test]
async fn a_scrape_shows_everything_from_the_start_and_then_what_happened() {
    let server = start_holding(3, Options::default()).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let fresh = Scrape::of(&answer.body);
    fresh.is_a("counter", &COUNTERS);
    fresh.is_a("histogram", &HISTOGRAMS);
    fresh.is_a("gauge", &GAUGES);
    for name in &COUNTERS[..9] {
        fresh.shows(name, 0.0);
    }
    for name in HISTOGRAMS {
        fresh.shows(&format!("{name}_count"), 0.0);
        fresh.shows(&format!("{name}_bucket{{le=\"0.0001\"}}"), 0.0);
        fresh.shows(&format!("{name}_bucket{{le=\"10\"}}"), 0.0);
    }
    fresh.shows("refused_total{reason=\"full\"}", 0.0);
    fresh.shows("http_requests_total{path=\"/v1/events\",status=\"202\"}", 0.0);
    fresh.shows("buffer_size{buffer=\"memory\"}", 0.0);
    fresh.shows("oldest_event_age_seconds{buffer=\"memory\"}", 0.0);

    assert_eq!(server.one(payment("a")).await.status, 202);
    assert_eq!(server.one(bad_payment("b")).await.status, 400);
    let lines = format!("{}\n{}\n{}", payment("c"), bad_payment("d"), payment("e"));
    assert_eq!(server.lines(lines).await.status, 202);
    assert_eq!(server.one(payment("f")).await.status, 429);
    assert_eq!(server.get("/made/up").await.status, 404);
    let leased = server.buffer.lease(2, std::time::Duration::ZERO).await.unwrap();
    server.buffer.bury(&[(leased[0].receipt, "bad".into())]).await.unwrap();
    server.clock.advance(2500);
    metrics::histogram!("store_commit_seconds").record(0.003);

    let later = Scrape::of(&server.get("/metrics").await.body);
    later.shows("accepted_total", 3.0);
    later.shows("rejected_total", 2.0);
    later.shows("refused_total{reason=\"full\"}", 1.0);
    later.shows("refused_total{reason=\"unavailable\"}", 0.0);
    later.shows("http_requests_total{path=\"/v1/events\",status=\"202\"}", 2.0);
    later.shows("http_requests_total{path=\"/v1/events\",status=\"400\"}", 1.0);
    later.shows("http_requests_total{path=\"/v1/events\",status=\"429\"}", 1.0);
    later.shows("http_requests_total{path=\"other\",status=\"404\"}", 1.0);
    later.shows("buffer_size{buffer=\"memory\"}", 2.0);
    later.shows("buffer_ready{buffer=\"memory\"}", 1.0);
    later.shows("buffer_leased{buffer=\"memory\"}", 1.0);
    later.shows("dead_letters{buffer=\"memory\"}", 1.0);
    later.shows("oldest_event_age_seconds{buffer=\"memory\"}", 2.5);
    later.shows("store_commit_seconds_bucket{le=\"0.0025\"}", 0.0);
    later.shows("store_commit_seconds_bucket{le=\"0.005\"}", 1.0);
    later.shows("store_commit_seconds_count", 1.0);
    later.shows("buffer_reachable{buffer=\"memory\"}", 1.0);
    out_of_reach().await;
}

/// Of a buffer that can't be read, what its spill holds is shown.
async fn out_of_reach() {
    let away = || buffer::Error::Unavailable("the server can't be reached".to_owned());
    let unreadable = start_with(Options::default(), memory::Options::default(), |memory| {
        Failing::always(memory, away)
    })
    .await;
    let blind = Scrape::of(&unreadable.get("/metrics").await.body);
    assert!(blind.series["buffer_size{buffer=\"memory\"}"].is_nan());
    blind.shows("buffer_reachable{buffer=\"memory\"}", 0.0);

    // A spill is read while its buffer is not.
    let spilling = start_with(Options::default(), memory::Options::default(), |memory| {
        let clock = Arc::new(Manual::at(NOW_MS));
        let local = Arc::new(Memory::new(memory::Options::default(), clock.clone()));
        Spill::new(Arc::new(Failing::always(memory, away)), local, clock)
    })
    .await;
    assert_eq!(spilling.one(payment("a")).await.status, 202);
    spilling.clock.advance(3500);
    let part = Scrape::of(&spilling.get("/metrics").await.body);
    part.shows("buffer_reachable{buffer=\"memory\"}", 0.0);
    part.shows("buffer_size{buffer=\"memory\"}", 1.0);
    part.shows("buffer_ready{buffer=\"memory\"}", 1.0);
    part.shows("oldest_event_age_seconds{buffer=\"memory\"}", 3.5);
    for unknown in ["buffer_leased", "dead_letters"] {
        assert!(part.series[&format!("{unknown}{{buffer=\"memory\"}}")].is_nan(), "{unknown}");
    }
}
