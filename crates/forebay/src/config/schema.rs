//! What a key of the configuration is, and every key that no domain brings. Those of a domain are in its own
//! file beside this one.

use std::collections::BTreeSet;

use super::value::{Kind, Value};

/// What stands for the data directory in a URL or a path.
pub(super) const DATA: &str = "{data}";
/// One hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// With its section: `engine.lanes`.
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) default: Value,
}

/// All keys that no domain brings, in the order they are shown in.
pub(super) fn general() -> Vec<Setting> {
    let engine = engine::Options::default();
    let http = server::Options::default();
    let delay_ms = i64::try_from(http.drain_delay.as_millis()).unwrap_or(i64::MAX);
    let up_to = |max| Kind::Whole { min: 1, max };
    let up_from_0 = |max| Kind::Whole { min: 0, max };
    let mut settings = vec![
        text("data", "./data"),
        text("buffer", "journal:{data}/buffer"),
        text("next_buffer", "none"),
        text("store", "sqlite:{data}/forebay.db"),
        text("spill", "none"),
        text("http.bind", "127.0.0.1:8080"),
        whole("http.connections_max", up_to(65_536), count(http.connections_max)),
        whole("http.drain_delay_ms", up_from_0(HOUR_MS), delay_ms),
        whole("engine.lanes", up_to(256), count(engine.lanes)),
        whole("engine.batch_max", up_to(100_000), count(engine.batch_max)),
        whole("engine.linger_ms", up_from_0(1_000), number(engine.linger_ms)),
        whole("engine.held_max", up_to(1_000_000), count(engine.held_max)),
        whole("engine.attempts_max", up_to(1_000), i64::from(engine.attempts_max)),
        whole("engine.backoff_min_ms", up_to(HOUR_MS), number(engine.backoff_min_ms)),
        whole("engine.backoff_max_ms", up_to(HOUR_MS), number(engine.backoff_max_ms)),
        whole("engine.drain_timeout_ms", up_from_0(HOUR_MS), number(engine.drain_timeout_ms)),
    ];
    settings.extend([
        whole("history.interval_s", up_to(3_600), 60),
        whole("history.keep_h", up_from_0(720), 168),
    ]);
    let advise = advise::Options::default();
    let (thresholds, prices) = (advise.thresholds, advise.prices);
    settings.extend([
        whole("advise.load_min_s", up_to(86_400), number(thresholds.load_min_s)),
        decimal("advise.utilization", 0.01, 1.0, thresholds.utilization),
        whole("advise.processes", up_to(1_000), number(thresholds.processes)),
        whole("advise.consumers", up_to(1_000), number(thresholds.consumers)),
        whole("advise.redis_max_per_s", up_to(1_000_000_000), number(thresholds.redis_max_per_s)),
        price("advise.prices.machine", prices.machine),
        price("advise.prices.redis", prices.redis),
        price("advise.prices.kafka", prices.kafka),
        price("advise.prices.postgres", prices.postgres),
    ]);
    settings
}

/// The line of a file that a byte of it lies in, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Every `a` and `a.b` that keys `a.b.c` lie in.
pub(super) fn sections<'a>(keys: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let dots = |key: &'a str| key.match_indices('.').map(move |(at, _)| &key[..at]);
    keys.flat_map(dots).collect()
}

/// The key or section most like `key`, if any is like it at all.
pub(super) fn nearest<'a>(
    key: &str,
    keys: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    // A misspelled last part counts like a misspelled whole: `lanes` means `engine.lanes`.
    let last = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
    let distance = |candidate: &'a str| {
        let whole = strsim::damerau_levenshtein(key, candidate);
        whole.min(strsim::damerau_levenshtein(key, last(candidate)))
    };
    let candidates = keys.clone().chain(sections(keys));
    let best = candidates.min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= (key.len() / 3).max(1)).then(|| best.to_owned())
}

pub(super) fn text(key: &str, default: &str) -> Setting {
    Setting { key: key.to_owned(), kind: Kind::Text, default: Value::Text(default.to_owned()) }
}

pub(super) fn whole(key: &str, kind: Kind, default: i64) -> Setting {
    Setting { key: key.to_owned(), kind, default: Value::Whole(default) }
}

fn decimal(key: &str, min: f64, max: f64, default: f64) -> Setting {
    let (kind, default) = (Kind::Decimal { min, max }, Value::Decimal(default));
    Setting { key: key.to_owned(), kind, default }
}

/// Dollars an hour.
fn price(key: &str, default: f64) -> Setting {
    decimal(key, 0.0, 100_000.0, default)
}

pub(super) fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_its_key_takes() {
        for setting in super::super::sections::keys() {
            let text = setting.default.to_string();
            assert_eq!(setting.kind.read_text(&text), Some(setting.default), "{}", setting.key);
        }
    }

    #[test]
    fn the_nearest_key_may_be_named_by_its_last_part_or_be_a_section() {
        let check = |key: &str, expect: Option<&str>| {
            let keys: Vec<_> =
                super::super::sections::keys().into_iter().map(|setting| setting.key).collect();
            let got = nearest(key, keys.iter().map(String::as_str));
            assert_eq!(got.as_deref(), expect, "{key}");
        };
        check("engine.lane", Some("engine.lanes"));
        check("lanes", Some("engine.lanes"));
        check("bufer", Some("buffer"));
        check("fruad.velocity.window_ms", Some("fraud.velocity.window_ms"));
        check("htpp", Some("http"));
        check("zzzzzzzzz", None);
    }
}
