//! A commit in two steps, for a host whose batch goes to several servers: the pushes to all of them are sent before the first answer
//! is waited for.

use std::sync::Arc;
use std::time::Duration;

use super::{Recall, Worker};
use crate::outlet::switch::{Situation, Way, way};
use crate::outlet::{Batch, Outcome};
use crate::wire::Patience;

impl Worker {
    /// Sends the pushes of a batch if nothing at all has to be waited for, and reads no answer. If so, [`conclude`](Self::conclude) has to follow.
    ///
    /// What is in doubt or remembered, in the spool, or needs a connection or a cursor first goes the usual way.
    pub(in crate::outlet) fn launch(&mut self, batch: &impl Batch, patience: Patience<'_>) -> bool {
        let core = Arc::clone(&self.core);
        if self.slot.as_ref().is_none_or(|slot| !slot.memory.is_empty() || slot.open) || !self.may_launch(patience) {
            return false;
        }
        if !self.enter(&core) {
            return false;
        }
        if !matches!(self.prepare(&core, batch, patience), Recall::Known) {
            return false;
        }
        if let Some(slot) = self.slot.as_mut() {
            self.sender.launch(&core, &mut slot.lanes, &self.plan, batch, true, patience);
            self.launched = true;
        }
        true
    }

    pub(super) fn may_launch(&self, patience: Patience<'_>) -> bool {
        let Some(slot) = self.slot.as_ref() else { return false };
        let situation = |away| Situation {
            away,
            behind: slot.spooled.is_some(),
            backlog: 0,
            hurry: (patience.interrupted)(),
            in_vain: None,
        };
        let away = self.core.spool().is_some_and(|spool| spool.is_away());
        self.sender.port.is_ready(&self.core) && way(situation(away)) == Way::Push
    }

    /// A whole commit, or the rest of one that was [launched](Self::launch). Unlike [`commit`](Self::commit) it does not pause
    /// after "later".
    pub(in crate::outlet) fn conclude(&mut self, batch: &impl Batch, patience: Patience<'_>) -> Outcome {
        let core = Arc::clone(&self.core);
        self.held.clear();
        let interrupted = || core.is_stopping() || (patience.interrupted)();
        let patience = Patience { deadline: patience.deadline, interrupted: &interrupted };
        let outcome = if self.launched {
            self.carry_out(&core, batch, patience)
        } else if self.enter(&core) {
            self.attempt(&core, batch, patience)
        } else {
            None
        };
        self.note_refusal(outcome);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        outcome.unwrap_or(Outcome::Later)
    }

    /// The batch that was just done will be handed in again all the same, because another part of it was not.
    pub(in crate::outlet) fn expect_again(&mut self, batch: &impl Batch) {
        let core = Arc::clone(&self.core);
        self.remember(&core, batch);
    }

    /// How long a batch may take.
    pub(in crate::outlet) fn limit(&self) -> Duration {
        if self.core.spool().is_some() { self.core.config.delay } else { self.core.config.timeout }
    }
}
