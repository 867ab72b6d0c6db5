//! How long the allocator keeps what was freed.
//!
//! Memory of a run of the store that was written out is wanted again within seconds. Given back to the system at
//! once, each of its pages is faulted in and zeroed anew: about a twentieth of a loaded node's time (three
//! runs each of `bench replication`).

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay` of mimalloc 3, in milliseconds. (mimalloc.h, `mi_option_e`; the binding does not name it)
const PURGE_DELAY: mi_option_t = 15;
/// Longer than a run lasts under load. A node that has become idle gives its memory back after that.
const KEPT_MS: std::ffi::c_long = 60_000;

/// Sets it, unless the environment says otherwise (`MIMALLOC_PURGE_DELAY`). Before the first threads start.
pub fn keep_freed() {
    // SAFETY: the option is one of the allocator's, set before other threads read it.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_that_is_set_is_the_one_that_is_meant() {
        // SAFETY: reads a number.
        let before = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // What mimalloc says of itself in its sources; another option would have another value.
        assert_eq!(before, 1_000);
        keep_freed();
        // SAFETY: reads a number.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, KEPT_MS);
    }
}
