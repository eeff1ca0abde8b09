//! What Redis has of records whose answer never came: a fence moves their cursors behind them, so that whatever is still on its way changes nothing.

use super::super::ask::cursors;
use super::super::core::Core;
use super::super::slot::Slot;
use super::{ROUNDS, Sender, Setback, hand_over, keeps_connection};
use crate::counters::add;
use crate::error::Trouble;
use crate::fault::{self, Place};
use crate::link::Link;
use crate::position::Position;
use crate::push::{self, Answer, answer};
use crate::wire::Patience;

impl Sender {
    /// Finds out about the records in doubt: what Redis has of them, with nothing on the way any more. See
    /// [`Doubt`](super::super::slot::Doubt).
    pub fn fence(&mut self, core: &Core, slot: &mut Slot, patience: Patience<'_>) -> Result<(), Setback> {
        if core.is_stopped() {
            return Err(Setback::NotYet);
        }
        for _ in 0..ROUNDS {
            let places = slot.lanes.in_doubt();
            let names = |place: &usize| slot.lanes[*place].names.as_ref().ok();
            let Some(first) = places.iter().find_map(names) else { return Ok(()) };
            let link = self.port.open_for(core, first, patience)?;
            let moved = fence_round(core, link, &mut self.out, slot, &places, patience);
            self.out.clear();
            if let Err(trouble) = moved {
                if !keeps_connection(&trouble) {
                    self.port.close();
                }
                if self.follow(&trouble, patience) {
                    continue;
                }
                self.port.failed();
                core.trouble(&trouble);
                return Err(trouble.into());
            }
        }
        Err(Setback::NotYet)
    }
}

fn fence_round(
    core: &Core,
    link: &mut Link,
    out: &mut Vec<u8>,
    slot: &mut Slot,
    places: &[usize],
    patience: Patience<'_>,
) -> Result<(), Trouble> {
    let found = {
        let names = places.iter().filter_map(|place| slot.lanes[*place].names.as_ref().ok());
        cursors(link, out, names, patience)?
    };
    let mut asked = Vec::with_capacity(places.len());
    let epoch = slot.epoch;
    // The ends of records that nobody handed in.
    let fences: Vec<u64> = places.iter().map(|_| slot.numbers(1).offset + 1).collect();
    for (place, cursor) in places.iter().zip(found) {
        let lane = &mut slot.lanes[*place];
        let have = lane.have(&cursor, epoch, false);
        let fence = fences[asked.len()];
        let to = Position { epoch, offset: fence }.to_string();
        if let (Ok(names), Some(doubt)) = (&lane.names, &mut lane.doubt) {
            doubt.fence(fence, have);
            push::advance(out, names, (&cursor, &to));
            asked.push((*place, have, to));
        }
    }
    fault::pass(Place::OutletBeforeFence);
    let waits = link.waits() && !asked.is_empty();
    if waits {
        link.pack_wait(out, patience);
    }
    hand_over(link, out, patience)?;
    fault::pass(Place::OutletAfterFence);
    let mut moved = Vec::new();
    let mut trouble = None;
    for (place, have, to) in asked {
        let reply = match link.receive_within(patience) {
            Ok(reply) => reply,
            Err(gone) => {
                trouble = Some(gone);
                break;
            }
        };
        match answer(&[reply]) {
            Answer::Taken(_) => moved.push((place, have, to)),
            Answer::Refused(_) => {}
            Answer::Failed(failed) => {
                trouble.get_or_insert(failed);
            }
        }
    }
    if waits {
        // What was found counts when the fence behind it does. Until then all stays in doubt.
        if let Some(Trouble::Away { .. }) = trouble {
            moved.clear();
        } else {
            let reply = link.receive_within(patience)?;
            link.confirmed(&reply)?;
        }
    }
    let mut settled = Vec::new();
    for (place, have, to) in moved {
        let lane = &mut slot.lanes[place];
        lane.doubt = None;
        lane.set_tip(to.as_bytes());
        settled.push((place, have));
    }
    settled.sort_unstable();
    let found =
        slot.memory.learn(|lane| settled.binary_search_by_key(&lane, |(place, _)| *place).ok().map(|at| settled[at].1));
    add(&core.counters.duplicates_suppressed, found);
    add(&core.counters.accepted, found);
    trouble.map_or(Ok(()), Err)
}
