//! The buffer contract on Redis: lists, streams, and clusters.
//!
//! Events lie in Redis under one name `N`. Foreign producers push plain JSON to the key `N` itself
//! (a list or a stream); everything else lies beside it under `{N}:…`, in one hash slot, so that
//! every step is one Lua script on one node, on a single server as on a cluster.
//!
//! Keys are spread over shards. A process that leases becomes a member, and each shard belongs to
//! one member at a time: a key's events stay in order over processes. A list gives out the oldest over
//! all shards of a member; of a stream in several shards each gives as many, so that what holds is each
//! key's order. See `scripts/` for the layout.
//!
//! Invariants
//! - A script checks everything before its first write, because Lua has no rollback; what a transaction
//!   pushed before it lies where nobody looks, and a claim that finds its streams gone has ended leases and
//!   routed events, and taken none.
//! - Nothing is taken without being put under a lease in the same script, and a claim whose reply
//!   was lost is answered the same when it is asked again.
//! - What a member held goes back when the member is gone, before its shards get a new owner.
//! - A receipt acts only on the lease it names: by its token, or by its attempt once that expired.
//!
//! What it deliberately does not do: it does not dedupe, it caps no stream (no MAXLEN), and it calls
//! no Redis durable that has no append-only file or that evicts.

mod backend;
mod bell;
mod connection;
mod dead;
mod durability;
mod erase;
mod failure;
mod frame;
pub mod inspect;
mod keeper;
mod member;
mod nodes;
mod offering;
mod options;
mod place;
mod poll;
mod provider;
mod redis_buffer;
pub mod rights;
mod script;
mod settle;
mod shared;
mod state;
mod waiting;
mod watch;

pub use backend::Backend;
pub use erase::{ERASED_FOR, erase, purge};
pub use options::{Connections, Layout, Options, PROCESS_BYTES_MAX, Poll, SHARDS_MAX, Server};
pub use redis_buffer::RedisBuffer;
