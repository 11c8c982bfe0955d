//! Blocks all signals first, passes on the command line, and exits with the resulting code.

use std::process::ExitCode;

use portcullis::sys::allocator::Allocator;

/// Runs before `main` and before the start-up code of std, so that a TERM in the first microseconds is not lost.
#[allow(unsafe_code, reason = "the section's contract is a pointer to a function without arguments, which this is")]
#[used]
#[unsafe(link_section = ".init_array")]
static BLOCK_SIGNALS: extern "C" fn() = portcullis::sys::block_every_signal;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() -> ExitCode {
    portcullis::cli::main(std::env::args_os().skip(1)).into()
}
