//! Descriptors by number: which of them are inherited by programs.

/// Whether this descriptor is open and stays open across exec.
pub fn survives_exec(descriptor: i32) -> bool {
    // SAFETY: reads the flags of a number, open or not.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes a descriptor that this process inherited and that none of its own objects owns.
pub fn close_inherited(descriptor: i32) {
    // SAFETY: the caller names a descriptor that was open before any of ours, so no object of ours loses its file.
    unsafe { libc::close(descriptor) };
}
