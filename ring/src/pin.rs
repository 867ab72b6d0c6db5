//! Keeping a shard's thread on one core. Here because the system call has no safe wrapper.

use std::mem;

/// Keeps the calling thread on the `position`-th of the cores that this process may use, counted from 0 and
/// round again when there are fewer. A hint: false if the system did not allow it, and nothing has changed then.
pub fn pin_to_core(position: usize) -> bool {
    let Ok(process) = libc::pid_t::try_from(std::process::id()) else { return false };
    // The main thread's cores: those of this thread may have been narrowed by an earlier call.
    let Some(allowed) = cores_of(process) else { return false };
    let Some(core) = allowed.get(position % allowed.len().max(1)) else { return false };
    // SAFETY: a set of cores is plain bits, for which zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `core` came out of such a set, so it is inside; the call reads the set and keeps nothing.
    unsafe {
        libc::CPU_SET(*core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set) == 0
    }
}

/// The cores a thread may use, 0 for the calling one.
fn cores_of(thread: libc::pid_t) -> Option<Vec<usize>> {
    // SAFETY: a set of cores is plain bits, for which zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the call writes at most the size given, into `set`.
    if unsafe { libc::sched_getaffinity(thread, size_of_val(&set), &raw mut set) } != 0 {
        return None;
    }
    let cores_max = size_of_val(&set) * 8;
    // SAFETY: the number is below the set's size in bits.
    Some((0..cores_max).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_pinned_thread_stays_on_one_core_and_others_are_left_alone() {
        let before = cores_of(0).unwrap();
        for position in 0..before.len() + 2 {
            let expected = before[position % before.len()];
            thread::spawn(move || {
                assert!(pin_to_core(position));
                assert_eq!(cores_of(0).unwrap(), [expected]);
                // Once more from the narrowed thread: the count is over the process's cores.
                assert!(pin_to_core(position + 1));
                assert_eq!(cores_of(0).unwrap().len(), 1);
            })
            .join()
            .unwrap();
        }
        assert_eq!(cores_of(0).unwrap(), before);
    }
}
