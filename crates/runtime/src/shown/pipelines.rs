//! What each pipeline is to do, and what it does in each process.

use std::collections::BTreeSet;

use model::units::{millis_whole, time};
use serde_json::{Value, json};
use store::pipelines::Wanted;
use store::processes::{Heard, Pipeline};
use store::{Error, Store};

use super::millis;

/// Every pipeline that is configured, that a live process runs, or of which something is wanted.
pub struct Listing {
    names: BTreeSet<String>,
    wanted: Vec<Wanted>,
    heard: Vec<Heard>,
}

impl Listing {
    /// Reads it from the store. `configured` are the pipelines of the configuration.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn read(
        store: &dyn Store,
        configured: impl IntoIterator<Item = String>,
    ) -> Result<Self, Error> {
        let mut names: BTreeSet<_> = configured.into_iter().collect();
        let wanted = store.pipelines().wanted().await?;
        let heard = store.processes().heard().await?;
        let live = heard.iter().filter(|heard| heard.is_live());
        names.extend(live.flat_map(|heard| &heard.process.pipelines).map(|one| one.name.clone()));
        // A pause may outlive the configuration of its pipeline.
        names.extend(wanted.iter().map(|wanted| wanted.name.clone()));
        Ok(Self { names, wanted, heard })
    }

    /// What is wanted of the pipeline so far.
    ///
    /// # Errors
    /// If there is no such pipeline. The sentence names those that there are.
    pub fn wanted(&self, name: &str) -> Result<Option<&Wanted>, String> {
        if !self.names.contains(name) {
            let names = self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("there is no pipeline {name}; there are: {names}"));
        }
        Ok(self.wanted_of(name))
    }

    /// The same, to change its lanes.
    ///
    /// # Errors
    /// As [`Listing::wanted`], or if it makes calls and so has no lanes.
    pub fn scaled(&self, name: &str) -> Result<Option<&Wanted>, String> {
        if self.makes_calls(name) {
            return Err(format!(
                "cannot scale {name}: it makes calls and has no lanes; set its calls_max in the configuration"
            ));
        }
        self.wanted(name)
    }

    /// A line for each pipeline, and one for each process that runs it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for name in &self.names {
            let wish = match self.wanted_of(name) {
                Some(wanted) if wanted.paused && self.makes_calls(name) => paused(wanted),
                _ if self.makes_calls(name) => "runs, the calls as configured".to_owned(),
                Some(wanted) if wanted.paused => format!("{}, {}", paused(wanted), lanes(wanted)),
                Some(wanted) => format!("runs, {}", lanes(wanted)),
                None => "runs, the lanes as configured".to_owned(),
            };
            lines.push(format!("{name}  {wish}"));
            lines.extend(self.running(name).map(|(heard, one)| format!("  {}", line(heard, one))));
        }
        lines
    }

    /// The same for a script: an object for each pipeline.
    #[must_use]
    pub fn json(&self) -> Value {
        self.names.iter().map(|name| self.one(name)).collect()
    }

    fn one(&self, name: &str) -> Value {
        let processes = self.running(name).map(|(heard, pipeline)| {
            json!({
                "process": heard.process.id,
                "live": heard.is_live(),
                "state": pipeline.state,
                "lanes": pipeline.lanes,
                "calls": pipeline.calls,
                "heard_ago_ms": millis(heard.ago),
            })
        });
        let wanted = self.wanted_of(name).map(|wanted| {
            json!({
                "paused": wanted.paused,
                "since": time(wanted.since_ms),
                "reason": wanted.reason,
                "lanes": wanted.lanes,
                "revision": wanted.revision,
            })
        });
        json!({ "pipeline": name, "wanted": wanted, "processes": processes.collect::<Vec<_>>() })
    }

    fn wanted_of(&self, name: &str) -> Option<&Wanted> {
        self.wanted.iter().find(|wanted| wanted.name == name)
    }

    fn makes_calls(&self, name: &str) -> bool {
        self.running(name).any(|(_, pipeline)| pipeline.calls > 0)
    }

    /// The processes that run the pipeline.
    fn running(&self, name: &str) -> impl Iterator<Item = (&Heard, &Pipeline)> {
        self.heard.iter().flat_map(move |heard| {
            let of_it = heard.process.pipelines.iter().filter(move |one| one.name == name);
            of_it.map(move |one| (heard, one))
        })
    }
}

/// Since when it is to be paused, and why.
#[must_use]
pub fn paused(wanted: &Wanted) -> String {
    let reason = if wanted.reason.is_empty() { "" } else { " " };
    format!("paused since {}{reason}{}", time(wanted.since_ms), wanted.reason)
}

/// How many lanes are to settle in each process.
#[must_use]
pub fn lanes(wanted: &Wanted) -> String {
    wanted.lanes.map_or_else(|| "the lanes as configured".to_owned(), counted)
}

fn line(heard: &Heard, pipeline: &Pipeline) -> String {
    let ago = millis_whole(millis(heard.ago));
    let lanes = match (pipeline.lanes, pipeline.calls) {
        (0, _) => "only accepts".to_owned(),
        (lanes, 0) => counted(lanes),
        (_, 1) => "1 call at once".to_owned(),
        (_, calls) => format!("{calls} calls at once"),
    };
    let state = if heard.is_live() { &pipeline.state } else { "silent" };
    format!("{}  {state}  {lanes}  last heartbeat {ago} ago", heard.process.id)
}

fn counted(lanes: u32) -> String {
    if lanes == 1 { "1 lane".to_owned() } else { format!("{lanes} lanes") }
}
