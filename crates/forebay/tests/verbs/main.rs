//! The verbs, end to end: the real binary, each in a directory of its own.

#![allow(clippy::unwrap_used)]

mod advise;
mod at_rest;
mod config;
mod dead;
mod demo;
mod fraud;
mod generate;
mod journal;
mod migrate;
mod migrate_kafka;
mod migrate_tables;
mod names_twice;
mod pipelines;
mod reload;
mod replay;
mod running;
mod serve;
mod shared_disk;
mod simulate;
mod spelled;
mod tables;
mod tables_apart;
mod tables_bounds;
mod tables_failing;
mod tables_skipped;
mod webhooks;
