//! The buffer contract on Amazon SQS: standard and FIFO queues.
//!
//! An event is a message; a lease is a message that SQS hides, which a heartbeat keeps hidden at half
//! time for as long as the lease is extended. Dead letters are a queue of their own. Foreign producers
//! send plain JSON as a message's body.
//!
//! Invariants
//! - A message is deleted only after its ack, or after its letter is in the queue of dead letters.
//! - What a process held comes again within one visibility after it died, however far its leases
//!   had been extended.
//! - Each lease has a new term: nothing tells whether another process settled the same keys meanwhile.
//! - Every request of ten is answered for each entry alone, and only what failed is told as failed.
//!
//! What SQS can't promise, and this crate does not pretend: a standard queue has no order and may
//! deliver twice; a FIFO queue keeps order within a key alone, and gives out no further event of a key
//! while one is leased; counts are nearly right and late; how old the oldest event is is known only
//! while all are held here; what is older than the retention period is gone; nothing can be shown without handing it
//! out.

mod api;
mod backend;
mod client;
mod dead;
mod erase;
pub mod inspect;
mod keeper;
mod letter;
mod message;
mod offering;
mod options;
mod pulling;
mod room;
mod settling;
mod shared;
mod sqs_buffer;
mod state;
mod walk;

pub use backend::Backend;
pub use erase::erase;
pub use options::{
    Credentials, MESSAGE_BYTES_MAX, Options, RETENTION_SECONDS_MAX, VISIBILITY_MS_MAX,
};
pub use sqs_buffer::SqsBuffer;
