//! One ordered way into one Redis list: what is under way, what is confirmed, what is in doubt.
//!
//! A plain value: it reads no clock, no file and no socket. It counts each record once, however often it has to be sent.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::position::Position;

/// A batch that was sent and not yet answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flight {
    from: Position,
    to: Position,
    /// Records that were never confirmed before.
    fresh: u64,
    /// Records that Redis had confirmed once and went back on.
    repeats: u64,
    sent: Instant,
}

/// A batch that Redis has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Records confirmed for the first time.
    pub fresh: u64,
    /// Records confirmed again after Redis had gone back.
    pub repeats: u64,
    /// Time from sending to the answer.
    pub took: Duration,
}

/// What Redis turned out to have of the batches in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Records of whole batches.
    pub records: u64,
    /// There were batches in doubt, and Redis has all of them: it takes pushes.
    pub all: bool,
    /// A stretch of another batch: a late write of an earlier connection, which ended elsewhere, brought it. Its records were
    /// never confirmed before; whoever has the bytes has to count them.
    pub part: Option<Range<Position>>,
}

/// The state of one lane.
#[derive(Debug)]
pub struct Lane {
    depth: usize,
    /// What the cursor in Redis is once everything under way has been taken. The `from` of the next batch.
    tip: Vec<u8>,
    sent: Position,
    acked: Position,
    /// The furthest position that was ever confirmed: behind it, a record is a repeat.
    confirmed: Position,
    flights: VecDeque<Flight>,
    /// Batches whose answers never came, until the cursor tells their fate.
    doubts: Vec<Flight>,
}

impl Lane {
    /// A lane at `at`, with at most `depth` batches under way.
    pub fn new(at: Position, depth: usize) -> Self {
        Self {
            depth: depth.max(1),
            tip: Vec::new(),
            sent: at,
            acked: at,
            confirmed: at,
            flights: VecDeque::new(),
            doubts: Vec::new(),
        }
    }

    /// The cursor was read as `cursor`, and the stream goes on at `at`. Returns what Redis turned out to have of the records in doubt.
    ///
    /// `cursor` and `at` differ when a cursor of an earlier life of the stream, or somebody else's, is carried on.
    pub fn resume(&mut self, cursor: impl AsRef<[u8]>, at: Position) -> Found {
        debug_assert!(self.flights.is_empty(), "resume with batches under way");
        let all = self.doubts.last().is_some_and(|last| last.to <= at);
        let mut found = Found { records: 0, all, part: None };
        for doubt in self.doubts.drain(..) {
            let begin = doubt.from.max(self.confirmed);
            if doubt.to <= at {
                found.records += doubt.fresh;
            } else if begin < at {
                found.part = Some(begin..at);
            }
        }
        self.tip = cursor.as_ref().to_vec();
        self.sent = at;
        self.acked = at;
        self.confirmed = self.confirmed.max(at);
        found
    }

    /// True while another batch may be sent.
    pub fn has_room(&self) -> bool {
        self.flights.len() < self.depth
    }

    /// Batches under way.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// The `from` of the next batch.
    pub fn tip(&self) -> &[u8] {
        &self.tip
    }

    /// Where the next batch begins in the stream.
    pub fn sent_to(&self) -> Position {
        self.sent
    }

    /// Up to here Redis has everything.
    pub fn acked(&self) -> Position {
        self.acked
    }

    /// Where the batch begins that is under way behind `before` others.
    pub fn begin_behind(&self, before: usize) -> Position {
        self.flights.get(before).map_or(self.sent, |flight| flight.from)
    }

    /// True if a record that ends at `end` was confirmed before.
    pub fn is_repeat(&self, end: Position) -> bool {
        end <= self.confirmed
    }

    /// A batch up to `to` was handed to the connection.
    pub fn sent(&mut self, to: Position, fresh: u64, repeats: u64, now: Instant) {
        debug_assert!(to > self.sent && self.has_room());
        let from = std::mem::replace(&mut self.sent, to);
        self.tip = to.to_string().into_bytes();
        self.flights.push_back(Flight { from, to, fresh, repeats, sent: now });
    }

    /// The oldest batch was taken.
    pub fn taken(&mut self, now: Instant) -> Option<Settled> {
        let flight = self.flights.pop_front()?;
        self.acked = flight.to;
        self.confirmed = self.confirmed.max(flight.to);
        Some(Settled { fresh: flight.fresh, repeats: flight.repeats, took: now.saturating_duration_since(flight.sent) })
    }

    /// The connection is gone: everything under way is in doubt. Returns how many records that are.
    pub fn lost(&mut self) -> u64 {
        let records = self.flights.iter().map(|flight| flight.fresh).sum();
        self.doubts.extend(self.flights.drain(..));
        self.sent = self.acked;
        records
    }

    /// Another depth from now on.
    pub fn set_depth(&mut self, depth: usize) {
        self.depth = depth.max(1);
    }

    /// When the oldest batch under way was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        self.flights.front().map(|flight| flight.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    fn whole(records: u64) -> Found {
        Found { records, all: false, part: None }
    }

    #[test]
    fn a_lost_answer_is_told_apart_by_the_cursor() {
        let now = Instant::now();
        let mut lane = Lane::new(at(0), 4);
        assert_eq!(lane.resume("", at(0)), whole(0));
        lane.sent(at(10), 1, 0, now);
        lane.sent(at(30), 2, 0, now);
        lane.sent(at(60), 3, 0, now);
        assert_eq!([0, 1, 2, 3].map(|before| lane.begin_behind(before)), [at(0), at(10), at(30), at(60)]);
        assert_eq!(lane.taken(now).map(|s| s.fresh), Some(1));
        assert_eq!(lane.begin_behind(0), lane.acked());
        assert_eq!(lane.lost(), 5);
        assert_eq!(lane.sent_to(), at(10));
        // Redis had taken the second batch and not the third.
        assert_eq!(lane.resume(at(30).to_string(), at(30)), whole(2));
        assert_eq!((lane.tip(), lane.acked()), (at(30).to_string().as_bytes(), at(30)));
        assert!(lane.is_repeat(at(30)));
        assert!(!lane.is_repeat(at(60)));
    }

    #[test]
    fn what_redis_went_back_on_is_a_repeat() {
        let now = Instant::now();
        let mut lane = Lane::new(at(0), 1);
        lane.resume("", at(0));
        lane.sent(at(50), 5, 0, now);
        assert!(!lane.has_room());
        lane.taken(now);
        lane.lost();
        lane.resume(at(20).to_string(), at(20));
        assert!(lane.is_repeat(at(50)));
        assert!(!lane.is_repeat(at(51)));
        lane.sent(at(60), 1, 3, now);
        assert_eq!(lane.taken(now), Some(Settled { fresh: 1, repeats: 3, took: Duration::ZERO }));
    }

    #[test]
    fn a_late_write_that_ends_within_a_batch_is_told() {
        let now = Instant::now();
        let mut lane = Lane::new(at(0), 4);
        lane.resume("", at(0));
        lane.sent(at(30), 3, 0, now);
        lane.sent(at(60), 3, 0, now);
        lane.lost();
        assert_eq!(
            lane.resume(at(40).to_string(), at(40)),
            Found { records: 3, all: false, part: Some(at(30)..at(40)) }
        );
        // Of a batch with repeats only what lies behind them is news.
        lane.sent(at(70), 3, 0, now);
        lane.taken(now);
        lane.lost();
        lane.resume(at(50).to_string(), at(50));
        lane.sent(at(90), 2, 2, now);
        lane.lost();
        assert_eq!(
            lane.resume(at(80).to_string(), at(80)),
            Found { records: 0, all: false, part: Some(at(70)..at(80)) }
        );
    }

    #[test]
    fn doubts_that_redis_never_saw_are_not_counted() {
        let now = Instant::now();
        let mut lane = Lane::new(at(0), 2);
        lane.resume("", at(0));
        lane.sent(at(10), 4, 0, now);
        lane.lost();
        assert_eq!(lane.resume("", at(0)), whole(0));
        lane.sent(at(10), 4, 0, now);
        assert_eq!(lane.taken(now).map(|s| s.fresh), Some(4));
        assert_eq!(lane.resume(at(10).to_string(), at(10)), whole(0));
    }

    #[test]
    fn that_redis_has_all_that_was_in_doubt_is_told() {
        let now = Instant::now();
        let mut lane = Lane::new(at(0), 2);
        lane.resume("", at(0));
        lane.sent(at(10), 4, 0, now);
        lane.sent(at(20), 4, 0, now);
        lane.lost();
        assert_eq!(lane.resume(at(20).to_string(), at(20)), Found { records: 8, all: true, part: None });
        assert_eq!(lane.resume(at(20).to_string(), at(20)), whole(0));
    }
}
