//! The thread that brings the spool into Redis.
//!
//! It keeps several batches under way and never decides whether a push ran: on any refusal, error or lost connection it forgets what is
//! under way, connects again, reads the cursor and goes on from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::{add, set};
use delivery::error::{Disposition, Trouble};
use delivery::fault::{self, Place};
use delivery::lane::Lane;
use delivery::link::{Link, may_drop_cursor};
use delivery::position::Position;
use delivery::push::{Answer, Reply, answer, replies};
use delivery::resume::{Lost, Resume, resume};
use delivery::retry::Backoff;

use crate::batcher::{Batch, Batcher, Hold, Origin};
use crate::rhythm::COLLECT;
use crate::settings::Settings;
use crate::shared::Shared;

/// How long the pusher sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// How often the confirmed position is noted and files are freed.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// How often a lost cursor is mentioned in the log, at most.
const SAY_LOST: Duration = Duration::from_secs(10);
/// How long a stop may go on pushing what is in the spool.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the pusher has no connection, or loses it.
enum Setback {
    /// Redis.
    Redis(Trouble),
    /// Somebody else's batch came first: ours from before, still in a buffer, or another producer's.
    Overtaken,
    /// The cursor is lost, and the settings say to stop.
    CursorLost,
    /// The spool or the dead letters.
    Hold(Hold),
    /// New settings.
    Reloaded,
}

/// Spool to Redis.
pub struct Pusher {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    generation: u64,
    batcher: Batcher,
    lane: Lane,
    /// Records of the batches under way, for the number of replies to each.
    under_way: std::collections::VecDeque<usize>,
    /// Packed commands that were not sent yet.
    out: Vec<u8>,
    /// A batch whose commands are the last in `out`, while the lane has no room for it.
    staged: Option<Batch>,
    backoff: Backoff,
    connections: u64,
    /// Redis has confirmed the lane's position, by its cursor or by an answer.
    confirmed: bool,
    /// Only a push that is taken ends the trouble.
    needs_proof: bool,
    /// Only a batch that is packed ends the trouble.
    held: bool,
    /// The next batch goes to the dead letters: Redis refused it.
    park: bool,
    /// The class of the trouble that was last logged.
    said: Option<String>,
    lost_said: Option<(Lost, Instant)>,
    policy_said: Option<String>,
    down_since: Option<Instant>,
    kept_house: Instant,
}

impl Pusher {
    /// A pusher that is about to start.
    pub fn new(shared: Arc<Shared>, batcher: Batcher, at: Position) -> Self {
        let (settings, generation) = shared.settings();
        let lane = Lane::new(at, settings.file.queue.in_flight);
        Self {
            shared,
            settings,
            generation,
            batcher,
            lane,
            under_way: std::collections::VecDeque::new(),
            out: Vec::new(),
            staged: None,
            backoff: Backoff::default(),
            connections: 0,
            confirmed: false,
            needs_proof: false,
            held: false,
            park: false,
            said: None,
            lost_said: None,
            policy_said: None,
            down_since: None,
            kept_house: Instant::now(),
        }
    }

    /// Works until it is told to stop and has pushed what there is, or cannot.
    pub fn run(mut self) {
        let mut farewell: Option<Instant> = None;
        loop {
            if self.shared.stopping() {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL);
                if Instant::now() >= until || self.shared.health().stopped {
                    break;
                }
            }
            let setback = match self.connect() {
                Ok(mut link) => match self.serve(&mut link, farewell) {
                    Ok(()) => break,
                    Err(setback) => setback,
                },
                Err(setback) => setback,
            };
            self.suffer(setback);
            if self.shared.stopping() && self.down_since.is_some() {
                // Everything is safe in the spool; the next start brings it.
                break;
            }
        }
        self.keep_house(Instant::now());
        if let Err(error) = self.shared.spool.write_mark() {
            log::warn!("{}", crate::chain(&error));
        }
    }

    /// Connects, reads the cursor and puts everything to where the stream goes on.
    fn connect(&mut self) -> Result<Link, Setback> {
        self.shared.pusher_beat();
        self.adopt_settings();
        let endpoint = self.settings.login().map_err(|text| Setback::Redis(Trouble::Away { text }))?;
        let mut link = Link::connect(&endpoint).map_err(Setback::Redis)?;
        self.connections += 1;
        if self.connections > 1 {
            add(&self.shared.counters.reconnects, 1);
        }
        fault::pass(Place::StartBeforeCursor);
        let cursor = link.cursor(&self.settings.names.cursor).map_err(Setback::Redis)?;
        link.rehearse(&self.settings.names).map_err(Setback::Redis)?;
        self.look_at_policy(&mut link);
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
            let resume = resume(cursor, &spool.held(), spool.opened(), spool.acked());
            let origin = match resume {
                Resume::Continue(_) | Resume::Rewound(_) => Origin::Cursor,
                Resume::Lost(_, Lost::Ahead) => Origin::New,
                Resume::Lost(..) => Origin::Guess,
            };
            let at = self.decide(resume)?;
            // A full spool may free confirmed bytes at any time: they are no longer confirmed, if they are still here.
            if spool.hold_from(at) {
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
                    log::error!("{} Going on at {at}.", lost_text(why, &self.settings.names.cursor));
                }
                if self.settings.stop_on_lost_cursor() { Err(Setback::CursorLost) } else { Ok(at) }
            }
        }
    }

    /// Pushes until something goes wrong (`Err`) or all is done at a stop (`Ok`).
    fn serve(&mut self, link: &mut Link, mut farewell: Option<Instant>) -> Result<(), Setback> {
        loop {
            self.shared.pusher_beat();
            if self.shared.reloaded_since(self.generation) {
                self.settle(link, 0)?;
                return Err(Setback::Reloaded);
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
                if !self.shared.spool.wait(self.batcher.read_to(), Duration::ZERO) {
                    return Ok(());
                }
                continue;
            }
            let limit = match self.lane.under_way() {
                0 if self.shared.spool.acked() == Some(self.lane.acked()) => IDLE,
                0 => HOUSEKEEPING,
                _ => COLLECT,
            };
            self.shared.spool.wait(self.batcher.read_to(), limit);
            // The answers came while this thread slept: reading them now costs one call and no wake-up.
            self.settle(link, 0)?;
        }
    }

    /// Packs and sends as many batches as have room, and packs one more, so that it can go as soon as there is room again.
    /// True if there may be more than had room.
    fn send_what_is_there(&mut self, link: &mut Link) -> Result<bool, Setback> {
        loop {
            if self.staged.is_none() {
                self.staged = self.batcher.pack(&self.lane, self.park, &mut self.out).map_err(Setback::Hold)?;
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
            self.park = false;
            if !self.lane.has_room() {
                self.send(link)?;
            }
        }
    }

    fn send(&mut self, link: &mut Link) -> Result<(), Setback> {
        if self.out.is_empty() {
            return Ok(());
        }
        fault::pass(Place::PushBeforeSend);
        if fault::armed(Place::PushMidSend) {
            let half = self.out.len() / 2;
            link.send(&self.out[..half]).map_err(Setback::Redis)?;
            fault::pass(Place::PushMidSend);
            link.send(&self.out[half..]).map_err(Setback::Redis)?;
        } else {
            link.send(&self.out).map_err(Setback::Redis)?;
        }
        fault::pass(Place::PushAfterSend);
        self.out.clear();
        Ok(())
    }

    /// Reads answers until at most `left` batches are under way.
    fn settle(&mut self, link: &mut Link, left: usize) -> Result<(), Setback> {
        while self.under_way.len() > left {
            let records = self.under_way[0];
            let mut read: [Reply; 4] = [const { Reply::Nil }; 4];
            let wanted = &mut read[..replies(records)];
            for reply in wanted.iter_mut() {
                *reply = link.receive().map_err(Setback::Redis)?;
            }
            match answer(wanted) {
                Answer::Taken(length) => {
                    self.under_way.pop_front();
                    self.taken(records, length);
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
            add(&counters.replayed, settled.repeats);
            counters.push_seconds.observe(settled.took);
        }
        if records > 0 {
            set(&counters.list_length, length);
            if std::mem::take(&mut self.needs_proof) {
                self.recovered();
            }
        }
    }

    /// Notes what is confirmed, frees what is no longer needed, sets gauges.
    fn keep_house(&mut self, now: Instant) {
        self.kept_house = now;
        let spool = &self.shared.spool;
        // Until Redis has confirmed something the lane's position is a guess, and the noted one is better.
        if self.confirmed {
            let kept = spool.release(self.lane.acked(), now).and_then(|()| spool.write_mark());
            if let Err(error) = kept {
                log::warn!("{}", crate::chain(&error));
            }
        }
        self.gauges(now);
    }

    fn gauges(&self, now: Instant) {
        let (spool, counters) = (&self.shared.spool, &self.shared.counters);
        set(&counters.spool_bytes, spool.bytes());
        set(&counters.oldest_unpushed_milliseconds, spool.age_after(self.lane.acked(), now).as_millis() as u64);
    }

    /// The connection is gone, or never was: says so once, counts, and waits.
    fn suffer(&mut self, setback: Setback) {
        // What broke under a push is only mended when a push succeeds; what broke at the login, when the login does.
        self.needs_proof |= !self.under_way.is_empty();
        self.under_way.clear();
        self.out.clear();
        self.staged = None;
        let doubt = self.lane.lost();
        let trouble = match setback {
            Setback::Reloaded => return,
            Setback::Overtaken => {
                // Not a failure, unless it happens again and again.
                add(&self.shared.counters.retries, 1);
                let pause = self.backoff.failed(fastrand::f64());
                return self.pause(if self.backoff.failures() > 1 { pause } else { Duration::ZERO });
            }
            Setback::CursorLost => {
                return self.stand_still("queue.on-lost-cursor is stop: nothing is pushed until SIGHUP");
            }
            Setback::Hold(hold) => {
                self.held = true;
                let text = crate::chain(&hold);
                self.say("hold", log::Level::Error, &format!("nothing is pushed, nothing is lost: {text}"));
                self.shared.note_health(|health| {
                    health.connected = false;
                    health.last_error = text;
                    health.last_error_time = crate::unix_seconds();
                });
                let pause = self.backoff.failed(fastrand::f64());
                return self.pause(pause);
            }
            Setback::Redis(trouble) => trouble,
        };
        add(&self.shared.counters.retries, 1);
        if matches!(trouble, Trouble::Away { .. }) {
            add(&self.shared.counters.unknown_outcome, doubt);
        }
        self.down_since.get_or_insert_with(Instant::now);
        self.shared.note_health(|health| {
            health.connected = false;
            health.last_error = trouble.to_string();
            health.last_error_time = crate::unix_seconds();
        });
        match trouble.disposition() {
            Disposition::RetryLater => {
                let text =
                    format!("redis at {} takes nothing, records wait in the spool: {trouble}", self.settings.endpoint);
                self.say(trouble.class(), log::Level::Warn, &text);
            }
            Disposition::Poison => {
                let fate =
                    if self.settings.park_refused() { "they become dead letters" } else { "they wait in the spool" };
                let text = format!("redis takes no records into {:?}, {fate}: {trouble}", self.settings.names.list);
                self.say(trouble.class(), log::Level::Error, &text);
                self.park = self.settings.park_refused();
                if self.park {
                    return;
                }
            }
            Disposition::StopLane => {
                return self.stand_still(&format!("{trouble}: nothing is pushed until SIGHUP or a restart"));
            }
        }
        let pause = self.backoff.failed(fastrand::f64());
        self.pause(pause);
    }

    /// A person is needed. Records go on into the spool meanwhile.
    fn stand_still(&mut self, why: &str) {
        self.say("stopped", log::Level::Error, why);
        self.shared.note_health(|health| {
            health.connected = false;
            health.stopped = true;
            why.clone_into(&mut health.last_error);
            health.last_error_time = crate::unix_seconds();
        });
        while !self.shared.stopping() && !self.shared.reloaded_since(self.generation) {
            self.pause(IDLE);
        }
    }

    fn pause(&mut self, pause: Duration) {
        self.shared.counters.connected.store(0, std::sync::atomic::Ordering::Relaxed);
        let until = Instant::now() + pause;
        loop {
            self.shared.pusher_beat();
            self.gauges(Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shared.stopping() || self.shared.reloaded_since(self.generation) {
                return;
            }
            self.shared.stop_wait(left.min(Duration::from_millis(200)));
        }
    }

    /// One line per change of the situation.
    fn say(&mut self, class: &str, level: log::Level, text: &str) {
        if self.said.as_deref() != Some(class) {
            log::log!(level, "{text}");
            self.said = Some(class.to_owned());
        }
    }

    /// A batch could be packed: whatever kept the spool or the dead letters from being used is over.
    fn released(&mut self) {
        if std::mem::take(&mut self.held) {
            if self.said.as_deref() == Some("hold") {
                self.said = None;
                log::info!("records are pushed again");
            }
            if !self.needs_proof {
                self.recovered();
            }
        }
    }

    fn recovered(&mut self) {
        let failures = self.backoff.succeeded();
        self.shared.counters.connected.store(1, std::sync::atomic::Ordering::Relaxed);
        self.shared.note_health(|health| {
            health.connected = true;
            health.stopped = false;
        });
        // A reload in between makes the trouble be told anew, if it stays.
        if self.said.take().is_some() || self.down_since.is_some() {
            let away = self.down_since.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
            log::info!("redis at {} is back after {away:.1} s and {failures} attempts", self.settings.endpoint);
        } else if self.connections == 1 {
            log::info!("connected to redis at {}, list {:?}", self.settings.endpoint, self.settings.names.list);
        }
        self.down_since = None;
    }

    fn adopt_settings(&mut self) {
        if self.shared.reloaded_since(self.generation) {
            (self.settings, self.generation) = self.shared.settings();
            log::info!("the settings were read again");
            self.batcher.adopt(&self.settings);
            self.lane.set_depth(self.settings.file.queue.in_flight);
            self.shared.note_health(|health| health.stopped = false);
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
