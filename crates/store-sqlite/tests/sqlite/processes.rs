//! The processes that run, in SQLite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::Manual;
use store::conformance::processes::{self, Subject};
use store::{Claimed, Processes};
use store_sqlite::Options;
use tempfile::TempDir;

struct Sqlite {
    processes: Arc<dyn Processes>,
    clock: Arc<Manual>,
    _store: Claimed,
    _directory: TempDir,
}

impl Sqlite {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let (options, clock) = (
            Options::at(directory.path().join("forebay.db")),
            Arc::new(Manual::at(1_700_000_000_000)),
        );
        let store = store_sqlite::open(options.clone(), clock.clone()).unwrap();
        let processes = store_sqlite::beside(options, clock.clone()).processes();
        Self { processes, clock, _store: store, _directory: directory }
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn processes(&self) -> &dyn Processes {
        &*self.processes
    }

    async fn later(&self, by: Duration) {
        self.clock.advance(i64::try_from(by.as_millis()).unwrap());
    }
}

#[tokio::test]
async fn what_a_process_said_last_comes_back() {
    processes::what_a_process_said_last_comes_back(&Sqlite::new()).await;
}

#[tokio::test]
async fn a_process_that_left_is_gone() {
    processes::a_process_that_left_is_gone(&Sqlite::new()).await;
}

#[tokio::test]
async fn a_process_that_fell_silent_is_deleted_by_another() {
    processes::a_process_that_fell_silent_is_deleted_by_another(&Sqlite::new()).await;
}

#[tokio::test]
async fn members_of_a_pipeline_are_counted() {
    processes::members_of_a_pipeline_are_counted(&Sqlite::new()).await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_rejected() {
    processes::what_is_out_of_bounds_is_rejected(&Sqlite::new()).await;
}
