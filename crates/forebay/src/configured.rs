//! The configuration of this process, with what the domains bring to it.

use runtime::line;
use settings::{Error, Settings};

use crate::config::{self, Config, Flags};
use crate::domains;

/// `--table NAME` is `--pipeline table:NAME`.
const TABLE: &str = "table:";

/// Reads all layers and resolves them.
///
/// # Errors
/// If the configuration can't be used.
pub(crate) fn read(flags: &Flags) -> Result<Config, Error> {
    resolved(config::read(flags, config::variables()?, domains::sections())?)
}

/// The configuration of a process that runs with `config` and has read `new`: its keys stay as they are, its lists
/// are those of `new`.
///
/// # Errors
/// If the lists can't be used with the keys.
pub(crate) fn with_lists_of(config: &Config, new: &Config) -> Result<Config, Error> {
    resolved(config.settings.with_lists_of(&new.settings))
}

fn resolved(settings: Settings) -> Result<Config, Error> {
    let config = Config::resolve(settings, domains::lines)?;
    buffer::distinct::written(&line::named(&config.lines))
        .map_err(|twice| Error(twice.to_string()))?;
    Ok(config)
}

/// Refuses a configuration that uses one buffer twice, with the addresses of hosts that are spelled differently.
///
/// # Errors
/// If a buffer is used twice.
pub(crate) async fn distinct(config: &Config) -> Result<(), Error> {
    let checked = buffer::distinct::check(&line::named(&config.lines)).await;
    checked.map_err(|twice| Error(twice.to_string()))
}

/// The name of the pipeline that the flags tell to look at, if they do.
///
/// # Errors
/// If there is no such pipeline; names those that there are.
pub(crate) fn looked_at(flags: &Flags, config: &Config) -> Result<Option<String>, Error> {
    let names = || config.lines.iter().map(|line| &*line.pipeline);
    let (name, problem, there_are): (_, _, Vec<&str>) = match (&flags.table, &flags.pipeline) {
        (Some(table), _) => {
            let tables = names().filter_map(|name| name.strip_prefix(TABLE));
            let problem = format!("--table {table}: there is no such [[table]]");
            (format!("{TABLE}{table}"), problem, tables.collect())
        }
        (None, Some(name)) => (
            name.clone(),
            format!("--pipeline {name}: there is no such pipeline"),
            names().collect(),
        ),
        (None, None) => return Ok(None),
    };
    if config.line(&name).is_none() {
        return Err(Error(format!("{problem}; there are: {}", there_are.join(", "))));
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn resolve(set: &[&str]) -> Result<Config, Error> {
        let set: Vec<_> = set.iter().map(|pair| (*pair).to_owned()).collect();
        let mut settings = config::defaults(domains::sections());
        settings.set_pairs("--set", &set)?;
        resolved(settings)
    }

    #[test]
    fn every_default_is_a_value_its_key_takes() {
        for entry in config::defaults(domains::sections()).entries() {
            let (setting, text) = (&entry.setting, entry.setting.default.to_string());
            assert_eq!(
                setting.kind.read_text(&text).as_ref(),
                Some(&setting.default),
                "{setting:?}"
            );
        }
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let settings = config::defaults(domains::sections());
        let flat = settings.entries().map(|entry| entry.setting.key.replace('.', "_"));
        assert_eq!(flat.collect::<BTreeSet<_>>().len(), settings.entries().count());
    }

    #[test]
    fn the_defaults_resolve_to_the_defaults_of_the_crates() {
        let config = resolve(&[]).unwrap();
        let ruleset = fraud::keys::ruleset(&config.settings).unwrap();
        assert_eq!(ruleset, fraud::Ruleset::default());
        assert_eq!(config.http, server::Options::default());
        assert_eq!(config.engine, engine::Options::default());
        assert_eq!(config.key_file, Path::new("./data/fingerprint.key"));
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
        let ruleset = fraud::keys::ruleset(&config.settings).unwrap();
        assert_eq!((config.engine.lanes, config.engine.linger_ms), (3, 7));
        assert_eq!(ruleset.velocity.payments_min, 9);
        assert_eq!(ruleset.unusual_category.tier, model::payment::Tier::Vip);
        assert!((config.advise.prices.machine - 0.1).abs() < f64::EPSILON);
        assert_eq!(config.history.keep, Duration::from_secs(7_200));
        assert!(config.cards_clear);
        assert_eq!(config.store.file(), Some(Path::new("/srv/f/forebay.db")));
    }
}
