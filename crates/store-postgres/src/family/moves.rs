//! Keeping track of moves between buffers.

use std::sync::Arc;

use async_trait::async_trait;
use model::route::{Phase, Route};
use store::Error;
use store::moves::{
    Buffers, Heard, LEFT_MAX, Recorded, Report, Start, Step, check, check_buffers, check_report,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::column::{counted, whole};
use crate::database::Database;
use crate::schema::Schema;

/// Moves between buffers, in the store's schema.
pub(crate) struct Moves {
    database: Arc<Database>,
    statements: Statements,
}

struct Statements {
    recorded: String,
    all: String,
    left: String,
    left_trim: String,
    begin: String,
    advance: String,
    rename: String,
    start: String,
    report: String,
    reports: String,
    forget: String,
    sweep: String,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        let moves = format!("{schema}.buffer_moves");
        let (processes, left) =
            (format!("{schema}.buffer_move_processes"), format!("{schema}.buffers_left"));
        let found =
            format!("SELECT step, share_before, share, phase, name, source, target FROM {moves}");
        let finished = "phase = 'open' AND recorded.share IN (0, 100)";
        let begun = "share_before, share, phase, start_settled, start_pending, start_dead, \
                     start_duplicates, start_offered, start_empty, start_done";
        let reported = "offered_source, offered_target, done_source, done_target, pending_source, \
                        pending_target, dead_source, dead_target, empty_source, empty_target";
        Self {
            recorded: format!("{found} WHERE name = $1"),
            all: format!("{found} ORDER BY name"),
            left: format!("SELECT buffer FROM {left} WHERE name = $1 ORDER BY step DESC LIMIT $2"),
            left_trim: format!(
                "DELETE FROM {left} WHERE name = $1 AND step NOT IN \
                 (SELECT step FROM {left} WHERE name = $1 ORDER BY step DESC LIMIT $2)"
            ),
            // In place of a finished move alone, whose buffer that was left is kept. What an earlier version
            // recorded names it in no text of its own. All parts see the rows as they were before; of two
            // leaders both keep the same row, and one begins.
            begin: format!(
                "WITH kept AS ( \
                     INSERT INTO {left} (name, step, buffer) \
                     SELECT name, $4::bigint, CASE share WHEN 100 THEN source ELSE target END \
                     FROM {moves} AS recorded \
                     WHERE name = $1 AND step = $4::bigint - 1 AND recorded.{finished} AND target <> '' \
                     ON CONFLICT DO NOTHING) \
                 INSERT INTO {moves} AS recorded (name, source, target, step, {begun}) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                 ON CONFLICT (name) DO UPDATE SET (source, target, step, {begun}, changed_at) = \
                 ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now()) \
                 WHERE recorded.step = $4 - 1 AND recorded.{finished}"
            ),
            advance: format!(
                "UPDATE {moves} SET step = $2, share_before = $3, share = $4, phase = $5, \
                                    changed_at = now() \
                 WHERE name = $1 AND step = $2::bigint - 1"
            ),
            rename: format!("UPDATE {moves} SET source = $2, target = $3 WHERE name = $1"),
            start: format!(
                "SELECT start_settled, start_pending, start_dead, start_duplicates, start_offered, \
                        start_empty, start_done \
                 FROM {moves} WHERE name = $1"
            ),
            report: format!(
                "INSERT INTO {processes} (name, process, step, drained, ended, {reported}, source, target) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
                 ON CONFLICT (name, process) DO UPDATE SET (step, drained, ended, {reported}, source, \
                 target, reported_at) = \
                 ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
                 now())"
            ),
            reports: format!(
                "SELECT process, step, drained, ended, {reported}, \
                        (extract(epoch FROM clock_timestamp() - reported_at) * 1000)::bigint, \
                        source, target \
                 FROM {processes} WHERE name = $1 ORDER BY process"
            ),
            forget: format!("UPDATE {processes} SET ended = true WHERE name = $1 AND process = $2"),
            sweep: format!("DELETE FROM {processes} WHERE name = $1 AND ended"),
        }
    }
}

impl Moves {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database), statements: Statements::new(database.schema()) }
    }
}

fn step(row: &Row) -> Result<Step, Error> {
    let phase: &str = row.get(3);
    let unknown = || Error::Fatal(format!("a move is in the phase {phase}, of a newer program"));
    let phase = Phase::named(phase).ok_or_else(unknown)?;
    let share = |at: usize| u8::try_from(row.get::<_, i16>(at)).unwrap_or_default();
    let route = Route { before: share(1), share: share(2), phase };
    Ok(Step { number: counted(row, 0), route })
}

fn recorded(row: &Row) -> Result<Recorded, Error> {
    let buffers = Buffers { source: row.get(5), target: row.get(6) };
    Ok(Recorded { pipeline: row.get(4), buffers, step: step(row)? })
}

/// As a LIMIT takes it.
fn left_max() -> i64 {
    whole(LEFT_MAX as u64)
}

#[async_trait]
impl store::Moves for Moves {
    async fn recorded(&self, pipeline: &str) -> Result<Option<Recorded>, Error> {
        let rows = self.database.query(&self.statements.recorded, &[&pipeline]).await?;
        rows.first().map(recorded).transpose()
    }

    async fn all(&self) -> Result<Vec<Recorded>, Error> {
        self.database.query(&self.statements.all, &[]).await?.iter().map(recorded).collect()
    }

    async fn left(&self, pipeline: &str) -> Result<Vec<String>, Error> {
        let rows = self.database.query(&self.statements.left, &[&pipeline, &left_max()]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn begin(&self, first: &Recorded, start: Start) -> Result<bool, Error> {
        check(first)?;
        let Recorded { pipeline, buffers, step } = first;
        let Step { number, route: Route { before, share, phase } } = *step;
        let (before, share, phase) = (i16::from(before), i16::from(share), phase.name());
        let Start { settled, pending, dead, duplicates, offered, empty, done } = start;
        let [number, settled, pending, dead, duplicates, offered, empty, done] =
            [number, settled, pending, dead, duplicates, offered, empty, done].map(whole);
        let begin: [&(dyn ToSql + Sync); 14] = [
            pipeline,
            &buffers.source,
            &buffers.target,
            &number,
            &before,
            &share,
            &phase,
            &settled,
            &pending,
            &dead,
            &duplicates,
            &offered,
            &empty,
            &done,
        ];
        let begun = self.database.execute(&self.statements.begin, &begin).await? == 1;
        self.database.execute(&self.statements.left_trim, &[pipeline, &left_max()]).await?;
        Ok(begun)
    }

    async fn advance(&self, pipeline: &str, step: Step) -> Result<bool, Error> {
        let Step { number, route: Route { before, share, phase } } = step;
        let (before, share, phase) = (i16::from(before), i16::from(share), phase.name());
        let number = whole(number);
        let advance: [&(dyn ToSql + Sync); 5] = [&pipeline, &number, &before, &share, &phase];
        Ok(self.database.execute(&self.statements.advance, &advance).await? == 1)
    }

    async fn rename(&self, pipeline: &str, buffers: &Buffers) -> Result<bool, Error> {
        check_buffers(buffers)?;
        let rename: [&(dyn ToSql + Sync); 3] = [&pipeline, &buffers.source, &buffers.target];
        Ok(self.database.execute(&self.statements.rename, &rename).await? == 1)
    }

    async fn start(&self, pipeline: &str) -> Result<Option<Start>, Error> {
        let rows = self.database.query(&self.statements.start, &[&pipeline]).await?;
        Ok(rows.first().map(|row| Start {
            settled: counted(row, 0),
            pending: counted(row, 1),
            dead: counted(row, 2),
            duplicates: counted(row, 3),
            offered: counted(row, 4),
            empty: counted(row, 5),
            done: counted(row, 6),
        }))
    }

    async fn report(&self, pipeline: &str, report: &Report) -> Result<(), Error> {
        check_report(pipeline, report)?;
        let Report { process, buffers, step, drained, ended, .. } = report;
        let Report { offered, done, pending, dead, empty, .. } = report;
        let step = whole(*step);
        let [offered, done, pending, dead, empty] =
            [offered, done, pending, dead, empty].map(|pair| pair.map(whole));
        let values: [&(dyn ToSql + Sync); 17] = [
            &pipeline,
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
            &empty[0],
            &empty[1],
            &buffers.source,
            &buffers.target,
        ];
        self.database.execute(&self.statements.report, &values).await.map(drop)
    }

    async fn reports(&self, pipeline: &str) -> Result<Vec<Heard>, Error> {
        let rows = self.database.query(&self.statements.reports, &[&pipeline]).await?;
        let heard = rows.iter().map(|row| {
            let pair = |at: usize| [counted(row, at), counted(row, at + 1)];
            let report = Report {
                process: row.get(0),
                buffers: Buffers { source: row.get(15), target: row.get(16) },
                step: counted(row, 1),
                drained: row.get(2),
                ended: row.get(3),
                offered: pair(4),
                done: pair(6),
                pending: pair(8),
                dead: pair(10),
                empty: pair(12),
            };
            Heard { report, ago_ms: counted(row, 14) }
        });
        Ok(heard.collect())
    }

    async fn forget(&self, pipeline: &str, process: &str) -> Result<bool, Error> {
        Ok(self.database.execute(&self.statements.forget, &[&pipeline, &process]).await? > 0)
    }

    async fn sweep(&self, pipeline: &str) -> Result<(), Error> {
        self.database.execute(&self.statements.sweep, &[&pipeline]).await.map(drop)
    }
}
