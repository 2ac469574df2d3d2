//! What is wanted of each pipeline, in SQLite.

use std::sync::Arc;

use model::clock::Manual;
use model::{Class, Classify};
use store::conformance::pipelines;
use store::{Claimed, Pipelines};
use store_sqlite::Options;
use tempfile::TempDir;

fn options(directory: &TempDir) -> Options {
    Options::at(directory.path().join("forebay.db"))
}

fn clock() -> Arc<Manual> {
    Arc::new(Manual::at(1_700_000_000_000))
}

fn beside(directory: &TempDir) -> Arc<dyn Pipelines> {
    store_sqlite::beside(options(directory), clock()).pipelines()
}

/// Of the process that settles, and of one beside it.
fn open(directory: &TempDir) -> (Arc<dyn Pipelines>, Arc<dyn Pipelines>, Claimed) {
    let store = store_sqlite::open(options(directory), clock()).unwrap();
    (store.pipelines(), beside(directory), store)
}

#[tokio::test]
async fn what_is_wanted_comes_back_as_written() {
    let directory = TempDir::new().unwrap();
    let early = beside(&directory).wanted().await.unwrap_err();
    assert_eq!(early.class(), Class::Retryable, "it makes no store");
    let (one, other, _store) = open(&directory);
    pipelines::what_is_wanted_comes_back_as_written(&*one, &*other).await;
}

#[tokio::test]
async fn a_change_leaves_the_other_parts_as_they_are() {
    let directory = TempDir::new().unwrap();
    pipelines::a_change_leaves_the_other_parts_as_they_are(&*open(&directory).0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_get_two_revisions() {
    let directory = TempDir::new().unwrap();
    let (one, other, _store) = open(&directory);
    pipelines::two_writers_get_two_revisions(&*one, &*other).await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_rejected() {
    let directory = TempDir::new().unwrap();
    pipelines::what_is_out_of_bounds_is_rejected(&*open(&directory).0).await;
}
