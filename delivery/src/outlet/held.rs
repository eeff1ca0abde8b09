//! Lists that take nothing while the others go on (`on_refused = "hold"`): what the drainer needs to pass them by. A plain value.
//!
//! # How a list waits
//!
//! When Redis refuses a record for good, the record and whatever of its lane comes behind it stay in the journal: nothing of them is
//! released, nothing of them is pushed. Of each such lane only the first record is kept in memory, the *head*; it is tried now and
//! then. The drainer goes on behind it with the other lanes. Once a head is taken, the drainer goes back to the first frame that is not
//! released and reads on from there, as after a restart: what the other lanes had is passed over, what was held comes in its order.
//!
//! # What tells the others apart
//!
//! In this life a note of how far each lane has got (`done`): exact, so nothing is asked and nothing is counted twice. In a later life the
//! cursors: a lane's records are pushed in the order of the journal, held or not, so a cursor still says that everything of its lane
//! before it is in Redis.
//!
//! # Bounds
//!
//! All of it is bounded. Beyond the bounds the drainer takes in nothing new: every list waits then until the held ones are taken.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::plan::{Plan, State};
use super::slot::Lanes;
use crate::journal::Lsn;
use crate::position::Position;
use crate::retry::Backoff;

/// So many lists are held at a time.
const LISTS_MAX: usize = 1024;
/// Bytes of their heads.
const BYTES_MAX: usize = 16 << 20;
/// Lanes of which is known how far they have got.
const LANES_MAX: usize = 65_536;
/// Frames behind the first one that is held.
const FRAMES_MAX: usize = 1 << 19;

/// The first record of a lane that Redis does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The frame that it is in, or one before it.
    pub frame: Lsn,
    /// Where it stands.
    pub at: Position,
    /// The record.
    pub record: Vec<u8>,
}

/// Held lanes, by the key that the drainer knows them by.
#[derive(Debug, Default)]
pub(super) struct Held {
    heads: HashMap<Box<str>, Head>,
    bytes: usize,
    /// Where each lane stands that was pushed to since the first one was held.
    done: HashMap<Box<str>, Position>,
    /// The last frame that was looked at before the drainer went back.
    seen: Lsn,
    due: Option<Instant>,
    backoff: Backoff,
}

impl Held {
    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// True if `key` waits.
    pub fn holds(&self, key: &str) -> bool {
        self.heads.contains_key(key)
    }

    /// What is to be tried again: key and head.
    pub fn heads(&self) -> impl Iterator<Item = (&str, &Head)> {
        self.heads.iter().map(|(key, head)| (&**key, head))
    }

    /// True if the heads are to be tried again.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_empty() && self.due.is_none_or(|due| now >= due)
    }

    /// How long that is still.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// The heads were refused once more, or could not be tried.
    pub fn put_off(&mut self, now: Instant, chance: f64) {
        self.due = Some(now + self.backoff.failed(chance));
    }

    /// Lanes begin to wait; false, and nothing is noted, if that would be too many.
    pub fn hold(&mut self, heads: Vec<(Box<str>, Head)>, now: Instant) -> bool {
        let bytes = heads.iter().map(|(_, head)| head.record.len()).sum::<usize>();
        if self.heads.len() + heads.len() > LISTS_MAX || self.bytes + bytes > BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        self.heads.extend(heads);
        if self.due.is_none() {
            self.put_off(now, 0.5);
        }
        true
    }

    /// The lane `key` has everything up to `end`. Worth a note only while something is held, or was gone back for.
    pub fn note(&mut self, key: &str, end: Position) {
        if self.is_empty() && self.done.is_empty() {
            return;
        }
        match self.done.get_mut(key) {
            Some(done) if done.epoch.family() == end.epoch.family() => *done = end.max(*done),
            Some(done) => *done = end,
            None => drop(self.done.insert(key.into(), end)),
        }
    }

    /// What of the plan is settled is never pushed again in this life.
    pub fn note_settled(&mut self, lanes: &Lanes, plan: &Plan) {
        for chunk in plan.chunks.iter().filter(|chunk| chunk.state == State::Settled) {
            self.note(lanes[chunk.lane].key(), chunk.end());
        }
    }

    /// How much of a part that begins at `start` the lane `key` has already.
    pub fn had(&self, key: &str, start: Position) -> u64 {
        let Some(done) = self.done.get(key).filter(|done| done.epoch.family() == start.epoch.family()) else {
            return 0;
        };
        match done.epoch.cmp(&start.epoch) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => done.offset.saturating_sub(start.offset),
            // A later life's records come behind those of this one.
            std::cmp::Ordering::Greater => u64::MAX,
        }
    }

    /// The frames up to `last` were looked at: up to which one they may be released.
    pub fn release(&mut self, last: Lsn) -> Lsn {
        if self.is_empty() && last >= self.seen {
            self.done.clear();
            self.backoff.succeeded();
        }
        let first = self.heads.values().map(|head| head.frame).min();
        first.map_or(last, |first| last.min(Lsn(first.0.saturating_sub(1))))
    }

    /// True if no frame more may be taken in; `frames` were, and are not released.
    pub fn is_full(&self, frames: usize) -> bool {
        !self.is_empty() && (frames >= FRAMES_MAX || self.done.len() >= LANES_MAX)
    }

    /// A head was taken: the drainer goes back, `seen` was the last frame that it had looked at.
    pub fn go_back(&mut self, seen: Lsn) {
        self.heads.clear();
        self.bytes = 0;
        self.due = None;
        self.seen = self.seen.max(seen);
    }
}

/// The list and the producer of the lane with this key: what [`key_of`] made it of.
pub(super) fn lane_of(key: &str) -> (&str, String) {
    let mut words = key.splitn(3, '\0');
    let mut word = || words.next().unwrap_or_default();
    let (producer, slot) = (word(), word());
    (word(), format!("{producer}:{slot}"))
}

/// The key that the drainer knows a lane by. No producer's name holds a NUL.
pub(super) fn key_of(key: &mut String, producer: &str, slot: u16, list: &str) {
    key.clear();
    let _ = write!(key, "{producer}\0{slot}\0{list}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    /// Lives of one store, and one of another.
    const E: [Epoch; 3] = [Epoch(5 << 32 | 7), Epoch(6 << 32 | 7), Epoch(9 << 32 | 8)];

    fn at(epoch: usize, offset: u64) -> Position {
        Position { epoch: E[epoch], offset }
    }

    fn head(key: &str, frame: u64, bytes: usize) -> (Box<str>, Head) {
        (key.into(), Head { frame: Lsn(frame), at: at(0, 10), record: vec![0; bytes] })
    }

    #[test]
    fn nothing_is_released_from_the_first_held_frame_on() {
        let mut held = Held::default();
        assert_eq!(held.release(Lsn(5)), Lsn(5));
        assert!(held.hold(vec![head("b", 9, 1)], Instant::now()) && held.hold(vec![head("a", 7, 1)], Instant::now()));
        assert_eq!([6, 7, 20].map(|last| held.release(Lsn(last))), [Lsn(6), Lsn(6), Lsn(6)]);
        assert!(held.holds("a") && !held.holds("c"));
        held.go_back(Lsn(20));
        assert_eq!((held.is_empty(), held.release(Lsn(8))), (true, Lsn(8)));
    }

    #[test]
    fn what_a_lane_had_is_known_until_all_of_it_was_passed_again() {
        let mut held = Held::default();
        held.note("a", at(0, 5));
        assert_eq!(held.had("a", at(0, 0)), 0, "nothing is held: nothing is noted");
        assert!(held.hold(vec![head("b", 3, 1)], Instant::now()));
        held.note("a", at(1, 15));
        let had = [at(1, 10), at(1, 20), at(0, 99), at(2, 10)].map(|start| held.had("a", start));
        assert_eq!(had, [5, 0, u64::MAX, 0]);
        held.go_back(Lsn(30));
        held.release(Lsn(29));
        assert_eq!(held.had("a", at(1, 10)), 5);
        held.release(Lsn(30));
        assert_eq!(held.had("a", at(1, 10)), 0);
    }

    #[test]
    fn a_key_names_its_lane() {
        let mut key = "what was there".to_owned();
        key_of(&mut key, "host:out", 3, "{a}:list");
        assert_eq!(lane_of(&key), ("{a}:list", "host:out:3".into()));
    }

    #[test]
    fn it_is_bounded() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert!(!held.is_full(FRAMES_MAX), "nothing is held");
        assert!(!held.hold(vec![head("a", 1, BYTES_MAX + 1)], now) && held.is_empty());
        for list in 0..LISTS_MAX {
            assert!(held.hold(vec![head(&list.to_string(), 1, 100)], now));
        }
        assert!(!held.hold(vec![head("one more", 1, 1)], now));
        assert!(!held.is_full(FRAMES_MAX - 1) && held.is_full(FRAMES_MAX));
    }

    #[test]
    fn heads_are_tried_less_and_less_often() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert!(!held.is_due(now));
        assert!(held.hold(vec![head("a", 1, 1)], now));
        assert!(!held.is_due(now) && held.is_due(now + held.wait(now)));
        for _ in 0..20 {
            held.put_off(now, 1.0);
        }
        assert_eq!(held.wait(now), crate::retry::LONGEST);
    }
}
