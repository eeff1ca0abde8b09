//! What Redis will never take, as things stand, and what of it is the list's own trouble.

use super::super::core::Core;
use super::super::plan::{Plan, State};
use super::super::slot::Lanes;
use crate::error::{Disposition, Trouble};
use crate::push;

/// The first list that is to be pushed to, and its names. Lists whose names make no keys are refused here.
pub(super) fn first_names<'a>(
    core: &Core,
    lanes: &'a Lanes,
    plan: &mut Plan,
    refusal: &mut Option<Trouble>,
) -> Option<(usize, &'a push::Names)> {
    let mut first = None;
    for chunk in &mut plan.chunks {
        if chunk.state != State::Open {
            continue;
        }
        match &lanes[chunk.lane].names {
            Ok(_) => first = first.or(Some(chunk.lane)),
            Err(why) => {
                chunk.state = State::Refused;
                let trouble = Trouble::Confused { text: why.clone() };
                core.refused(&lanes[chunk.lane].list, chunk.count(), &trouble);
                *refusal = Some(trouble);
            }
        }
    }
    Some((first?, lanes[first?].names.as_ref().ok()?))
}

/// This user may not write to the list at `place`.
pub(super) fn forbid(core: &Core, lanes: &Lanes, plan: &mut Plan, place: usize, trouble: Trouble) -> Trouble {
    let chunks = plan.chunks.iter_mut().filter(|chunk| chunk.lane == place && chunk.state == State::Open);
    let mut records = 0;
    for chunk in chunks {
        chunk.state = State::Refused;
        records += chunk.count();
    }
    core.refused(&lanes[place].list, records, &trouble);
    trouble
}

/// The list is of another type, or may not be written: as things stand, Redis will never take this into it.
///
/// Missing permissions for a command are another matter: they concern all lists.
pub(in crate::outlet) fn is_poison(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Answered { code, text, .. } if code == "NOPERM" => text.contains(" key"),
        Trouble::Answered { .. } => trouble.disposition() == Disposition::Poison,
        Trouble::Away { .. } | Trouble::Insecure { .. } | Trouble::Unconfirmed { .. } | Trouble::Confused { .. } => {
            false
        }
    }
}

/// Errors that are about Redis' state and not about this connection. A master without its replicas may have been cut off from them, and
/// be no master to the others any more: not one of them.
pub(in crate::outlet) fn keeps_connection(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Answered { code, .. }
        if ["OOM", "MISCONF", "BUSY", "TRYAGAIN", "ASK"].contains(&code.as_str()))
}
