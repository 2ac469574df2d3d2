//! The buffer contract on Apache Kafka: topics, consumer groups, watermarks.
//!
//! Events lie in one topic, spread over its partitions by key as Kafka's own clients spread them, and
//! a consumer group of the processes that lease shares the partitions: a key's events are with one
//! process at a time. Foreign producers send plain JSON to the same topic. Dead letters lie in
//! `{topic}.dead`, one partition, compacted, a letter's number being its offset.
//!
//! What a process reads of its partitions it holds in a bounded window, where leases, releases and
//! deadlines live; Kafka is told how far all is done (the watermark) and, in the commit's metadata,
//! what is done above it.
//!
//! Invariants
//! - An offer returns once every in-sync replica has it (acks=all, idempotent).
//! - The watermark passes an event only when it was acked, or its burial is durable, or a copy of
//!   it lies durably in the partition of its key.
//! - What is committed of a partition is committed before it goes to another process; after that its
//!   receipts do nothing and nothing of it is committed.
//! - No offset is ever chosen for us: a group that has committed nothing begins where it was told,
//!   and what is gone from the topic is counted and said.
//!
//! A topic of other producers is read as a source ([`Mode::Source`]). No topic is made, nothing is written into
//! the source, and dead letters go to a topic that is named. Offers and replays are refused. Only commits of our
//! own group change the cluster. Records are settled in the partition where they lie, so what is kept is the
//! order within a partition, and a key's order as far as its producer keeps the key in one partition. Several
//! processes may hold events of one key: each lease has a new term, and no shard. A later event of a key waits
//! behind a delayed one of the same partition.
//!
//! [`reading`] reads a topic from a given time on, without a group.
//!
//! What it deliberately does not do: it does not dedupe, it uses no transactions but to replay dead
//! letters (an event's effect lies in another system, so dedupe is needed all the same), and it calls no
//! topic durable whose retention may delete events before they are settled.

mod backend;
mod client;
mod commit;
mod consumer;
mod dead;
mod depth;
mod durability;
mod erase;
pub mod inspect;
mod kafka_buffer;
mod lag;
mod letters;
mod lock;
mod options;
mod place;
mod producer;
mod progress;
mod reader;
pub mod reading;
mod rebalance;
mod record;
mod rights;
mod room;
mod running;
mod shared;
mod topic;
mod transaction;
mod window;

pub use backend::Backend;
pub use erase::erase;
pub use kafka_buffer::KafkaBuffer;
pub use options::{Mode, Options, Start};
