//! Vouchers, which a simulated service pays: real processes on real buffers, and the audit of the service's ledger.

mod away;
mod hung;
mod killed;
mod rig;
mod stopped;
