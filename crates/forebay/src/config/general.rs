//! Every key that no domain brings.

use settings::{Section, Setting};

use super::lines::keys_of_line;

/// One hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// The keys that all share.
pub(super) const SECTION: Section = Section::new(keys);
/// What is kept of card numbers: last in what is shown.
pub(super) const CARDS: Section = Section::new(cards);

fn keys() -> Vec<Setting> {
    let [buffer, next_buffer, spill] = keys_of_line("", "journal:{data}/buffer");
    let store = Setting::text("store", "sqlite:{data}/forebay.db");
    let mut keys = vec![Setting::text("data", "./data"), buffer, next_buffer, store, spill];
    for part in [http(), engine(), history(), advise()] {
        keys.extend(part);
    }
    keys
}

fn cards() -> Vec<Setting> {
    vec![
        Setting::choice("cards.store", &["masked", "clear"], "masked"),
        Setting::text("cards.key_file", "{data}/fingerprint.key"),
    ]
}

fn http() -> Vec<Setting> {
    let http = server::Options::default();
    let delay_ms = http.drain_delay.as_millis();
    vec![
        Setting::text("http.bind", "127.0.0.1:8080"),
        Setting::whole("http.connections_max", 1, 65_536, http.connections_max),
        Setting::whole("http.drain_delay_ms", 0, HOUR_MS, delay_ms),
    ]
}

fn engine() -> Vec<Setting> {
    let engine = engine::Options::default();
    vec![
        Setting::whole("engine.lanes", 1, 256, engine.lanes),
        Setting::whole("engine.batch_max", 1, 100_000, engine.batch_max),
        Setting::whole("engine.linger_ms", 0, 1_000, engine.linger_ms),
        Setting::whole("engine.held_max", 1, 1_000_000, engine.held_max),
        Setting::whole("engine.attempts_max", 1, 1_000, engine.attempts_max),
        Setting::whole("engine.backoff_min_ms", 1, HOUR_MS, engine.backoff_min_ms),
        Setting::whole("engine.backoff_max_ms", 1, HOUR_MS, engine.backoff_max_ms),
        Setting::whole("engine.drain_timeout_ms", 0, HOUR_MS, engine.drain_timeout_ms),
    ]
}

fn history() -> Vec<Setting> {
    vec![
        Setting::whole("history.interval_s", 1, 3_600, 60),
        Setting::whole("history.keep_h", 0, 720, 168),
    ]
}

fn advise() -> Vec<Setting> {
    let advise::Options { thresholds, prices } = advise::Options::default();
    // Dollars an hour.
    let price = |key: &str, default| Setting::decimal(key, 0.0, 100_000.0, default);
    let rate_max = 1_000_000_000;
    vec![
        Setting::whole("advise.load_min_s", 1, 86_400, thresholds.load_min_s),
        Setting::decimal("advise.utilization", 0.01, 1.0, thresholds.utilization),
        Setting::whole("advise.processes", 1, 1_000, thresholds.processes),
        Setting::whole("advise.consumers", 1, 1_000, thresholds.consumers),
        Setting::whole("advise.redis_max_per_s", 1, rate_max, thresholds.redis_max_per_s),
        price("advise.prices.machine", prices.machine),
        price("advise.prices.redis", prices.redis),
        price("advise.prices.kafka", prices.kafka),
        price("advise.prices.postgres", prices.postgres),
    ]
}
