//! A connection outside the pool: for changing the schema, for the claim, for inspection.

use std::time::Duration;

use store::Error;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::error::{Stage, classify, text};
use crate::options::Role;
use crate::settings::Problem;
use crate::{Options, pooler, tls};

/// The connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Ends when the connection does.
    pub(crate) task: JoinHandle<()>,
    /// The process of the server that serves it.
    pub(crate) backend: String,
}

impl Link {
    /// Connects, refuses a session that is shared, and sets it as it has to be.
    pub(crate) async fn open(
        options: &Options,
        role: Role,
        tls: tls::Connector,
    ) -> Result<Self, Error> {
        let mut link = Self::connect(options, role, tls.clone()).await?;
        let other = Self::connect(options, role, tls).await?;
        link.backend =
            within(options.patience(), pooler::refuse(&link.client, &other.client)).await?;
        let settings = options.settings(role);
        let asked = async {
            settings.ask(&link.client).await.map_err(|problem| match problem {
                Problem::Database(error) => classify(&error, Stage::Open),
                Problem::Setting(said) => Error::Fatal(said),
            })
        };
        within(options.patience(), asked).await?;
        Ok(link)
    }

    async fn connect(options: &Options, role: Role, tls: tls::Connector) -> Result<Self, Error> {
        let config = options.config(role);
        let bound = options.connect_timeout_of_all();
        // The library bounds only how long a socket takes to connect.
        let (client, connection) = timeout(bound, config.connect(tls))
            .await
            .map_err(|_| {
                let ms = bound.as_millis();
                Error::Unavailable(format!("no server answered within {ms} ms"))
            })?
            .map_err(|error| classify(&error, Stage::Open))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = text(&error), "a connection ended");
            }
        });
        Ok(Self { client, task, backend: String::new() })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One row, for a question that has exactly one.
pub(crate) async fn one(
    client: &Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Row, Error> {
    client.query_one(sql, values).await.map_err(|error| classify(&error, Stage::Open))
}

/// Bounds `work`.
pub(crate) async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(bound, work).await.unwrap_or_else(|_| {
        let ms = bound.as_millis();
        Err(Error::Unavailable(format!("the server did not answer within {ms} ms")))
    })
}
