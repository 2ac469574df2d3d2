//! What `/metrics` shows of reading the configuration again.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// See the module.
pub struct Meters {
    done: Counter,
    failed: Counter,
    is_last_good: Gauge,
    last_good_at: Gauge,
}

impl Meters {
    /// Registers them with the recorder that is installed by now. The configuration of the start is a good one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it registers metrics")]
    pub fn new() -> Self {
        describe_counter!(
            "config_reloads_total",
            "Times the configuration was read again, by result."
        );
        describe_gauge!(
            "config_last_reload_successful",
            "1 when the last reload applied all changes that need no restart, 0 after a reload that failed."
        );
        describe_gauge!(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was read last and applied, in seconds since 1970."
        );
        let of = |result: &'static str| {
            let reloads = counter!("config_reloads_total", "result" => result);
            reloads.increment(0);
            reloads
        };
        let meters = Self {
            done: of("done"),
            failed: of("failed"),
            is_last_good: gauge!("config_last_reload_successful"),
            last_good_at: gauge!("config_last_reload_success_timestamp_seconds"),
        };
        meters.is_good();
        meters
    }

    /// The configuration was read again, and all of it is applied or named.
    pub fn done(&self) {
        self.done.increment(1);
        self.is_good();
    }

    /// It could not be read, or not applied.
    pub fn failed(&self) {
        self.failed.increment(1);
        self.is_last_good.set(0.0);
    }

    fn is_good(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.is_last_good.set(1.0);
        self.last_good_at.set(now.as_secs_f64());
    }
}
