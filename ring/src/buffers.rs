//! The receive buffers, shared with the kernel through a ring of addresses. No system call here.
//!
//! Invariants: each buffer is either the kernel's (provided) or ours (lent to one [`RecvBuf`]), never both; the
//! number provided never exceeds the ring's size, so a provide cannot overwrite one that is unread.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The kernel's `struct io_uring_buf`. In entry 0 the last field is the ring's tail.
#[repr(C)]
struct Entry {
    address: u64,
    bytes: u32,
    id: u16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<Entry>() == 16);

const PAGE_BYTES: usize = 4096;

/// The memory of all buffers and of the ring that names them.
pub(super) struct BufferPool {
    entries: NonNull<Entry>,
    entries_layout: Layout,
    data: NonNull<u8>,
    data_layout: Layout,
    count: u16,
    buffer_bytes: u32,
    tail: Cell<u16>,
    lent_count: Cell<u16>,
    /// By buffer, whether it is ours now: a second lending would be two owners of one memory.
    lent: RefCell<Box<[bool]>>,
}

impl BufferPool {
    /// Allocates `count` buffers (a power of two) and provides them all.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Rc<Self> {
        assert!(count.is_power_of_two() && count <= 32_768, "buffers: a power of two");
        assert!(buffer_bytes > 0, "a buffer holds something");
        let layout = |bytes: usize| {
            Layout::from_size_align(bytes.next_multiple_of(PAGE_BYTES), PAGE_BYTES)
                .expect("the configured sizes are far below the address space")
        };
        let entries_layout = layout(usize::from(count) * size_of::<Entry>());
        let data_layout = layout(usize::from(count) * buffer_bytes as usize);
        let pool = Self {
            entries: allocate(entries_layout).cast(),
            entries_layout,
            data: allocate(data_layout),
            data_layout,
            count,
            buffer_bytes,
            tail: Cell::new(0),
            lent_count: Cell::new(count),
            lent: RefCell::new(vec![true; usize::from(count)].into_boxed_slice()),
        };
        for id in 0..count {
            pool.provide(id);
        }
        assert_eq!(pool.lent_count.get(), 0);
        Rc::new(pool)
    }

    /// The address to register with the kernel.
    pub(super) fn ring_address(&self) -> u64 {
        self.entries.as_ptr().expose_provenance() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Buffers that are not ours now. Some may be filled and not reported yet.
    pub(super) fn free(&self) -> u16 {
        self.count - self.lent_count.get()
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.count, "the kernel named buffer {id}, which does not exist");
        let offset = usize::from(id) * self.buffer_bytes as usize;
        // SAFETY: `offset` is below the allocation's size, since `id` is below the count.
        unsafe { self.data.add(offset) }
    }

    /// Gives the buffer to the kernel.
    fn provide(&self, id: u16) {
        let mut lent = self.lent.borrow_mut();
        assert!(lent[usize::from(id)], "a buffer was returned twice");
        lent[usize::from(id)] = false;
        self.lent_count.set(self.lent_count.get() - 1);

        let address = self.buffer(id).as_ptr().expose_provenance() as u64;
        let tail = self.tail.get();
        // SAFETY: the masked position is inside the allocation. The kernel reads only positions from its head
        // up to the published tail, and fewer than `count` of those are unread, so this one is ours to write.
        // The three fields written do not overlap the tail that lives in entry 0.
        unsafe {
            let entry = self.entries.add(usize::from(tail & (self.count - 1))).as_ptr();
            (&raw mut (*entry).address).write(address);
            (&raw mut (*entry).bytes).write(self.buffer_bytes);
            (&raw mut (*entry).id).write(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: entry 0 is inside the allocation, and its last field is only ever used as this atomic.
        let shared_tail = unsafe { &(*self.entries.as_ptr()).tail };
        // Release: the kernel sees the entry before the tail that admits it.
        shared_tail.store(self.tail.get(), Ordering::Release);
    }

    /// Takes a buffer that the kernel has filled.
    ///
    /// # Safety
    /// A completion not used for this before must have named `id`, so that the kernel is done with it.
    pub(super) unsafe fn take(self: &Rc<Self>, id: u16, bytes: u32) -> RecvBuf {
        assert!(bytes <= self.buffer_bytes, "the kernel wrote past a buffer's end");
        let mut lent = self.lent.borrow_mut();
        let mine = lent.get_mut(usize::from(id)).expect("the kernel names only our buffers");
        assert!(!*mine, "the kernel named a buffer that is already ours");
        *mine = true;
        self.lent_count.set(self.lent_count.get() + 1);
        RecvBuf { pool: Rc::clone(self), id, bytes }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts and freed once. The ring, which holds a reference until the
        // kernel has let go of the pool, and all `RecvBuf`s are gone.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), self.entries_layout);
            dealloc(self.data.as_ptr(), self.data_layout);
        }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferPool({} of {} free)", self.free(), self.count)
    }
}

/// Received bytes, in a buffer that returns to the kernel when this is dropped. Writable, for unmasking in place.
pub struct RecvBuf {
    pool: Rc<BufferPool>,
    id: u16,
    bytes: u32,
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is initialised (zeroed at first), at least `bytes` long, and exclusively ours
        // until it is provided again in the drop of self.
        unsafe {
            std::slice::from_raw_parts(self.pool.buffer(self.id).as_ptr(), self.bytes as usize)
        }
    }
}

impl DerefMut for RecvBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes this the only reference.
        unsafe {
            std::slice::from_raw_parts_mut(self.pool.buffer(self.id).as_ptr(), self.bytes as usize)
        }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.pool.provide(self.id);
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvBuf").field(&&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    /// Plays the kernel: reads entries from its head up to the published tail.
    struct Kernel {
        pool: Rc<BufferPool>,
        head: u16,
    }

    impl Kernel {
        fn fill(&mut self, byte: u8, bytes: u32) -> Option<u16> {
            // SAFETY: the same reads the kernel does, in the same thread as the writer.
            unsafe {
                let first = self.pool.entries.as_ptr();
                if (*first).tail.load(Ordering::Acquire) == self.head {
                    return None;
                }
                let entry = first.add(usize::from(self.head & (self.pool.count - 1)));
                self.head = self.head.wrapping_add(1);
                let data = ptr::with_exposed_provenance_mut::<u8>(
                    usize::try_from((*entry).address).unwrap(),
                );
                assert!(bytes <= (*entry).bytes);
                data.write_bytes(byte, bytes as usize);
                Some((*entry).id)
            }
        }
    }

    fn take(pool: &Rc<BufferPool>, id: u16, bytes: u32) -> RecvBuf {
        // SAFETY: the test's kernel has just given this buffer up.
        unsafe { pool.take(id, bytes) }
    }

    #[test]
    fn buffers_circulate_past_the_wrap_of_the_tail_without_loss() {
        let pool = BufferPool::new(4, 64);
        let mut kernel = Kernel { pool: Rc::clone(&pool), head: 0 };
        let rounds = if cfg!(miri) { 300 } else { 200_000u32 };
        let mut held = std::collections::VecDeque::new();
        for round in 0..rounds {
            let byte = (round % 251) as u8;
            let id = kernel.fill(byte, 1 + round % 64).expect("never more than three are held");
            held.push_back((byte, take(&pool, id, 1 + round % 64)));
            if held.len() == 4 || round % 3 == 0 {
                let (expected, buffer) = held.pop_front().unwrap();
                assert!(buffer.iter().all(|found| *found == expected));
            }
        }
        drop(held);
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn with_all_buffers_lent_the_kernel_finds_none() {
        let pool = BufferPool::new(2, 64);
        let mut kernel = Kernel { pool: Rc::clone(&pool), head: 0 };
        let ids = [kernel.fill(1, 64).unwrap(), kernel.fill(2, 64).unwrap()];
        let mut buffers: Vec<RecvBuf> = ids.into_iter().map(|id| take(&pool, id, 64)).collect();
        assert_eq!((pool.free(), kernel.fill(3, 64)), (0, None));
        buffers[0][0] = 9;
        assert_eq!(buffers[1][0], 2, "buffers do not overlap");
        buffers.pop();
        assert_eq!(pool.free(), 1);
        assert_eq!(kernel.fill(3, 64), Some(ids[1]));
    }

    #[test]
    fn a_buffer_may_outlive_the_pools_owner() {
        let pool = BufferPool::new(2, 64);
        let id = Kernel { pool: Rc::clone(&pool), head: 0 }.fill(7, 64).unwrap();
        let buffer = take(&pool, id, 64);
        drop(pool);
        assert_eq!(&buffer[..], &[7; 64]);
    }

    #[test]
    #[should_panic(expected = "already ours")]
    fn one_buffer_never_has_two_owners() {
        let pool = BufferPool::new(2, 64);
        let _first = take(&pool, 0, 1);
        let _second = take(&pool, 0, 1);
    }
}
