//! Lists that take nothing while the others go on: what the drainer needs to pass them by. A plain value.
//!
//! # How a list waits
//!
//! A list may be longer than it is allowed to be, or Redis refuses a record for good (`on_refused = "hold"`). Then the record and whatever
//! of its lane comes behind it stay in the journal: nothing of them is released, nothing of them is pushed. Of each such lane only the first
//! record is kept in memory, the *head*; it is tried when there is reason to. The drainer goes on behind it with the other lanes.
//!
//! Once a head is taken, its lane is *behind*: the drainer goes back to the head's frame and brings what this lane lacks, window by window, in
//! turn with what is new for the others, until the lane has caught up or takes nothing again. Frames are read again from there only, so what
//! it costs to let a list go does not grow with what waits.
//!
//! # What tells the others apart
//!
//! In this life nothing has to: of a frame that is read again only those lanes are taken that are behind, each from where it stands. In a later
//! life the cursors do: a lane's records are pushed in the order of the journal, held or not, so a cursor still says that everything of
//! its lane before it is in Redis.
//!
//! # Bounds
//!
//! All of it is bounded. Beyond the bounds the drainer takes in nothing new: every list waits then until the held ones are taken.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::journal::Lsn;
use crate::position::Position;
use crate::retry::Backoff;

/// So many lanes are held or behind at a time.
const LISTS_MAX: usize = 1024;
/// Bytes of the heads.
const BYTES_MAX: usize = 16 << 20;
/// Frames behind the first one that is held.
const FRAMES_MAX: usize = 1 << 19;

/// Why a lane waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Redis will not take its next record: tried again now and then.
    Refused,
    /// Its list is too long: who looks at the lengths of lists says when to try.
    Long,
}

/// The first record of a lane that Redis does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The frame that it is in, or one before it.
    pub frame: Lsn,
    /// Where it stands.
    pub at: Position,
    /// The record.
    pub record: Vec<u8>,
    pub why: Why,
}

/// A lane whose head was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Behind {
    /// Nothing before this frame lacks.
    frame: Lsn,
    /// It has everything before.
    at: Position,
}

/// Held lanes, by the key that the drainer knows them by.
#[derive(Debug, Default)]
pub(super) struct Held {
    heads: HashMap<Box<str>, Head>,
    bytes: usize,
    behind: HashMap<Box<str>, Behind>,
    /// When those that were refused are tried again.
    due: Option<Instant>,
    backoff: Backoff,
}

impl Held {
    /// True if nothing is held, and nothing behind.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.behind.is_empty()
    }

    /// True if what is new of `key` waits.
    pub fn holds(&self, key: &str) -> bool {
        self.heads.contains_key(key) || self.behind.contains_key(key)
    }

    /// The head of `key`.
    pub fn head(&self, key: &str) -> Option<&Head> {
        self.heads.get(key)
    }

    /// The lanes whose heads are to be tried now. `is_due` tells it of a list that is too long.
    pub fn due(&self, now: Instant, is_due: impl Fn(&str) -> bool) -> Vec<Box<str>> {
        let refused = self.due.is_none_or(|due| now >= due);
        let due = |key: &str, why| match why {
            Why::Refused => refused,
            Why::Long => is_due(list_of(key)),
        };
        self.heads.iter().filter(|(key, head)| due(key, head.why)).map(|(key, _)| key.clone()).collect()
    }

    /// How long it is until one of them is; `wait` tells it of a list that is too long.
    pub fn wait(&self, now: Instant, wait: impl Fn(&str) -> Duration) -> Duration {
        let refused = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let waits = self.heads.iter().map(|(key, head)| match head.why {
            Why::Refused => refused,
            Why::Long => wait(list_of(key)),
        });
        waits.min().unwrap_or(Duration::MAX)
    }

    /// Lanes begin to wait; false, and nothing is noted, if that would be too many.
    pub fn hold(&mut self, heads: Vec<(Box<str>, Head)>, now: Instant, chance: f64) -> bool {
        let bytes = heads.iter().map(|(_, head)| head.record.len()).sum::<usize>();
        let more = heads.iter().filter(|(key, _)| !self.behind.contains_key(key)).count();
        if self.heads.len() + self.behind.len() + more > LISTS_MAX || self.bytes + bytes > BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        let refused = heads.iter().any(|(_, head)| head.why == Why::Refused);
        for (key, head) in heads {
            self.behind.remove(&key);
            self.heads.insert(key, head);
        }
        if refused && self.due.is_none() {
            self.put_off(now, chance);
        }
        true
    }

    /// The head of `key` was taken: the lane has everything before `end`, and is behind. Returns why it had waited.
    pub fn taken(&mut self, key: &str, end: Position) -> Option<Why> {
        let (key, head) = self.heads.remove_entry(key)?;
        self.bytes -= head.record.len();
        self.behind.insert(key, Behind { frame: head.frame, at: end });
        if !self.heads.values().any(|head| head.why == Why::Refused) {
            self.due = None;
            self.backoff.succeeded();
        }
        Some(head.why)
    }

    /// The head of `key` was tried and Redis will not take it.
    pub fn refused(&mut self, key: &str) {
        if let Some(head) = self.heads.get_mut(key) {
            head.why = Why::Refused;
        }
    }

    /// Heads were refused, or could not be tried.
    pub fn put_off(&mut self, now: Instant, chance: f64) {
        self.due = Some(now + self.backoff.failed(chance));
    }

    /// The frame from which on lanes that are behind lack something.
    pub fn lacks_from(&self) -> Option<Lsn> {
        self.behind.values().map(|lane| lane.frame).min()
    }

    /// How many records of a part that begins at `start` the lane `key` has, if it is behind.
    pub fn had(&self, key: &str, start: Position) -> Option<u64> {
        let at = self.behind.get(key)?.at;
        if at.epoch.family() != start.epoch.family() {
            // Of another store: the cursor tells.
            return Some(0);
        }
        Some(match at.epoch.cmp(&start.epoch) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => at.offset.saturating_sub(start.offset),
            // A later life's records come behind those of this one.
            std::cmp::Ordering::Greater => u64::MAX,
        })
    }

    /// The lane `key`, if it is behind, has everything before `end`.
    pub fn note(&mut self, key: &str, end: Position) {
        if let Some(lane) = self.behind.get_mut(key) {
            lane.at = end;
        }
    }

    /// Of the frames up to `last` no lane that is behind lacks anything. `front` is the last frame that the others were given of.
    pub fn caught_up(&mut self, last: Lsn, front: Lsn) {
        for lane in self.behind.values_mut().filter(|lane| lane.frame <= last) {
            lane.frame = Lsn(last.0 + 1);
        }
        self.behind.retain(|_, lane| lane.frame <= front);
    }

    /// The frames up to `last` were looked at: up to which one they may be released.
    pub fn release(&self, last: Lsn) -> Lsn {
        let first = self.heads.values().map(|head| head.frame).chain(self.lacks_from()).min();
        first.map_or(last, |first| last.min(Lsn(first.0.saturating_sub(1))))
    }

    /// True if no frame more may be taken in; `frames` were, and are not released.
    pub fn is_full(&self, frames: usize) -> bool {
        !self.is_empty() && frames >= FRAMES_MAX
    }
}

/// The list and the producer of the lane with this key: what [`key_of`] made it of.
pub(super) fn lane_of(key: &str) -> (&str, String) {
    let mut words = key.splitn(3, '\0');
    let mut word = || words.next().unwrap_or_default();
    let (producer, slot) = (word(), word());
    (word(), format!("{producer}:{slot}"))
}

/// The list of the lane with this key.
pub(super) fn list_of(key: &str) -> &str {
    key.splitn(3, '\0').nth(2).unwrap_or_default()
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

    fn head(key: &str, frame: u64, bytes: usize, why: Why) -> (Box<str>, Head) {
        (key.into(), Head { frame: Lsn(frame), at: at(0, 10), record: vec![0; bytes], why })
    }

    fn hold(held: &mut Held, key: &str, frame: u64, why: Why) -> bool {
        held.hold(vec![head(key, frame, 1, why)], Instant::now(), 0.5)
    }

    #[test]
    fn nothing_is_released_from_the_first_held_frame_on() {
        let mut held = Held::default();
        assert_eq!(held.release(Lsn(5)), Lsn(5));
        assert!(hold(&mut held, "b", 9, Why::Refused) && hold(&mut held, "a", 7, Why::Long));
        assert_eq!([6, 7, 20].map(|last| held.release(Lsn(last))), [Lsn(6), Lsn(6), Lsn(6)]);
        assert!(held.holds("a") && !held.holds("c"));
        // Taken is not caught up.
        held.taken("a", at(0, 11));
        assert_eq!((held.release(Lsn(20)), held.holds("a")), (Lsn(6), true));
        held.caught_up(Lsn(15), Lsn(20));
        assert_eq!((held.release(Lsn(20)), held.lacks_from()), (Lsn(8), Some(Lsn(16))));
        held.caught_up(Lsn(20), Lsn(20));
        assert_eq!((held.release(Lsn(20)), held.lacks_from(), held.holds("a")), (Lsn(8), None, false));
        held.taken("b", at(0, 11));
        held.caught_up(Lsn(20), Lsn(20));
        assert_eq!((held.is_empty(), held.release(Lsn(20))), (true, Lsn(20)));
    }

    #[test]
    fn each_lane_that_is_behind_goes_on_where_it_stands() {
        let mut held = Held::default();
        assert!(hold(&mut held, "far", 3, Why::Long) && hold(&mut held, "near", 50, Why::Long));
        assert_eq!(held.had("far", at(0, 0)), None, "it is held");
        held.taken("near", at(1, 15));
        assert_eq!(held.lacks_from(), Some(Lsn(50)));
        let had = [at(1, 10), at(1, 20), at(0, 99), at(2, 10)].map(|start| held.had("near", start));
        assert_eq!(had, [Some(5), Some(0), Some(u64::MAX), Some(0)]);
        // The other one begins further back: what is read there does not count for this one.
        held.taken("far", at(0, 11));
        assert_eq!(held.lacks_from(), Some(Lsn(3)));
        held.caught_up(Lsn(9), Lsn(90));
        held.note("far", at(0, 40));
        assert_eq!((held.lacks_from(), held.had("far", at(0, 30))), (Some(Lsn(10)), Some(10)));
        // It takes nothing again.
        assert!(hold(&mut held, "far", 10, Why::Long));
        assert_eq!((held.lacks_from(), held.release(Lsn(90))), (Some(Lsn(50)), Lsn(9)));
    }

    #[test]
    fn a_key_names_its_lane() {
        let mut key = "what was there".to_owned();
        key_of(&mut key, "host:out", 3, "{a}:list");
        assert_eq!(lane_of(&key), ("{a}:list", "host:out:3".into()));
        assert_eq!(list_of(&key), "{a}:list");
    }

    #[test]
    fn it_is_bounded() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert!(!held.is_full(FRAMES_MAX), "nothing is held");
        assert!(!held.hold(vec![head("a", 1, BYTES_MAX + 1, Why::Refused)], now, 0.5) && held.is_empty());
        for list in 0..LISTS_MAX {
            assert!(hold(&mut held, &list.to_string(), 1, Why::Refused));
        }
        held.taken("7", at(0, 11));
        assert!(!hold(&mut held, "one more", 1, Why::Refused));
        assert!(hold(&mut held, "7", 1, Why::Refused), "it was one of them");
        assert!(!held.is_full(FRAMES_MAX - 1) && held.is_full(FRAMES_MAX));
    }

    #[test]
    fn heads_are_tried_less_and_less_often_and_those_of_long_lists_when_it_is_said() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert!(held.due(now, |_| true).is_empty());
        let key = |list: &str| format!("p\x000\x00{list}");
        let due = |held: &Held, now, is_due: fn(&str) -> bool| {
            held.due(now, is_due).into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert!(held.hold(vec![head(&key("a"), 1, 1, Why::Refused)], now, 0.5));
        assert!(held.due(now, |_| true).is_empty());
        let wait = held.wait(now, |_| Duration::ZERO);
        assert_eq!(due(&held, now + wait, |_| false), [key("a")]);
        for _ in 0..20 {
            held.put_off(now, 1.0);
        }
        assert_eq!(held.wait(now, |_| Duration::ZERO), crate::retry::LONGEST);
        assert!(held.hold(vec![head(&key("b"), 1, 1, Why::Long)], now, 0.5));
        assert_eq!(due(&held, now, |list| list == "b"), [key("b")]);
        assert_eq!(held.wait(now, |_| Duration::from_millis(7)), Duration::from_millis(7));
        // A long list may be of another type by now.
        held.refused(&key("b"));
        assert!(held.due(now, |_| true).is_empty());
    }
}
