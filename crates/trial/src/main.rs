//! Forebay with one backend and one domain more.

use std::process::ExitCode;

use forebay::Additions;

fn main() -> ExitCode {
    forebay::main(Additions { buffers: &[&trial::Backend], domains: &[&trial::Tickets] })
}
