//! One transaction for the callers that wait.

use model::clock::EpochMs;
use rusqlite::Connection;
use store::Error;
use tokio::sync::oneshot;

use crate::error::classify_write;

/// What one caller's work came to inside the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied<T> {
    /// Its writes stay, and this is its answer once the transaction is committed.
    Kept(T),
    /// Its writes are rolled back, and this is its answer.
    Undone(Result<T, Error>),
}

/// What one caller wants written, whatever its answer is.
pub(crate) trait Effect: Send {
    /// Rows that it writes of payments and of tables of others.
    fn rows(&self) -> usize;

    /// Writes it. Returns whether its writes are kept.
    ///
    /// # Errors
    /// When the transaction as a whole failed.
    fn apply(&mut self, db: &Connection, now_ms: EpochMs) -> rusqlite::Result<bool>;

    /// Whether its writes were kept by the last [`Effect::apply`].
    fn is_kept(&self) -> bool;

    /// Answers the caller: with what the work came to if the transaction was committed, or else with
    /// why it was not. A caller that has stopped waiting learns the outcome when it tries again.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

/// Work of one caller: `work` is done in a transaction, and once more when that transaction failed
/// because of another caller.
pub(crate) fn effect<T, W>(
    rows: usize,
    work: W,
) -> (Box<dyn Effect>, oneshot::Receiver<Result<T, Error>>)
where
    T: Send + 'static,
    W: Fn(&Connection, EpochMs) -> rusqlite::Result<Applied<T>> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Caller { rows, work, applied: None, reply }), answer)
}

struct Caller<T, W> {
    rows: usize,
    work: W,
    /// What the last attempt came to.
    applied: Option<Applied<T>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, W> Effect for Caller<T, W>
where
    T: Send,
    W: Fn(&Connection, EpochMs) -> rusqlite::Result<Applied<T>> + Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn apply(&mut self, db: &Connection, now_ms: EpochMs) -> rusqlite::Result<bool> {
        let applied = (self.work)(db, now_ms).or_else(|error| match classify_write(&error) {
            // After some errors SQLite has rolled the whole transaction back by itself.
            refused @ (Error::Refused(_) | Error::Rejected(_)) if !db.is_autocommit() => {
                Ok(Applied::Undone(Err(refused)))
            }
            _ => Err(error),
        });
        self.applied = Some(applied?);
        Ok(self.is_kept())
    }

    fn is_kept(&self) -> bool {
        matches!(self.applied, Some(Applied::Kept(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let answer = match (committed, self.applied) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(Applied::Kept(answer))) => Ok(answer),
            (Ok(()), Some(Applied::Undone(answer))) => answer,
            (Ok(()), None) => Err(Error::Unavailable("it was not written".into())),
        };
        drop(self.reply.send(answer));
    }
}

/// Begins a transaction that writes.
pub(crate) fn begin(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

/// Writes what each of `effects` wants in the transaction that is begun, or nothing of it, and commits.
/// What each of them is to be answered holds only because the commit went through.
///
/// # Errors
/// When the transaction as a whole failed. Nothing was written, unless the failure was the
/// commit's: then nobody knows.
pub(crate) fn commit(
    db: &Connection,
    effects: &mut [Box<dyn Effect>],
    now_ms: EpochMs,
) -> rusqlite::Result<()> {
    // A lone caller needs no savepoint: what is not kept is rolled back with the transaction.
    let alone = effects.len() == 1;
    let mut kept = false;
    for effect in effects {
        kept |= if alone { effect.apply(db, now_ms)? } else { apart(db, effect, now_ms)? };
    }
    db.prepare_cached(if kept { "COMMIT" } else { "ROLLBACK" })?.execute([])?;
    Ok(())
}

/// Applies one effect such that, if it is not kept, it leaves the others' alone.
fn apart(db: &Connection, effect: &mut Box<dyn Effect>, now_ms: EpochMs) -> rusqlite::Result<bool> {
    db.prepare_cached("SAVEPOINT caller")?.execute([])?;
    let kept = effect.apply(db, now_ms)?;
    if !kept {
        db.prepare_cached("ROLLBACK TO caller")?.execute([])?;
    }
    db.prepare_cached("RELEASE caller")?.execute([])?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use model::{Class, Classify};
    use store::conformance::loads::load;
    use store::conformance::row;
    use store::{Duplicate, Settlement};

    use super::*;
    use crate::error::classify;
    use crate::family::{loads, payments};

    fn database() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        crate::migrations::run(&mut db).unwrap();
        db
    }

    type Settled = oneshot::Receiver<Result<Settlement, Error>>;

    fn payments(rows: &[(&str, i64)]) -> (Box<dyn Effect>, Settled) {
        let rows = rows.iter().map(|&(id, amount)| row(id, "4000", amount, 1)).collect();
        settle(rows)
    }

    fn settle(rows: Vec<store::Row>) -> (Box<dyn Effect>, Settled) {
        effect(rows.len(), move |db, now_ms| payments::insert(db, &rows, now_ms))
    }

    fn ids(db: &Connection) -> Vec<String> {
        let mut ids = db.prepare("SELECT tx_id FROM transactions ORDER BY id").unwrap();
        let ids = ids.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<rusqlite::Result<_>>().unwrap()
    }

    /// Commits all of them, and answers.
    fn committed(db: &Connection, mut effects: Vec<Box<dyn Effect>>) {
        begin(db).unwrap();
        commit(db, &mut effects, 1).unwrap();
        effects.into_iter().for_each(|effect| effect.answer(Ok(())));
    }

    #[test]
    fn one_callers_duplicates_or_bad_row_undo_nothing_of_the_others() {
        let db = database();
        let group = [
            payments(&[("a", 1), ("b", 1)]),
            payments(&[("c", 1), ("a", 1)]),
            payments(&[("d", 1), ("bad", -1)]),
            payments(&[("e", 1), ("c", 1)]),
        ];
        let (effects, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        committed(&db, effects);
        let answers: Vec<_> =
            answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect();
        assert_eq!(answers[0], Ok(Settlement::Settled));
        let named = vec![Duplicate { index: 1, differs: Vec::new() }];
        assert_eq!(answers[1], Ok(Settlement::Duplicates(named)));
        assert!(matches!(answers[2], Err(Error::Refused(_))), "{answers:?}");
        assert_eq!(answers[3], Ok(Settlement::Settled));
        assert_eq!(ids(&db), ["a", "b", "e", "c"]);
    }

    #[test]
    fn a_load_that_can_not_be_recorded_undoes_nothing_of_the_others() {
        let db = database();
        db.execute_batch("DROP TABLE load_history").unwrap();
        let load = || effect(0, |db, _| loads::record(db, &load("a:1", 0), 0));
        let ((first, mut a), (lost, mut none)) = (payments(&[("a", 1)]), load());
        let (second, mut b) = payments(&[("b", 1)]);
        committed(&db, vec![first, lost, second]);
        assert_eq!(a.try_recv().unwrap(), Ok(Settlement::Settled));
        none.try_recv().unwrap().unwrap_err();
        assert_eq!(b.try_recv().unwrap(), Ok(Settlement::Settled));
        assert_eq!(ids(&db), ["a", "b"]);
        let (alone, mut none) = load();
        committed(&db, vec![alone]);
        none.try_recv().unwrap().unwrap_err();
        assert_eq!(ids(&db), ["a", "b"]);
    }

    #[test]
    fn a_database_that_is_full_fails_every_caller_and_keeps_nothing() {
        let db = database();
        let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        db.query_row(&format!("PRAGMA max_page_count = {}", pages + 4), [], |_| Ok(())).unwrap();
        let many: Vec<_> = (0..1_000).map(|n| row(&format!("tx-{n}"), "4000", 1, 1)).collect();
        let group = [payments(&[("a", 1)]), settle(many), payments(&[("b", 1)])];
        let (mut effects, _answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        begin(&db).unwrap();
        let error = commit(&db, &mut effects, 1).unwrap_err();
        assert_eq!(classify(&error).class(), Class::Retryable, "{error}");
        if !db.is_autocommit() {
            db.execute_batch("ROLLBACK").unwrap();
        }
        assert!(ids(&db).is_empty());
    }

    /// A foreign key checked only at COMMIT stands for every cause a commit can fail of.
    #[test]
    fn a_commit_that_fails_fails_every_caller() {
        let db = database();
        db.execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE children (id REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER orphan AFTER INSERT ON transactions WHEN new.tx_id = 'orphan'
             BEGIN INSERT INTO children VALUES (1); END;",
        )
        .unwrap();
        let group = [payments(&[("a", 1)]), payments(&[("orphan", 1)])];
        let (mut effects, _answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        begin(&db).unwrap();
        commit(&db, &mut effects, 1).unwrap_err();
        db.execute_batch("ROLLBACK").unwrap();
        assert!(ids(&db).is_empty());
    }
}
