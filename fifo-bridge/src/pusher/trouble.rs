//! What happens when something goes wrong: said once, counted, waited for.

use std::time::{Duration, Instant};

use delivery::counters::add;
use delivery::error::{Disposition, Trouble};
use delivery::position::Position;
use delivery::push;

use super::{IDLE, LanePusher, SLICE};
use crate::batcher::{Hold, Park};

/// Records that are too large are mentioned in the log this often, at most: a sender of many must not fill it.
const SAY_LARGE: Duration = Duration::from_secs(60);

/// Why the pusher has no connection, or loses it.
pub(super) enum Setback {
    /// Redis.
    Redis(Trouble),
    /// Somebody else's batch came first: ours from before, still in a buffer, or another producer's.
    Overtaken,
    /// The cursor is lost, and the settings say to stop.
    CursorLost,
    /// The oldest batch under way, which begins here and has so many records, holds one that is too large for Redis.
    TooLarge(Position, usize),
    /// The spool or the dead letters.
    Hold(Hold),
    /// New settings.
    Reloaded,
}

impl LanePusher {
    /// The connection is gone, or never was: says so once, counts, and waits.
    pub(super) fn suffer(&mut self, setback: Setback) {
        // What broke under a push is only mended when a push succeeds; what broke at the login, when the login does.
        self.needs_proof |= !self.under_way.is_empty() || !self.unconfirmed.is_empty();
        self.under_way.clear();
        self.unconfirmed.clear();
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
            Setback::TooLarge(at, records) => return self.too_large(at, records),
            Setback::CursorLost => {
                return self.stand_still("queue.on-lost-cursor is stop: nothing is pushed until SIGHUP");
            }
            Setback::Hold(hold) => {
                self.held = true;
                let text = crate::chain(&hold);
                self.say("hold", log::Level::Error, &format!("nothing is pushed, nothing is lost: {text}"));
                self.shared.note_health(self.number, |health| {
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
        let no_memory = trouble.class() == "OOM";
        self.shared.hold_back(self.number, no_memory.then(|| "redis is out of memory".into()));
        if matches!(trouble, Trouble::Away { .. }) {
            add(&self.shared.counters.unknown_outcome, doubt);
        }
        self.down_since.get_or_insert_with(Instant::now);
        self.shared.note_health(self.number, |health| {
            health.connected = false;
            health.last_error = trouble.to_string();
            health.last_error_time = crate::unix_seconds();
        });
        match trouble.disposition() {
            Disposition::RetryLater => {
                let text = format!("redis at {} takes nothing, records wait in the spool: {trouble}", self.endpoint);
                self.say(trouble.class(), log::Level::Warn, &text);
            }
            Disposition::Poison => {
                let fate =
                    if self.settings.park_refused() { "they become dead letters" } else { "they wait in the spool" };
                let text = format!("redis takes no records into {:?}, {fate}: {trouble}", self.names.list);
                self.say(trouble.class(), log::Level::Error, &text);
                if self.settings.park_refused() {
                    let records = self.settings.file.batch.records_max;
                    self.park = Some(Park { records, at: None, why: trouble.to_string() });
                    return;
                }
            }
            Disposition::StopLane => {
                return self.stand_still(&format!("{trouble}: nothing is pushed until SIGHUP or a restart"));
            }
        }
        let demoted = trouble.is_demotion() && self.backoff.failures() == 0;
        let pause = self.backoff.failed(fastrand::f64());
        // Sentinel knows the new master already, and tells it at the next connect.
        self.pause(if demoted { Duration::ZERO } else { pause });
    }

    /// One of the `records` records that begin at `at` is larger than Redis takes. Alone, it is found; then it is parked, or waits.
    fn too_large(&mut self, at: Position, records: usize) {
        add(&self.shared.counters.retries, 1);
        if records > 1 {
            return self.batcher.send_alone(records);
        }
        let trouble = push::too_large();
        let parks = self.settings.park_refused();
        let fate = if parks { "it becomes a dead letter" } else { "all that is behind it waits in the spool" };
        let text = format!("redis refuses a record at {at}, {fate}: {trouble}");
        if !parks {
            self.say("too-large", log::Level::Error, &text);
        } else if self.large_said.is_none_or(|said| said.elapsed() >= SAY_LARGE) {
            self.large_said = Some(Instant::now());
            log::error!("{text}");
        }
        self.shared.note_health(self.number, |health| {
            health.connected &= parks;
            health.last_error = text;
            health.last_error_time = crate::unix_seconds();
        });
        if parks {
            self.park = Some(Park { records: 1, at: Some(at), why: trouble.to_string() });
            return;
        }
        let pause = self.backoff.failed(fastrand::f64());
        self.pause(pause);
    }

    /// A person is needed. Records go on into the spool meanwhile.
    fn stand_still(&mut self, why: &str) {
        self.say("stopped", log::Level::Error, why);
        self.shared.note_health(self.number, |health| {
            health.connected = false;
            health.stopped = true;
            why.clone_into(&mut health.last_error);
            health.last_error_time = crate::unix_seconds();
        });
        while !self.shared.stopping() && !self.shared.reloaded_since(self.generation) {
            self.pause(IDLE);
        }
    }

    pub(super) fn pause(&mut self, pause: Duration) {
        self.shared.note_health(self.number, |health| health.connected = false);
        let until = Instant::now() + pause;
        loop {
            self.shared.pusher_beat(self.number);
            self.gauges(Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shared.stopping() || self.shared.reloaded_since(self.generation) {
                return;
            }
            self.shared.stop_wait(left.min(SLICE));
        }
    }

    /// One line per change of the situation.
    pub(super) fn say(&mut self, class: &str, level: log::Level, text: &str) {
        if self.said.as_deref() != Some(class) {
            log::log!(level, "{text}");
            self.said = Some(class.to_owned());
        }
    }

    /// A batch could be packed: whatever kept the spool or the dead letters from being used is over.
    pub(super) fn released(&mut self) {
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

    pub(super) fn recovered(&mut self) {
        let failures = self.backoff.succeeded();
        if !self.gate.is_closed() {
            self.shared.hold_back(self.number, None);
        }
        self.shared.note_health(self.number, |health| {
            health.connected = true;
            health.stopped = false;
        });
        // A reload in between makes the trouble be told anew, if it stays.
        if self.said.take().is_some() || self.down_since.is_some() {
            let away = self.down_since.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
            log::info!("redis at {} is back after {away:.1} s and {failures} attempts", self.endpoint);
        } else if self.connections == 1 {
            let word = self.settings.mode.word();
            log::info!("connected to redis at {}, {word} {:?}", self.endpoint, self.names.list);
        }
        self.down_since = None;
    }
}
