//! Pushing, as long as the connection lasts.

use std::time::{Duration, Instant};

use delivery::counters::{add, set};
use delivery::error::Trouble;
use delivery::fault::{self, Place};
use delivery::link::Link;
use delivery::push::{self, Answer, Reply, answer, replies};

use super::trouble::Setback;
use super::{FAREWELL, IDLE, LanePusher, SLICE};
use crate::rhythm::COLLECT;

/// How often the confirmed position is noted and files are freed.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// How long it may take to read what Redis said before it closed the connection.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl LanePusher {
    /// Pushes until something goes wrong (`Err`) or all is done at a stop (`Ok`).
    pub(super) fn serve(&mut self, link: &mut Link, mut farewell: Option<Instant>) -> Result<(), Setback> {
        loop {
            self.shared.pusher_beat(self.number);
            if self.shared.reloaded_since(self.generation) {
                self.settle(link, 0)?;
                return Err(Setback::Reloaded);
            }
            if self.shared.stopping() {
                self.batcher.hurry();
            }
            if self.gate.is_closed() {
                if self.wait_at_the_gate(link)? {
                    return Ok(());
                }
                continue;
            }
            let more = self.send_what_is_there(link)?;
            let now = Instant::now();
            if now.duration_since(self.kept_house) >= HOUSEKEEPING {
                self.keep_house(now);
            }
            if self.shared.stopping() && now >= *farewell.get_or_insert_with(|| now + FAREWELL) {
                return self.settle(link, 0);
            }
            if more {
                // The window is full: make room for half of it, so that the next send carries several batches.
                self.settle(link, self.lane.under_way() / 2)?;
                continue;
            }
            if self.shared.stopping() {
                self.settle(link, 0)?;
                if !self.shared.spool.wait(self.number, self.batcher.read_to(), Duration::ZERO) {
                    return Ok(());
                }
                continue;
            }
            let limit = match self.lane.under_way() {
                0 if self.shared.spool.acked_of(self.number) == Some(self.lane.acked())
                    && !self.batcher.has_passed() =>
                {
                    IDLE
                }
                0 => HOUSEKEEPING,
                _ => COLLECT,
            };
            self.shared.spool.wait(self.number, self.batcher.read_to(), limit);
            // The answers came while this thread slept: reading them now costs one call and no wake-up.
            self.settle(link, 0)?;
        }
    }

    /// The list is too long: waits a little and asks. True if it is time to end: the next start brings what is in the spool.
    fn wait_at_the_gate(&mut self, link: &mut Link) -> Result<bool, Setback> {
        self.settle(link, 0)?;
        if self.shared.stopping() {
            return Ok(true);
        }
        self.keep_house(Instant::now());
        let wait = self.gate.knock(link, &self.shared).map_err(Setback::Redis)?;
        self.shared.stop_wait(wait.min(SLICE));
        Ok(false)
    }

    /// Packs and sends as many batches as have room, and packs one more, so that it can go as soon as there is room again.
    /// True if there may be more than had room.
    fn send_what_is_there(&mut self, link: &mut Link) -> Result<bool, Setback> {
        loop {
            if self.staged.is_none() {
                self.staged =
                    self.batcher.pack(&self.lane, self.park.as_ref(), &mut self.out).map_err(Setback::Hold)?;
                self.released();
            }
            if !self.lane.has_room() {
                return Ok(true);
            }
            let Some(batch) = self.staged.take() else {
                self.send(link)?;
                return Ok(false);
            };
            self.lane.sent(batch.to, batch.fresh, batch.repeats, Instant::now());
            self.under_way.push_back(batch.records);
            self.park = None;
            if !self.lane.has_room() {
                self.send(link)?;
            }
        }
    }

    fn send(&mut self, link: &mut Link) -> Result<(), Setback> {
        if self.out.is_empty() {
            return Ok(());
        }
        if link.waits() {
            link.pack_wait_in_time(&mut self.out);
            self.unconfirmed.waits(self.lane.under_way());
        }
        fault::pass(Place::PushBeforeSend);
        if fault::armed(Place::PushMidSend) {
            let half = self.out.len() / 2;
            link.send(&self.out[..half]).map_err(Setback::Redis)?;
            fault::pass(Place::PushMidSend);
            link.send(&self.out[half..]).map_err(Setback::Redis)?;
        } else {
            let sent = link.send(&self.out);
            sent.or_else(|trouble| self.last_words(link, trouble))?;
        }
        fault::pass(Place::PushAfterSend);
        self.out.clear();
        Ok(())
    }

    /// Sending failed. Redis may have closed the connection because of what it read, and said so.
    fn last_words(&mut self, link: &mut Link, trouble: Trouble) -> Result<(), Setback> {
        link.hurry(LAST_WORDS);
        match self.settle(link, 0) {
            Err(setback @ Setback::TooLarge(..)) => Err(setback),
            _ => Err(Setback::Redis(trouble)),
        }
    }

    /// Reads answers until at most `left` batches are under way.
    fn settle(&mut self, link: &mut Link, left: usize) -> Result<(), Setback> {
        while self.under_way.len() + self.unconfirmed.len() > left {
            if self.unconfirmed.is_due() {
                let reply = link.receive().map_err(Setback::Redis)?;
                link.confirmed(&reply).map_err(Setback::Redis)?;
                for (records, length) in self.unconfirmed.confirmed() {
                    self.taken(records, length);
                }
                continue;
            }
            let records = self.under_way[0];
            let mut read: [Reply; 4] = [const { Reply::Nil }; 4];
            let wanted = &mut read[..replies(&self.settings.mode, records)];
            for reply in wanted.iter_mut() {
                *reply = link.receive().map_err(Setback::Redis)?;
                if push::is_too_large(reply) {
                    // Those that wait for replicas or the disk were taken, and stand before it.
                    let at = self.lane.begin_behind(self.unconfirmed.len());
                    return Err(Setback::TooLarge(at, records));
                }
            }
            match answer(wanted) {
                Answer::Taken(length) => {
                    self.under_way.pop_front();
                    // What replicas or the disk have to confirm counts later.
                    match link.waits() {
                        true => self.unconfirmed.answered((records, length)),
                        false => self.taken(records, length),
                    }
                }
                Answer::Refused(_) => return Err(Setback::Overtaken),
                Answer::Failed(trouble) => return Err(Setback::Redis(trouble)),
            }
        }
        Ok(())
    }

    fn taken(&mut self, records: usize, length: u64) {
        fault::pass(Place::PushAfterReply);
        let counters = &self.shared.counters;
        self.confirmed = true;
        if let Some(settled) = self.lane.taken(Instant::now()) {
            add(&counters.pushed, settled.fresh);
            add(&self.shared.lanes[self.number].pushed, settled.fresh);
            add(&counters.replayed, settled.repeats);
            counters.push_seconds.observe(settled.took);
        }
        if records > 0 {
            self.gate.pushed(length, &self.shared);
            if std::mem::take(&mut self.needs_proof) {
                self.recovered();
            }
        }
    }

    /// Notes what is confirmed, frees what is no longer needed, sets gauges.
    pub(super) fn keep_house(&mut self, now: Instant) {
        self.kept_house = now;
        let spool = &self.shared.spool;
        // Until Redis has confirmed something the lane's position is a guess, and the noted one is better.
        if self.confirmed {
            let kept = spool.release(self.number, self.lane.acked(), now).and_then(|()| spool.write_mark());
            if let Err(error) = kept {
                log::warn!("{}", crate::chain(&error));
            }
        }
        self.gauges(now);
    }

    pub(super) fn gauges(&self, now: Instant) {
        let (spool, counters) = (&self.shared.spool, &self.shared.counters);
        set(&counters.spool_bytes, spool.bytes());
        set(&counters.oldest_unpushed_milliseconds, spool.age_after(self.lane.acked(), now).as_millis() as u64);
    }
}
