//! Ports to the store: one narrow trait for each family of tables. Adapters are crates of their
//! own.
//!
//! Invariants (held by [`conformance`])
//! - A payment's row and its dedupe mark (`tx_id`, unique) are one write in one transaction.
//! - A batch that holds a duplicate writes nothing, and names each duplicate with the fields in
//!   which it is another payment.
//! - What a card did before can be read back exactly as it was settled.
//! - A newer version of a row of somebody else's table is never overwritten by an older one.
//! - A version of the fraud rules has one content, and a content one version.
//! - A store keeps the first card fingerprint key it is opened with, and recognises every other one.
//!
//! What it deliberately does not do: it knows no rules, and it never sees a full card number unless
//! configured to ([`card::Guard`] masks before a row is built).

pub mod backend;
pub mod card;
pub mod conformance;
mod error;
mod family;
pub mod inspect;
pub mod key_file;
pub mod plain;
mod store;

pub use backend::{Backend, Location};
pub use error::Error;
pub use family::completions::{self, Completion, Completions};
pub use family::keys::{self, Keys};
pub use family::loads::{self, Load, Loads};
pub use family::moves::{self, Moves};
pub use family::payments::{self, Duplicate, Fence, History, Payments, Recent, Row, Settlement};
pub use family::pipelines::{self, Pipelines};
pub use family::processes::{self, Processes};
pub use family::rulesets::{self, Rulesets};
pub use family::tables::{self, Table, Tables, Target, Written};

pub use crate::store::{Claimed, Store};
