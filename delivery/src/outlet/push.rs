//! The chunks of a plan into Redis, over one connection that may break.
//!
//! Whether a push ran is never decided here: an answer says it, or the cursor does. A chunk keeps its numbers as long as its batch is
//! under way, so it may be sent again over a new connection: whatever of it the old one still brings is recognised by them.

mod fence;
mod known;
mod refusal;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Batch;
use super::core::Core;
use super::plan::{Chunk, Plan, State};
use super::port::{Closed, Port};
use super::slot::{Lane, Lanes};
use super::water;
use crate::counters::{add, set};
use crate::error::{Redirect, Trouble};
use crate::fault::{self, Place};
use crate::link::Link;
use crate::push::{self, Answer, Reply, answer, replies};
use crate::wire::Patience;

use self::known::place;
use self::refusal::{first_names, forbid};

pub(super) use self::known::secured;
pub(super) use self::refusal::{is_poison, keeps_connection};

/// Packed bytes that are handed to the system together. Redis works on them while the next are packed.
const SEND_BYTES: usize = 64 << 10;
/// The buffer shrinks to this after a large batch.
const KEPT_BYTES: usize = 4 << 20;
/// How often a batch that is overtaken, by its own late writes or by somebody who uses the same cursor, is sent again at once.
const ROUNDS: usize = 8;
/// How often a cluster may send a batch to another node at once.
const HOPS: u32 = 32;
/// How long to wait for a slot of a cluster that is being moved, before the next look.
const MOVING: Duration = Duration::from_millis(5);

/// Why not everything is settled.
#[derive(Debug)]
pub(super) enum Setback {
    /// There is no connection, and the next attempt is not due.
    NotYet,
    /// Redis.
    Trouble(Trouble),
}

impl From<Closed> for Setback {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::NotYet => Self::NotYet,
            Closed::Failed(trouble) | Closed::Forbidden(trouble) => Self::Trouble(trouble),
        }
    }
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// A connection with its buffers.
#[derive(Default)]
pub(super) struct Sender {
    pub port: Port,
    out: Vec<u8>,
    /// Where a push moves its cursor, as text.
    to: String,
    /// Chunks that were packed and not yet answered, and when.
    flight: VecDeque<(usize, Instant)>,
    /// Chunks that Redis has taken and that do not count yet: they wait for replicas or the disk.
    taken: Vec<(usize, u64, Instant)>,
    /// What Redis said of lists and records that it will never take.
    pub refusal: Option<Trouble>,
    /// Redis closed the connection because a record is too large.
    shut: bool,
    /// Chunks were sent before the push, with this outcome, and no answer was read.
    launched: Option<Result<(), Trouble>>,
    /// The chunks of the plan before this one were.
    packed: usize,
    /// The wait that makes pushes count was sent behind them.
    waits: bool,
    /// It drains the spool: a later epoch in a cursor means that an earlier life was here and got further.
    drains: bool,
}

impl Sender {
    pub fn of_the_drainer() -> Self {
        Self { drains: true, port: Port::in_background(), ..Self::default() }
    }

    /// Why records of `lane` are refused.
    pub fn why(&self, lane: &Lane) -> String {
        match (&lane.names, &self.refusal) {
            (Err(why), _) => why.clone(),
            (Ok(_), Some(trouble)) => trouble.to_string(),
            (Ok(_), None) => String::new(),
        }
    }

    /// Pushes the open chunks. `Ok` if none is open any more. What Redis will never take is parked, if that is wanted; if not, or if it
    /// cannot be, it is refused, and so is what stands behind it.
    pub fn push(
        &mut self,
        core: &Core,
        lanes: &mut Lanes,
        plan: &mut Plan,
        batch: &impl Batch,
        patience: Patience<'_>,
    ) -> Result<(), Setback> {
        self.refusal = None;
        if core.is_stopped() && self.launched.is_none() {
            return Err(Setback::NotYet);
        }
        let mut cut = false;
        let mut hops = 0;
        let mut redirected = None;
        let mut rounds = 0;
        while rounds < ROUNDS {
            let had_link = self.port.is_open();
            self.shut = false;
            let went = self.round(core, lanes, plan, batch, rounds > 0, patience);
            core.park_refused(plan, lanes, |lane| self.why(lane), batch);
            plan.hold_back();
            // A record that is too large costs a connection and settles a chunk: there are as many such rounds as such records.
            rounds += usize::from(!self.shut || rounds == 0);
            match went {
                Ok(()) if plan.chunks.iter().all(|chunk| chunk.state != State::Open) => {
                    let all_held = plan.chunks.iter().all(|chunk| chunk.state == State::Held);
                    if self.refusal.is_none() && !all_held {
                        self.port.succeeded();
                        core.well();
                    }
                    return Ok(());
                }
                Ok(()) => {}
                Err(Setback::NotYet) => return Err(Setback::NotYet),
                Err(Setback::Trouble(trouble)) if hops < HOPS && self.follow(&trouble, patience) => {
                    // Waiting for a slot that is being moved is bounded by the patience.
                    hops += u32::from(trouble.redirect() == Some(Redirect::Moved));
                    rounds = rounds.min(1);
                    redirected = Some(trouble);
                }
                Err(Setback::Trouble(trouble)) => {
                    // A connection that was good before may have been closed for lying idle, or its server is no master any more: one
                    // more attempt, at once.
                    let stale = matches!(trouble, Trouble::Away { .. }) || trouble.is_demotion();
                    let again = had_link && !cut && stale && !is_over(patience);
                    if again {
                        cut = true;
                        continue;
                    }
                    self.port.failed();
                    core.trouble(&trouble);
                    return Err(trouble.into());
                }
            }
            if is_over(patience) {
                break;
            }
        }
        let foreign = || Trouble::Away { text: "the cursor moves without us: another producer of this name?".into() };
        let trouble = redirected.unwrap_or_else(foreign);
        self.port.failed();
        core.trouble(&trouble);
        Err(trouble.into())
    }

    /// A cluster serves the list elsewhere, or is moving it: the next round may follow at once. Nothing of the push was kept.
    fn follow(&mut self, trouble: &Trouble, patience: Patience<'_>) -> bool {
        let Some(redirect) = trouble.redirect() else { return false };
        if is_over(patience) {
            return false;
        }
        self.port.hurry();
        if redirect == Redirect::Wait {
            std::thread::sleep(MOVING);
        }
        true
    }

    /// Sends the chunks that are new in the plan to a connection that is there, if nothing has to be known before, and leaves the answers to
    /// [`push`](Self::push), which has to follow. May be called again when there are more chunks, unless these are `all`. True if they were sent.
    pub fn launch(
        &mut self,
        core: &Core,
        lanes: &mut Lanes,
        plan: &Plan,
        batch: &impl Batch,
        all: bool,
        patience: Patience<'_>,
    ) -> bool {
        if matches!(self.launched, Some(Err(_))) || !self.may_launch(core, lanes, plan) {
            return false;
        }
        self.launched = Some(self.send(core, lanes, (plan, plan.chunks.len()), batch, all, patience));
        matches!(self.launched, Some(Ok(())))
    }

    /// True if what is new in the plan may be sent at once.
    fn may_launch(&self, core: &Core, lanes: &Lanes, plan: &Plan) -> bool {
        let mut open = plan.chunks[self.packed..].iter().filter(|chunk| chunk.state == State::Open);
        let known = |chunk: &Chunk| {
            let lane = &lanes[chunk.lane];
            lane.known && lane.names.is_ok() && core.water.lets_go(lane)
        };
        !core.is_stopped() && self.port.is_ready(core) && open.all(known)
    }

    /// True if chunks were sent before the push.
    pub fn has_launched(&self) -> bool {
        self.launched.is_some()
    }

    /// How many pushes are under way.
    pub fn under_way(&self) -> usize {
        self.flight.len()
    }

    /// Sends all open chunks once, unless that was done, and reads the answers.
    fn round(
        &mut self,
        core: &Core,
        lanes: &mut Lanes,
        plan: &mut Plan,
        batch: &impl Batch,
        again: bool,
        patience: Patience<'_>,
    ) -> Result<(), Setback> {
        let sent = match self.launched.take() {
            // What cannot follow at once is left to the next round.
            Some(Ok(())) => {
                let end = if self.may_launch(core, lanes, plan) { plan.chunks.len() } else { self.packed };
                self.send(core, lanes, (plan, end), batch, true, patience)
            }
            Some(sent) => sent,
            None => {
                if !self.ready(core, lanes, plan, again, patience)? {
                    return Ok(());
                }
                self.send(core, lanes, (plan, plan.chunks.len()), batch, true, patience)
            }
        };
        let read = self.read(core, lanes, plan, patience);
        (self.packed, self.waits) = (0, false);
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        let gone = match (sent, read) {
            (Ok(()), read) => read,
            // What Redis had said before it closed the connection was read, and is why it did.
            (Err(_), Ok(())) if self.shut => Ok(()),
            (Err(trouble), _) => Err(trouble),
        };
        if gone.is_err() || !self.flight.is_empty() || !self.taken.is_empty() {
            self.port.close();
            let mut doubt = 0;
            let taken = self.taken.drain(..).map(|(index, ..)| index);
            for index in taken.chain(self.flight.drain(..).map(|(index, _)| index)) {
                let chunk = &mut plan.chunks[index];
                if !std::mem::replace(&mut chunk.doubt, true) {
                    doubt += chunk.count() as u64;
                }
                lanes[chunk.lane].known = false;
            }
            add(&core.counters.unknown_outcome, doubt);
        }
        Ok(gone?)
    }

    /// Makes the connection and reads the cursors that are to be known. False if nothing is left to push.
    fn ready(
        &mut self,
        core: &Core,
        lanes: &mut Lanes,
        plan: &mut Plan,
        again: bool,
        patience: Patience<'_>,
    ) -> Result<bool, Setback> {
        loop {
            let Some((lane, names)) = first_names(core, lanes, plan, &mut self.refusal) else { return Ok(false) };
            match self.port.open(core, names, patience) {
                Ok(_) => break,
                Err(Closed::Forbidden(trouble)) => self.refusal = Some(forbid(core, lanes, plan, lane, trouble)),
                Err(closed) => return Err(closed.into()),
            }
        }
        let link = self.port.link().ok_or_else(closed)?;
        if core.water.is_on() {
            if let Err(trouble) = water::hold_back(core, link, &mut self.out, lanes, plan, patience) {
                if !keeps_connection(&trouble) {
                    self.port.close();
                }
                return Err(trouble.into());
            }
            if plan.chunks.iter().all(|chunk| chunk.state != State::Open) {
                return Ok(false);
            }
        }
        if let Err(trouble) = place(core, link, &mut self.out, lanes, plan, (again, self.drains), patience) {
            if !keeps_connection(&trouble) {
                self.port.close();
            }
            return Err(trouble.into());
        }
        Ok(true)
    }

    /// Sends the open chunks of the plan from the first that was not packed to `end`; and the wait behind them, if these are `all`.
    fn send(
        &mut self,
        core: &Core,
        lanes: &mut Lanes,
        (plan, end): (&Plan, usize),
        batch: &impl Batch,
        all: bool,
        patience: Patience<'_>,
    ) -> Result<(), Trouble> {
        let link = self.port.link().ok_or_else(closed)?;
        let begin = std::mem::replace(&mut self.packed, end);
        for (index, chunk) in plan.chunks.iter().enumerate().take(end).skip(begin) {
            if chunk.state != State::Open {
                continue;
            }
            let lane = &mut lanes[chunk.lane];
            let Ok(names) = &lane.names else { continue };
            self.to.clear();
            let _ = write!(self.to, "{}", chunk.end());
            let records = plan.indexes(chunk.places.clone()).map(|index| batch.record(index));
            push::push(&mut self.out, names, &core.config.mode, (&lane.tip, &self.to), records, chunk.count());
            lane.tip.clear();
            lane.tip.extend_from_slice(self.to.as_bytes());
            self.flight.push_back((index, Instant::now()));
            if self.out.len() >= SEND_BYTES {
                hand_over(link, &mut self.out, patience)?;
            }
        }
        if all && link.waits() && !self.waits && !self.flight.is_empty() {
            link.pack_wait(&mut self.out, patience);
            self.waits = true;
        }
        hand_over(link, &mut self.out, patience)
    }

    /// Reads the answers to everything under way. What has none in the end stays in `flight`.
    fn read(&mut self, core: &Core, lanes: &mut Lanes, plan: &mut Plan, patience: Patience<'_>) -> Result<(), Trouble> {
        let link = self.port.link().ok_or_else(closed)?;
        let mut trouble = None;
        let waits = link.waits() && !self.flight.is_empty();
        while let Some((index, sent)) = self.flight.front().copied() {
            let chunk = &mut plan.chunks[index];
            let mut read: [Reply; 4] = [const { Reply::Nil }; 4];
            let wanted = &mut read[..replies(&core.config.mode, chunk.count())];
            for reply in wanted.iter_mut() {
                *reply = link.receive_within(patience)?;
                if push::is_too_large(reply) {
                    // Redis reads no further: what was sent behind it never ran.
                    chunk.state = State::Refused;
                    core.refused(&lanes[chunk.lane].list, chunk.count(), &push::too_large());
                    self.refusal = Some(push::too_large());
                    self.shut = true;
                    for (index, _) in self.flight.drain(..) {
                        lanes[plan.chunks[index].lane].known = false;
                    }
                    self.port.close();
                    return trouble.map_or(Ok(()), Err);
                }
            }
            self.flight.pop_front();
            let lane = &mut lanes[chunk.lane];
            match answer(wanted) {
                Answer::Taken(length) => {
                    match waits {
                        true => self.taken.push((index, length, sent)),
                        false => taken(core, chunk, length, sent),
                    }
                    core.water.pushed(core, &lane.list, length);
                }
                Answer::Refused(_) => lane.known = false,
                Answer::Failed(failed) => {
                    lane.known = false;
                    if is_poison(&failed) {
                        chunk.state = State::Refused;
                        core.refused(&lane.list, chunk.count(), &failed);
                        self.refusal = Some(failed);
                    } else {
                        trouble.get_or_insert(failed);
                    }
                }
            }
        }
        if waits {
            if !self.waits {
                // The connection broke before it could be sent.
                return Err(closed());
            }
            let reply = link.receive_within(patience)?;
            link.confirmed(&reply)?;
            for (index, length, sent) in self.taken.drain(..) {
                taken(core, &mut plan.chunks[index], length, sent);
            }
        }
        let Some(trouble) = trouble else { return Ok(()) };
        if !keeps_connection(&trouble) {
            self.port.close();
        }
        Err(trouble)
    }
}

fn hand_over(link: &mut Link, out: &mut Vec<u8>, patience: Patience<'_>) -> Result<(), Trouble> {
    if out.is_empty() {
        return Ok(());
    }
    fault::pass(Place::PushBeforeSend);
    if fault::armed(Place::PushMidSend) {
        let half = out.len() / 2;
        link.send_within(&out[..half], patience)?;
        fault::pass(Place::PushMidSend);
        link.send_within(&out[half..], patience)?;
    } else {
        link.send_within(out, patience)?;
    }
    fault::pass(Place::PushAfterSend);
    out.clear();
    Ok(())
}

fn taken(core: &Core, chunk: &mut Chunk, length: u64, sent: Instant) {
    fault::pass(Place::PushAfterReply);
    chunk.state = State::Settled;
    let counters = &core.counters;
    add(&counters.pushed, chunk.count() as u64);
    add(&counters.accepted, chunk.count() as u64);
    set(&counters.list_length, length);
    counters.push_seconds.observe(sent.elapsed());
}

fn closed() -> Trouble {
    Trouble::Away { text: "the connection was closed".into() }
}

fn is_over(patience: Patience<'_>) -> bool {
    Instant::now() >= patience.deadline || (patience.interrupted)()
}
