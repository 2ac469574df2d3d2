//! The versions of the rules that a store has recorded, shown beside the configured ones.

use model::units::{millis_whole, time};
use serde_json::{Error, Value, json};
use store::rulesets;

use crate::{Reach, Ruleset};

/// The configured rules, and every recorded version.
pub struct Versions {
    configured: Ruleset,
    content: String,
    recorded: Vec<rulesets::Ruleset>,
}

impl Versions {
    /// `recorded` is what the store has, in order.
    #[must_use]
    pub fn new(configured: Ruleset, recorded: Vec<rulesets::Ruleset>) -> Self {
        let content = configured.content();
        Self { configured, content, recorded }
    }

    /// A few lines for each version, and which late payments the configured `velocity` judges right.
    ///
    /// # Errors
    /// If a recorded version is no JSON.
    pub fn lines(&self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for one in &self.recorded {
            let (version, at) = (one.version, time(one.first_used_at_ms));
            let configured = if self.is_configured(one) { ", configured now" } else { "" };
            lines.push(format!("Version {version}, first used {at}{configured}"));
            match &one.rules {
                Some(rules) => lines.extend(thresholds(&serde_json::from_str(rules)?)),
                None => {
                    lines
                        .push("  its rows were settled before thresholds were recorded".to_owned());
                }
            }
        }
        if !self.recorded.iter().any(|one| self.is_configured(one)) {
            let none = "No version yet: configured now, recorded by the next process that settles";
            lines.push(none.to_owned());
            lines.extend(thresholds(&serde_json::from_str(&self.content)?));
        }
        lines.push(late(self.configured.reach()));
        Ok(lines)
    }

    /// The same for a script: an object.
    ///
    /// # Errors
    /// The same.
    pub fn json(&self) -> Result<Value, Error> {
        let versions = self.recorded.iter().map(|one| {
            let rules = one.rules.as_deref().map(serde_json::from_str::<Value>).transpose()?;
            Ok(json!({
                "version": one.version,
                "first_used_at": time(one.first_used_at_ms),
                "rules": rules,
                "configured": self.is_configured(one),
            }))
        });
        let versions = versions.collect::<Result<Vec<_>, Error>>()?;
        let reach = self.configured.reach();
        Ok(json!({ "configured": self.configured, "reach": reach, "versions": versions }))
    }

    fn is_configured(&self, one: &rulesets::Ruleset) -> bool {
        one.rules.as_ref() == Some(&self.content)
    }
}

/// One line for each rule. What an older program recorded is shown as it is.
fn thresholds(rules: &Value) -> Vec<String> {
    let rule = |(rule, thresholds): (&String, &Value)| {
        let thresholds = thresholds.as_object().into_iter().flatten();
        let shown: Vec<_> = thresholds.map(|(name, value)| format!("{name} = {value}")).collect();
        format!("  {rule:<16}  {}", shown.join(", "))
    };
    rules.as_object().into_iter().flatten().map(rule).collect()
}

fn late(Reach { late_ms_max, payments_max, always }: Reach) -> String {
    let late = millis_whole(late_ms_max.unsigned_abs());
    format!(
        "Late payments: velocity counts every payment of the window in two cases. The payment is at \
         most {late} behind\nthe latest of its card, and at most {payments_max} payments are newer than \
         the start of its window. Or at most {always} are\nnewer, however late it is. Past that it may \
         count fewer, and not fire. A payment dated ahead makes the next ones late."
    )
}
