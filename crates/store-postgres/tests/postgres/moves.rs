//! Moves between buffers, in PostgreSQL.

use crate::conformance::Postgres;
use crate::fixture;
use model::route::{Phase, Route};
use model::{Class, Classify};
use store::conformance::{Subject as _, moves};
use store::moves::{Buffers, LEFT_MAX, Recorded, Start, Step};
use store_postgres::{Options, migrate};

#[tokio::test]
async fn of_two_leaders_that_begin_at_once_one_does_and_what_was_left_is_kept_once() {
    let options = fixture::options(fixture::shared());
    migrate(&options).await.unwrap();
    let leaders = [fixture::beside(&options).moves(), fixture::beside(&options).moves()];
    let pipeline = "payments".to_owned();
    let buffers =
        |number: u64| Buffers { source: format!("{number}"), target: format!("{}", number + 1) };
    for number in 0..20 {
        let route = Route { before: 0, share: 100, phase: Phase::Open };
        let step = Step { number: number + 1, route };
        let first = Recorded { pipeline: pipeline.clone(), buffers: buffers(number), step };
        let [one, other] = &leaders;
        let begun = tokio::join!(
            one.begin(&first, Start::default()),
            other.begin(&first, Start::default())
        );
        assert_ne!(begun.0.unwrap(), begun.1.unwrap());
        let left = one.left(&pipeline).await.unwrap();
        assert_eq!(left.first().cloned(), number.checked_sub(1).map(|left| left.to_string()));
        assert_eq!(left.len(), usize::try_from(number).unwrap().min(LEFT_MAX));
    }
}

/// What led to the seventh version.
const SEVEN: [&str; 7] = [
    include_str!("../../migrations/V1__initial.sql"),
    include_str!("../../migrations/V2__load_history.sql"),
    include_str!("../../migrations/V3__moves.sql"),
    include_str!("../../migrations/V4__move_identities.sql"),
    include_str!("../../migrations/V5__shard_fences.sql"),
    include_str!("../../migrations/V6__rulesets.sql"),
    include_str!("../../migrations/V7__empty_places.sql"),
];

/// A schema of the seventh version.
fn of_the_seventh_version() -> Options {
    let options = fixture::options(fixture::shared());
    let schema = &options.schema;
    let made = format!(
        "CREATE SCHEMA {schema}; SET search_path = {schema}; {}; \
         CREATE TABLE schema_version ( \
             version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now()); \
         INSERT INTO schema_version (version) SELECT generate_series(1, 7)",
        SEVEN.join(";")
    );
    fixture::shared().execute(&made).unwrap();
    options
}

#[tokio::test]
async fn moves_of_earlier_versions_become_those_of_the_payments() {
    for (name, source, target, expect) in [
        ("payments", "list:a", "list:b", ("list:a", "list:b")),
        ("a to b", "", "", ("a to b", "")),
        ("a to b", "list:a", "list:b", ("list:a", "list:b")),
    ] {
        let options = of_the_seventh_version();
        let schema = &options.schema;
        let moved = |name: &str, step: u8, changed_at: &str| {
            format!(
                "INSERT INTO {schema}.buffer_moves VALUES ('{name}', {step}, 0, 50, 'open', 1, 2, 3, 4, 5, \
                 '{changed_at}', '{source}', '{target}', 7);
                 INSERT INTO {schema}.buffer_move_processes VALUES ('{name}', 'h:1:a', {step}, false, false, \
                 0, 0, 0, 0, 0, 0, 0, 0, '{changed_at}', '{source}', '{target}')"
            )
        };
        let rows = [moved("x to a", 9, "2026-01-01"), moved(name, 3, "2026-01-02")].join(";");
        fixture::shared().execute(&rows).unwrap();
        migrate(&options).await.unwrap();
        let moves = fixture::beside(&options).moves();
        let all = moves.all().await.unwrap();
        let [recorded] = &all[..] else { panic!("{all:?}") };
        let buffers = Buffers { source: expect.0.to_owned(), target: expect.1.to_owned() };
        assert_eq!((&*recorded.pipeline, &recorded.buffers), ("payments", &buffers));
        assert_eq!((recorded.step.number, recorded.step.route.share), (3, 50));
        let start = moves.start("payments").await.unwrap().unwrap();
        assert_eq!((start.settled, start.offered, start.empty, start.done), (1, 5, 7, 0));
        let heard = moves.reports("payments").await.unwrap();
        let [heard] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((heard.report.step, &heard.report.buffers), (3, &buffers));
    }
}

#[tokio::test]
async fn a_leader_of_the_seventh_version_deletes_no_move_of_another_pipeline() {
    let mut postgres = Postgres::new().await;
    moves::each_pipeline_has_moves_of_its_own(&mut postgres).await;
    let moves = postgres.beside().moves();
    let recorded = moves.all().await.unwrap();
    // What such a leader runs when it begins a move.
    let begin = format!(
        "WITH moves AS (DELETE FROM {0}.buffer_moves WHERE name <> 'payments') \
         INSERT INTO {0}.buffer_moves AS recorded (name, source, target, step, share_before, share, phase, \
         start_settled, start_pending, start_dead, start_duplicates, start_offered, start_empty) \
         VALUES ('payments', 'a', 'b', 2, 0, 10, 'hold', 0, 0, 0, 0, 0, 0) \
         ON CONFLICT (name) DO UPDATE SET step = 2",
        postgres.database.options.schema
    );
    postgres.database.client.batch_execute(&begin).await.unwrap_err();
    assert_eq!(moves.all().await.unwrap(), recorded);
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_said_with_what_makes_it() {
    let moves = fixture::beside(&fixture::options(fixture::shared())).moves();
    let refused = moves.recorded("payments").await.unwrap_err();
    assert_eq!(refused.class(), Class::Fatal);
    assert!(refused.to_string().contains("forebay store migrate"), "{refused}");
}
