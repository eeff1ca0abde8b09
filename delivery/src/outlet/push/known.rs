//! What Redis has already: cursors that are read before a push, and what they say counts.

use super::super::ask::cursors;
use super::super::core::Core;
use super::super::plan::{Plan, State};
use super::super::slot::Lanes;
use super::ROUNDS;
use crate::counters::add;
use crate::error::Trouble;
use crate::link::Link;
use crate::push;
use crate::wire::Patience;

/// Reads the cursors that are not known and takes out of the chunks what Redis turns out to have.
pub(super) fn place(
    core: &Core,
    link: &mut Link,
    out: &mut Vec<u8>,
    lanes: &mut Lanes,
    plan: &mut Plan,
    (again, drains): (bool, bool),
    patience: Patience<'_>,
) -> Result<(), Trouble> {
    let mut unknown: Vec<usize> = Vec::new();
    for chunk in plan.chunks.iter().filter(|chunk| chunk.state == State::Open) {
        let lane = &mut lanes[chunk.lane];
        if !lane.known && !lane.asked && lane.names.is_ok() {
            lane.asked = true;
            unknown.push(chunk.lane);
        }
    }
    for place in &unknown {
        lanes[*place].asked = false;
    }
    if !unknown.is_empty() {
        let names: Vec<&push::Names> = unknown.iter().filter_map(|place| lanes[*place].names.as_ref().ok()).collect();
        let found = secured(link, out, &names, patience)?;
        for (place, cursor) in unknown.into_iter().zip(found) {
            lanes[place].set_tip(&cursor);
        }
    } else if !again && !drains {
        // Numbers that were just given out are beyond every cursor. Those in the journal are not: an earlier life may have drained
        // more than the first window of this one.
        return Ok(());
    }
    let mut found = 0;
    for chunk in plan.chunks.iter_mut().filter(|chunk| chunk.state == State::Open) {
        let lane = &lanes[chunk.lane];
        found += chunk.skip(lane.have(&lane.tip, chunk.epoch, drains));
    }
    add(&core.counters.duplicates_suppressed, found as u64);
    add(&core.counters.accepted, found as u64);
    Ok(())
}

/// The cursors of all `names`. What they say counts: it was pushed over earlier connections, whose waits may never have been answered.
pub(in crate::outlet) fn secured(
    link: &mut Link,
    out: &mut Vec<u8>,
    names: &[&push::Names],
    patience: Patience<'_>,
) -> Result<Vec<Vec<u8>>, Trouble> {
    for _ in 0..ROUNDS {
        let found = cursors(link, out, names.iter().copied(), patience)?;
        // One write is enough: the wait for it is one for all that was written before.
        let first = names.iter().zip(&found).find(|(_, cursor)| !cursor.is_empty());
        match first {
            Some((names, cursor)) if !link.secure_within(names, cursor, patience)? => {}
            _ => return Ok(found),
        }
    }
    Err(Trouble::Away { text: "the cursor moves without us: another producer of this name?".into() })
}
