//! Opening the store, with the claim to settle into it and beside the processes that have one.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::Clock;
use store::{
    Claimed, Completions, Error, Keys, Loads, Moves, Pipelines, Processes, Rulesets, Tables,
};

use crate::claim::Claim;
use crate::database::Database;
use crate::error::{Stage, at, classify};
use crate::family::{
    completions, keys, loads, moves, payments, pipelines, processes, rulesets, tables,
};
use crate::inspect::rights;
use crate::link::{self, Link};
use crate::options::Role;
use crate::{Options, migrations, tls};

/// Opens the store with the claim to settle into it: brings the schema up with [`Options::create`],
/// checks it, and claims it, for this process alone with [`Options::exclusive`] and beside others
/// without. Dropping it lets go of the claim and waits for nothing; closing it waits.
///
/// A role that is to settle, and to change no schema, needs USAGE on the schema, SELECT on its
/// tables, INSERT on `transactions`, `pipeline_completion_log`, `load_history`, `rulesets` and
/// `shard_fences`, UPDATE on `settling_term` and `shard_fences`, and DELETE on `load_history`.
///
/// # Errors
/// [`Error::Fatal`] when an option is wrong, the role may not do what it has to, the schema is
/// not there or not of this program's version, or another process holds a claim that excludes
/// this one; [`Error::Unavailable`] when the server can't be reached or takes no writes.
pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Claimed, Error> {
    let shown = options.to_string();
    opened(options, clock).await.map_err(|error| at(shown, error))
}

/// The store of a process that does not settle, beside those that do. It connects when it is first used,
/// and looks then whether the schema is the one of this program.
///
/// # Errors
/// [`Error::Fatal`] when an option is wrong.
pub fn beside(options: Options, clock: Arc<dyn Clock>) -> Result<Arc<dyn store::Store>, Error> {
    let shown = options.to_string();
    let database = Database::new(options, clock).map_err(|error| at(shown, error))?;
    Ok(Arc::new(Store { database: Arc::new(database), claim: None }))
}

/// Whether any payment is in the store. Claims nothing.
///
/// # Errors
/// As [`open`], but that no other process is in the way.
pub async fn begun(options: &Options) -> Result<bool, Error> {
    let looked = async {
        let schema = options.check().map_err(Error::Fatal)?;
        let link = Link::open(options, Role::Work, tls::connector(options)?).await?;
        let look = async {
            migrations::checked(&link.client, &schema).await?;
            let lacking = rights::lacking(&link.client, &schema).await;
            let lacking = lacking.map_err(|error| classify(&error, Stage::Open))?;
            if !lacking.is_empty() {
                return Err(Error::Fatal(lacking.join("; ")));
            }
            let any = format!("SELECT EXISTS (SELECT FROM {schema}.transactions)");
            Ok(link::one(&link.client, &any, &[]).await?.get(0))
        };
        link::within(options.patience(), look).await
    };
    looked.await.map_err(|error| at(options, error))
}

async fn opened(options: Options, clock: Arc<dyn Clock>) -> Result<Claimed, Error> {
    let database = Arc::new(Database::new(options, clock)?);
    database.prepare().await?;
    let claim = Claim::take(database.options(), database.schema(), database.tls()).await?;
    let claim = Arc::new(claim);
    let pool = database.enter().await?;
    let session = pool.session(Stage::Open).await?;
    let lacking = rights::lacking(session.client(), database.schema());
    let lacking = lacking.await.map_err(|error| session.failed(&error))?;
    if !lacking.is_empty() {
        return Err(Error::Fatal(lacking.join("; ")));
    }
    session.keep();
    drop(pool);
    let payments = payments::Payments::new(Arc::clone(&database), Arc::clone(&claim));
    let store = Store { database, claim: Some(claim) };
    Ok(Claimed::new(Arc::new(store), Arc::new(payments)))
}

struct Store {
    database: Arc<Database>,
    claim: Option<Arc<Claim>>,
}

#[async_trait]
impl store::Store for Store {
    fn completions(&self) -> Arc<dyn Completions> {
        Arc::new(completions::Completions::new(&self.database))
    }

    fn keys(&self) -> Arc<dyn Keys> {
        Arc::new(keys::Keys::new(&self.database))
    }

    fn loads(&self) -> Arc<dyn Loads> {
        Arc::new(loads::Loads::new(&self.database))
    }

    fn moves(&self) -> Arc<dyn Moves> {
        Arc::new(moves::Moves::new(&self.database))
    }

    fn pipelines(&self) -> Arc<dyn Pipelines> {
        Arc::new(pipelines::Pipelines::new(&self.database))
    }

    fn processes(&self) -> Arc<dyn Processes> {
        Arc::new(processes::Processes::new(&self.database))
    }

    fn rulesets(&self) -> Arc<dyn Rulesets> {
        Arc::new(rulesets::Rulesets::new(&self.database))
    }

    fn tables(&self) -> Arc<dyn Tables> {
        Arc::new(tables::Tables::new(&self.database))
    }

    /// The claim is the server's to take back when it can't be given.
    async fn close(&self) -> Result<(), Error> {
        self.database.close().await;
        if let Some(claim) = &self.claim {
            claim.release().await;
        }
        Ok(())
    }
}
