//! The allocator of the binary: dlmalloc behind a lock of std.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// musl's allocator requests and returns pages about sixty times during a start, which takes a fifth of its time. dlmalloc's own lock is a mutex of
/// musl, which was a tenth of the instructions of a start; that of std is a futex.
pub struct Allocator(Mutex<Dlmalloc>);

impl Allocator {
    /// An allocator without memory.
    #[allow(clippy::new_without_default, reason = "it is made in a static")]
    pub const fn new() -> Self {
        Self(Mutex::new(Dlmalloc::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Dlmalloc> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: dlmalloc implements malloc, calloc, free and realloc of C for the size and alignment of a layout, and returns null without memory. The
// lock gives it to one thread at a time; it neither allocates nor panics.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero, by the contract of the trait.
        unsafe { self.lock().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.lock().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated here with this layout, by the contract of the trait.
        unsafe { self.lock().free(block, layout.size(), layout.align()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, and the new size is not zero.
        unsafe { self.lock().realloc(block, layout.size(), layout.align(), size) }
    }
}
