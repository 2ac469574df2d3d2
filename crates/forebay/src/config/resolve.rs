//! From settings to the options of the crates that use them: the resolved stage.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buffer::Location;
use model::clock::System;
use runtime::moving::Parse;
use runtime::{Line, Lines, history};
use settings::{Error, Origin, Settings};

use crate::registry;

/// Everything a process runs with. What a domain makes of its own keys it reads off [`Config::settings`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Each key with its value.
    pub settings: Settings,
    /// Where data lives.
    pub data: PathBuf,
    /// The store that every pipeline settles into.
    pub store: Arc<dyn store::Location>,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Bounds of the server.
    pub http: server::Options,
    /// How a pipeline settles unless its domain says otherwise. See [`Config::engine_of`].
    pub engine: engine::Options,
    /// Whether card numbers are stored unmasked.
    pub cards_clear: bool,
    /// Where the key of card fingerprints lies.
    pub key_file: PathBuf,
    /// How the history of the load is kept.
    pub history: history::Options,
    /// What advice goes by.
    pub advise: advise::Options,
    /// The buffers of all pipelines, in the order of their domains. The first one is [`Config::main`].
    pub lines: Vec<Line>,
}

impl Config {
    /// Resolves `settings`; `lines` reads the buffers of all pipelines, at least one.
    ///
    /// # Errors
    /// If a value is not what it is used for: the sentence says who set it.
    pub(crate) fn resolve(
        settings: Settings,
        lines: impl FnOnce(&Self) -> Result<Vec<Line>, Error>,
    ) -> Result<Self, Error> {
        data(&settings.text("data")).map_err(|error| settings.blame("data", error))?;
        settings.check()?;
        let store = registry::store(&settings.path("store"), &settings.variable());
        let store = store.map_err(|error| settings.blame("store", error))?;
        let bind = settings.text("http.bind").parse().map_err(|_| {
            let problem = "http.bind is no address; write e.g. 127.0.0.1:8080 or [::1]:8080";
            settings.blame("http.bind", Error(problem.to_owned()))
        })?;
        let mut config = Self {
            data: PathBuf::from(settings.text("data")),
            store,
            bind,
            http: server::Options {
                connections_max: settings.count("http.connections_max"),
                drain_delay: Duration::from_millis(settings.number("http.drain_delay_ms")),
                ..server::Options::default()
            },
            engine: engine(&settings)?,
            cards_clear: settings.text("cards.store") == "clear",
            key_file: PathBuf::from(settings.path("cards.key_file")),
            history: history::Options {
                interval: settings.seconds("history.interval_s", 1),
                keep: settings.seconds("history.keep_h", 3_600),
            },
            advise: advice(&settings),
            lines: Vec::new(),
            settings,
        };
        config.lines = lines(&config)?;
        if let Some(shared) = config.store.shared().filter(|_| config.main().is_shared()) {
            config.store = shared;
        }
        Ok(config)
    }

    /// The buffers of the pipeline that verbs look at unless they are told otherwise: of the first domain.
    ///
    /// # Panics
    /// While the configuration is being resolved.
    #[must_use]
    pub fn main(&self) -> &Line {
        self.lines.first().expect("the first domain has a pipeline")
    }

    /// The buffer of [`Config::main`].
    #[must_use]
    pub fn buffer(&self) -> &Arc<dyn Location> {
        &self.main().buffer
    }

    /// The buffers of the pipeline of this name, if this configuration has it.
    #[must_use]
    pub fn line(&self, pipeline: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.pipeline == pipeline)
    }

    /// The buffers of all pipelines, to be opened.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines {
            all: self.lines.clone(),
            store: self.store.clone(),
            process: runtime::identity::process().to_owned(),
            clock: Arc::new(System),
            parse: PARSE,
            is_lazy: false,
        }
    }

    /// How the pipeline of `line` settles: as configured for all, with the leases of its buffers.
    ///
    /// # Errors
    /// If its leases are too short or too long.
    pub fn engine_of(&self, line: &Line) -> Result<engine::Options, Error> {
        let options = engine::Options { lease_ms: line.lease_ms(), ..self.engine.clone() };
        options.validate().map_err(|error| Error(format!("engine.{error}")))?;
        Ok(options)
    }

    /// The same with `buffer` in place of that of [`Config::main`], which neither moves nor spills.
    pub(crate) fn with_buffer(mut self, buffer: Arc<dyn Location>) -> Self {
        let main = self.lines.first_mut().expect("the first domain has a pipeline");
        (main.buffer, main.next, main.spill) = (buffer, None, None);
        self
    }

    /// The same for a process that takes no events, and so spills none.
    pub(crate) fn without_spills(mut self) -> Self {
        self.lines.iter_mut().for_each(|line| line.spill = None);
        self
    }

    /// The same with the pipeline of this name as [`Config::main`], if there is one. It moves nowhere.
    pub(crate) fn looking_at(mut self, pipeline: &str) -> Self {
        if let Some(at) = self.lines.iter().position(|line| line.pipeline == pipeline) {
            let line = Line { next: None, ..self.lines.remove(at) };
            self.lines.insert(0, line);
        }
        self
    }
}

/// How recorded buffers are read.
pub(crate) const PARSE: Parse = |url| Some(registry::buffer_of_payments(url).ok()?.identity());

/// The data folder stands in URLs, whose options begin behind a `?`.
fn data(folder: &str) -> Result<(), Error> {
    if folder.contains('?') {
        let problem = "data: the name of the folder holds a \"?\", behind which the options of a \
                       URL begin; name another folder";
        return Err(Error(problem.to_owned()));
    }
    Ok(())
}

fn engine(settings: &Settings) -> Result<engine::Options, Error> {
    let batch_max = settings.count("engine.batch_max");
    let held_max = match settings.entry("engine.held_max").origin {
        // Whoever asks for larger batches alone means them to fit.
        Origin::Default => settings.count("engine.held_max").max(batch_max),
        _ => settings.count("engine.held_max"),
    };
    let options = engine::Options {
        lanes: settings.count("engine.lanes"),
        batch_max,
        linger_ms: settings.number("engine.linger_ms"),
        held_max,
        drain_timeout_ms: settings.number("engine.drain_timeout_ms"),
        attempts_max: u32::try_from(settings.whole("engine.attempts_max"))
            .expect("the schema bounds it"),
        backoff_min_ms: settings.number("engine.backoff_min_ms"),
        backoff_max_ms: settings.number("engine.backoff_max_ms"),
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
