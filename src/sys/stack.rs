//! Returns the pages of the first thread's stack that a start has used and nothing else needs.

use libc::{MADV_DONTNEED, c_void};
use nix::unistd::{SysconfVar, getpid, gettid, sysconf};

/// How much below the caller stays, for the call itself.
const KEPT: usize = 4 << 10;

/// How far below the caller pages are returned: far less than the kernel keeps free below the first thread's stack.
const DEPTH: usize = 256 << 10;

/// Returns the pages far below the caller's frame to the kernel. It does nothing in other threads, whose stacks can be small.
pub fn return_unused() {
    if gettid() == getpid() {
        return_below_here();
    }
}

#[inline(never)]
fn return_below_here() {
    let Some(page) = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok()) else { return };
    let here = std::hint::black_box(0_u8);
    let above = (&raw const here).addr().saturating_sub(KEPT) / page * page;
    let begin = std::ptr::without_provenance_mut::<c_void>(above.saturating_sub(DEPTH) / page * page);
    // SAFETY: the stack grows down, and no frame is below the ones that are active now, which need far less than KEPT from `here` on; so
    // nothing refers to these pages, and a later call finds them empty. They belong to this stack or are not mapped: below that of the first
    // thread the kernel leaves a megabyte and more free. An error changes nothing.
    unsafe { libc::madvise(begin, DEPTH / page * page, MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes to each page of the next hundred kilobytes of the stack.
    #[inline(never)]
    #[allow(clippy::large_stack_arrays, reason = "the stack is what is tested")]
    fn goes_deep() -> u8 {
        let deep = std::hint::black_box([1_u8; 100 << 10]);
        deep.iter().copied().max().unwrap_or_default()
    }

    fn anonymous_kb() -> u64 {
        let rollup = std::fs::read_to_string("/proc/thread-self/smaps").unwrap();
        let here = 0_u8;
        let here = (&raw const here).addr();
        let mut is_ours = false;
        for line in rollup.lines() {
            if let Some((begin, end)) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')) {
                let [begin, end] = [begin, end].map(|text| usize::from_str_radix(text, 16).unwrap());
                is_ours = (begin..end).contains(&here);
            } else if is_ours && let Some(size) = line.strip_prefix("Anonymous:") {
                return size.trim_end_matches("kB").trim().parse().unwrap();
            }
        }
        panic!("the stack is not mapped")
    }

    #[test]
    fn what_a_deep_call_used_is_returned_and_what_is_in_use_stays() {
        let kept = std::hint::black_box([7_u8; 4 << 10]);
        assert_eq!(goes_deep(), 1);
        let before = anonymous_kb();
        // The stack of a test's thread has two megabytes.
        return_below_here();
        let after = anonymous_kb();
        assert!(after + 50 <= before, "{before} kB before, {after} after");
        assert!(kept.iter().all(|byte| *byte == 7));
        assert_eq!(goes_deep(), 1, "it can go as deep again");
    }
}
