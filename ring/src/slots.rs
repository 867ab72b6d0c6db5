//! The table of connections: what is in flight for each, and which generation is alive. Pure.
//!
//! Invariants: a slot is released only with nothing in flight; an id reaches a slot only while its generation
//! is the live one; a slot costs at most 64 bytes, and slots never used cost nothing.

use super::ids::ConnId;

/// Where a connection stands between accept and release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nobody uses the slot.
    Free,
    /// In use by the owner.
    Open,
    /// The peer has ended its side; what the owner still sends may go out.
    Finished,
    /// The owner wants the send in flight delivered, then the end; input is thrown away.
    Draining,
    /// Waiting for the operations in flight to end.
    Closing,
    /// The close is submitted.
    CloseSubmitted,
    /// Waiting for the operations in flight to end before the socket is handed over.
    Moving,
    /// The hand-over is submitted.
    MoveSubmitted,
    /// Handed over; the close of our reference is submitted.
    Moved,
}

/// The state of the one multishot receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recv {
    /// None in the kernel.
    Idle,
    /// In the kernel.
    Armed,
    /// In the kernel, and a cancel for it too.
    Cancelling,
    /// Ended for want of buffers; will be armed when some return.
    Starved,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Slot {
    /// The send in flight; its bytes are the kernel's to read until the send's completion.
    pub(super) sending: Option<Vec<u8>>,
    pub(super) sent_bytes: u32,
    /// The error to report with `Closed`, 0 for none.
    pub(super) errno: i32,
    generation: u32,
    pub(super) phase: Phase,
    pub(super) recv: Recv,
    /// The owner wants input.
    pub(super) wants_input: bool,
    pub(super) send_cancelled: bool,
    pub(super) shutdown_in_flight: bool,
    pub(super) shutdown_done: bool,
    /// Has an entry in the queue of starved connections.
    pub(super) in_starved: bool,
    /// Has an entry in the queue of connections whose peer has finished.
    pub(super) in_finished: bool,
}

// The budget for an idle connection, held by the compiler.
const _: () = assert!(size_of::<Slot>() <= 64);

impl Slot {
    fn vacant() -> Self {
        Self {
            sending: None,
            sent_bytes: 0,
            errno: 0,
            generation: 0,
            phase: Phase::Free,
            recv: Recv::Idle,
            wants_input: false,
            send_cancelled: false,
            shutdown_in_flight: false,
            shutdown_done: false,
            in_starved: false,
            in_finished: false,
        }
    }

    /// No operation on the socket is in the kernel.
    pub(super) fn quiet(&self) -> bool {
        matches!(self.recv, Recv::Idle | Recv::Starved)
            && self.sending.is_none()
            && !self.shutdown_in_flight
    }
}

/// All connections of a ring.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    slots_max: u32,
    live: u32,
}

impl Slots {
    pub(super) fn new(slots_max: u32) -> Self {
        Self { slots: Vec::new(), slots_max, live: 0 }
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn full(&self) -> bool {
        self.live >= self.slots_max
    }

    /// The connection now in this slot, if any.
    pub(super) fn occupant(&self, index: u32) -> Option<(ConnId, Phase)> {
        let slot = self.slots.get(usize::try_from(index).ok()?)?;
        let live = slot.phase != Phase::Free;
        live.then(|| (ConnId::from_parts(index, slot.generation), slot.phase))
    }

    /// Takes the slot into use under a new generation.
    ///
    /// # Panics
    /// If it is in use or outside the table: then the kernel's table and ours no longer agree.
    pub(super) fn open(&mut self, index: u32) -> ConnId {
        assert!(index < self.slots_max, "the kernel chose slot {index} outside the table");
        let position = index as usize;
        if self.slots.len() <= position {
            self.slots.resize_with(position + 1, Slot::vacant);
        }
        let slot = &mut self.slots[position];
        assert_eq!(slot.phase, Phase::Free, "the kernel chose slot {index}, which is in use");
        let generation = slot.generation.wrapping_add(1);
        *slot = Slot { generation, phase: Phase::Open, ..Slot::vacant() };
        self.live += 1;
        ConnId::from_parts(index, generation)
    }

    /// The slot of a live connection; none for one that is gone or never was.
    pub(super) fn get(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(usize::try_from(conn.index()).ok()?)?;
        (slot.phase != Phase::Free && slot.generation == conn.generation()).then_some(slot)
    }

    /// Ends a connection; its id is dead from here on. Returns the error to report, 0 for none.
    ///
    /// # Panics
    /// If an operation on it is still in flight: its memory would be freed under the kernel.
    pub(super) fn release(&mut self, conn: ConnId) -> i32 {
        let Some(slot) = self.get(conn) else {
            panic!("released a connection that is not live");
        };
        assert!(slot.quiet(), "released a slot with operations in flight");
        let (errno, generation) = (slot.errno, slot.generation);
        *slot = Slot { generation, ..Slot::vacant() };
        assert!(self.live > 0, "more connections ended than began");
        self.live -= 1;
        errno
    }

    /// Gives up all memory without freeing what the kernel may still read. See the drop of the ring.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.slots));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_never_reaches_the_slots_next_user() {
        let mut slots = Slots::new(4);
        let first = slots.open(2);
        assert!(slots.get(first).is_some());
        assert_eq!(slots.release(first), 0);
        let second = slots.open(2);
        assert_eq!(first.index(), second.index());
        assert_ne!(first, second);
        assert!(slots.get(first).is_none());
        assert!(slots.get(second).is_some());
    }

    #[test]
    fn the_live_count_follows_opens_and_releases() {
        let mut slots = Slots::new(3);
        let ids: Vec<ConnId> = (0..3).map(|index| slots.open(index)).collect();
        assert!(slots.full());
        for (released, id) in ids.into_iter().enumerate() {
            assert_eq!(slots.live(), 3 - u32::try_from(released).unwrap());
            slots.release(id);
        }
        assert_eq!(slots.live(), 0);
        assert_eq!(slots.occupant(1), None);
    }

    #[test]
    fn ids_outside_the_table_reach_nothing() {
        let mut slots = Slots::new(3);
        slots.open(0);
        assert!(slots.get(ConnId::from_parts(0, 0)).is_none());
        assert!(slots.get(ConnId::from_parts(1, 0)).is_none());
        assert!(slots.get(ConnId::from_parts(u32::MAX, 1)).is_none());
    }

    #[test]
    #[should_panic(expected = "in use")]
    fn opening_a_slot_in_use_is_refused() {
        let mut slots = Slots::new(3);
        slots.open(1);
        slots.open(1);
    }

    #[test]
    #[should_panic(expected = "in flight")]
    fn releasing_with_a_send_in_flight_is_refused() {
        let mut slots = Slots::new(3);
        let conn = slots.open(1);
        slots.get(conn).unwrap().sending = Some(vec![1]);
        slots.release(conn);
    }
}
