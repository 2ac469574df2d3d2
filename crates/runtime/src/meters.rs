//! What a fleet shows of a component in metrics.

use std::sync::Arc;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::state::State;

/// The metrics of one component.
#[derive(Debug)]
pub(crate) struct Meters {
    restarts: Counter,
    states: [Gauge; State::NAMES.len()],
}

impl Meters {
    /// Registers them with the recorder that is installed by now.
    pub(crate) fn new(pipeline: &Arc<str>) -> Self {
        describe_counter!(
            "pipeline_restarts_total",
            Unit::Count,
            "Starts of a pipeline after it had failed."
        );
        describe_gauge!(
            "pipeline_state",
            Unit::Count,
            "1 for the state that the pipeline is in, 0 for each other state."
        );
        let state = |state: &'static str| gauge!("pipeline_state", "pipeline" => pipeline.clone(), "state" => state);
        let restarts = counter!("pipeline_restarts_total", "pipeline" => pipeline.clone());
        restarts.increment(0);
        Self { restarts, states: State::NAMES.map(state) }
    }

    pub(crate) fn restarted(&self) {
        self.restarts.increment(1);
    }

    pub(crate) fn is_in(&self, state: &State) {
        for (name, gauge) in State::NAMES.into_iter().zip(&self.states) {
            gauge.set(if name == state.name() { 1.0 } else { 0.0 });
        }
    }
}
