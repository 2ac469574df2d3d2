//! The `forebay` binary.

use std::process::ExitCode;

/// Returns freed memory sooner than the system's allocator: a burst leaves no high-water mark.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    forebay::main(forebay::Additions::default())
}
