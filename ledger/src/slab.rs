//! Rows in slots that never move. A slot that is given back is used again, last one first.
//!
//! Rows stand in chunks, so that no growth ever copies those that are there: a table of a million
//! rows takes one more as fast as an empty one.

/// Rows of a chunk, as a power of two.
const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All but the last are full.
    chunks: Vec<Vec<T>>,
    /// Slots that were ever given out.
    len: u32,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { chunks: Vec::new(), len: 0, free: Vec::new() }
    }
}

fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot >> CHUNK_BITS, slot & (CHUNK - 1))
}

impl<T> Slab<T> {
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> &T {
        let (chunk, row) = place(slot);
        &self.chunks[chunk][row]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut T {
        let (chunk, row) = place(slot);
        &mut self.chunks[chunk][row]
    }

    /// Slots that were ever given out; each is below.
    pub(crate) fn slots(&self) -> usize {
        self.len as usize
    }

    /// What stands in the slots, in their order: in those that were given back, what stood there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    #[inline]
    pub(crate) fn insert(&mut self, row: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            *self.at_mut(slot) = row;
            return slot;
        }
        let slot = self.len;
        self.len = slot.checked_add(1).expect("fewer than 2^32 rows");
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(row),
            Some(_) | None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(row);
                self.chunks.push(chunk);
            }
        }
        slot
    }

    /// The row is no longer wanted; its slot may be used again.
    pub(crate) fn give_back(&mut self, slot: u32) {
        assert!(slot < self.len, "only what was given out comes back");
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_where_they_were_put() {
        let mut slab = Slab::default();
        let count = 3 * CHUNK + 7;
        for number in 0..count {
            assert_eq!(slab.insert(number) as usize, number);
        }
        assert_eq!(slab.slots(), count);
        assert!(slab.iter().copied().eq(0..count));
        slab.give_back(5);
        slab.give_back(2_000);
        assert_eq!((slab.insert(1), slab.insert(2), slab.insert(3)), (2_000, 5, 3_079));
        assert_eq!((*slab.at(2_000), *slab.at(5), *slab.at(3_079), *slab.at(6)), (1, 2, 3, 6));
    }
}
