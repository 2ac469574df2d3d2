//! The processes that run, in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use store::Processes;
use store::conformance::processes::{self, Subject};
use store_postgres::{Options, migrate};

use crate::fixture;

struct Postgres {
    processes: Arc<dyn Processes>,
    options: Options,
}

impl Postgres {
    async fn new() -> Self {
        let options = fixture::options(fixture::shared());
        migrate(&options).await.unwrap();
        Self { processes: fixture::beside(&options).processes(), options }
    }
}

#[async_trait]
impl Subject for Postgres {
    fn processes(&self) -> &dyn Processes {
        &*self.processes
    }

    async fn later(&self, by: Duration) {
        let (schema, s) = (&self.options.schema, by.as_secs());
        let earlier = format!(
            "UPDATE {schema}.processes SET heard_at = heard_at - interval '{s} s',
                 joined_at = joined_at - interval '{s} s'"
        );
        fixture::shared().execute(&earlier).unwrap();
    }
}

#[tokio::test]
async fn what_a_process_said_last_comes_back() {
    processes::what_a_process_said_last_comes_back(&Postgres::new().await).await;
}

#[tokio::test]
async fn a_process_that_left_is_gone() {
    processes::a_process_that_left_is_gone(&Postgres::new().await).await;
}

#[tokio::test]
async fn a_process_that_fell_silent_is_deleted_by_another() {
    processes::a_process_that_fell_silent_is_deleted_by_another(&Postgres::new().await).await;
}

#[tokio::test]
async fn members_of_a_pipeline_are_counted() {
    processes::members_of_a_pipeline_are_counted(&Postgres::new().await).await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_rejected() {
    processes::what_is_out_of_bounds_is_rejected(&Postgres::new().await).await;
}
