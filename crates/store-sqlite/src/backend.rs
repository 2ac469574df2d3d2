//! `sqlite:PATH?busy_timeout_ms=…`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use model::clock::{Clock, EpochMs};
use model::url::{self, Url};
use store::backend::Reading;
use store::card::Fingerprint;
use store::inspect::{Counts, Each, Inspect};
use store::rulesets::Ruleset;
use store::{Claimed, Error, Load, Location, Store};
use tokio::task::block_in_place;

use crate::Options;
use crate::inspect::{self, View};

/// SQLite as a backend.
pub struct Backend;

impl store::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn parse(&self, url: &Url<'_>, _: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        let mut options = Options::at(url.path()?);
        for (option, text) in url.options() {
            match option {
                "busy_timeout_ms" => options.busy_timeout_ms = url.number(option, text, 1)?,
                _ => return Err(url.no_option(option, &["busy_timeout_ms"])),
            }
        }
        Ok(Arc::new(options))
    }
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn kept(&self) -> String {
        format!("SQLite {}, WAL, synchronous=FULL", self.path.display())
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn in_file(&self, path: &Path) -> Option<Arc<dyn Location>> {
        Some(Arc::new(Self { path: path.to_owned(), ..self.clone() }))
    }

    async fn is_begun(&self) -> Result<bool, Error> {
        block_in_place(|| inspect::is_store(&self.path))
    }

    async fn open(&self, clock: Arc<dyn Clock>) -> Result<Claimed, Error> {
        block_in_place(|| crate::open(self.clone(), clock))
    }

    fn beside(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, Error> {
        Ok(crate::beside(self.clone(), clock))
    }

    async fn inspect(&self) -> Result<Box<dyn Inspect>, Error> {
        let view = block_in_place(|| inspect::open(&self.path))?;
        Ok(Box::new(Inspected(Mutex::new(view))))
    }
}

/// A view, for one question at a time.
struct Inspected(Mutex<View>);

impl Inspected {
    fn ask<T>(&self, question: impl FnOnce(&View) -> Result<T, Error>) -> Result<T, Error> {
        block_in_place(|| question(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[async_trait]
impl Inspect for Inspected {
    async fn counts(&self) -> Result<Counts, Error> {
        self.ask(View::counts)
    }

    async fn duplicates(&self) -> Result<u64, Error> {
        self.ask(View::duplicates)
    }

    async fn payments(&self, each: Each<'_>) -> Result<(), Error> {
        self.ask(|view| view.payments(each))
    }

    async fn loads(&self, pipeline: &str, since_ms: EpochMs) -> Result<Vec<Load>, Error> {
        self.ask(|view| view.loads(pipeline, since_ms))
    }

    async fn rulesets(&self) -> Result<Vec<Ruleset>, Error> {
        self.ask(View::rulesets)
    }

    async fn key_check(&self) -> Result<Option<Fingerprint>, Error> {
        self.ask(View::key_check)
    }

    async fn problems(&self) -> Result<Vec<String>, Error> {
        Ok(self.ask(View::damage)?.into_iter().collect())
    }
}
