//! Tables of others in the same database: rows in batches, one transaction each; reads by key.
//!
//! ```text
//!  write ──► pool ──► BEGIN │ INSERT … SELECT FROM unnest(one array a column) ON CONFLICT (key) …
//!                     what is held of the rows that were left out, if any were
//!                     COMMIT, once each row is stored under its key or held
//!  read  ──► pool ──► SELECT … WHERE key = …
//! ```
//!
//! A trigger, a rule, row security or a column's type may skip a row or change its key. So the
//! transaction is committed only once each row is accounted for.
//!
//! The connections here are not those of payments: what other people's triggers need of a session
//! (a search path of their own) is left as the role and the database have it.

mod columns;
mod held;
mod insert;
mod look;
mod one;
mod types;
mod upsert;
mod version;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use store::tables::{Bound, Mode, Record, Table, Type, Value, Written};
use store::{Error, Target};

use crate::database::Database;
use crate::error::Stage;
use crate::link::Link;
use crate::options::Role;
use one::{One, Statements};

/// The schema of a target that names none.
const SCHEMA: &str = "public";

/// Reads that are sent to the server at once.
const READS_MAX: usize = 100;

/// Tables of others, in the database of the store.
pub(crate) struct Tables {
    database: Arc<Database>,
}

impl Tables {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database) }
    }
}

impl store::Tables for Tables {
    fn table(&self, target: &Target) -> Result<Arc<dyn Table>, Error> {
        target.check().map_err(Error::Fatal)?;
        let mut target = target.clone();
        let schema = match target.schema.take() {
            Some(schema) => schema,
            None => store::tables::Name::new(SCHEMA).expect("it is a name"),
        };
        let theirs = schema.as_str();
        if theirs == self.database.schema().name()
            || theirs.starts_with("pg_")
            || theirs == "information_schema"
        {
            let problem = format!("{schema}.{} lies in a schema that is not yours", target.table);
            return Err(Error::Fatal(format!("{problem}; name a table elsewhere")));
        }
        target.schema = Some(schema);
        let (database, statements) = (Arc::clone(&self.database), Statements::new(target));
        Ok(Arc::new(One { database, statements }))
    }
}

impl Statements {
    fn new(target: Target) -> Self {
        let (name, columns) = (target.quoted(), target.quoted_columns());
        let keys: Vec<_> = target.keys.iter().map(|&key| &target.columns[key]).collect();
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
        let arrays = |kinds: &mut dyn Iterator<Item = Type>| {
            list(&mut kinds.zip(1..).map(|(kind, n)| format!("${n}::{}[]", types::sent(kind))))
        };
        let aliases = |count: usize| list(&mut (1..=count).map(|n| format!("c{n}")));
        let count = target.columns.len();
        let kinds = || target.columns.iter().map(|column| column.kind);
        let cast = list(&mut kinds().zip(1..).map(|(kind, n)| types::cast(&format!("c{n}"), kind)));
        let read =
            |columns: &mut dyn Iterator<Item = &store::tables::Column>| {
                list(&mut columns.map(|column| {
                    format!("t.{}::{}", column.name.quoted(), types::sent(column.kind))
                }))
            };
        let all = read(&mut target.columns.iter());
        let returned = read(&mut keys.iter().copied());
        let matches = |of: &dyn Fn(usize) -> String| {
            let equal = keys.iter().enumerate().map(|(at, column)| {
                let name = column.name.quoted();
                format!("t.{name} = {}", types::cast(&of(at + 1), column.kind))
            });
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let by_parameter = |n: usize| format!("${n}::{}", types::sent(keys[n - 1].kind));
        Self {
            insert: format!(
                "INSERT INTO {name} AS t ({columns}) SELECT {cast} FROM unnest({}) AS r ({}) \
                 ON CONFLICT ({}) {} RETURNING {returned}",
                arrays(&mut kinds()),
                aliases(count),
                target.quoted_keys(),
                target.resolution()
            ),
            versions: upsert::versions(&target),
            select: format!("SELECT {all} FROM {name} AS t WHERE {}", matches(&by_parameter)),
            target,
        }
    }
}

#[async_trait]
impl Table for One {
    async fn write(&self, rows: Vec<Record>) -> Result<Vec<Written>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let mut session = self.database.tables().session(Stage::Write).await?;
        let written = match self.statements.target.mode {
            Mode::Insert => self.insert(&mut session, &rows).await,
            Mode::Upsert { .. } => self.upsert(&mut session, &rows).await,
        };
        match &written {
            // The transaction has ended.
            Ok(_) | Err(Error::Refused(_) | Error::Rejected(_)) => session.keep(),
            Err(error) => tracing::warn!(%error, "a transaction failed"),
        }
        if written.is_ok() {
            metrics::histogram!("store_commit_seconds").record(began.elapsed());
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            metrics::counter!("store_rows_total").increment(count);
        }
        written
    }

    async fn read(&self, key: Vec<Value>) -> Result<Option<Record>, Error> {
        let session = self.database.tables().session(Stage::Read).await?;
        let parameters: Vec<_> = key.iter().map(types::One).collect();
        let found = session.bounded(async {
            let select = session.client().prepare_cached(&self.statements.select).await?;
            let parameters: Vec<_> = parameters.iter().map(|one| one as _).collect();
            session.client().query_opt(&select, &parameters).await
        });
        let found = found.await?;
        session.keep();
        found.map(|row| self.record(&row)).transpose()
    }

    async fn read_many(&self, keys: Vec<Vec<Value>>) -> Result<Vec<Option<Record>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.database.tables().session(Stage::Read).await?;
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READS_MAX) {
            let parameters: Vec<Vec<_>> =
                keys.iter().map(|key| key.iter().map(types::One).collect()).collect();
            let found = session.bounded(async {
                let select = session.client().prepare_cached(&self.statements.select).await?;
                // One after the other on the connection, without a wait in between.
                let (client, select) = (session.client(), &select);
                try_join_all(parameters.iter().map(|parameters| async move {
                    let parameters: Vec<_> = parameters.iter().map(|one| one as _).collect();
                    client.query_opt(select, &parameters).await
                }))
                .await
            });
            for row in found.await? {
                rows.push(row.map(|row| self.record(&row)).transpose()?);
            }
        }
        session.keep();
        Ok(rows)
    }

    async fn problems(&self) -> Result<Vec<String>, Error> {
        // Asked on a connection of its own, for it refuses a pooler that shares sessions.
        Link::open(self.database.options(), Role::Tables, self.database.tls()).await?;
        let session = self.database.tables().session(Stage::Open).await?;
        let target = &self.statements.target;
        let problems = session.bounded(look::problems(session.client(), target)).await?;
        session.keep();
        Ok(problems)
    }

    async fn bounds(&self) -> Result<Vec<Bound>, Error> {
        let session = self.database.tables().session(Stage::Read).await?;
        let target = &self.statements.target;
        let bounds = session.bounded(columns::bounds(session.client(), target)).await?;
        session.keep();
        bounds.ok_or_else(|| Error::Unavailable(format!("{target} is not as its entry says")))
    }

    async fn rows(&self) -> Result<u64, Error> {
        let session = self.database.tables().session(Stage::Read).await?;
        let sql = format!("SELECT count(*) FROM {}", self.statements.target.quoted());
        let row = session.bounded(async { session.client().query_one(&sql, &[]).await }).await?;
        session.keep();
        Ok(row.get::<_, i64>(0).max(0).unsigned_abs())
    }

    async fn create(&self) -> Result<bool, Error> {
        let session = self.database.tables().session(Stage::Open).await?;
        let target = &self.statements.target;
        let made = session.bounded(async {
            if look::oid(session.client(), target).await?.is_some() {
                return Ok(false);
            }
            session.client().batch_execute(&types::definition(target)).await.map(|()| true)
        });
        let made = made.await?;
        session.keep();
        Ok(made)
    }
}
