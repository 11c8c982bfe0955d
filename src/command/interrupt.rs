//! The signals that end a command that is PID 1: the kernel has no default action for PID 1, so they need handlers.

use std::ffi::c_int;
use std::future::pending;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::flag::{register_conditional_shutdown, register_usize};
use signal_hook::low_level::pipe;

use crate::exit::signal_code;
use crate::sys;

/// The signals that end a process by default and that people and container engines send.
const FATAL: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// Makes each of them end this process at once with 128 plus its number. Unblocks every signal.
pub fn end_at_once() {
    for fatal in FATAL.iter().filter(|_| sys::own_ids().0 == 1) {
        // Fails only for numbers that are not signals.
        let _ = register_conditional_shutdown(*fatal, signal_code(*fatal as u8).into(), Arc::new(AtomicBool::new(true)));
    }
    sys::unblock_every_signal();
}

/// Waits for the first of them, for a command that has work to do before its end.
#[derive(Debug)]
pub struct Interrupt {
    number: Arc<AtomicUsize>,
    pipe: UnixStream,
}

impl Interrupt {
    /// Installs the handlers if this process is PID 1; any other process relies on the kernel. Unblocks every signal.
    pub fn listen() -> Option<Self> {
        let listening = if sys::own_ids().0 == 1 { Self::registered().ok() } else { None };
        sys::unblock_every_signal();
        listening
    }

    fn registered() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let number = Arc::new(AtomicUsize::new(0));
        for fatal in FATAL {
            // In this order, so that the number is set when the pipe becomes readable.
            register_usize(fatal, Arc::clone(&number), fatal as usize)?;
            pipe::register(fatal, theirs.try_clone()?)?;
        }
        Ok(Self { number, pipe: ours })
    }

    /// The number of the signal, once one has arrived; never without handlers. Call it within a runtime.
    pub async fn received(listening: Option<Self>) -> i32 {
        let Some(Self { number, pipe }) = listening else { return pending().await };
        match tokio::net::UnixStream::from_std(pipe) {
            Ok(pipe) if pipe.readable().await.is_ok() => number.load(Ordering::Acquire) as i32,
            _ => pending().await,
        }
    }
}
