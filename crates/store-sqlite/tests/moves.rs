//! Moves between buffers, in SQLite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use model::clock::Manual;
use store::conformance::moves;
use store_sqlite::{Moves, Options, Store};
use tempfile::TempDir;

fn open(directory: &TempDir) -> Moves {
    let options = Options::at(directory.path().join("forebay.db"));
    Moves::open(&options, Arc::new(Manual::at(1_700_000_000_000))).unwrap()
}

#[tokio::test]
async fn a_step_is_taken_once_and_after_the_one_before() {
    let directory = TempDir::new().unwrap();
    moves::a_step_is_taken_once_and_after_the_one_before(&open(&directory)).await;
}

#[tokio::test]
async fn what_a_process_said_last_counts() {
    let directory = TempDir::new().unwrap();
    moves::what_a_process_said_last_counts(&open(&directory)).await;
}

#[tokio::test]
async fn it_is_opened_beside_the_one_who_settles() {
    let directory = TempDir::new().unwrap();
    let before = open(&directory);
    let options = Options::at(directory.path().join("forebay.db"));
    let store = Store::open(options, Arc::new(Manual::at(1_700_000_000_000))).unwrap();
    moves::what_a_process_said_last_counts(&open(&directory)).await;
    let seen = store::Moves::reports(&before, "a to b").await.unwrap();
    assert_eq!(seen.len(), 2);
    store.close().await.unwrap();
}
