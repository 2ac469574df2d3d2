//! The four rules. All of them run; each looks at one payment and at what is known of its card.

use model::Payment;

use crate::hit::{Basis, Hit, Rule};
use crate::ruleset::Ruleset;
use crate::zone::Zone;

const HOUR_MS: i64 = 3_600_000;

/// What is known of a card before the payment at hand is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// Other payments in the velocity window of this one.
    pub(crate) in_window: u32,
    /// Payments settled earlier.
    pub(crate) count: u64,
    /// What they came to, in KRW.
    pub(crate) sum: i128,
}

/// Hits in the order of [`Rule::ALL`]. Allocates only where a rule fires.
pub(crate) fn judge(
    ruleset: &Ruleset,
    zone: &mut Zone,
    payment: &Payment<'_>,
    before: Before,
) -> Vec<Hit> {
    let mut hits = Vec::new();
    hits.extend(velocity(ruleset, before));
    hits.extend(amount_spike(ruleset, payment, before));
    hits.extend(dawn_high_amount(ruleset, zone, payment));
    hits.extend(unusual_category(ruleset, payment));
    hits
}

fn velocity(ruleset: &Ruleset, before: Before) -> Option<Hit> {
    let rule = &ruleset.velocity;
    let observed = before.in_window + 1;
    (rule.enabled && observed >= rule.payments_min).then(|| Hit {
        rule: Rule::Velocity,
        observed: observed.into(),
        threshold: rule.payments_min.into(),
        basis: Basis::Window { window_ms: rule.window_ms },
    })
}

fn amount_spike(ruleset: &Ruleset, payment: &Payment<'_>, before: Before) -> Option<Hit> {
    let rule = &ruleset.amount_spike;
    if !rule.enabled || before.count < rule.earlier_min || payment.amount == 0 {
        return None;
    }
    // amount ≥ (factor / 1000) · (sum / count), without the divisions. Exact up to 2^53 payments of
    // the largest amount on one card, which is more than any store holds.
    let weighed = i128::from(before.count).saturating_mul(1000);
    let bar = before.sum.saturating_mul(rule.factor_permille.into());
    (i128::from(payment.amount).saturating_mul(weighed) >= bar).then(|| Hit {
        rule: Rule::AmountSpike,
        observed: payment.amount.into(),
        // Rounded up: the smallest whole amount that fires.
        threshold: (bar / weighed + i128::from(bar % weighed != 0)).max(1),
        basis: Basis::Mean {
            factor_permille: rule.factor_permille,
            earlier_count: before.count,
            earlier_sum: before.sum,
        },
    })
}

fn dawn_high_amount(ruleset: &Ruleset, zone: &mut Zone, payment: &Payment<'_>) -> Option<Hit> {
    let rule = &ruleset.dawn_high_amount;
    if !rule.enabled || payment.amount < rule.amount_min {
        return None;
    }
    let time_ms = zone.time_of_day_ms(payment.created_at_ms);
    let from_ms = i64::from(rule.from_hour) * HOUR_MS;
    let to_ms = i64::from(rule.to_hour) * HOUR_MS;
    let inside = if from_ms < to_ms {
        (from_ms..to_ms).contains(&time_ms)
    } else {
        time_ms >= from_ms || time_ms < to_ms
    };
    inside.then(|| {
        let seconds = time_ms / 1000;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        Hit {
            rule: Rule::DawnHighAmount,
            observed: payment.amount.into(),
            threshold: rule.amount_min.into(),
            basis: Basis::LocalTime {
                local_time: format!("{hour:02}:{minute:02}:{:02}", seconds % 60),
                time_zone: rule.time_zone.clone(),
                from_hour: rule.from_hour,
                to_hour: rule.to_hour,
            },
        }
    })
}

fn unusual_category(ruleset: &Ruleset, payment: &Payment<'_>) -> Option<Hit> {
    let rule = &ruleset.unusual_category;
    let fires = rule.enabled
        && payment.amount >= rule.amount_min
        && payment.tier == rule.tier
        && payment.category == rule.category;
    fires.then(|| Hit {
        rule: Rule::UnusualCategory,
        observed: payment.amount.into(),
        threshold: rule.amount_min.into(),
        basis: Basis::Category { tier: payment.tier, category: rule.category.clone() },
    })
}

#[cfg(test)]
mod tests;
