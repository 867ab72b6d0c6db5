//! Slots in order of their ids.
//!
//! Ids are hashes, so their leading bits say nearly where each belongs: one pass counts, one puts in
//! place, and what shares a place is sorted by comparing. Whatever the ids are, the order is theirs.

/// The leading half of an id, and the slot of its row.
pub(crate) type Marked = (u64, u32);

/// Fewer are sorted by comparing alone.
const COUNTED_MIN: usize = 32;
/// Places are counted in so many bits: a table that stays in the nearest cache.
const PLACE_BITS_MAX: u32 = 12;

/// Buffers, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Order {
    ends: Vec<u32>,
    placed: Vec<Marked>,
}

/// The leading half.
#[inline]
pub(crate) fn leading(id: u128) -> u64 {
    u64::try_from(id >> 64).expect("64 bits are left")
}

impl Order {
    /// Sorts by id; `id` tells the whole of it. Those with the same id follow one another.
    pub(crate) fn sort<K: Ord>(&mut self, marked: &mut Vec<Marked>, id: impl Fn(u32) -> K) {
        if marked.len() < COUNTED_MIN {
            marked.sort_unstable();
        } else {
            self.place(marked);
        }
        for same in marked.chunk_by_mut(|a, b| a.0 == b.0) {
            if same.len() > 1 {
                same.sort_unstable_by_key(|(_, slot)| id(*slot));
            }
        }
    }

    /// Sorts by the leading half.
    fn place(&mut self, marked: &mut Vec<Marked>) {
        let bits = marked.len().ilog2().min(PLACE_BITS_MAX);
        let place = |leading: u64| usize::try_from(leading >> (64 - bits)).expect("few bits");
        self.ends.clear();
        self.ends.resize(1 << bits, 0);
        for (leading, _) in marked.iter() {
            self.ends[place(*leading)] += 1;
        }
        let mut begin = 0;
        for end in &mut self.ends {
            begin += std::mem::replace(end, begin);
        }
        assert_eq!(begin as usize, marked.len(), "all have a place");
        self.placed.clear();
        self.placed.resize(marked.len(), (0, 0));
        for one in marked.iter() {
            let end = &mut self.ends[place(one.0)];
            self.placed[*end as usize] = *one;
            *end += 1;
        }
        let mut rest = &mut self.placed[..];
        let mut begin = 0;
        for end in &self.ends {
            let (same, others) = rest.split_at_mut((end - begin) as usize);
            if same.len() > 1 {
                same.sort_unstable();
            }
            (rest, begin) = (others, *end);
        }
        std::mem::swap(marked, &mut self.placed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Spread ids, small ids, and ids that differ in their last bits alone.
        #[test]
        fn slots_come_in_order_of_their_ids(
            ids in prop::collection::vec(
                prop_oneof![any::<u128>(), 0_u128..50, (0_u128..9).prop_map(|low| u128::MAX - low)],
                0..300,
            ),
        ) {
            let id = |slot: u32| ids[slot as usize];
            let slots = 0..u32::try_from(ids.len()).unwrap();
            let mut marked: Vec<Marked> = slots.map(|slot| (leading(id(slot)), slot)).collect();
            Order::default().sort(&mut marked, id);
            let sorted: Vec<u128> = marked.iter().map(|(_, slot)| id(*slot)).collect();
            let mut expected = ids.clone();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }
}
