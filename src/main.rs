//! Blocks all signals first, passes on the command line, and exits with the resulting code.

use std::process::ExitCode;

/// Runs before `main` and before the start-up code of std, so that a TERM in the first microseconds is not lost.
#[allow(unsafe_code, reason = "the section's contract is a pointer to a function without arguments, which this is")]
#[used]
#[unsafe(link_section = ".init_array")]
static BLOCK_SIGNALS: extern "C" fn() = portcullis::sys::block_every_signal;

/// musl's allocator requests and returns pages about sixty times during a start, which takes a fifth of its time.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Handled without the command line library, a runtime or a logger, because Docker runs this every few seconds.
    if arguments.first().is_some_and(|first| first == "healthcheck") {
        return portcullis::command::healthcheck::main(&arguments[1..]).into();
    }
    portcullis::cli::main(arguments).into()
}
