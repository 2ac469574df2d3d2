//! From settings to the options of the crates that use them: the resolved stage.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buffer::Location;
use model::url::redacted;
use runtime::history;

use super::Error;
use super::next::Next;
use super::settings::{Entry, Settings};
use super::spill::{alone, spill};
use super::value::Origin;
use super::written_behind::{self, Table};
use super::{payments, sections};
use crate::{distinct, registry};

/// Everything the process runs with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) buffer: Arc<dyn Location>,
    /// Where the pipeline moves to from `buffer`; `None` while it stays.
    pub(crate) next: Option<Next>,
    pub(crate) store: Arc<dyn store::Location>,
    /// Where events go while the buffer is out of reach; `None` refuses them instead.
    pub(crate) spill: Option<Arc<dyn Location>>,
    pub(crate) bind: SocketAddr,
    pub(crate) http: server::Options,
    pub(crate) engine: engine::Options,
    pub(crate) ruleset: fraud::Ruleset,
    /// Cards kept in memory, by all lanes together.
    pub(crate) cards_max: usize,
    /// Whether card numbers are stored unmasked.
    pub(crate) cards_clear: bool,
    /// Where the key of card fingerprints lies.
    pub(crate) key_file: PathBuf,
    /// Tables that are written behind.
    pub(crate) tables: Vec<Table>,
    pub(crate) history: history::Options,
    pub(crate) advise: advise::Options,
}

impl Config {
    /// The same, with the buffer of one of its tables in place of the payments'.
    ///
    /// # Errors
    /// If there is no such table.
    pub(crate) fn of_table(mut self, name: &str) -> Result<Self, Error> {
        let table = self.table(name)?;
        (self.buffer, self.spill) = (table.buffer.clone(), table.spill.clone());
        self.tables.retain(|table| table.name() != name);
        self.next = None;
        Ok(self)
    }

    /// The same for a process that takes no events, and so spills none.
    pub(crate) fn without_spills(mut self) -> Self {
        self.spill = None;
        self.tables.iter_mut().for_each(|table| table.spill = None);
        self
    }

    /// The table that `--table` names.
    ///
    /// # Errors
    /// If there is no such table.
    pub(crate) fn table(&self, name: &str) -> Result<&Table, Error> {
        self.tables.iter().find(|table| table.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.tables.iter().map(Table::name).collect();
            Error(format!(
                "--table {name}: there is no such [[table]]; there are: {}",
                names.join(", ")
            ))
        })
    }

    /// Resolves `settings`.
    ///
    /// # Errors
    /// If a value is not what it is used for: the sentence says who set it.
    pub(crate) fn resolve(settings: &Settings) -> Result<Self, Error> {
        blamed(settings.entry("data"), data(&settings.data()))?;
        sections::check(settings)?;
        let buffer = settings.payments(&settings.path("buffer"));
        let buffer = blamed(settings.entry("buffer"), buffer)?;
        let store = registry::store(&settings.path("store"), &settings.variable());
        let store = blamed(settings.entry("store"), store.map_err(Error::from))?;
        let next = blamed(settings.entry("next_buffer"), next(settings))?;
        let is_shared =
            buffer.is_shared() && next.as_ref().is_none_or(|next| next.buffer.is_shared());
        let store = store.shared().filter(|_| is_shared).unwrap_or(store);
        let spill =
            blamed(settings.entry("spill"), spill(settings, &settings.path("spill"), &*buffer))?;
        let bind = settings.entry("http.bind");
        let address = bind.value.to_string().parse().map_err(|_| {
            let problem = "http.bind is no address; write e.g. 127.0.0.1:8080 or [::1]:8080";
            Error(format!("{}: {problem}", bind.origin))
        })?;
        alone(next.as_ref(), spill.as_ref())?;
        let engine = engine(settings, &*buffer, next.as_ref())?;
        let config = Self {
            tables: written_behind::resolve(settings, &engine)?,
            data: PathBuf::from(settings.text("data")),
            store,
            spill,
            bind: address,
            http: server::Options {
                connections_max: settings.count("http.connections_max"),
                drain_delay: Duration::from_millis(settings.millis("http.drain_delay_ms")),
                ..server::Options::default()
            },
            engine,
            buffer,
            next,
            ruleset: payments::ruleset(settings)?,
            cards_max: settings.count(payments::CARDS_MAX),
            cards_clear: settings.text("cards.store") == "clear",
            key_file: PathBuf::from(settings.path("cards.key_file")),
            history: history::Options {
                interval: settings.seconds("history.interval_s", 1),
                keep: settings.seconds("history.keep_h", 3_600),
            },
            advise: advice(settings),
        };
        distinct::written(&config)?;
        Ok(config)
    }
}

/// The buffer that is moved to.
fn next(settings: &Settings) -> Result<Option<Next>, Error> {
    let (from, to) = (settings.path("buffer"), settings.path("next_buffer"));
    if to == "none" {
        return Ok(None);
    }
    // Who names a buffer on the command line looks at that one.
    let buffer = settings.payments(&to).map_err(|error| Error(format!("next_{error}")))?;
    let looked_at = matches!(settings.entry("buffer").origin, Origin::Flag(_));
    if looked_at && settings.payments(&from)?.identity().is_same(&buffer.identity()) {
        return Ok(None);
    }
    Ok(Some(Next { buffer, to: redacted(&to) }))
}

/// The data folder stands in URLs, whose options begin behind a `?`.
fn data(folder: &str) -> Result<(), Error> {
    if folder.contains('?') {
        let problem = "data: the name of the folder holds a \"?\", behind which the options of a \
                       URL begin; name another folder";
        return Err(Error(problem.to_owned()));
    }
    Ok(())
}

/// The same error, with who set the value in front, unless nobody did.
fn blamed<T>(entry: &Entry, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| match &entry.origin {
        Origin::Default => error,
        origin => Error(format!("{origin}: {error}")),
    })
}

fn engine(
    settings: &Settings,
    buffer: &dyn Location,
    next: Option<&Next>,
) -> Result<engine::Options, Error> {
    let batch_max = settings.count("engine.batch_max");
    let held = settings.entry("engine.held_max");
    let held_max = match held.origin {
        // Whoever asks for larger batches alone means them to fit.
        Origin::Default => settings.count("engine.held_max").max(batch_max),
        _ => settings.count("engine.held_max"),
    };
    let options = engine::Options {
        lanes: settings.count("engine.lanes"),
        batch_max,
        linger_ms: settings.millis("engine.linger_ms"),
        held_max,
        // The shorter of the two, while there are two.
        lease_ms: next.map_or(u64::MAX, |next| next.buffer.lease_ms()).min(buffer.lease_ms()),
        drain_timeout_ms: settings.millis("engine.drain_timeout_ms"),
        attempts_max: u32::try_from(settings.whole("engine.attempts_max"))
            .expect("the schema bounds it"),
        backoff_min_ms: settings.millis("engine.backoff_min_ms"),
        backoff_max_ms: settings.millis("engine.backoff_max_ms"),
        ..engine::Options::default()
    };
    options.validate().map_err(|error| Error(format!("engine.{error}")))?;
    Ok(options)
}

fn advice(settings: &Settings) -> advise::Options {
    advise::Options {
        thresholds: advise::Thresholds {
            load_min_s: settings.number("advise.load_min_s"),
            utilization: settings.decimal("advise.utilization"),
            processes: settings.number("advise.processes"),
            consumers: settings.number("advise.consumers"),
            redis_max_per_s: settings.number("advise.redis_max_per_s"),
        },
        prices: advise::Prices {
            machine: settings.decimal("advise.prices.machine"),
            redis: settings.decimal("advise.prices.redis"),
            kafka: settings.decimal("advise.prices.kafka"),
            postgres: settings.decimal("advise.prices.postgres"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Flags;
    use super::*;

    fn resolve(set: &[&str]) -> Result<Config, Error> {
        let set = set.iter().map(|pair| (*pair).to_owned()).collect();
        let mut settings = super::super::layers::defaults();
        Flags { set, ..Flags::default() }.apply(&mut settings)?;
        Config::resolve(&settings)
    }

    #[test]
    fn the_defaults_resolve_to_the_defaults_of_the_crates() {
        let config = resolve(&[]).unwrap();
        assert_eq!(config.ruleset, fraud::Ruleset::default());
        assert_eq!(config.http, server::Options::default());
        assert_eq!(config.engine, engine::Options::default());
        assert_eq!(config.key_file, PathBuf::from("./data/fingerprint.key"));
        assert_eq!(config.advise, advise::Options::default());
        assert_eq!(config.history.interval, Duration::from_secs(60));
        assert!(config.bind.ip().is_loopback());
        assert!(!config.cards_clear);
    }

    #[test]
    fn what_is_set_arrives_where_it_is_used() {
        let config = resolve(&[
            "data=/srv/f",
            "engine.lanes=3",
            "engine.linger_ms=7",
            "fraud.velocity.payments_min=9",
            "fraud.unusual_category.tier=vip",
            "cards.store=clear",
            "advise.prices.machine=0.1",
            "history.keep_h=2",
        ])
        .unwrap();
        assert_eq!((config.engine.lanes, config.engine.linger_ms), (3, 7));
        assert_eq!(config.ruleset.velocity.payments_min, 9);
        assert_eq!(config.ruleset.unusual_category.tier, model::payment::Tier::Vip);
        assert!((config.advise.prices.machine - 0.1).abs() < f64::EPSILON);
        assert_eq!(config.history.keep, Duration::from_secs(7_200));
        assert!(config.cards_clear);
        assert_eq!(config.store.file(), Some(Path::new("/srv/f/forebay.db")));
    }

    #[test]
    fn what_does_not_fit_says_who_set_it() {
        let check = |set: &str, expect: &str| {
            assert_eq!(resolve(&[set]).unwrap_err().to_string(), expect);
        };
        check(
            "http.bind=localhost",
            "flag --set: http.bind is no address; write e.g. 127.0.0.1:8080 or [::1]:8080",
        );
        check(
            "fraud.velocity.payments_min=0",
            "flag --set: fraud.velocity.payments_min is 0; must be 1 to 128",
        );
        check(
            "buffer=mysql://b/t",
            "flag --set: buffer: mysql: is not built into this version yet; \
             journal:, redis:, redis-cluster:, kafka:, sqs: and memory: are",
        );
    }

    #[test]
    fn a_spill_is_any_buffer_of_this_machine_that_outlives_its_process() {
        let redis = "buffer=redis://h?list=q";
        let config = resolve(&[redis, "spill=journal:{data}/spill"]).unwrap();
        let spill = config.spill.expect("it is configured");
        assert_eq!((spill.kind(), spill.name().as_str()), ("journal", "./data/spill"));
        for wrong in ["memory:", "redis://h?list=r", "nonsense:", "journal:x?syncs=os"] {
            let refused = resolve(&[redis, &format!("spill={wrong}")]).unwrap_err().to_string();
            let expect = format!("spill is \"{wrong}\"; it must be \"none\" or a journal");
            assert!(refused.contains(&expect), "{refused}");
        }
        let refused = resolve(&["spill=journal:{data}/spill"]).unwrap_err().to_string();
        assert!(refused.contains("the buffer is on this machine already"), "{refused}");
    }
}
