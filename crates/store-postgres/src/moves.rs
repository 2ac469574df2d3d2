//! Keeping track of moves between buffers, on connections beside the store's own: a process that only
//! offers has no store.

use std::sync::Arc;

use async_trait::async_trait;
use model::route::{Phase, Route};
use store::Error;
use store::moves::{Heard, NAME_BYTES_MAX, Report, Start, Step};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::encode::sound;
use crate::error::Stage;
use crate::options::Role;
use crate::schema::Schema;
use crate::session::Pool;
use crate::{Options, migrations, tls};

/// Moves between buffers, in the store's schema.
pub struct Moves {
    pool: Arc<Pool>,
    statements: Statements,
    shown: String,
}

struct Statements {
    step: String,
    last: String,
    begin: String,
    advance: String,
    start: String,
    report: String,
    reports: String,
    forget: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        let moves = format!("{schema}.buffer_moves");
        let processes = format!("{schema}.buffer_move_processes");
        let reported = "offered_source, offered_target, done_source, done_target, pending_source, \
                        pending_target, dead_source, dead_target";
        Self {
            step: format!("SELECT step, share_before, share, phase FROM {moves} WHERE name = $1"),
            last: format!(
                "SELECT step, share_before, share, phase, name FROM {moves} \
                 ORDER BY changed_at DESC LIMIT 1"
            ),
            begin: format!(
                "WITH moves AS (DELETE FROM {moves} WHERE name <> $1), \
                      processes AS (DELETE FROM {processes} WHERE name <> $1) \
                 INSERT INTO {moves} (name, step, share_before, share, phase, start_settled, \
                                      start_pending, start_dead, start_duplicates, start_offered) \
                 VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING"
            ),
            advance: format!(
                "UPDATE {moves} SET step = $2, share_before = $3, share = $4, phase = $5, \
                                    changed_at = now() \
                 WHERE name = $1 AND step = $2::bigint - 1"
            ),
            start: format!(
                "SELECT start_settled, start_pending, start_dead, start_duplicates, start_offered \
                 FROM {moves} WHERE name = $1"
            ),
            report: format!(
                "INSERT INTO {processes} (name, process, step, drained, ended, {reported}) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                 ON CONFLICT (name, process) DO UPDATE SET (step, drained, ended, {reported}, \
                 reported_at) = ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, now())"
            ),
            reports: format!(
                "SELECT process, step, drained, ended, {reported}, \
                        (extract(epoch FROM clock_timestamp() - reported_at) * 1000)::bigint \
                 FROM {processes} WHERE name = $1 ORDER BY process"
            ),
            forget: format!("UPDATE {processes} SET ended = true WHERE name = $1 AND process = $2"),
        }
    }
}

impl Moves {
    /// Connects, and looks whether the schema is the one this program knows.
    ///
    /// # Errors
    /// [`Error::Fatal`] when an option is wrong or the schema is not there or of another version,
    /// [`Error::Unavailable`] when the server can't be reached.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let opened = async {
            let schema = options.check().map_err(Error::Fatal)?;
            let tls = tls::connector(options)?;
            migrations::check(options, &schema, tls.clone()).await?;
            let pool = Arc::new(Pool::new(options, Role::Work, tls)?);
            Ok(Self { pool, statements: Statements::new(&schema), shown: options.to_string() })
        };
        opened.await.map_err(|error| crate::store::at(options, error))
    }

    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let session = self.pool.session(Stage::Write).await?;
        let rows = session.bounded(async {
            let statement = session.client().prepare_cached(sql).await?;
            session.client().query(&statement, values).await
        });
        let rows = rows.await?;
        session.keep();
        Ok(rows)
    }

    async fn changed(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        let session = self.pool.session(Stage::Write).await?;
        let changed = session.bounded(async {
            let statement = session.client().prepare_cached(sql).await?;
            session.client().execute(&statement, values).await
        });
        let changed = changed.await?;
        session.keep();
        Ok(changed)
    }
}

impl std::fmt::Debug for Moves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moves").field("at", &self.shown).finish_non_exhaustive()
    }
}

/// As the column keeps it.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a column of counts holds.
fn count(row: &Row, at: usize) -> u64 {
    row.get::<_, i64>(at).max(0).unsigned_abs()
}

fn step(row: &Row) -> Result<Step, Error> {
    let phase: &str = row.get(3);
    let unknown = || Error::Fatal(format!("a move is in the phase {phase}, of a newer program"));
    let phase = Phase::named(phase).ok_or_else(unknown)?;
    let share = |at: usize| u8::try_from(row.get::<_, i16>(at)).unwrap_or_default();
    let route = Route { before: share(1), share: share(2), phase };
    Ok(Step { number: count(row, 0), route })
}

fn named(column: &str, name: &str) -> Result<(), Error> {
    sound(column, name, NAME_BYTES_MAX).map_err(Error::Rejected)
}

#[async_trait]
impl store::Moves for Moves {
    async fn step(&self, name: &str) -> Result<Option<Step>, Error> {
        let rows = self.rows(&self.statements.step, &[&name]).await?;
        rows.first().map(step).transpose()
    }

    async fn last(&self) -> Result<Option<(String, Step)>, Error> {
        let rows = self.rows(&self.statements.last, &[]).await?;
        rows.first().map(|row| Ok((row.get(4), step(row)?))).transpose()
    }

    async fn advance(&self, name: &str, step: Step, start: Start) -> Result<bool, Error> {
        named("name", name)?;
        let Step { number, route: Route { before, share, phase } } = step;
        let (before, share, phase) = (i16::from(before), i16::from(share), phase.name());
        let changed = if number == 1 {
            let Start { settled, pending, dead, duplicates, offered } = start;
            let [settled, pending, dead, duplicates, offered] =
                [settled, pending, dead, duplicates, offered].map(whole);
            let begin: [&(dyn ToSql + Sync); 9] =
                [&name, &before, &share, &phase, &settled, &pending, &dead, &duplicates, &offered];
            self.changed(&self.statements.begin, &begin).await?
        } else {
            let number = whole(number);
            let advance: [&(dyn ToSql + Sync); 5] = [&name, &number, &before, &share, &phase];
            self.changed(&self.statements.advance, &advance).await?
        };
        Ok(changed == 1)
    }

    async fn start(&self, name: &str) -> Result<Option<Start>, Error> {
        let rows = self.rows(&self.statements.start, &[&name]).await?;
        Ok(rows.first().map(|row| Start {
            settled: count(row, 0),
            pending: count(row, 1),
            dead: count(row, 2),
            duplicates: count(row, 3),
            offered: count(row, 4),
        }))
    }

    async fn report(&self, name: &str, report: &Report) -> Result<(), Error> {
        named("name", name)?;
        named("process", &report.process)?;
        let Report { process, step, drained, ended, offered, done, pending, dead } = report;
        let step = whole(*step);
        let [offered, done, pending, dead] =
            [offered, done, pending, dead].map(|pair| pair.map(whole));
        let values: [&(dyn ToSql + Sync); 13] = [
            &name,
            process,
            &step,
            drained,
            ended,
            &offered[0],
            &offered[1],
            &done[0],
            &done[1],
            &pending[0],
            &pending[1],
            &dead[0],
            &dead[1],
        ];
        self.changed(&self.statements.report, &values).await.map(drop)
    }

    async fn reports(&self, name: &str) -> Result<Vec<Heard>, Error> {
        let rows = self.rows(&self.statements.reports, &[&name]).await?;
        let heard = rows.iter().map(|row| {
            let pair = |at: usize| [count(row, at), count(row, at + 1)];
            let report = Report {
                process: row.get(0),
                step: count(row, 1),
                drained: row.get(2),
                ended: row.get(3),
                offered: pair(4),
                done: pair(6),
                pending: pair(8),
                dead: pair(10),
            };
            Heard { report, ago_ms: count(row, 12) }
        });
        Ok(heard.collect())
    }

    async fn forget(&self, name: &str, process: &str) -> Result<bool, Error> {
        Ok(self.changed(&self.statements.forget, &[&name, &process]).await? == 1)
    }
}
