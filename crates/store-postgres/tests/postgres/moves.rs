//! Moves between buffers, in PostgreSQL.

use std::sync::Arc;

use crate::fixture;
use model::{Class, Classify};
use store::Moves;
use store::conformance::moves;
use store_postgres::migrate;

async fn open() -> Arc<dyn Moves> {
    let options = fixture::options(fixture::shared());
    migrate(&options).await.unwrap();
    fixture::beside(&options).moves()
}

#[tokio::test]
async fn a_step_is_taken_once_and_after_the_one_before() {
    moves::a_step_is_taken_once_and_after_the_one_before(&*open().await).await;
}

#[tokio::test]
async fn another_move_begins_only_when_one_is_finished() {
    moves::another_move_begins_only_when_one_is_finished(&*open().await).await;
}

#[tokio::test]
async fn what_a_process_said_last_counts() {
    moves::what_a_process_said_last_counts(&*open().await).await;
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_said_with_what_makes_it() {
    let moves = fixture::beside(&fixture::options(fixture::shared())).moves();
    let refused = moves.recorded().await.unwrap_err();
    assert_eq!(refused.class(), Class::Fatal);
    assert!(refused.to_string().contains("forebay store migrate"), "{refused}");
}
