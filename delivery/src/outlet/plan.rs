//! Cutting a batch into pushes. A plain value.
//!
//! The records of one list keep their order and become one *part*; a part is cut into *chunks*, one push each. Several chunks
//! of one list may be under way: Redis works on the first while the next is packed.

use std::collections::HashSet;
use std::ops::Range;

use crate::limits::RECORD_ALONE_BYTES;
use crate::position::{Epoch, Position};

/// A batch is cut into this many chunks per list, if they are large enough.
const CHUNKS: usize = 4;
/// A chunk smaller than this costs more than it gains: each is a transaction of its own.
const CHUNK_RECORDS_MIN: usize = 256;

/// How large a push may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub records: usize,
    pub bytes: usize,
}

/// What is known about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not in Redis as far as is known.
    Open,
    /// In Redis, told by an answer or by the cursor.
    Settled,
    /// Redis will never take it into this list.
    Refused,
    /// It is not sent for now: its list is too long.
    Held,
}

/// Records that are pushed together.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// The lane's place in the slot's table.
    pub lane: usize,
    /// Its records, as places in the plan's order.
    pub places: Range<usize>,
    pub epoch: Epoch,
    /// The number of its first record: the cursor is `start` + their count once Redis has it.
    pub start: u64,
    pub state: State,
    /// It was sent and no answer came: Redis may have it, or may still get it out of the buffers of a connection that is gone.
    pub doubt: bool,
}

impl Chunk {
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// What the cursor is once Redis has it.
    pub fn end(&self) -> Position {
        Position { epoch: self.epoch, offset: self.start + self.places.len() as u64 }
    }

    /// What the cursor is before its first record.
    pub fn begin(&self) -> Position {
        Position { epoch: self.epoch, offset: self.start }
    }

    /// Redis has everything up to `have`. Returns how many of the chunk's records that are; they are no longer part of it.
    pub fn skip(&mut self, have: u64) -> usize {
        let found = have.saturating_sub(self.start).min(self.places.len() as u64) as usize;
        self.places.start += found;
        self.start += found as u64;
        if self.places.is_empty() {
            self.state = State::Settled;
        }
        found
    }
}

/// Records of one list with numbers that follow each other.
#[derive(Debug, Clone, Copy)]
struct Part {
    lane: usize,
    count: usize,
    /// The number of the first, if it has one already.
    start: Option<Position>,
    /// While the order is made: where its next record goes.
    next: usize,
}

/// The pushes of one batch.
#[derive(Debug, Default)]
pub(super) struct Plan {
    parts: Vec<Part>,
    /// The part of each record, in the order in which they were handed in.
    part_of: Vec<u32>,
    /// The index in the batch of each record.
    indexes: Vec<u32>,
    /// Indexes in the batch, list by list.
    order: Vec<u32>,
    /// Bytes of its records.
    bytes: usize,
    pub chunks: Vec<Chunk>,
}

impl Plan {
    /// Forgets the last batch, not its memory.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.part_of.clear();
        self.indexes.clear();
        self.order.clear();
        self.bytes = 0;
        self.chunks.clear();
    }

    /// Bytes of all records that were [cut](Self::cut).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new list turns up in the batch. Returns its part.
    pub fn part(&mut self, lane: usize) -> u32 {
        self.parts.push(Part { lane, count: 0, start: None, next: 0 });
        (self.parts.len() - 1) as u32
    }

    /// Records of `lane` follow that have their numbers, from `start` on. Returns their part; `last` is that of the lane's records before.
    pub fn part_at(&mut self, lane: usize, start: Position, last: Option<u32>) -> u32 {
        if let Some(last) = last {
            let before = self.parts[last as usize];
            let end = before.start.map(|at| Position { offset: at.offset + before.count as u64, ..at });
            if end == Some(start) {
                return last;
            }
        }
        self.parts.push(Part { lane, count: 0, start: Some(start), next: 0 });
        (self.parts.len() - 1) as u32
    }

    /// The next record, `index` in the batch, belongs to `part`.
    pub fn add(&mut self, index: usize, part: u32) {
        self.indexes.push(index as u32);
        self.part_of.push(part);
        self.parts[part as usize].count += 1;
    }

    /// Everything was added: cuts it. `numbers` gives the place of the first of so many records that have none yet, `bytes` the size
    /// of a record.
    pub fn cut(
        &mut self,
        bounds: Bounds,
        mut numbers: impl FnMut(usize) -> Position,
        mut bytes: impl FnMut(usize) -> usize,
    ) {
        if self.parts.len() == 1 {
            std::mem::swap(&mut self.order, &mut self.indexes);
        } else {
            let mut begin = 0;
            for part in &mut self.parts {
                part.next = begin;
                begin += part.count;
            }
            self.order.resize(self.indexes.len(), 0);
            for (index, part) in self.indexes.iter().zip(&self.part_of) {
                let part = &mut self.parts[*part as usize];
                self.order[part.next] = *index;
                part.next += 1;
            }
        }
        let mut begin = 0;
        for at in 0..self.parts.len() {
            let part = self.parts[at];
            if part.count > 0 {
                let first = part.start.unwrap_or_else(|| numbers(part.count));
                self.cut_part(part.lane, begin..begin + part.count, first, bounds, &mut bytes);
                begin += part.count;
            }
        }
    }

    /// The records `indexes` of the batch, all of `lane`, follow what is in the plan. They have their numbers, from `first` on, and are cut at once.
    pub fn append(
        &mut self,
        lane: usize,
        indexes: Range<usize>,
        first: Position,
        bounds: Bounds,
        mut bytes: impl FnMut(usize) -> usize,
    ) {
        let begin = self.order.len();
        self.order.extend(indexes.map(|index| index as u32));
        if begin < self.order.len() {
            self.cut_part(lane, begin..self.order.len(), first, bounds, &mut bytes);
        }
    }

    /// Cuts the records at `places`, which are not none: all of `lane`, with numbers from `first` on.
    fn cut_part(
        &mut self,
        lane: usize,
        places: Range<usize>,
        first: Position,
        bounds: Bounds,
        bytes: &mut impl FnMut(usize) -> usize,
    ) {
        let (begin, end) = (places.start, places.end);
        let most = places.len().div_ceil(CHUNKS).max(CHUNK_RECORDS_MIN).min(bounds.records);
        let (mut at, mut size) = (begin, 0);
        for place in places {
            let record = bytes(self.order[place] as usize);
            let alone = record > RECORD_ALONE_BYTES || size > RECORD_ALONE_BYTES && place == at + 1;
            if place > at && (place - at >= most || size + record > bounds.bytes || alone) {
                self.chunks.push(chunk(lane, at..place, first, at - begin));
                (at, size) = (place, 0);
            }
            size += record;
            self.bytes += record;
        }
        self.chunks.push(chunk(lane, at..end, first, at - begin));
    }

    /// The indexes in the batch of the records at `places`.
    pub fn indexes(&self, places: Range<usize>) -> impl Iterator<Item = usize> + Clone + '_ {
        self.order[places].iter().map(|index| *index as usize)
    }

    /// Behind what is refused nothing of its lane goes: pushed, it would move the cursor past it.
    pub fn hold_back(&mut self) {
        let mut lanes = HashSet::new();
        for chunk in &mut self.chunks {
            match chunk.state {
                State::Refused => _ = lanes.insert(chunk.lane),
                State::Open if lanes.contains(&chunk.lane) => chunk.state = State::Refused,
                State::Open | State::Settled | State::Held => {}
            }
        }
    }

    /// What was refused or held is tried again.
    pub fn reopen(&mut self) {
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.state != State::Settled) {
            chunk.state = State::Open;
        }
    }

    /// True if nothing is left to push.
    pub fn is_settled(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.state == State::Settled)
    }
}

fn chunk(lane: usize, places: Range<usize>, first: Position, behind: usize) -> Chunk {
    let start = first.offset + behind as u64;
    Chunk { lane, places, epoch: first.epoch, start, state: State::Open, doubt: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { records: 4_000, bytes: 1_000_000 };

    fn plan(lanes: &[usize], bounds: Bounds, bytes: usize) -> Plan {
        let mut plan = Plan::default();
        let mut parts = std::collections::HashMap::new();
        for (index, lane) in lanes.iter().enumerate() {
            let part = *parts.entry(*lane).or_insert_with(|| plan.part(*lane));
            plan.add(index, part);
        }
        let mut next = 100;
        let numbers = |count: usize| {
            next += count as u64;
            Position { epoch: Epoch(1), offset: next - count as u64 }
        };
        plan.cut(bounds, numbers, |_| bytes);
        plan
    }

    fn shape(plan: &Plan) -> Vec<(usize, u64, usize)> {
        plan.chunks.iter().map(|chunk| (chunk.lane, chunk.start, chunk.count())).collect()
    }

    #[test]
    fn a_small_batch_is_one_push_and_a_large_one_four() {
        assert_eq!(shape(&plan(&[7], BOUNDS, 100)), [(7, 100, 1)]);
        assert_eq!(shape(&plan(&[7; 256], BOUNDS, 100)), [(7, 100, 256)]);
        assert_eq!(
            shape(&plan(&vec![7; 4096], BOUNDS, 100)),
            [(7, 100, 1024), (7, 1124, 1024), (7, 2148, 1024), (7, 3172, 1024)]
        );
    }

    #[test]
    fn no_push_is_larger_than_the_bounds() {
        let bounds = Bounds { records: 300, bytes: 1_000 };
        assert_eq!(shape(&plan(&[0; 700], bounds, 0)).iter().map(|c| c.2).collect::<Vec<_>>(), [256, 256, 188]);
        assert_eq!(shape(&plan(&[0; 7], bounds, 400)).iter().map(|c| c.2).collect::<Vec<_>>(), [2, 2, 2, 1]);
        let wide = Bounds { records: 300, bytes: 100 << 20 };
        assert_eq!(shape(&plan(&[0; 3], wide, 2 << 20)).len(), 3);
        // A record that is larger than the bound goes alone.
        assert_eq!(shape(&plan(&[0; 3], bounds, 5_000)).iter().map(|c| c.2).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn each_list_keeps_its_order() {
        let plan = plan(&[3, 5, 3, 9, 5, 3], BOUNDS, 1);
        let lists: Vec<(usize, Vec<usize>)> =
            plan.chunks.iter().map(|chunk| (chunk.lane, plan.indexes(chunk.places.clone()).collect())).collect();
        assert_eq!(lists, [(3, vec![0, 2, 5]), (5, vec![1, 4]), (9, vec![3])]);
        assert_eq!(shape(&plan), [(3, 100, 3), (5, 103, 2), (9, 105, 1)]);
    }

    #[test]
    fn nothing_goes_behind_what_was_refused_in_its_lane() {
        let mut plan = plan(&[vec![0; 600], vec![1; 600]].concat(), BOUNDS, 1);
        let lanes: Vec<usize> = plan.chunks.iter().map(|chunk| chunk.lane).collect();
        assert_eq!(lanes, [0, 0, 0, 1, 1, 1]);
        plan.hold_back();
        assert!(plan.chunks.iter().all(|chunk| chunk.state == State::Open));
        (plan.chunks[0].state, plan.chunks[1].state) = (State::Settled, State::Refused);
        plan.hold_back();
        let states: Vec<State> = plan.chunks.iter().map(|chunk| chunk.state).collect();
        assert_eq!(states[..3], [State::Settled, State::Refused, State::Refused]);
        assert_eq!(states[3..], [State::Open; 3]);
    }

    #[test]
    fn records_that_have_their_numbers_keep_them() {
        let at = |offset| Position { epoch: Epoch(3), offset };
        let mut plan = Plan::default();
        let mut index = 0;
        let mut last = [None; 2];
        for (lane, start, count) in [(0, 10, 2), (1, 50, 1), (0, 12, 3), (0, 20, 1)] {
            let part = plan.part_at(lane, at(start), last[lane]);
            last[lane] = Some(part);
            for _ in 0..count {
                plan.add(index, part);
                index += 1;
            }
        }
        plan.cut(BOUNDS, |_| unreachable!(), |_| 1);
        assert_eq!(shape(&plan), [(0, 10, 5), (1, 50, 1), (0, 20, 1)]);
        assert_eq!(plan.indexes(0..5).collect::<Vec<_>>(), [0, 1, 3, 4, 5]);
    }

    #[test]
    fn what_redis_has_is_no_longer_part_of_a_chunk() {
        let mut plan = plan(&[1; 10], BOUNDS, 1);
        let chunk = &mut plan.chunks[0];
        assert_eq!(chunk.skip(50), 0);
        assert_eq!(chunk.skip(104), 4);
        assert_eq!((chunk.start, chunk.count(), chunk.state), (104, 6, State::Open));
        assert_eq!(chunk.skip(200), 6);
        assert!(plan.is_settled());
    }
}
