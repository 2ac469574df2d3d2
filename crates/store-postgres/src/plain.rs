//! [`crate::baseline`] and [`crate::scratch`] through the port of plain ways.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::Clock;
use store::plain::{Connected, Outcome, Plain, Server, Way};
use store::{Error, Row};

use crate::baseline::{self, Connection};
use crate::{Options, scratch};

/// A schema beside that of a store.
pub(crate) struct Beside(pub(crate) Options);

#[async_trait]
impl Plain for Beside {
    fn server(&self) -> &'static str {
        "PostgreSQL"
    }

    fn name(&self) -> String {
        format!("the schema {}", self.0.schema)
    }

    async fn make(&self) -> Result<(), Error> {
        scratch::make(&self.0).await
    }

    async fn discard(&self) -> Result<(), Error> {
        scratch::discard(&self.0).await
    }

    async fn connect(&self, way: Way) -> Result<Box<dyn Connected>, Error> {
        let count = match way {
            Way::OneByOne => 1,
            Way::Pool(count) => count,
        };
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(&self.0).await?);
        }
        Ok(Box::new(Connections { way, connections }))
    }

    async fn while_connected(&self, look: &mut (dyn FnMut(Server) + Send)) -> Result<(), Error> {
        baseline::while_connected(&self.0, |pid| look(Server { program: "postgres", pid })).await
    }
}

struct Connections {
    way: Way,
    connections: Vec<Connection>,
}

#[async_trait]
impl Connected for Connections {
    async fn insert(
        mut self: Box<Self>,
        rows: Vec<Row>,
        limit: Duration,
        clock: Arc<dyn Clock>,
        on_insert: &mut (dyn FnMut(Duration) + Send),
    ) -> Outcome {
        match (self.way, self.connections.pop()) {
            (Way::OneByOne, Some(one)) => {
                baseline::one_by_one(one, rows, limit, &*clock, on_insert).await
            }
            (_, last) => {
                self.connections.extend(last);
                baseline::pooled(self.connections, rows, limit, clock, on_insert).await
            }
        }
    }
}
