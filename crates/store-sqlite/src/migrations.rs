//! The schema, and how an older database gets to it.
//!
//! The version is the database's `user_version`; its `application_id` tells it from other programs'
//! databases. A migration runs in one transaction with the change of version. There is no way back:
//! a database of a newer version is refused.

use rusqlite::{Connection, TransactionBehavior};
use store::Error;

use crate::error::classify;

/// `FORE` in ASCII.
const APPLICATION_ID: i32 = 0x464f_5245;

/// The migration at index n leads from version n to version n + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/V1__initial.sql"),
    include_str!("../migrations/V2__load_history.sql"),
    include_str!("../migrations/V3__moves.sql"),
    include_str!("../migrations/V4__card_key.sql"),
    include_str!("../migrations/V5__move_identities.sql"),
    include_str!("../migrations/V6__rulesets.sql"),
    include_str!("../migrations/V7__empty_places.sql"),
    include_str!("../migrations/V8__moves_by_pipeline.sql"),
    include_str!("../migrations/V9__pipelines_processes.sql"),
];

/// Brings the database to the version this program knows.
pub(crate) fn run(db: &mut Connection) -> Result<(), Error> {
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| classify(&error))?;
    let version = version(&tx)?;
    for (migration, to) in MIGRATIONS.iter().zip(1_u32..).skip(version) {
        let applied = tx
            .execute_batch(migration)
            .and_then(|()| tx.pragma_update(None, "user_version", to))
            .and_then(|()| tx.pragma_update(None, "application_id", APPLICATION_ID));
        applied.map_err(|error| {
            Error::Fatal(format!("the schema can't be brought to version {to}: {error}"))
        })?;
    }
    tx.commit().map_err(|error| classify(&error))
}

/// Whether a database is a store, of whatever version.
pub(crate) fn is_store(db: &Connection) -> Result<bool, Error> {
    let id = db.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    id.map(|id| id == i64::from(APPLICATION_ID)).map_err(|error| classify(&error))
}

/// Refuses a database whose schema is not the one this program knows, without changing it.
pub(crate) fn check(db: &Connection) -> Result<(), Error> {
    match version(db)? {
        version if version == MIGRATIONS.len() => Ok(()),
        version => Err(Error::Fatal(format!(
            "its schema has version {version} and this program needs {}; start the program once to bring it there",
            MIGRATIONS.len()
        ))),
    }
}

/// The version of a database that is ours, and not newer than this program.
fn version(db: &Connection) -> Result<usize, Error> {
    let pragma = |name: &str| -> Result<i64, Error> {
        db.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| classify(&error))
    };
    let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| classify(&error))?;
    let blank = application_id == 0 && version == 0 && tables == 0;
    if application_id != i64::from(APPLICATION_ID) && !blank {
        return Err(Error::Fatal(
            "the file is another program's database; name another file for the store".into(),
        ));
    }
    let known = MIGRATIONS.len();
    usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        Error::Fatal(format!(
            "its schema has version {version} and this program knows up to {known}; use the newer program that wrote it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use store::rulesets::Ruleset;

    use super::*;
    use crate::family::rulesets;

    fn count(db: &Connection, sql: &str) -> i64 {
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_blank_database_gets_the_schema_and_a_second_run_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        run(&mut db).unwrap();
        check(&db).unwrap();
        run(&mut db).unwrap();
        assert_eq!(count(&db, "SELECT count(*) FROM sla_definitions"), 2);
        let daily = "SELECT deadline_minutes FROM sla_definitions WHERE sla_type = 'daily'";
        assert_eq!(count(&db, daily), 540);
    }

    #[test]
    fn a_database_of_the_first_version_gets_what_is_missing_and_keeps_what_it_holds() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(MIGRATIONS[0]).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.execute_batch("UPDATE sla_definitions SET owner = 'kept'").unwrap();
        check(&db).unwrap_err();
        run(&mut db).unwrap();
        check(&db).unwrap();
        assert_eq!(count(&db, "SELECT count(*) FROM load_history"), 0);
        let kept = "SELECT count(*) FROM sla_definitions WHERE owner = 'kept'";
        assert_eq!(count(&db, kept), 2);
    }

    /// A database as an earlier version made it.
    fn of_version(version: usize) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&MIGRATIONS[..version].concat()).unwrap();
        db.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db
    }

    #[test]
    fn moves_of_the_third_version_become_those_of_the_payments() {
        let mut db = of_version(3);
        db.execute_batch(
            "INSERT INTO buffer_moves VALUES ('x to a', 9, 0, 100, 'open', 0, 0, 0, 0, 0, 1), \
                                             ('a to b', 3, 0, 50, 'open', 0, 0, 0, 0, 0, 2); \
             INSERT INTO buffer_move_processes VALUES \
                 ('x to a', 'h:1:a', 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), \
                 ('a to b', 'h:1:a', 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)",
        )
        .unwrap();
        run(&mut db).unwrap();
        for table in ["buffer_moves", "buffer_move_processes"] {
            let kept = format!(
                "SELECT count(*) FROM {table} WHERE step = 3 AND name = 'payments' \
                 AND source = 'a to b' AND target = ''"
            );
            assert_eq!(count(&db, &kept), 1, "{table}");
            assert_eq!(count(&db, &format!("SELECT count(*) FROM {table}")), 1, "{table}");
        }
    }

    #[test]
    fn a_move_of_the_seventh_version_is_kept() {
        let mut db = of_version(7);
        db.execute_batch(
            "INSERT INTO buffer_moves VALUES \
                 ('payments', 3, 0, 50, 'drain', 1, 2, 3, 4, 5, 6, 'list:a', 'list:b', 7)",
        )
        .unwrap();
        run(&mut db).unwrap();
        let kept = "SELECT count(*) FROM buffer_moves WHERE name = 'payments' AND step = 3 \
                    AND source = 'list:a' AND target = 'list:b' AND start_empty = 7 AND start_done = 0";
        assert_eq!(count(&db, kept), 1);
    }

    #[test]
    fn versions_of_rules_that_rows_bear_already_are_never_given_to_other_rules() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(&MIGRATIONS[..5].concat()).unwrap();
        db.pragma_update(None, "user_version", 5).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.execute_batch(
            "INSERT INTO transactions (tx_id, card_number, card_fingerprint, user_id, tier, \
                 amount, merchant, category, ruleset_version, created_at, accepted_at, processed_at) \
             VALUES ('a', '', x'', '', 'vip', 1, '', '', 1, 5, 6, 9), \
                    ('b', '', x'', '', 'vip', 1, '', '', 1, 5, 6, 8), \
                    ('c', '', x'', '', 'vip', 1, '', '', 7, 5, 6, NULL)",
        )
        .unwrap();
        run(&mut db).unwrap();
        let first = |version, first_used_at_ms| Ruleset { version, rules: None, first_used_at_ms };
        assert_eq!(rulesets::all(&db).unwrap(), [first(1, 8), first(7, 6)]);
        assert_eq!(rulesets::version(&db, "{}", 10).unwrap(), 8);
        assert_eq!(count(&db, "SELECT sum(ruleset_version) FROM transactions"), 9);
    }

    #[test]
    fn a_newer_database_is_refused_and_left_as_it_was() {
        let mut db = Connection::open_in_memory().unwrap();
        run(&mut db).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        let refused = run(&mut db).unwrap_err();
        assert!(refused.to_string().contains("has version 99"), "{refused}");
        assert_eq!(count(&db, "PRAGMA user_version"), 99);
    }

    #[test]
    fn another_programs_database_is_refused_and_left_as_it_was() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE notes (text)").unwrap();
        let refused = run(&mut db).unwrap_err();
        assert!(refused.to_string().contains("another program's"), "{refused}");
        assert_eq!(count(&db, "SELECT count(*) FROM sqlite_schema"), 1);
    }

    #[test]
    fn a_blank_database_has_no_schema_to_read() {
        let db = Connection::open_in_memory().unwrap();
        assert!(matches!(check(&db), Err(Error::Fatal(_))));
    }
}
