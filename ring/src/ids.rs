//! The names of connections, and how operations are named towards the kernel. Pure.
//!
//! Every submission carries 64 bits that its completions bring back: `op << 56 | index << 32 | generation`, or
//! `op << 56 | tag` for a connection handed over by another ring. A file descriptor or slot number alone is
//! never a name: the kernel reuses both before we have seen the last completion of their earlier user.

pub use novax_model::ConnId;

/// The largest tag that [`Ring::transfer`](super::Ring::transfer) carries: 56 bits travel with the socket.
pub const TRANSFER_TAG_MAX: u64 = (1 << 56) - 1;

/// Slots are numbered in 24 bits.
pub(super) const INDEX_MAX: u32 = (1 << 24) - 1;

/// What a submission was for.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Accept = 1,
    CancelAccept = 2,
    Recv = 3,
    CancelRecv = 4,
    Send = 5,
    CancelSend = 6,
    Shutdown = 7,
    Close = 8,
    Transfer = 9,
    /// The only completion without a submission of ours: another ring put a socket into our table.
    Adopt = 10,
    Wake = 11,
    Write = 12,
    CancelAll = 13,
}

impl Op {
    const ALL: [Self; 13] = [
        Self::Accept,
        Self::CancelAccept,
        Self::Recv,
        Self::CancelRecv,
        Self::Send,
        Self::CancelSend,
        Self::Shutdown,
        Self::Close,
        Self::Transfer,
        Self::Adopt,
        Self::Wake,
        Self::Write,
        Self::CancelAll,
    ];
}

/// What a completion is about, unpacked from its 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    /// One of our own submissions, for the slot and generation in the id (of whatever table the op uses).
    Own(Op, ConnId),
    /// A socket handed over, with the sender's tag.
    Adopt(u64),
}

pub(super) fn pack(op: Op, id: ConnId) -> u64 {
    assert!(id.index() <= INDEX_MAX, "slot numbers fit 24 bits");
    assert!(op != Op::Adopt, "an adoption is named by its tag");
    (op as u64) << 56 | u64::from(id.index()) << 32 | u64::from(id.generation())
}

pub(super) fn pack_adopt(tag: u64) -> u64 {
    assert!(tag <= TRANSFER_TAG_MAX, "a transfer's tag has 56 bits");
    (Op::Adopt as u64) << 56 | tag
}

/// None if no submission of this module can have carried these bits.
pub(super) fn unpack(user_data: u64) -> Option<Name> {
    let code = user_data >> 56;
    let op = Op::ALL.into_iter().find(|op| *op as u64 == code)?;
    if op == Op::Adopt {
        return Some(Name::Adopt(user_data & TRANSFER_TAG_MAX));
    }
    let index = u32::try_from(user_data >> 32 & u64::from(INDEX_MAX)).ok()?;
    let generation = u32::try_from(user_data & u64::from(u32::MAX)).ok()?;
    Some(Name::Own(op, ConnId::from_parts(index, generation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_survives_packing() {
        for op in Op::ALL.into_iter().filter(|op| *op != Op::Adopt) {
            for index in [0, 1, 19_000, INDEX_MAX] {
                for generation in [0, 1, 0x8000_0000, u32::MAX] {
                    let id = ConnId::from_parts(index, generation);
                    assert_eq!(unpack(pack(op, id)), Some(Name::Own(op, id)));
                }
            }
        }
        for tag in [0, 1, TRANSFER_TAG_MAX] {
            assert_eq!(unpack(pack_adopt(tag)), Some(Name::Adopt(tag)));
        }
    }

    #[test]
    fn bits_of_no_known_operation_are_refused() {
        assert_eq!(unpack(0), None);
        assert_eq!(unpack(14 << 56), None);
        assert_eq!(unpack(u64::MAX), None);
    }

    #[test]
    #[should_panic(expected = "56 bits")]
    fn a_tag_that_would_spill_into_the_operation_is_refused() {
        pack_adopt(TRANSFER_TAG_MAX + 1);
    }
}
