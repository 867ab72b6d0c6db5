//! States of partitions on their way between nodes: read from one disk, late or lost, written to another.

use super::{At, Event, World};
use crate::WorldError;
use crate::node::id_of;
use novax_model::{Duration, NodeId};
use novax_shard::transfers::{StateAct, StateNews};

fn place(node: NodeId) -> usize {
    usize::try_from(node.get() - 1).expect("a place")
}

impl World {
    /// Does what a shard wants of states.
    pub(super) fn act_on_state(&mut self, node: usize, act: StateAct) {
        let run = self.nodes[node].run;
        let Some(up) = &mut self.nodes[node].up else { return };
        match act {
            StateAct::Expect { from, partition, index } => {
                up.expect(partition, Some((from, index)));
            }
            StateAct::Decline { partition, .. } => up.expect(partition, None),
            StateAct::Send { to, partition, index, dir } => {
                let bytes = self.nodes[node].read_state(&dir).unwrap_or_default();
                self.note(&bytes);
                let bytes_us = u64::try_from(bytes.len() / 20).expect("small");
                let delay = Duration::from_micros(500 + self.rng.below(200_000) + bytes_us);
                let to = place(to);
                let state = Event::State { run, from: node, to, of: (partition, index), bytes };
                self.agenda.put_in(delay, state);
            }
            StateAct::Remove { dir, state } => {
                let delay = Duration::from_micros(100 + self.rng.below(300_000));
                self.agenda.put_in(delay, Event::StateGoes { run, node, dir, state });
            }
        }
    }

    /// A state arrives, if nothing came between. What its sender hears may be lost with the link.
    pub(super) fn state_arrives(
        &mut self,
        (run, from): (u64, usize),
        to: usize,
        of: (novax_model::PartitionId, u64),
        bytes: &[u8],
    ) -> Result<(), WorldError> {
        let (partition, index) = of;
        let lost = bytes.is_empty()
            || run != self.nodes[from].run
            || self.links.is_cut(from, to, self.agenda.now())
            || (!self.ending && self.rng.one_in(8));
        let expected = |world: &World| {
            let up = world.nodes[to].up.as_ref();
            up.is_some_and(|up| up.expects(partition, id_of(from), index))
        };
        let mut whole = false;
        if expected(self) {
            let news = if lost {
                Some(StateNews::NotFetched { partition, index })
            } else {
                let fetched = self.nodes[to].take_state(of, bytes)?;
                whole = fetched.is_some();
                fetched.map(|fetched| StateNews::Fetched(Box::new(fetched)))
            };
            if let Some(news) = news {
                self.counts.states += u64::from(whole);
                self.tell_state(to, from, news);
            }
        }
        if run == self.nodes[from].run {
            self.tell_state(from, to, StateNews::Sent { to: id_of(to), partition, index, whole });
        }
        Ok(())
    }

    fn tell_state(&mut self, node: usize, about: usize, news: StateNews) {
        let Some(up) = &mut self.nodes[node].up else { return };
        let shard = up.tell(id_of(about), news);
        self.turn_soon(At { node, shard });
    }
}
