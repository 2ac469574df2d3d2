//! What a layout costs.

use crate::verdict::{Advice, Place};

/// Hours of a month, on average, as clouds bill them.
pub const HOURS_A_MONTH: f64 = 730.0;

/// Dollars an hour. The defaults: an AWS t3.small for 0.052, two of them and a Redis for 0.15, a Kafka
/// cluster for 0.5. None for a PostgreSQL, which is there already where one is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// One machine that settles.
    pub machine: f64,
    /// One Redis.
    pub redis: f64,
    /// One Kafka cluster.
    pub kafka: f64,
    /// One PostgreSQL.
    pub postgres: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self { machine: 0.052, redis: 0.046, kafka: 0.5, postgres: 0.0 }
    }
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Machines that settle, one process each.
    pub machines: u64,
    /// A Redis.
    pub redis: bool,
    /// A Kafka cluster.
    pub kafka: bool,
    /// A PostgreSQL.
    pub postgres: bool,
    /// A queue of SQS, which costs by the request: it is in no price table of hours.
    pub sqs: bool,
}

impl Layout {
    /// What is configured, with as many machines as were seen: the kinds of the buffer (`redis`) and of the
    /// store (`postgres`).
    #[must_use]
    pub fn today(buffer: &str, store: &str, machines: u64) -> Self {
        Self {
            machines: machines.max(1),
            redis: buffer == "redis",
            kafka: buffer == "kafka",
            postgres: store == "postgres",
            sqs: buffer == "sqs",
        }
    }

    /// What is advised. Several processes settle into one PostgreSQL.
    #[must_use]
    pub fn advised(advice: &Advice, today: &Self) -> Self {
        Self {
            machines: advice.machines,
            redis: advice.place == Place::Redis,
            kafka: advice.place == Place::Kafka,
            postgres: today.postgres || advice.place != Place::Journal,
            sqs: false,
        }
    }

    /// Dollars.
    #[must_use]
    pub fn per_hour(&self, prices: &Prices) -> f64 {
        let of = |there: bool, price: f64| if there { price } else { 0.0 };
        self.machines as f64 * prices.machine
            + of(self.redis, prices.redis)
            + of(self.kafka, prices.kafka)
            + of(self.postgres, prices.postgres)
    }

    /// Dollars.
    #[must_use]
    pub fn per_month(&self, prices: &Prices) -> f64 {
        self.per_hour(prices) * HOURS_A_MONTH
    }

    /// In words: `2 machines, Redis, PostgreSQL`.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = match self.machines {
            1 => "1 machine".to_owned(),
            machines => format!("{machines} machines"),
        };
        let parts = [
            (self.redis, ", Redis"),
            (self.kafka, ", Kafka cluster"),
            (self.postgres, ", PostgreSQL"),
            (self.sqs, ", SQS (by the request, not counted)"),
        ];
        parts.iter().filter(|(there, _)| *there).for_each(|(_, name)| words.push_str(name));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Rule;

    const ONE: Layout =
        Layout { machines: 1, redis: false, kafka: false, postgres: false, sqs: false };

    fn check(layout: Layout, words: &str, per_hour: f64, per_month: f64) {
        let prices = Prices::default();
        assert_eq!(layout.words(), words);
        assert!((layout.per_hour(&prices) - per_hour).abs() < 1e-9, "{}", layout.per_hour(&prices));
        assert!((layout.per_month(&prices) - per_month).abs() < 1e-6);
    }

    #[test]
    fn the_defaults_are_the_references_prices() {
        check(ONE, "1 machine", 0.052, 37.96);
        let redis = Layout { machines: 2, redis: true, postgres: true, ..ONE };
        check(redis, "2 machines, Redis, PostgreSQL", 0.15, 109.5);
        let kafka = Layout { machines: 3, kafka: true, ..ONE };
        check(kafka, "3 machines, Kafka cluster", 0.656, 478.88);
    }

    #[test]
    fn several_machines_need_a_postgres_and_one_keeps_what_it_has() {
        let advice = |place, machines| Advice { place, rule: Rule::TooMuchForOne, machines };
        let redis = Layout::advised(&advice(Place::Redis, 2), &ONE);
        assert_eq!(redis, Layout { machines: 2, redis: true, postgres: true, ..ONE });
        let back = Layout::advised(&advice(Place::Journal, 1), &redis);
        assert_eq!(back, Layout { postgres: true, ..ONE });
        let priced = Prices { postgres: 0.02, ..Prices::default() };
        assert!((back.per_hour(&priced) - 0.072).abs() < 1e-9);
    }
}
