//! Blocks every signal before anything else, hands the command line on, and ends with what comes back.

use std::process::ExitCode;

/// Runs before `main` and before std's own start-up: a TERM that arrives in the first microseconds is kept, not lost.
#[allow(unsafe_code, reason = "the section's contract is a pointer to a function without arguments, which this is")]
#[used]
#[unsafe(link_section = ".init_array")]
static BLOCK_SIGNALS: extern "C" fn() = portcullis::sys::block_every_signal;

/// musl's own allocator asks the kernel for a page and gives it back some sixty times during a start, a fifth of the whole.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    portcullis::cli::main(std::env::args_os().skip(1)).into()
}
