//! `forebay fraud`: the fraud rules, and which version of them each row was judged by.

use anyhow::{Context, Result};
use async_trait::async_trait;
use clap::{ArgMatches, Command, FromArgMatches as _, Subcommand as _};
use fraud::Reach;
use model::units::time;
use serde_json::{Value, json};
use store::rulesets::Ruleset;

use crate::config::Config;
use crate::exit::Exit;
use crate::{domain, out, outside};
use model::units::millis_whole;

/// The verb of the payments' domain.
pub(crate) struct Fraud;

#[async_trait]
impl domain::Verb for Fraud {
    fn command(&self) -> Command {
        let command = Command::new("fraud").about("The fraud rules: their versions and thresholds");
        Verb::augment_subcommands(command).subcommand_required(true).arg_required_else_help(true)
    }

    async fn run(&self, matches: &ArgMatches, config: &Config) -> Result<Exit> {
        match Verb::from_arg_matches(matches)? {
            Verb::Rules { json } => rules(config, json).await,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// The versions of the fraud rules: their thresholds, and when each was first used
    #[command(after_help = "\
Examples:
  forebay fraud rules
  forebay fraud rules --json

A row's ruleset_version names one of them. A process records its thresholds in the store as it
starts to settle: the same thresholds always have the same version.")]
    Rules {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

async fn rules(config: &Config, json: bool) -> Result<Exit> {
    let ruleset = fraud::keys::ruleset(&config.settings)?;
    let configured = ruleset.content();
    let versions = match outside::look(&*config.store).await? {
        Some(view) => view.rulesets().await?,
        None => Vec::new(),
    };
    let is_configured = |one: &Ruleset| one.rules.as_ref() == Some(&configured);
    if json {
        let versions = versions.iter().map(|one| {
            Ok(json!({
                "version": one.version,
                "first_used_at": time(one.first_used_at_ms),
                "rules": one.rules.as_deref().map(thresholds).transpose()?,
                "configured": is_configured(one),
            }))
        });
        let versions = versions.collect::<Result<Vec<_>>>()?;
        let reach = ruleset.reach();
        out::json(&json!({ "configured": ruleset, "reach": reach, "versions": versions }))?;
        return Ok(Exit::Done);
    }
    for one in &versions {
        let (version, at) = (one.version, time(one.first_used_at_ms));
        let configured = if is_configured(one) { ", configured now" } else { "" };
        out::line(format_args!("Version {version}, first used {at}{configured}"))?;
        match &one.rules {
            Some(rules) => show(&thresholds(rules)?)?,
            None => out::line("  its rows were settled before thresholds were recorded")?,
        }
    }
    if !versions.iter().any(is_configured) {
        out::line("No version yet: configured now, recorded by the next process that settles")?;
        show(&thresholds(&configured)?)?;
    }
    out::line(late(ruleset.reach()))?;
    Ok(Exit::Done)
}

/// Which late payments the configured `velocity` judges right.
fn late(reach: Reach) -> String {
    let Reach { late_ms_max, payments_max, always } = reach;
    let late = millis_whole(late_ms_max.unsigned_abs());
    format!(
        "Late payments: velocity counts every payment of the window in two cases. The payment is at \
         most {late} behind\nthe latest of its card, and at most {payments_max} payments are newer than \
         the start of its window. Or at most {always} are\nnewer, however late it is. Past that it may \
         count fewer, and not fire. A payment dated ahead makes the next ones late."
    )
}

/// A recorded ruleset.
fn thresholds(rules: &str) -> Result<Value> {
    serde_json::from_str(rules).context("cannot read the rulesets of the store: they are not JSON")
}

/// One line for each rule. What an older program recorded is shown as it is.
fn show(rules: &Value) -> Result<()> {
    for (rule, thresholds) in rules.as_object().into_iter().flatten() {
        let thresholds = thresholds.as_object().into_iter().flatten();
        let shown: Vec<_> = thresholds.map(|(name, value)| format!("{name} = {value}")).collect();
        out::line(format_args!("  {rule:<16}  {}", shown.join(", ")))?;
    }
    Ok(())
}
