//! The families of tables: one file for each, with the name that it has in the port.

pub(crate) mod completions;
pub(crate) mod keys;
pub(crate) mod loads;
pub(crate) mod moves;
pub(crate) mod payments;
pub(crate) mod pipelines;
pub(crate) mod processes;
pub(crate) mod rulesets;
pub(crate) mod tables;
