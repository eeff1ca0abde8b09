//! Cutting a batch into pushes. A plain value.
//!
//! The records of one list keep their order and become one *part*; a part is cut into *chunks*, one push each. Several chunks
//! of one list may be under way: Redis works on the first while the next is packed.

use std::ops::Range;

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
}

/// Records that are pushed together.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// The lane's place in the slot's table.
    pub lane: usize,
    /// Its records, as places in the plan's order.
    pub places: Range<usize>,
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

    /// What the offset in the cursor is once Redis has it.
    pub fn end(&self) -> u64 {
        self.start + self.places.len() as u64
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

/// All records of one list.
#[derive(Debug, Clone, Copy)]
struct Part {
    lane: usize,
    count: usize,
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
    pub chunks: Vec<Chunk>,
}

impl Plan {
    /// Forgets the last batch, not its memory.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.part_of.clear();
        self.indexes.clear();
        self.order.clear();
        self.chunks.clear();
    }

    /// A new list turns up in the batch. Returns its part.
    pub fn part(&mut self, lane: usize) -> u32 {
        self.parts.push(Part { lane, count: 0, next: 0 });
        (self.parts.len() - 1) as u32
    }

    /// The next record, `index` in the batch, belongs to `part`.
    pub fn add(&mut self, index: usize, part: u32) {
        self.indexes.push(index as u32);
        self.part_of.push(part);
        self.parts[part as usize].count += 1;
    }

    /// Everything was added: cuts it. `numbers` gives the number of the first of so many records, `bytes` the size of a record.
    pub fn cut(
        &mut self,
        bounds: Bounds,
        mut numbers: impl FnMut(usize) -> u64,
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
        for part in &self.parts {
            let most = part.count.div_ceil(CHUNKS).max(CHUNK_RECORDS_MIN).min(bounds.records);
            let end = begin + part.count;
            let first = numbers(part.count);
            let (mut at, mut size) = (begin, 0);
            for place in begin..end {
                let record = bytes(self.order[place] as usize);
                if place > at && (place - at >= most || size + record > bounds.bytes) {
                    self.chunks.push(chunk(part.lane, at..place, first + (at - begin) as u64));
                    (at, size) = (place, 0);
                }
                size += record;
            }
            self.chunks.push(chunk(part.lane, at..end, first + (at - begin) as u64));
            begin = end;
        }
    }

    /// The indexes in the batch of the records at `places`.
    pub fn indexes(&self, places: Range<usize>) -> impl Iterator<Item = usize> + Clone + '_ {
        self.order[places].iter().map(|index| *index as usize)
    }

    /// True if nothing is left to push.
    pub fn is_settled(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.state == State::Settled)
    }
}

fn chunk(lane: usize, places: Range<usize>, start: u64) -> Chunk {
    Chunk { lane, places, start, state: State::Open, doubt: false }
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
            next - count as u64
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
            shape(&plan(&[7; 4096], BOUNDS, 100)),
            [(7, 100, 1024), (7, 1124, 1024), (7, 2148, 1024), (7, 3172, 1024)]
        );
    }

    #[test]
    fn no_push_is_larger_than_the_bounds() {
        let bounds = Bounds { records: 300, bytes: 1_000 };
        assert_eq!(shape(&plan(&[0; 700], bounds, 0)).iter().map(|c| c.2).collect::<Vec<_>>(), [256, 256, 188]);
        assert_eq!(shape(&plan(&[0; 7], bounds, 400)).iter().map(|c| c.2).collect::<Vec<_>>(), [2, 2, 2, 1]);
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
