//! Finds the slot of an id: an open-addressing table of eight bytes a bucket.
//!
//! A bucket has 32 bits of the id's hash, its tag, and the slot; the id itself stands in the row,
//! which is wanted anyway. The place of a bucket follows from its tag, so the table grows without a
//! look at any row. Hashes are the same on every node and in every process, and nothing ever goes
//! through the table in its own order.

/// Ids are well spread already (they are hashes), so a multiplication for each half does.
#[inline]
pub(crate) fn hash(id: u128) -> u64 {
    let low = u64::try_from(id & u128::from(u64::MAX)).expect("masked to 64 bits");
    mix(mix(0, low), u64::try_from(id >> 64).expect("64 bits are left"))
}

/// Goes on with a hash.
#[inline]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

const EMPTY: u64 = 0;
const BITS_MIN: u32 = 3;
/// Places follow from a tag, which has no more.
const BITS_MAX: u32 = 32;

/// See the head of the file. The caller says which slot is meant: tags may be alike.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Tag, then slot + 1; none at all, or a power of two.
    buckets: Box<[u64]>,
    bits: u32,
    len: usize,
}

fn bucket(hash: u64, slot: u32) -> u64 {
    (hash & !u64::from(u32::MAX)) | (u64::from(slot) + 1)
}

fn slot_of(bucket: u64) -> u32 {
    u32::try_from((bucket & u64::from(u32::MAX)) - 1).expect("32 bits, and not empty")
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The place of a bucket, or of a hash: both begin with the tag.
    #[inline]
    fn home(&self, bucket: u64) -> usize {
        usize::try_from(bucket >> (64 - self.bits)).expect("at most 32 bits")
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.buckets.len() - 1)
    }

    /// The slot that `is_it` says yes to, among those with this hash.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.buckets.is_empty() {
            return None;
        }
        let mut place = self.home(hash);
        // Ends: a quarter of the buckets, at least, is empty.
        loop {
            let bucket = self.buckets[place];
            if bucket == EMPTY {
                return None;
            }
            if bucket >> 32 == hash >> 32 {
                let slot = slot_of(bucket);
                if is_it(slot) {
                    return Some(slot);
                }
            }
            place = self.next(place);
        }
    }

    /// The first slot whose id has the same tag, which is nearly always the one that is meant; `None`:
    /// there is none. Looks at no row.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds a slot whose id is not there yet: `is_it` says whether another has the same id.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, is_it: impl Fn(u32) -> bool) {
        assert!(slot < u32::MAX, "a bucket holds the slot and one more");
        if 4 * (self.len + 1) > 3 * self.buckets.len() {
            self.grow();
        }
        let mut place = self.home(hash);
        loop {
            let other = self.buckets[place];
            if other == EMPTY {
                break;
            }
            assert!(other >> 32 != hash >> 32 || !is_it(slot_of(other)), "an id is added once");
            place = self.next(place);
        }
        self.buckets[place] = bucket(hash, slot);
        self.len += 1;
    }

    fn put(&mut self, bucket: u64) {
        let mut place = self.home(bucket);
        while self.buckets[place] != EMPTY {
            place = self.next(place);
        }
        self.buckets[place] = bucket;
    }

    #[cold]
    fn grow(&mut self) {
        let bits = if self.bits == 0 { BITS_MIN } else { self.bits + 1 };
        assert!(bits <= BITS_MAX, "fewer than 2^32 rows");
        let before = std::mem::replace(&mut self.buckets, vec![EMPTY; 1 << bits].into());
        self.bits = bits;
        for bucket in before {
            if bucket != EMPTY {
                self.put(bucket);
            }
        }
    }

    /// Takes a slot out; it has to be there.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        assert!(self.len > 0, "what is removed is there");
        let gone = bucket(hash, slot);
        let mut hole = self.home(gone);
        while self.buckets[hole] != gone {
            assert!(self.buckets[hole] != EMPTY, "what is removed is there");
            hole = self.next(hole);
        }
        self.len -= 1;
        // What follows without a gap moves up, unless it would come to stand before its home.
        let mut place = hole;
        loop {
            place = self.next(place);
            let bucket = self.buckets[place];
            if bucket == EMPTY {
                break;
            }
            let mask = self.buckets.len() - 1;
            let from_home = place.wrapping_sub(self.home(bucket)) & mask;
            let from_hole = place.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.buckets[hole] = bucket;
                hole = place;
            }
        }
        self.buckets[hole] = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Hashes of few bits: many share a home, and homes are at both ends of the table.
        #[test]
        fn it_finds_what_a_map_finds(
            steps in prop::collection::vec((0_u64..24, any::<bool>()), 1..300),
        ) {
            let hash = |id: u64| match id % 3 {
                0 => u64::MAX << 32,
                1 => (id % 2) << 60,
                _ => mix(0, id),
            };
            let (mut index, mut known) = (Index::default(), BTreeMap::new());
            let mut ids = Vec::new();
            for (id, is_removed) in steps {
                let slot = index.find(hash(id), |slot| ids[slot as usize] == id);
                prop_assert_eq!(slot, known.get(&id).copied());
                match slot {
                    Some(slot) if is_removed => {
                        index.remove(hash(id), slot);
                        known.remove(&id);
                    }
                    None if !is_removed => {
                        let slot = u32::try_from(ids.len()).unwrap();
                        ids.push(id);
                        index.insert(hash(id), slot, |slot| ids[slot as usize] == id);
                        known.insert(id, slot);
                    }
                    Some(_) | None => {}
                }
                prop_assert_eq!(index.len(), known.len());
            }
            for id in 0..24 {
                let slot = index.find(hash(id), |slot| ids[slot as usize] == id);
                prop_assert_eq!(slot, known.get(&id).copied());
            }
        }
    }

    #[test]
    #[should_panic(expected = "what is removed is there")]
    fn nothing_unknown_is_removed() {
        let mut index = Index::default();
        index.insert(hash(1), 1, |_| false);
        index.remove(hash(1), 2);
    }

    #[test]
    #[should_panic(expected = "an id is added once")]
    fn nothing_is_added_twice() {
        let mut index = Index::default();
        index.insert(hash(1), 1, |slot| slot == 1);
        index.insert(hash(1), 2, |slot| slot == 1);
    }
}
