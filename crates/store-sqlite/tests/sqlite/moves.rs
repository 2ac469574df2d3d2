//! Moves between buffers, in SQLite.

use store::conformance::{Subject as _, moves};

use crate::conformance::Sqlite;

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
