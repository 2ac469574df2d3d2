//! Whether a rate of calls is of all live processes, of one, or of each.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::Opening;
use buffer::{Identity, Location, memory};
use guard::{BreakerOptions, BudgetOptions, LimitOptions, Pace};
use model::clock::{Clock, Manual};
use runtime::moving::Subject;
use runtime::{Line, Lines, sharing};
use store::inspect::Inspect;
use store::{Claimed, Error, Store};

fn parse(_: &str) -> Option<Identity> {
    None
}

/// A buffer that several processes may lease from.
#[derive(Debug)]
struct Several(memory::Options);

#[async_trait]
impl Location for Several {
    fn kind(&self) -> &'static str {
        "several"
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn identity(&self) -> Identity {
        Location::identity(&self.0)
    }

    fn lease_ms(&self) -> u64 {
        Location::lease_ms(&self.0)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn accepted(&self, events: &str) -> String {
        self.0.accepted(events)
    }

    fn survives(&self) -> String {
        self.0.survives()
    }

    async fn open(&self, opening: &Opening) -> Result<buffer::backend::Opened, buffer::Error> {
        self.0.open(opening).await
    }
}

/// A store that is not opened.
#[derive(Debug, Clone)]
struct Unopened {
    is_shared: bool,
}

#[async_trait]
impl store::Location for Unopened {
    fn kind(&self) -> &'static str {
        "unopened"
    }

    fn place(&self) -> String {
        "nowhere".to_owned()
    }

    fn kept(&self) -> String {
        "nothing".to_owned()
    }

    fn shared(&self) -> Option<Arc<dyn store::Location>> {
        self.is_shared.then(|| Arc::new(self.clone()) as Arc<dyn store::Location>)
    }

    async fn is_begun(&self) -> Result<bool, Error> {
        unreachable!("it is not opened")
    }

    async fn open(&self, _: Arc<dyn Clock>) -> Result<Claimed, Error> {
        unreachable!("it is not opened")
    }

    fn beside(&self, _: Arc<dyn Clock>) -> Result<Arc<dyn Store>, Error> {
        unreachable!("it is not opened")
    }

    async fn inspect(&self) -> Result<Box<dyn Inspect>, Error> {
        unreachable!("it is not opened")
    }
}

fn line(name: &str, is_shared: bool) -> Line {
    let one: Arc<dyn Location> = Arc::new(memory::Options::default());
    let buffer =
        if is_shared { Arc::new(Several(memory::Options::default())) as Arc<_> } else { one };
    Line::new(Subject::led_by_name(name, parse), buffer, "events")
}

/// Asserts whether the guard of the pipeline `own` shares its rate, and whether each process has the whole rate
/// although several run the pipeline.
fn check(store: bool, first: bool, own: &Line, shares: bool, is_for_each: bool) {
    let lines = Lines {
        all: vec![line("first", first), own.clone()],
        store: Arc::new(Unopened { is_shared: store }),
        process: "one".to_owned(),
        clock: Arc::new(Manual::at(0)),
        parse,
        is_lazy: false,
    };
    let options = guard::Options {
        pace: Pace::per_second(20, 2),
        limit: LimitOptions { min: 1, max: 1, start: 1 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    };
    let guard = sharing::guard(options, own, &lines);
    let is = (guard.is_shared(), sharing::is_for_each(own, &lines));
    assert_eq!(is, (shares, is_for_each), "store {store}, first {first}, own {own:?}");
}

#[test]
fn processes_share_the_rate_of_a_pipeline_whose_own_buffer_and_store_are_of_several() {
    let shared = line("own", true);
    check(true, true, &shared, true, false);
    // A second process cannot claim the store.
    check(true, false, &shared, false, false);
    // Two machines with a store each call at once, and cannot know of each other.
    check(false, true, &shared, false, true);
    check(false, false, &shared, false, true);
}

#[test]
fn a_process_has_the_whole_rate_of_a_pipeline_whose_buffer_is_its_own() {
    let own = line("own", false);
    for (store, first) in [(true, true), (true, false), (false, true), (false, false)] {
        check(store, first, &own, false, false);
    }
    // While it moves, other processes may use its next buffer.
    let next = runtime::line::Next { buffer: line("next", true).buffer, to: "next".to_owned() };
    let moving = Line { next: Some(next), ..own };
    check(true, true, &moving, true, false);
    check(false, false, &moving, false, true);
}
