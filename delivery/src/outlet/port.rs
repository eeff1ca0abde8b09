//! A connection that is made when it is needed, and not too often.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::Core;
use super::push::is_poison;
use crate::counters::add;
use crate::error::Trouble;
use crate::link::{Link, may_drop_cursor};
use crate::push::{self, Mode, Names, Reply, rehearsal, rehearsed};
use crate::retry::Backoff;
use crate::wire::Patience;

/// Why there is no connection.
pub(super) enum Closed {
    /// The next attempt is not due.
    NotYet,
    /// The attempt failed.
    Failed(Trouble),
    /// There is one, but it may not touch the keys that were named. Whether it may take back a push is not known.
    Forbidden(Trouble),
}

/// A connection and the pace of attempts.
#[derive(Default)]
pub(super) struct Port {
    link: Option<Link>,
    generation: u64,
    /// When the next attempt is due, if the last one failed.
    due: Option<Instant>,
    backoff: Backoff,
    connected_before: bool,
    /// The connection was found to have what a push needs.
    rehearsed: bool,
    out: Vec<u8>,
    /// Nobody waits for its answers.
    in_background: bool,
}

impl Port {
    pub fn in_background() -> Self {
        Self { in_background: true, ..Self::default() }
    }

    /// The connection, made anew if it has to be and is due. It is rehearsed with `names`.
    pub fn open(&mut self, core: &Core, names: &Names, patience: Patience<'_>) -> Result<&mut Link, Closed> {
        let generation = core.generation.load(Relaxed);
        if self.generation != generation {
            self.generation = generation;
            self.link = None;
            self.due = None;
        }
        if self.link.is_none() {
            // Whoever must not wait need not begin.
            if !self.is_due(Instant::now()) || (patience.interrupted)() {
                return Err(Closed::NotYet);
            }
            match self.connect(core, names, patience) {
                Ok(link) => self.link = Some(link),
                Err(trouble) => {
                    self.failed();
                    return Err(Closed::Failed(trouble));
                }
            }
            self.rehearsed = false;
        }
        if !self.rehearsed {
            match self.rehearse(names, &core.config.mode, patience).and_then(|replies| rehearsed(&replies)) {
                Ok(()) => self.rehearsed = true,
                // One list must not keep the others from their connection.
                Err(trouble) if is_poison(&trouble) => return Err(Closed::Forbidden(trouble)),
                Err(trouble) => {
                    self.link = None;
                    self.failed();
                    return Err(Closed::Failed(trouble));
                }
            }
        }
        Ok(self.link.as_mut().expect("it was just made"))
    }

    /// The same for what moves no records: the keys may be forbidden.
    pub fn open_for(&mut self, core: &Core, names: &Names, patience: Patience<'_>) -> Result<&mut Link, Closed> {
        match self.open(core, names, patience) {
            Ok(_) | Err(Closed::Forbidden(_)) => Ok(self.link.as_mut().expect("it was just made")),
            Err(closed) => Err(closed),
        }
    }

    /// The connection, if there is one.
    pub fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// True if there is a connection.
    pub fn is_open(&self) -> bool {
        self.link.is_some()
    }

    /// True if a push may be sent at once.
    pub fn is_ready(&self, core: &Core) -> bool {
        self.link.is_some() && self.rehearsed && self.generation == core.generation.load(Relaxed)
    }

    /// True if nothing forbids an attempt.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// How long to wait for the next attempt.
    pub fn wait(&self) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Somebody else found out that Redis is well: the next attempt need not wait.
    pub fn hurry(&mut self) {
        self.due = None;
    }

    /// The connection is of no more use. It may be made anew at once.
    pub fn close(&mut self) {
        self.link = None;
    }

    /// An attempt, to connect or to push, failed: the next one has to wait.
    pub fn failed(&mut self) {
        self.due = Some(Instant::now() + self.backoff.failed(fastrand::f64()));
    }

    /// A push was taken.
    pub fn succeeded(&mut self) {
        if self.backoff.failures() > 0 {
            self.backoff.succeeded();
            self.due = None;
        }
    }

    fn connect(&mut self, core: &Core, names: &Names, patience: Patience<'_>) -> Result<Link, Trouble> {
        let mut endpoint = (core.login)().map_err(|text| Trouble::Away { text })?.for_list(&names.list);
        let left = patience.deadline.saturating_duration_since(Instant::now());
        endpoint.connect_timeout = endpoint.connect_timeout.min(left);
        endpoint.timeout = endpoint.timeout.min(left).max(Duration::from_millis(1));
        let mut link = Link::connect_unless(&endpoint, patience.interrupted)?;
        if self.connected_before {
            add(&core.counters.reconnects, 1);
        }
        self.connected_before = true;
        self.out.clear();
        push::command(&mut self.out, &["CONFIG", "GET", "maxmemory-policy"]);
        link.send_within(&self.out, patience)?;
        if let Reply::Many(pair) = link.receive_within(patience)?
            && let Some(Reply::Bytes(policy)) = pair.get(1)
        {
            let policy = String::from_utf8_lossy(policy);
            if may_drop_cursor(&policy) {
                core.say_policy(&policy);
            }
        }
        if core.config.look_for_answers && !self.in_background {
            link.look_for_answers();
        }
        Ok(link)
    }

    /// What a push needs, on the connection that there is. [`rehearsed`] tells what the replies mean.
    pub fn rehearse(&mut self, names: &Names, mode: &Mode, patience: Patience<'_>) -> Result<Vec<Reply>, Trouble> {
        let link = self.link.as_mut().ok_or_else(|| Trouble::Away { text: "the connection was closed".into() })?;
        self.out.clear();
        rehearsal(&mut self.out, names, mode);
        link.send_within(&self.out, patience)?;
        (0..push::rehearsal_replies(mode)).map(|_| link.receive_within(patience)).collect()
    }
}
