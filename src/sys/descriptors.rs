//! Descriptors by number: which of them the programs that are started get to see.

/// Whether this descriptor is open and stays so across an exec.
pub fn survives_exec(descriptor: i32) -> bool {
    // SAFETY: asks for the flags of a number, open or not.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes a descriptor that this process inherited and that none of its own objects owns.
pub fn close_inherited(descriptor: i32) {
    // SAFETY: the caller names a descriptor that was open before anything of ours was opened, so no object of ours loses its file.
    unsafe { libc::close(descriptor) };
}
