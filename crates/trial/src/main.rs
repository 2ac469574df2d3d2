//! Forebay with one backend and two domains more.

use std::process::ExitCode;

use forebay::Additions;

fn main() -> ExitCode {
    forebay::main(Additions {
        buffers: &[&trial::Backend],
        domains: &[&trial::Tickets, &trial::Vouchers],
    })
}
