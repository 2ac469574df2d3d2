//! Moves between buffers, in SQLite.

use std::sync::Arc;

use model::clock::Manual;
use model::{Class, Classify};
use store::conformance::moves;
use store_sqlite::{Moves, Options, Store};
use tempfile::TempDir;

fn options(directory: &TempDir) -> Options {
    Options::at(directory.path().join("forebay.db"))
}

fn store(directory: &TempDir) -> Store {
    Store::open(options(directory), Arc::new(Manual::at(1_700_000_000_000))).unwrap()
}

fn try_open(directory: &TempDir) -> Result<Moves, store::Error> {
    Moves::open(&options(directory), Arc::new(Manual::at(1_700_000_000_000)))
}

async fn open(directory: &TempDir) -> Moves {
    store(directory).close().await.unwrap();
    try_open(directory).unwrap()
}

#[tokio::test]
async fn a_step_is_taken_once_and_after_the_one_before() {
    let directory = TempDir::new().unwrap();
    moves::a_step_is_taken_once_and_after_the_one_before(&open(&directory).await).await;
}

#[tokio::test]
async fn another_move_begins_only_when_one_is_finished() {
    let directory = TempDir::new().unwrap();
    moves::another_move_begins_only_when_one_is_finished(&open(&directory).await).await;
}

#[tokio::test]
async fn what_a_process_said_last_counts() {
    let directory = TempDir::new().unwrap();
    moves::what_a_process_said_last_counts(&open(&directory).await).await;
}

#[tokio::test]
async fn it_is_opened_beside_the_one_who_settles() {
    let directory = TempDir::new().unwrap();
    // There is none yet, and none is made without its key.
    assert_eq!(try_open(&directory).unwrap_err().class(), Class::Retryable);
    let store = store(&directory);
    let before = try_open(&directory).unwrap();
    moves::what_a_process_said_last_counts(&try_open(&directory).unwrap()).await;
    let seen = store::Moves::reports(&before).await.unwrap();
    assert_eq!(seen.len(), 1);
    store.close().await.unwrap();
}
