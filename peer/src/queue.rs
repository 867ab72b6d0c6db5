//! What waits to be written on a link, by lane.
//!
//! * Within a lane the order is kept. Each filling takes from every lane that has something, the urgent first, so none waits
//!   for ever; a lane takes no more than its part, so a filling is bounded.
//! * A lane takes something new only while less than [`ROOM_BYTES`] wait in it.

use crate::error::SendError;
use crate::frame::{self, FRAME_BODY_BYTES_MAX, HEADER_BYTES, Lane};
use crate::message::{Control, Head, Message, SnapshotMessage};
use bytes::Bytes;
use std::collections::VecDeque;

/// Waiting bytes below which a lane takes something new.
pub(crate) const ROOM_BYTES: usize = 256 << 10;
/// Bytes of a filling that each lane may take, by [`Lane::index`]; the last frame may go over.
const PART_BYTES: [usize; 5] = [1 << 10, 256 << 10, 128 << 10, 128 << 10, 64 << 10];

#[derive(Debug)]
struct Item {
    head: Head,
    body: Bytes,
    /// Bytes of the body that are written; the head goes with the first.
    sent: usize,
    begun: bool,
}

impl Item {
    fn len(&self) -> usize {
        self.head.as_slice().len() + self.body.len()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

/// The lanes of one link.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: [Waiting; 5],
    /// One of each at most: what answers a flood of pings is one pong.
    ping: Option<u64>,
    pong: Option<u64>,
    bye: Option<u16>,
}

impl Queue {
    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        self.lanes[lane.index()].bytes < ROOM_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        let control = [self.ping.is_some(), self.pong.is_some(), self.bye.is_some()];
        !control.contains(&true) && self.lanes.iter().all(|lane| lane.items.is_empty())
    }

    pub(crate) fn push(&mut self, message: Message) -> Result<(), SendError> {
        let max = message.lane().message_bytes_max();
        if message.len() > max {
            return Err(SendError::TooLarge { max });
        }
        let (lane, head, body) = message.into_parts();
        self.add(lane, head, body)
    }

    pub(crate) fn push_snapshot(&mut self, message: SnapshotMessage) -> Result<(), SendError> {
        let (head, body) = message.into_parts();
        self.add(Lane::Snapshot, head, body)
    }

    pub(crate) fn push_control(&mut self, control: Control) {
        match control {
            Control::Ping(number) => self.ping = Some(number),
            Control::Pong(number) => self.pong = Some(number),
            Control::Bye(code) => self.bye = Some(code),
        }
    }

    fn add(&mut self, lane: Lane, head: Head, body: Bytes) -> Result<(), SendError> {
        if !self.has_room(lane) {
            return Err(SendError::Full);
        }
        let item = Item { head, body, sent: 0, begun: false };
        let waiting = &mut self.lanes[lane.index()];
        // An empty message takes its frame's header.
        waiting.bytes += item.len() + HEADER_BYTES;
        waiting.items.push_back(item);
        Ok(())
    }

    /// Adds frames to `out`: all lanes' parts once.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>) {
        let control = [
            self.ping.take().map(Control::Ping),
            self.pong.take().map(Control::Pong),
            self.bye.take().map(Control::Bye),
        ];
        for control in control.into_iter().flatten() {
            frame::encode(Lane::Control, true, [control.head().as_slice(), &[]], out);
        }
        for lane in Lane::ALL {
            let until = out.len() + PART_BYTES[lane.index()];
            let waiting = &mut self.lanes[lane.index()];
            while out.len() < until && waiting.write_frame(lane, out) {}
        }
    }
}

impl Waiting {
    /// Writes the next frame of the lane, if there is any.
    fn write_frame(&mut self, lane: Lane, out: &mut Vec<u8>) -> bool {
        let Some(item) = self.items.front_mut() else { return false };
        let head = if item.begun { &[] } else { item.head.as_slice() };
        let left = item.body.len() - item.sent;
        let taken = left.min(FRAME_BODY_BYTES_MAX - head.len());
        let body = &item.body[item.sent..item.sent + taken];
        frame::encode(lane, taken == left, [head, body], out);
        item.begun = true;
        item.sent += taken;
        if taken == left {
            let done = item.len() + HEADER_BYTES;
            self.items.pop_front();
            self.bytes -= done;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, take};
    use bytes::BytesMut;

    fn frames(queue: &mut Queue) -> Vec<Frame> {
        let mut out = Vec::new();
        queue.fill(&mut out);
        let mut input = BytesMut::from(&out[..]);
        std::iter::from_fn(|| take(&mut input).expect("what is written is read")).collect()
    }

    fn raft(len: usize) -> Message {
        Message::Raft(vec![1; len].into())
    }

    fn request(len: usize) -> Message {
        Message::Request { token: 1, body: vec![2; len].into() }
    }

    #[test]
    fn the_urgent_goes_first_and_nothing_waits_for_ever() {
        let mut queue = Queue::default();
        queue.push(request(10)).expect("there is room");
        queue.push(raft(3 << 20)).expect("one message may be more than the room");
        queue.push_control(Control::Ping(5));
        let first = frames(&mut queue);
        let lanes: Vec<Lane> = first.iter().map(|frame| frame.lane).collect();
        // Two frames of Raft are its part: the request does not wait for the other twenty-two.
        assert_eq!(lanes, [Lane::Control, Lane::Raft, Lane::Raft, Lane::Request]);
        assert!(!first[1].last && first[3].last);
    }

    #[test]
    fn a_large_message_is_cut_and_only_its_end_is_marked() {
        let mut queue = Queue::default();
        queue.push(request(2 * FRAME_BODY_BYTES_MAX)).expect("there is room");
        let mut all = Vec::new();
        while !queue.is_empty() {
            all.extend(frames(&mut queue));
        }
        let sizes: Vec<(usize, bool)> =
            all.iter().map(|frame| (frame.body.len(), frame.last)).collect();
        let whole = FRAME_BODY_BYTES_MAX;
        assert_eq!(sizes, [(whole, false), (whole, false), (8, true)]);
    }

    #[test]
    fn a_lane_without_room_refuses_and_others_do_not() {
        let mut queue = Queue::default();
        let mut taken = 0;
        while queue.push(raft(1 << 10)).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, ROOM_BYTES.div_ceil((1 << 10) + HEADER_BYTES));
        assert_eq!(queue.push(raft(0)), Err(SendError::Full));
        assert_eq!(queue.push(request(0)), Ok(()));
        let max = Lane::Request.message_bytes_max();
        assert_eq!(queue.push(request(max - 7)), Err(SendError::TooLarge { max }));
    }

    #[test]
    fn empty_messages_are_bounded_too() {
        let mut queue = Queue::default();
        let taken =
            std::iter::repeat_with(|| queue.push(raft(0))).take_while(Result::is_ok).count();
        assert_eq!(taken, ROOM_BYTES.div_ceil(HEADER_BYTES));
        while !queue.is_empty() {
            frames(&mut queue);
        }
        assert!(queue.lanes.iter().all(|lane| lane.bytes == 0), "{queue:?}");
    }

    #[test]
    fn a_flood_of_pings_is_answered_by_one_pong() {
        let mut queue = Queue::default();
        for number in 0..1_000 {
            queue.push_control(Control::Pong(number));
        }
        let all = frames(&mut queue);
        assert_eq!(all.len(), 1);
        assert_eq!(Control::decode(&all[0].body), Ok(Control::Pong(999)));
    }
}
