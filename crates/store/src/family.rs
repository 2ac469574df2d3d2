//! The families of tables, one file each. A family has its namesake in each adapter and in the
//! conformance suite; `docs/adding-a-family.md` lists the files.

pub mod completions;
pub mod keys;
pub mod loads;
pub mod moves;
pub mod payments;
pub mod pipelines;
pub mod processes;
pub mod rulesets;
pub mod tables;
