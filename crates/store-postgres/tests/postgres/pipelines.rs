//! What is wanted of each pipeline, in PostgreSQL.

use std::sync::Arc;

use crate::fixture;
use model::{Class, Classify};
use store::Pipelines;
use store::conformance::pipelines;
use store_postgres::migrate;

async fn open() -> (Arc<dyn Pipelines>, Arc<dyn Pipelines>) {
    let options = fixture::options(fixture::shared());
    let refused = fixture::beside(&options).pipelines().wanted().await.unwrap_err();
    assert!(refused.to_string().contains("forebay store migrate"), "{refused}");
    migrate(&options).await.unwrap();
    (fixture::beside(&options).pipelines(), fixture::beside(&options).pipelines())
}

#[tokio::test]
async fn what_is_wanted_comes_back_as_written() {
    let (one, other) = open().await;
    pipelines::what_is_wanted_comes_back_as_written(&*one, &*other).await;
}

#[tokio::test]
async fn a_change_leaves_the_other_parts_as_they_are() {
    pipelines::a_change_leaves_the_other_parts_as_they_are(&*open().await.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_get_two_revisions() {
    let (one, other) = open().await;
    pipelines::two_writers_get_two_revisions(&*one, &*other).await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_rejected() {
    pipelines::what_is_out_of_bounds_is_rejected(&*open().await.0).await;
}

#[tokio::test]
async fn a_role_without_the_right_is_told_what_to_grant() {
    let server = fixture::shared();
    let options = fixture::options(server);
    migrate(&options).await.unwrap();
    let (role, schema) = (format!("of_{}", options.schema), &options.schema);
    let grant = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT ON {schema}.schema_version TO {role}"
    );
    server.execute(&grant).unwrap();
    let lacking = store_postgres::Options { user: role, ..options.clone() };
    let refused = fixture::beside(&lacking).pipelines().wanted().await.unwrap_err();
    assert_eq!(refused.class(), Class::Fatal, "no outage: {refused}");
    assert!(refused.to_string().contains("grant this role"), "{refused}");
}
