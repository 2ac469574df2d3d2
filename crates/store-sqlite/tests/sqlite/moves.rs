//! Moves between buffers, in SQLite.

use rusqlite::Connection;
use store::conformance::{Subject as _, moves};
use store::moves::Buffers;

use crate::conformance::Sqlite;
use crate::failures::{open, temporary};

/// `FORE`, as every store has it.
const APPLICATION_ID: i32 = 0x464f_5245;

/// What led to the seventh version.
const SEVEN: [&str; 7] = [
    include_str!("../../migrations/V1__initial.sql"),
    include_str!("../../migrations/V2__load_history.sql"),
    include_str!("../../migrations/V3__moves.sql"),
    include_str!("../../migrations/V4__card_key.sql"),
    include_str!("../../migrations/V5__move_identities.sql"),
    include_str!("../../migrations/V6__rulesets.sql"),
    include_str!("../../migrations/V7__empty_places.sql"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_of_earlier_versions_become_those_of_the_payments() {
    for (name, source, target, expect) in [
        ("payments", "list:a", "list:b", ("list:a", "list:b")),
        ("a to b", "", "", ("a to b", "")),
        ("a to b", "list:a", "list:b", ("list:a", "list:b")),
    ] {
        let (_directory, path) = temporary();
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&SEVEN.join(";")).unwrap();
        let moved = |name: &str, step: u8, changed_at: u8| {
            format!(
                "INSERT INTO buffer_moves (name, source, target, step, share_before, share, phase, \
                 start_settled, start_pending, start_dead, start_duplicates, start_offered, changed_at) \
                 VALUES ('{name}', '{source}', '{target}', {step}, 0, 50, 'open', 1, 2, 3, 4, 5, {changed_at});"
            )
        };
        db.execute_batch(&(moved("x to a", 9, 1) + &moved(name, 3, 2))).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.pragma_update(None, "user_version", 7).unwrap();
        drop(db);
        let store = open(&path);
        let all = store.moves().all().await.unwrap();
        let [recorded] = &all[..] else { panic!("{all:?}") };
        let buffers = Buffers { source: expect.0.to_owned(), target: expect.1.to_owned() };
        assert_eq!((&*recorded.pipeline, &recorded.buffers), ("payments", &buffers));
        assert_eq!((recorded.step.number, recorded.step.route.share), (3, 50));
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_of_the_seventh_version_deletes_no_move_of_another_pipeline() {
    let mut sqlite = Sqlite::new().await;
    moves::each_pipeline_has_moves_of_its_own(&mut sqlite).await;
    let moves = sqlite.store().moves();
    let recorded = moves.all().await.unwrap();
    // What such a leader runs first when it begins a move.
    let refused =
        sqlite.db().execute("DELETE FROM buffer_moves WHERE name <> 'payments'", []).unwrap_err();
    assert!(refused.to_string().contains("this program is older than its store"), "{refused}");
    assert_eq!(moves.all().await.unwrap(), recorded);
}
