//! `postgres://USER@HOST/DATABASE?schema=…`.

use std::sync::Arc;

use async_trait::async_trait;
use model::clock::{Clock, EpochMs};
use model::url::{self, Url};
use store::backend::Reading;
use store::card::Fingerprint;
use store::inspect::{Counts, Each, Inspect};
use store::plain::Plain;
use store::rulesets::Ruleset;
use store::{Claimed, Error, Load, Location, Store};

use crate::inspect::{self, View};
use crate::plain::Beside;
use crate::{Options, begun, migrate};

/// Where the password may stand that the URL leaves out. The first that is set counts.
const PASSWORDS: [&str; 2] = ["POSTGRES_PASSWORD", "PGPASSWORD"];

/// PostgreSQL as a backend.
pub struct Backend;

impl Backend {
    /// The options that a URL names. The schema is made or changed by [`Location::migrate`] alone: the
    /// database is somebody else's.
    ///
    /// # Errors
    /// As `parse`.
    pub fn options(url: &Url<'_>, reading: &Reading<'_>) -> Result<Options, url::Error> {
        let options = Options::from_url(url.text()).map_err(|problem| url.error(problem))?;
        let variable = |name: &&str| (reading.variable)(name).filter(|text| !text.is_empty());
        let password = options.password.clone().or_else(|| PASSWORDS.iter().find_map(variable));
        Ok(Options { password, create: false, ..options })
    }
}

impl store::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["postgres"]
    }

    fn variants(&self) -> &'static [&'static str] {
        &["postgresql"]
    }

    fn variables(&self) -> &'static [&'static str] {
        &PASSWORDS
    }

    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(Self::options(url, reading)?))
    }
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn place(&self) -> String {
        "in PostgreSQL".to_owned()
    }

    fn kept(&self) -> String {
        let hosts = self.hosts.iter().map(|(host, port)| format!("{host}:{port}"));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("PostgreSQL {hosts}/{}, schema {}", self.dbname, self.schema)
    }

    fn shared(&self) -> Option<Arc<dyn Location>> {
        Some(Arc::new(Self { exclusive: false, ..self.clone() }))
    }

    fn beside_to_measure(&self, suffix: &str) -> Option<(Arc<dyn Location>, Arc<dyn Plain>)> {
        let schema = format!("{}_{suffix}", self.schema);
        let beside = Self { schema, exclusive: false, ..self.clone() };
        Some((Arc::new(beside.clone()), Arc::new(Beside(beside))))
    }

    async fn is_begun(&self) -> Result<bool, Error> {
        begun(self).await
    }

    async fn open(&self, clock: Arc<dyn Clock>) -> Result<Claimed, Error> {
        crate::open(self.clone(), clock).await
    }

    fn beside(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, Error> {
        crate::beside(self.clone(), clock)
    }

    async fn inspect(&self) -> Result<Box<dyn Inspect>, Error> {
        Ok(Box::new(inspect::open(self).await?))
    }

    async fn migrate(&self) -> Result<bool, Error> {
        let migrated = migrate(self).await?;
        Ok(migrated.from != migrated.to)
    }
}

#[async_trait]
impl Inspect for View {
    async fn counts(&self) -> Result<Counts, Error> {
        Self::counts(self).await
    }

    async fn duplicates(&self) -> Result<u64, Error> {
        Self::duplicates(self).await
    }

    async fn payments(&self, each: Each<'_>) -> Result<(), Error> {
        Self::payments(self, each).await
    }

    async fn loads(&self, pipeline: &str, since_ms: EpochMs) -> Result<Vec<Load>, Error> {
        Self::loads(self, pipeline, since_ms).await
    }

    async fn rulesets(&self) -> Result<Vec<Ruleset>, Error> {
        Self::rulesets(self).await
    }

    async fn key_check(&self) -> Result<Option<Fingerprint>, Error> {
        Self::key_check(self).await
    }

    async fn problems(&self) -> Result<Vec<String>, Error> {
        self.check().await
    }

    async fn rights(&self) -> Result<Vec<String>, Error> {
        Self::rights(self).await
    }

    async fn rights_to_be_listed(&self) -> Result<Vec<String>, Error> {
        Self::rights_to_be_listed(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Options, url::Error> {
        let url = Url::split("store", text, "").unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Backend::options(&url, &Reading { variable: &variable })
    }

    #[test]
    fn a_password_that_the_url_leaves_out_comes_from_the_environment_and_is_never_shown() {
        let both = [("PGPASSWORD", "second"), ("POSTGRES_PASSWORD", "s3c/ret")];
        let options = read("postgres://app@h/shop", &both).unwrap();
        assert_eq!(options.password.as_deref(), Some("s3c/ret"));
        assert!(!format!("{options:?} {} {}", options.kept(), options.place()).contains("s3c/ret"));
        let options = read("postgres://app@h/shop", &[("POSTGRES_PASSWORD", ""), both[0]]).unwrap();
        assert_eq!(options.password.as_deref(), Some("second"));
        let options = read("postgres://app:mine@h/shop", &both).unwrap();
        assert_eq!(options.password.as_deref(), Some("mine"));
        assert!(!options.create && options.exclusive, "nothing is made but by a migration");
        let refused = read("postgres://h/shop", &both).unwrap_err().to_string();
        assert!(refused.starts_with("store: user: is missing"), "{refused}");
    }
}
