//! Lists that take nothing for now are passed by, tried when there is reason to, and brought what they lack. See `held.rs`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::intake::Load;
use super::{Drainer, RETRY, push, tell};
use crate::fault::{self, Place};
use crate::journal::{Lsn, Reader};
use crate::outlet::held::{Head, Held, Why, lane_of};
use crate::outlet::plan::{Plan, State};
use crate::outlet::slot::Lanes;
use crate::outlet::spool::Spool;
use crate::outlet::window::Window;
use crate::outlet::{Batch as _, OnRefused};

impl Drainer {
    /// Everything of `load` is settled but what waits: its lanes are held, the others go on. False if all have to wait.
    pub(super) fn hold(&mut self, load: &Load) -> bool {
        let config = &self.core.config;
        let goes_on = |state| match state {
            State::Settled => true,
            State::Refused => config.on_refused == OnRefused::Hold,
            // Behind the only list nobody waits.
            State::Held => !config.one_list,
            State::Open => false,
        };
        let Some(frame) = load.window.first else { return false };
        load.plan.chunks.iter().all(|chunk| goes_on(chunk.state))
            && self.held.hold(heads(&self.lanes, load, frame), Instant::now(), fastrand::f64())
    }

    /// Tries the heads of what is held, if it is time to.
    pub(super) fn try_held(&mut self, spool: &Spool) {
        let begun = Instant::now();
        if self.held.is_empty() || self.core.is_stopped() || !self.sender.port.is_due(begun) {
            return;
        }
        let core = Arc::clone(&self.core);
        let keys = self.held.due(begun, |list| core.water.wait(list, begun).is_zero());
        if keys.is_empty() {
            return;
        }
        let (mut heads, mut plan) = (Window::default(), Plan::default());
        // The places of a window that waits stay what they are.
        self.lanes.begin(true);
        for (index, (key, head)) in keys.iter().filter_map(|key| Some((key, self.held.head(key)?))).enumerate() {
            let place = self.lanes.find(key, || lane_of(key)).0;
            let part = plan.part_at(place, head.at, None);
            plan.add(index, part);
            heads.push(&head.record);
        }
        heads.cut(&mut plan, &core);
        let pushed = push(&mut self.sender, &core, &mut self.lanes, &mut plan, &heads);
        let (mut refused, mut mended) = (false, false);
        for chunk in &plan.chunks {
            let key = self.lanes[chunk.lane].key();
            match chunk.state {
                State::Settled => mended |= self.held.taken(key, chunk.end()) == Some(Why::Refused),
                State::Refused => {
                    self.held.refused(key);
                    refused = true;
                }
                State::Open | State::Held => {}
            }
        }
        if refused || pushed.is_err() {
            self.held.put_off(begun, fastrand::f64());
        }
        if mended {
            core.forget_refused();
        }
        if pushed.is_ok() && begun.elapsed() < core.config.delay {
            spool.set_back(&core.config.name);
        }
    }

    /// Brings lanes that are behind a window further, from the frame `from` on. Returns how long to wait if that failed.
    pub(super) fn catch_up(&mut self, spool: &Spool, reader: &mut Reader, from: Lsn) -> Option<Duration> {
        let mut load = std::mem::take(&mut self.back);
        let filled = self.fill_behind(reader, &mut load, from);
        reader.seek(self.looked_at);
        let wait = match filled {
            Ok(last) => self.bring_behind(spool, &mut load, last),
            Err(text) => {
                tell(&mut self.said, &self.core, &text);
                Some(RETRY)
            }
        };
        if self.held.lacks_from().is_some() {
            self.back = load;
        }
        wait
    }

    fn bring_behind(&mut self, spool: &Spool, load: &mut Load, last: Lsn) -> Option<Duration> {
        let core = Arc::clone(&self.core);
        let begun = Instant::now();
        let pushed = match load.plan.is_settled() {
            true => Ok(()),
            false => push(&mut self.sender, &core, &mut self.lanes, &mut load.plan, &load.window),
        };
        note_settled(&mut self.held, &self.lanes, &load.plan);
        let goes_on = load.plan.is_settled() || pushed.is_ok() && self.hold(load);
        if !goes_on {
            // What it brought is noted; the rest is read again.
            return Some(self.wait(pushed.is_ok(), core.water.holds(&load.plan)));
        }
        self.held.caught_up(last, self.looked_at);
        fault::pass(Place::OutletBeforeRelease);
        self.release(spool, self.held.release(self.passed));
        fault::pass(Place::OutletAfterRelease);
        spool.released();
        if begun.elapsed() < core.config.delay {
            spool.set_back(&core.config.name);
        }
        None
    }
}

/// The first record of each lane of which something is not settled.
fn heads(lanes: &Lanes, load: &Load, frame: Lsn) -> Vec<(Box<str>, Head)> {
    let mut heads = Vec::new();
    let mut seen = HashSet::new();
    for chunk in load.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled) {
        if seen.insert(chunk.lane)
            && let Some(first) = load.plan.indexes(chunk.places.clone()).next()
        {
            let why = if chunk.state == State::Held { Why::Long } else { Why::Refused };
            let head = Head { frame, at: chunk.begin(), record: load.window.record(first).to_vec(), why };
            heads.push((lanes[chunk.lane].key().into(), head));
        }
    }
    heads
}

/// What of the plan is settled is not read again for a lane that is behind.
fn note_settled(held: &mut Held, lanes: &Lanes, plan: &Plan) {
    for chunk in plan.chunks.iter().filter(|chunk| chunk.state == State::Settled) {
        held.note(lanes[chunk.lane].key(), chunk.end());
    }
}
