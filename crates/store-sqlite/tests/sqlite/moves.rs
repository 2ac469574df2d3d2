//! Moves between buffers, in SQLite.

use std::sync::Arc;

use model::clock::Manual;
use model::{Class, Classify};
use store::conformance::moves;
use store::{Claimed, Moves};
use store_sqlite::Options;
use tempfile::TempDir;

fn options(directory: &TempDir) -> Options {
    Options::at(directory.path().join("forebay.db"))
}

fn store(directory: &TempDir) -> Claimed {
    store_sqlite::open(options(directory), Arc::new(Manual::at(1_700_000_000_000))).unwrap()
}

fn beside(directory: &TempDir) -> Arc<dyn Moves> {
    let clock = Arc::new(Manual::at(1_700_000_000_000));
    store_sqlite::beside(options(directory), clock).moves()
}

async fn open(directory: &TempDir) -> Arc<dyn Moves> {
    store(directory).close().await.unwrap();
    beside(directory)
}

#[tokio::test]
async fn a_step_is_taken_once_and_after_the_one_before() {
    let directory = TempDir::new().unwrap();
    moves::a_step_is_taken_once_and_after_the_one_before(&*open(&directory).await).await;
}

#[tokio::test]
async fn another_move_begins_only_when_one_is_finished() {
    let directory = TempDir::new().unwrap();
    moves::another_move_begins_only_when_one_is_finished(&*open(&directory).await).await;
}

#[tokio::test]
async fn what_a_process_said_last_counts() {
    let directory = TempDir::new().unwrap();
    moves::what_a_process_said_last_counts(&*open(&directory).await).await;
}

#[tokio::test]
async fn each_pipeline_has_moves_of_its_own() {
    let directory = TempDir::new().unwrap();
    moves::each_pipeline_has_moves_of_its_own(&*open(&directory).await).await;
}

#[tokio::test]
async fn what_earlier_moves_left_is_kept() {
    let directory = TempDir::new().unwrap();
    moves::what_earlier_moves_left_is_kept(&*open(&directory).await).await;
}

#[tokio::test]
async fn a_leader_of_the_seventh_version_deletes_no_move_of_another_pipeline() {
    let directory = TempDir::new().unwrap();
    let moves = open(&directory).await;
    moves::each_pipeline_has_moves_of_its_own(&*moves).await;
    let recorded = moves.all().await.unwrap();
    let db = rusqlite::Connection::open(directory.path().join("forebay.db")).unwrap();
    // What such a leader runs first when it begins a move.
    let refused = db.execute("DELETE FROM buffer_moves WHERE name <> 'payments'", []).unwrap_err();
    assert!(refused.to_string().contains("this program is older than its store"), "{refused}");
    assert_eq!(moves.all().await.unwrap(), recorded);
}

#[tokio::test]
async fn it_is_opened_beside_the_one_who_settles() {
    let directory = TempDir::new().unwrap();
    let before = beside(&directory);
    // There is none yet, and none is made without its key.
    assert_eq!(before.recorded("payments").await.unwrap_err().class(), Class::Retryable);
    let store = store(&directory);
    moves::what_a_process_said_last_counts(&*beside(&directory)).await;
    let seen = before.reports("payments").await.unwrap();
    assert_eq!(seen.len(), 1);
    store.close().await.unwrap();
}
