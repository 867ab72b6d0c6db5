//! The ordered index of a run in memory: a tree whose nodes are shared between its versions.
//!
//! A clone costs one reference count and never changes; a write copies only those nodes on its path that a clone
//! still holds, and none when no clone is out. So a view of the store after every write costs a few small nodes.
//!
//! Invariants: keys rise strictly through the leaves; every key begins with the first `skip` bytes of all others,
//! and an item's `head` is the eight bytes behind those, zero-padded: heads that differ order as their keys do.

use crate::entry::{Entry, Expires};
use crate::limits::KEY_BYTES_MAX;
use crate::table::Direction;
use std::cmp::Ordering;
use std::sync::Arc;

const LEAF_ITEMS_MAX: usize = 32;
const INNER_CHILDREN_MAX: usize = 64;
/// An item up to here is laid out on the stack first.
const SMALL_BYTES_MAX: usize = 1_024;
/// Far above what 2^64 items need, at half-full nodes.
const DEPTH_MAX: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    /// The second of expiry lies between key and value.
    PutUntil,
    Tombstone,
    Merge,
}

/// One key and what is said of it, in one piece of memory.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    head: u64,
    bytes: Arc<[u8]>,
    key_len: u16,
    kind: Kind,
}

impl Item {
    pub(crate) fn new(key: &[u8], entry: Entry<'_>) -> Item {
        assert!(key.len() <= KEY_BYTES_MAX);
        let until;
        let (kind, middle, value): (_, &[u8], &[u8]) = match entry {
            Entry::Put { value, expires: Expires::NEVER } => (Kind::Put, &[], value),
            Entry::Put { value, expires } => {
                until = expires.0.to_le_bytes();
                (Kind::PutUntil, &until, value)
            }
            Entry::Tombstone => (Kind::Tombstone, &[], &[]),
            Entry::Merge { operand } => (Kind::Merge, &[], operand),
            Entry::Blob { .. } => panic!("memory holds whole values"),
        };
        // Most are small: put together on the stack they take one allocation.
        let mut small = [0; SMALL_BYTES_MAX];
        let len = key.len() + middle.len() + value.len();
        let bytes = match small.get_mut(..len) {
            Some(small) => {
                let (first, rest) = small.split_at_mut(key.len());
                let (second, third) = rest.split_at_mut(middle.len());
                first.copy_from_slice(key);
                second.copy_from_slice(middle);
                third.copy_from_slice(value);
                Arc::from(&*small)
            }
            None => Arc::from([key, middle, value].concat()),
        };
        Item { head: 0, bytes, key_len: key.len() as u16, kind }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.key_len)).unwrap_or_default()
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        let rest = self.bytes.get(usize::from(self.key_len)..).unwrap_or_default();
        match self.kind {
            Kind::Put => Entry::Put { value: rest, expires: Expires::NEVER },
            Kind::PutUntil => {
                let (until, value) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
                Entry::Put { value, expires: Expires(u64::from_le_bytes(*until)) }
            }
            Kind::Tombstone => Entry::Tombstone,
            Kind::Merge => Entry::Merge { operand: rest },
        }
    }

    /// Key and value together.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn order(&self, probe: &Probe<'_>) -> Ordering {
        self.head.cmp(&probe.head).then_with(|| self.key().cmp(probe.key))
    }
}

/// A key that is looked for.
struct Probe<'a> {
    head: u64,
    key: &'a [u8],
}

fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(padded)
        }
    }
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A part of an inner node: all keys from `from` to the next child's. The first child also takes what is
/// before it.
#[derive(Clone)]
struct Child {
    head: u64,
    from: Arc<[u8]>,
    node: Arc<Node>,
}

impl Child {
    fn order(&self, probe: &Probe<'_>) -> Ordering {
        self.head.cmp(&probe.head).then_with(|| (*self.from).cmp(probe.key))
    }
}

enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

impl Clone for Node {
    /// A copy is made to be written to: it has room for more.
    fn clone(&self) -> Node {
        match self {
            Node::Leaf(items) => Node::Leaf(roomy(items, LEAF_ITEMS_MAX)),
            Node::Inner(children) => Node::Inner(roomy(children, INNER_CHILDREN_MAX)),
        }
    }
}

fn roomy<T: Clone>(slice: &[T], room: usize) -> Vec<T> {
    let mut copy = Vec::with_capacity(room.max(slice.len()));
    copy.extend_from_slice(slice);
    copy
}

/// Splits a full node: at the end when the newcomer goes there, so that rising keys fill their nodes.
fn split<T>(full: &mut Vec<T>, at: usize, room: usize) -> Vec<T> {
    let from = if at == full.len() { at } else { full.len() / 2 };
    let mut right = Vec::with_capacity(room);
    right.extend(full.drain(from..));
    right
}

/// Which child of an inner node takes a key.
fn route(children: &[Child], probe: &Probe<'_>) -> usize {
    children.partition_point(|child| child.order(probe).is_le()).saturating_sub(1)
}

impl Node {
    /// Puts `item` in; gives back what it replaces, and a new right neighbour if the node was full.
    fn insert(
        node: &mut Arc<Node>,
        item: Item,
        probe: &Probe<'_>,
    ) -> (Option<Item>, Option<Child>) {
        match Arc::make_mut(node) {
            Node::Leaf(items) => Self::insert_item(items, item, probe),
            Node::Inner(children) => {
                let at = route(children, probe);
                let Some(child) = children.get_mut(at) else {
                    panic!("an inner node has children")
                };
                let (replaced, new) = Node::insert(&mut child.node, item, probe);
                let Some(new) = new else { return (replaced, None) };
                let at = at + 1;
                if children.len() < INNER_CHILDREN_MAX {
                    children.insert(at, new);
                    return (replaced, None);
                }
                let mut right = split(children, at, INNER_CHILDREN_MAX);
                if at <= children.len() && !right.is_empty() {
                    children.insert(at, new);
                } else {
                    right.insert(at - children.len(), new);
                }
                let Some(first) = right.first() else { panic!("the right half is not empty") };
                let (head, from) = (first.head, Arc::clone(&first.from));
                (replaced, Some(Child { head, from, node: Arc::new(Node::Inner(right)) }))
            }
        }
    }

    fn insert_item(
        items: &mut Vec<Item>,
        item: Item,
        probe: &Probe<'_>,
    ) -> (Option<Item>, Option<Child>) {
        let at = items.partition_point(|other| other.order(probe).is_lt());
        if let Some(other) = items.get_mut(at).filter(|other| other.order(probe).is_eq()) {
            return (Some(std::mem::replace(other, item)), None);
        }
        if items.len() < LEAF_ITEMS_MAX {
            items.insert(at, item);
            return (None, None);
        }
        let mut right = split(items, at, LEAF_ITEMS_MAX);
        if at <= items.len() && !right.is_empty() {
            items.insert(at, item);
        } else {
            right.insert(at - items.len(), item);
        }
        let Some(first) = right.first() else { panic!("the right half is not empty") };
        let (head, from) = (first.head, Arc::from(first.key()));
        (None, Some(Child { head, from, node: Arc::new(Node::Leaf(right)) }))
    }

    /// Works all heads out anew.
    fn set_skip(node: &mut Arc<Node>, skip: usize) {
        match Arc::make_mut(node) {
            Node::Leaf(items) => {
                for item in items {
                    item.head = head(item.key(), skip);
                }
            }
            Node::Inner(children) => {
                for child in children {
                    child.head = head(&child.from, skip);
                    Node::set_skip(&mut child.node, skip);
                }
            }
        }
    }

    /// Takes out the items from `from` to `to`, given that all of this node's are at or past `low` and, where
    /// there is a `high`, before it. True when nothing is left.
    fn remove_range(node: &mut Arc<Node>, cut: &Cut<'_>, removed: &mut Removed) -> bool {
        match Arc::make_mut(node) {
            Node::Leaf(items) => {
                let start = items.partition_point(|item| item.key() < cut.from);
                let end = items.partition_point(|item| item.key() < cut.to).max(start);
                removed.count(items.get(start..end).unwrap_or_default());
                removed.items.extend(items.drain(start..end));
                items.is_empty()
            }
            Node::Inner(children) => {
                let last = children.len().saturating_sub(1);
                let highs: Vec<Arc<[u8]>> =
                    children.iter().skip(1).map(|child| Arc::clone(&child.from)).collect();
                let mut at = 0;
                children.retain_mut(|child| {
                    let low = (at > 0).then_some(&*child.from).or(cut.low);
                    let high = if at == last { cut.high } else { highs.get(at).map(|key| &**key) };
                    at += 1;
                    let before = high.is_some_and(|high| high <= cut.from);
                    let behind = low.is_some_and(|low| low >= cut.to);
                    if before || behind {
                        return true;
                    }
                    let whole = low.is_some_and(|low| low >= cut.from)
                        && high.is_some_and(|high| high <= cut.to);
                    if whole {
                        removed.take(&child.node);
                        return false;
                    }
                    let cut = Cut { low, high, ..*cut };
                    !Node::remove_range(&mut child.node, &cut, removed)
                });
                children.is_empty()
            }
        }
    }
}

/// What is to be taken out, and between which keys the node at hand lies.
struct Cut<'a> {
    from: &'a [u8],
    to: &'a [u8],
    low: Option<&'a [u8]>,
    high: Option<&'a [u8]>,
}

/// What was taken out of a tree at once. Dropping it may take long.
#[derive(Default)]
pub(crate) struct Removed {
    items: Vec<Item>,
    nodes: Vec<Arc<Node>>,
    /// How many.
    pub(crate) entries: usize,
    /// Of keys and values.
    pub(crate) bytes: usize,
}

impl Removed {
    fn count(&mut self, items: &[Item]) {
        self.entries += items.len();
        self.bytes += items.iter().map(Item::len_bytes).sum::<usize>();
    }

    fn take(&mut self, node: &Arc<Node>) {
        self.nodes.push(Arc::clone(node));
        self.count_all(node);
    }

    fn count_all(&mut self, node: &Node) {
        match node {
            Node::Leaf(items) => self.count(items),
            Node::Inner(children) => children.iter().for_each(|child| self.count_all(&child.node)),
        }
    }
}

/// A sorted map that is cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    root: Option<Arc<Node>>,
    /// A key that was in the tree: all share its first `skip` bytes.
    sample: Option<Arc<[u8]>>,
    skip: usize,
    len: usize,
}

impl Tree {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `item` in, whose key is `key`, and gives back the one of the same key.
    pub(crate) fn insert(&mut self, key: &[u8], mut item: Item) -> Option<Item> {
        debug_assert_eq!(key, item.key());
        let Some(root) = &mut self.root else {
            (self.skip, self.sample) = (key.len(), Some(Arc::from(key)));
            self.root = Some(Arc::new(Node::Leaf(roomy(&[item], LEAF_ITEMS_MAX))));
            self.len = 1;
            return None;
        };
        let shared = shared_prefix(self.sample.as_deref().unwrap_or_default(), key);
        if shared < self.skip {
            self.skip = shared;
            Node::set_skip(root, shared);
        }
        item.head = head(key, self.skip);
        let probe = Probe { head: item.head, key };
        let (replaced, new) = Node::insert(root, item, &probe);
        if let Some(new) = new {
            let first = Child { head: 0, from: Arc::from([]), node: Arc::clone(root) };
            *root = Arc::new(Node::Inner(roomy(&[first, new], INNER_CHILDREN_MAX)));
        }
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// True when dropping this tree would free much of it: nobody else holds most of its nodes.
    pub(crate) fn is_costly_to_drop(&self) -> bool {
        let Some(root) = self.root.as_ref().filter(|root| Arc::strong_count(root) == 1) else {
            return false;
        };
        match &**root {
            Node::Leaf(_) => false,
            Node::Inner(children) => {
                let own = children.iter().filter(|child| Arc::strong_count(&child.node) == 1);
                own.count() > children.len() / 2
            }
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Item> {
        let mut node = &**self.root.as_ref()?;
        let skip = self.skip;
        let sample = self.sample.as_deref()?;
        if key.get(..skip) != sample.get(..skip) {
            return None;
        }
        let probe = Probe { head: head(key, skip), key };
        for _ in 0..DEPTH_MAX {
            match node {
                Node::Leaf(items) => {
                    let at = items.partition_point(|item| item.order(&probe).is_lt());
                    return items.get(at).filter(|item| item.key() == key);
                }
                Node::Inner(children) => node = &children.get(route(children, &probe))?.node,
            }
        }
        panic!("a tree this deep holds more than there can be")
    }

    /// Takes out all items from `from`, to and without `to`.
    pub(crate) fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Removed {
        let mut removed = Removed::default();
        let Some(root) = &mut self.root else { return removed };
        let cut = Cut { from, to, low: None, high: None };
        if Node::remove_range(root, &cut, &mut removed) {
            self.root = None;
        }
        self.len -= removed.entries;
        removed
    }

    /// A walk over the items from `from` on, to and without `to`, in either direction.
    pub(crate) fn cursor(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Cursor<'_> {
        let (from, to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let mut cursor = Cursor { stack: Vec::new(), items: &[], at: 0, from, to, direction };
        if let Some(root) = &self.root {
            cursor.seek(root);
        }
        cursor
    }
}

/// A walk over a tree. Stands on an item or past the end.
pub(crate) struct Cursor<'a> {
    /// Inner nodes from the root, each with the child that the walk is in.
    stack: Vec<(&'a [Child], usize)>,
    /// What is left of the leaf lies before `at` for a backward walk, from `at` on for a forward one.
    items: &'a [Item],
    at: usize,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    direction: Direction,
}

impl<'a> Cursor<'a> {
    fn seek(&mut self, root: &'a Node) {
        let target = match self.direction {
            Direction::Forward => Some(self.from.as_slice()),
            Direction::Backward => self.to.as_deref(),
        };
        let mut node = root;
        for _ in 0..DEPTH_MAX {
            match node {
                Node::Inner(children) => {
                    // Heads say nothing of a key outside the shared prefix: whole keys are compared.
                    let past = |target: &[u8]| {
                        children.partition_point(|child| *child.from <= *target).max(1)
                    };
                    let at = target.map_or(children.len(), past).saturating_sub(1);
                    self.stack.push((children, at));
                    let Some(child) = children.get(at) else { return };
                    node = &child.node;
                }
                Node::Leaf(items) => {
                    let before = |target: &[u8]| items.partition_point(|item| item.key() < target);
                    (self.items, self.at) = (items, target.map_or(items.len(), before));
                    self.leave_spent_leaf();
                    return;
                }
            }
        }
        panic!("a tree this deep holds more than there can be")
    }

    /// The item that the walk stands on.
    pub(crate) fn current(&self) -> Option<&'a Item> {
        match self.direction {
            Direction::Forward => {
                let item = self.items.get(self.at)?;
                self.to.as_ref().is_none_or(|to| item.key() < to.as_slice()).then_some(item)
            }
            Direction::Backward => {
                let item = self.items.get(self.at.checked_sub(1)?)?;
                (item.key() >= self.from.as_slice()).then_some(item)
            }
        }
    }

    pub(crate) fn advance(&mut self) {
        match self.direction {
            Direction::Forward => self.at += 1,
            Direction::Backward => self.at = self.at.saturating_sub(1),
        }
        self.leave_spent_leaf();
    }

    fn is_leaf_spent(&self) -> bool {
        match self.direction {
            Direction::Forward => self.at >= self.items.len(),
            Direction::Backward => self.at == 0,
        }
    }

    fn leave_spent_leaf(&mut self) {
        if !self.is_leaf_spent() {
            return;
        }
        // Up to the first inner node with a next child, then down its edge.
        while let Some((children, at)) = self.stack.pop() {
            let next = match self.direction {
                Direction::Forward => Some(at + 1).filter(|&next| next < children.len()),
                Direction::Backward => at.checked_sub(1),
            };
            if let Some(next) = next {
                self.stack.push((children, next));
                return self.descend(&children[next].node);
            }
        }
    }

    fn descend(&mut self, mut node: &'a Node) {
        let forward = self.direction == Direction::Forward;
        for _ in 0..DEPTH_MAX {
            match node {
                Node::Inner(children) => {
                    let at = if forward { 0 } else { children.len() - 1 };
                    self.stack.push((children, at));
                    node = &children[at].node;
                }
                Node::Leaf(items) => {
                    assert!(!items.is_empty(), "empty leaves are taken out");
                    (self.items, self.at) = (items, if forward { 0 } else { items.len() });
                    return;
                }
            }
        }
        panic!("a tree this deep holds more than there can be")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn put<'a>(value: &'a [u8]) -> Entry<'a> {
        Entry::Put { value, expires: Expires::NEVER }
    }

    fn value(item: &Item) -> Vec<u8> {
        match item.entry() {
            Entry::Put { value, .. } => value.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn walk(
        tree: &Tree,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cursor = tree.cursor(from, to, direction);
        let mut found = Vec::new();
        while let Some(item) = cursor.current() {
            found.push((item.key().to_vec(), value(item)));
            cursor.advance();
        }
        found
    }

    fn check(tree: &Tree, model: &Model, from: &[u8], to: Option<&[u8]>) {
        assert_eq!(tree.len, model.len());
        let inside =
            |key: &&Vec<u8>| key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to);
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(walk(tree, from, to, Direction::Forward), expected);
        expected.reverse();
        assert_eq!(walk(tree, from, to, Direction::Backward), expected);
        assert_eq!(tree.get(from).map(value), model.get(from).cloned());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Put(Vec<u8>, u8),
        Many(u16, u16),
        RemoveRange(Vec<u8>, Vec<u8>),
        Hold,
        Walk(Vec<u8>, Option<Vec<u8>>),
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let short = proptest::collection::vec(prop::sample::select(vec![0u8, 1, 7, 255]), 0..5);
        let long = (0u16..2000).prop_map(|i| [b"station-".as_slice(), &i.to_be_bytes()].concat());
        prop_oneof![short, long]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (key(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
            2 => (0u16..2000, 1u16..600).prop_map(|(from, count)| Op::Many(from, count)),
            2 => (key(), key()).prop_map(|(a, b)| Op::RemoveRange(a, b)),
            1 => Just(Op::Hold),
            2 => (key(), proptest::option::of(key())).prop_map(|(from, to)| Op::Walk(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_tree_is_a_sorted_map_and_its_clones_never_change(ops in proptest::collection::vec(op(), 1..60)) {
            let (mut tree, mut model) = (Tree::default(), Model::new());
            let mut held = Vec::new();
            for op in ops {
                match op {
                    Op::Put(key, byte) => {
                        let replaced = tree.insert(&key, Item::new(&key, put(&[byte; 3])));
                        let old = model.insert(key, vec![byte; 3]);
                        prop_assert_eq!(replaced.as_ref().map(value), old);
                    }
                    Op::Many(from, count) => {
                        for i in from..from + count {
                            let i = i.wrapping_mul(257);
                            let key = [b"station-".as_slice(), &i.to_be_bytes()].concat();
                            tree.insert(&key, Item::new(&key, put(b"many")));
                            model.insert(key, b"many".to_vec());
                        }
                    }
                    Op::RemoveRange(from, to) => {
                        let removed = tree.remove_range(&from, &to);
                        let before = model.len();
                        model.retain(|key, _| *key < from || *key >= to);
                        prop_assert_eq!(removed.entries, before - model.len());
                    }
                    Op::Hold => held.push((tree.clone(), model.clone())),
                    Op::Walk(from, to) => check(&tree, &model, &from, to.as_deref()),
                }
            }
            held.push((tree, model));
            for (tree, model) in &held {
                check(tree, model, b"", None);
                for (key, expected) in model {
                    prop_assert_eq!(tree.get(key).map(value), Some(expected.clone()));
                }
            }
        }
    }

    #[test]
    fn a_clone_that_shares_its_nodes_is_cheap_to_drop_until_it_is_the_last() {
        let mut tree = Tree::default();
        for i in 0..5_000u32 {
            let key = i.to_be_bytes();
            tree.insert(&key, Item::new(&key, put(b"value")));
        }
        let held = tree.clone();
        let key = 4_000u32.to_be_bytes();
        tree.insert(&key, Item::new(&key, put(b"new")));
        assert!(!held.is_costly_to_drop() && !tree.is_costly_to_drop(), "most nodes are shared");
        drop(tree);
        assert!(held.is_costly_to_drop());
        assert!(!Tree::default().is_costly_to_drop());
    }

    #[test]
    fn every_kind_of_entry_comes_back() {
        let entries = [
            put(b"value"),
            put(b""),
            Entry::Put { value: b"v", expires: Expires(7) },
            Entry::Tombstone,
            Entry::Merge { operand: b"+1" },
        ];
        for entry in entries {
            let item = Item::new(b"key", entry);
            assert_eq!((item.key(), item.entry()), (b"key".as_slice(), entry));
        }
    }
}
