//! An outside service with the faults that such services have: it is slow, refuses, fails before or after the
//! effect, hangs, cuts connections, stores a failure under a key and repeats it.
//!
//! ```text
//!  POST /…  {"member": …}  Idempotency-Key: …     one call: at most one effect for each key, if keys are honoured
//!  GET /calls/{key}                               200 and the effect of this key, or 404
//!  GET /ledger/audit                              effects for each member, calls for each key, overlaps
//!  GET /behaviour · PUT /behaviour                how it behaves; a part of the fields changes just those
//! ```
//!
//! The ledger counts effects by member and not by key: one by key would prove only that the service dedupes. It is
//! a file, written before a call is answered, and read again at the next start: it outlives a kill of the
//! simulator, not a power loss.

mod behaviour;
mod ledger;
mod service;

pub use behaviour::Behaviour;
pub use ledger::{Audit, Ledger};
pub use service::{Handle, Options, start};
