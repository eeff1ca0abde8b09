//! Whether a batch that is handed in now has a chance: asked by hosts that hold their batches back until it has one.
//!
//! A "yes" that is followed by a refusal costs the host two log lines and a turn; so what was refused is remembered by its size, and it
//! has to fit. A "no" must end: when the spool has room, or when Redis answers and nothing of the slot waits in the spool.

use std::time::{Duration, Instant};

use super::OnRefused;
use super::core::Core;
use super::push::{Sender, Setback, is_poison, keeps_connection, secured};
use super::worker::Worker;
use crate::error::Trouble;
use crate::push::{self, Names};
use crate::wire::Patience;

/// What is refused although nothing seems to speak against it is tried again after this time,
const FIRST: Duration = Duration::from_secs(1);
/// which grows up to this.
const LONGEST: Duration = Duration::from_secs(30);
/// A batch is taken to be at least this large until larger ones have come.
const RESERVE: usize = 256 << 10;

/// What the spool has refused, or Redis of what is to be held. A plain value.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// How many bytes, and when.
    last: Option<(usize, Instant)>,
    /// How long the next attempt waits.
    pause: Duration,
}

impl Refusal {
    /// The spool took something.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// So many bytes were refused.
    pub fn note(&mut self, bytes: usize, now: Instant) {
        self.last = Some((bytes, now));
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
    }

    /// True if the spool may be tried. `fits` tells of a number of bytes.
    pub fn is_over(&mut self, now: Instant, fits: impl FnOnce(usize) -> bool) -> bool {
        let Some((bytes, when)) = self.last else { return true };
        if !fits(bytes) {
            // That explains it: once it fits nothing has to be waited for.
            self.pause = Duration::ZERO;
            return false;
        }
        now.saturating_duration_since(when) >= self.pause
    }
}

impl Worker {
    /// True if a batch that is handed in now has a chance: the spool takes it, or Redis would.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        if self.spool_is_well() {
            return true;
        }
        self.way_is_free() && self.is_let_go(interrupted) && self.ask_redis(interrupted)
    }

    /// True if any batch of usual size would be taken now. For hosts that must know it before they make a batch: those ask it each
    /// time, also with [`probe`](Self::probe) in between. A connection that Redis has not closed is as good as an answer, unless Redis
    /// turned the last batch away.
    pub fn has_place(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        if self.spool_is_well() && self.spool_has_reserve() {
            return true;
        }
        let place = self.way_is_free()
            && self.is_let_go(interrupted)
            && (self.is_connected() && !self.turned_away || self.ask_redis(interrupted));
        if !place && self.sent_away {
            self.core.spool_takes(Some("the spool is nearly full"));
        }
        place
    }

    /// True if there is a connection that Redis has not closed. Asks nobody.
    pub fn is_connected(&mut self) -> bool {
        if self.sender.port.link().is_some_and(|link| !link.is_alive()) {
            self.sender.port.close();
        }
        self.sender.port.is_open()
    }

    /// True if there is a spool, and what it refused last may be handed in again.
    fn spool_is_well(&mut self) -> bool {
        let Some(spool) = self.core.spool() else { return false };
        // What is in doubt has to be asked of Redis first.
        if self.slot.as_ref().is_some_and(|slot| slot.memory.is_in_doubt()) {
            return false;
        }
        let journal = &spool.journal;
        // One file of room would be full again at once: a quarter of the spool, or all that there is.
        let much = usize::try_from(journal.config().bytes_max / 4).unwrap_or(usize::MAX);
        let fits =
            |bytes| journal.has_room_for(bytes) && (journal.is_empty() || bytes == 0 || journal.has_room_for(much));
        self.refusal.is_over(Instant::now(), fits)
    }

    /// True if the spool has room for a batch of each worker, however much a batch of this one was so far.
    fn spool_has_reserve(&mut self) -> bool {
        let Some(spool) = self.core.spool() else { return false };
        let journal = &spool.journal;
        let most = usize::try_from(journal.config().bytes_max / 4).unwrap_or(usize::MAX);
        let reserve = self.largest.max(RESERVE).saturating_mul(self.core.workers()).min(most);
        // Whoever was sent away comes back when there is room for more than one turn.
        let wanted = if self.sent_away { reserve.saturating_mul(2) } else { reserve };
        self.sent_away = !journal.is_empty() && !journal.has_room_for(wanted);
        !self.sent_away
    }

    /// True if nothing but Redis itself keeps a batch from going there at once.
    fn way_is_free(&mut self) -> bool {
        if self.core.spool().is_none() && !self.refusal.is_over(Instant::now(), |_| true) {
            return false;
        }
        let Some(slot) = self.slot.as_ref() else { return false };
        // A slot in doubt has nothing in the spool.
        self.core.spool().is_none_or(|spool| {
            slot.memory.is_in_doubt() || !spool.is_away() && slot.spooled.is_none_or(|lsn| spool.is_drained(lsn))
        })
    }

    /// True if the last batch was not turned away because of the length of its lists, or one of them is no longer held.
    fn is_let_go(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let core = std::sync::Arc::clone(&self.core);
        let interrupted = || core.is_stopping() || interrupted();
        let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
        match self.sender.is_let_go(&core, &self.held, patience) {
            Ok(free) => free,
            Err(Setback::NotYet) => false,
            Err(Setback::Trouble(trouble)) => {
                core.trouble(&trouble);
                false
            }
        }
    }

    /// True if Redis would take a push now. That it answers is not enough: one without memory does, and turns each batch away.
    fn ask_redis(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        let core = std::sync::Arc::clone(&self.core);
        let Some(slot) = self.slot.as_ref() else { return false };
        if core.is_stopped() || !self.sender.port.is_due(Instant::now()) {
            return false;
        }
        let interrupted = || core.is_stopping() || interrupted();
        let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
        // Whether another list is refused only a batch can tell, and for the one that was wanted there may be none any more.
        self.wanted.take_if(|(_, since)| since.elapsed() >= LONGEST);
        let wanted = self.wanted.as_ref().map(|(names, _)| names.clone());
        let judged = wanted.is_some() || core.config.one_list;
        let Some(names) = wanted.or_else(|| core.names(slot.number)) else { return true };
        match self.sender.try_out(&core, &names, judged, patience) {
            Ok(takes) => {
                self.turned_away &= !takes;
                takes
            }
            Err(Setback::NotYet) => false,
            Err(Setback::Trouble(trouble)) => {
                core.trouble(&trouble);
                false
            }
        }
    }
}

impl Sender {
    /// Goes through a push without one. False if Redis takes none into this list, which would have to wait; other lists may be taken.
    /// If it is not `judged`, it stands for lists that are not known, and what is wrong with it alone says nothing.
    pub(super) fn try_out(
        &mut self,
        core: &Core,
        names: &Names,
        judged: bool,
        patience: Patience<'_>,
    ) -> Result<bool, Setback> {
        self.port.open_for(core, names, patience)?;
        let replies = self.port.rehearse(names, &core.config.mode, patience);
        let tried = replies.and_then(|replies| match push::rehearsed_for_list(&replies) {
            Err(trouble) if is_poison(&trouble) || trouble.class() == "WRONGTYPE" => Ok(!judged),
            Err(trouble) => Err(trouble),
            Ok(()) => self.is_confirmed(names, patience).map(|()| true),
        });
        match tried {
            Ok(taken) => {
                let waits = !taken && core.config.on_refused == OnRefused::Hold;
                if waits {
                    self.port.failed();
                }
                Ok(!waits)
            }
            Err(trouble) => {
                if !keeps_connection(&trouble) {
                    self.port.close();
                }
                self.port.failed();
                Err(trouble.into())
            }
        }
    }

    /// Waits for those who are to confirm pushes, where they do not count before.
    fn is_confirmed(&mut self, names: &Names, patience: Patience<'_>) -> Result<(), Trouble> {
        match self.port.link() {
            Some(link) if link.waits() => secured(link, &mut Vec::new(), &[names], patience).map(|_| ()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_has_to_fit() {
        let (mut refusal, now) = (Refusal::default(), Instant::now());
        assert!(refusal.is_over(now, |_| false), "nothing was refused");
        refusal.note(100, now);
        assert!(!refusal.is_over(now, |bytes| bytes < 100));
        // Room has come, and explains the refusal: no time has to pass.
        assert!(refusal.is_over(now, |bytes| bytes <= 100));
        refusal.clear();
        assert!(refusal.is_over(now, |_| false));
    }

    #[test]
    fn what_is_refused_for_another_reason_is_tried_less_and_less_often() {
        let (mut refusal, mut now) = (Refusal::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            refusal.note(100, now);
            let noted = now;
            while !refusal.is_over(now, |_| true) {
                now += Duration::from_millis(500);
            }
            waits.push((now - noted).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
