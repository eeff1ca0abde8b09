//! A connection, and the place at which the lane goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::add;
use delivery::error::Trouble;
use delivery::fault::{self, Place};
use delivery::link::{Link, may_drop_cursor};
use delivery::position::Position;
use delivery::resume::{Lost, Resume, resume};

use super::LanePusher;
use super::trouble::Setback;
use crate::batcher::Origin;
use crate::gate::Gate;

/// How often a lost cursor is mentioned in the log, at most.
const SAY_LOST: Duration = Duration::from_secs(10);

impl LanePusher {
    /// Connects, reads the cursor and puts everything to where the stream goes on.
    pub(super) fn connect(&mut self) -> Result<Link, Setback> {
        self.shared.pusher_beat(self.number);
        self.adopt_settings();
        let endpoint = self.settings.login().map_err(|text| Setback::Redis(Trouble::Away { text }))?;
        let endpoint = endpoint.for_lane(self.number).for_list(&self.names.list);
        let mut link = Link::connect(&endpoint).map_err(Setback::Redis)?;
        self.connections += 1;
        if self.connections > 1 {
            add(&self.shared.counters.reconnects, 1);
        }
        fault::pass(Place::StartBeforeCursor);
        let cursor = link.cursor(&self.names.cursor).map_err(Setback::Redis)?;
        link.rehearse(&self.names, &self.settings.mode).map_err(Setback::Redis)?;
        // An earlier connection brought it there, and its wait may never have been answered.
        if !link.secure(&self.names, &cursor).map_err(Setback::Redis)? {
            return Err(Setback::Overtaken);
        }
        self.look_at_policy(&mut link);
        self.gate.look(&mut link, &self.shared).map_err(Setback::Redis)?;
        let (at, origin) = self.place(&cursor)?;
        let found = self.lane.resume(&cursor, at);
        self.confirmed |= Position::parse(&cursor) == Some(at);
        add(&self.shared.counters.duplicates_suppressed, found.records);
        self.needs_proof &= !found.all;
        if let Some(part) = found.part {
            let part = self.batcher.count(part).map_err(Setback::Hold)?;
            add(&self.shared.counters.duplicates_suppressed, part);
        }
        self.batcher.seek(at, origin).map_err(Setback::Hold)?;
        self.batcher.count_from(at);
        if !self.needs_proof && !self.held {
            self.recovered();
        }
        Ok(link)
    }

    /// Where the stream goes on, with everything behind it kept from being freed, and who says so.
    fn place(&mut self, cursor: &[u8]) -> Result<(Position, Origin), Setback> {
        self.keep_house(Instant::now());
        loop {
            let spool = Arc::clone(&self.shared.spool);
            let resume = resume(cursor, &spool.held(), spool.opened(), spool.acked_of(self.number));
            let origin = match resume {
                Resume::Continue(_) | Resume::Rewound(_) => Origin::Cursor,
                Resume::Lost(_, Lost::Ahead) => Origin::New,
                Resume::Lost(..) => Origin::Guess,
            };
            let at = self.decide(resume)?;
            // A full spool may free confirmed bytes at any time: they are no longer confirmed, if they are still here.
            if spool.hold_from(self.number, at) {
                return Ok((at, origin));
            }
        }
    }

    /// Where to go on, and a line in the log if the cursor did not tell it.
    fn decide(&mut self, resume: Resume) -> Result<Position, Setback> {
        match resume {
            Resume::Continue(at) => Ok(at),
            Resume::Rewound(at) => {
                let bytes = self.shared.spool.bytes_after(at);
                log::warn!("redis went back to {at}: {bytes} bytes are sent again from the spool");
                Ok(at)
            }
            Resume::Lost(at, why) => {
                // Two bridges that fight for one cursor must not fill the log.
                if self.lost_said.is_none_or(|(said, when)| said != why || when.elapsed() >= SAY_LOST) {
                    self.lost_said = Some((why, Instant::now()));
                    log::error!("{} Going on at {at}.", lost_text(why, &self.names.cursor));
                }
                if self.settings.stop_on_lost_cursor() { Err(Setback::CursorLost) } else { Ok(at) }
            }
        }
    }

    fn adopt_settings(&mut self) {
        if self.shared.reloaded_since(self.generation) {
            (self.settings, self.generation) = self.shared.settings();
            log::info!("the settings were read again");
            self.gate = Gate::new(&self.settings, self.number, &self.names.list);
            self.shared.hold_back(self.number, None);
            self.batcher.adopt(&self.settings);
            self.endpoint = self.settings.endpoint.for_lane(self.number).for_list(&self.names.list);
            self.lane.set_depth(self.settings.file.queue.in_flight);
            self.shared.note_health(self.number, |health| health.stopped = false);
            self.said = None;
        }
    }

    fn look_at_policy(&mut self, link: &mut Link) {
        let policy = link.eviction_policy();
        if self.policy_said == policy {
            return;
        }
        if let Some(policy) = policy.as_deref().filter(|policy| may_drop_cursor(policy)) {
            log::error!("redis' maxmemory-policy is {policy}: it may drop records and cursors; set noeviction");
        }
        self.policy_said = policy;
    }
}

fn lost_text(why: Lost, cursor: &str) -> String {
    match why {
        Lost::Missing => format!(
            "redis has no cursor {cursor} although it had confirmed records: it was emptied, or the cursor was deleted or evicted; \
             records that it had confirmed may be gone."
        ),
        Lost::Foreign => format!(
            "the cursor {cursor} is not one of ours: another bridge uses the same queue.producer, or somebody wrote to it."
        ),
        Lost::Behind => {
            format!("redis went back further than the spool reaches (cursor {cursor}): records in between are gone.")
        }
        Lost::Ahead => format!("the spool is shorter than redis says it was (cursor {cursor}): its files were cut."),
    }
}
