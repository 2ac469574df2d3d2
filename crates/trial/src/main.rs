//! Forebay with one backend more.

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay::main(forebay::Additions { buffers: &[&trial::Backend], ..Default::default() })
}
