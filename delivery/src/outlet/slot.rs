//! What a slot keeps while workers come and go: its lanes, what it remembers, how far it is in the spool. A plain value.

use std::collections::HashMap;

use super::memory::Memory;
use crate::journal::Lsn;
use crate::position::{Epoch, Position};
use crate::push::Names;

/// Lanes of one slot. Beyond it those that were not used for longest go; their cursors are read again when they come back.
pub(super) const LANES_MAX: usize = 16_384;

/// A lane: one list as filled by one slot.
#[derive(Debug)]
pub(super) struct Lane {
    /// What it is found by.
    key: Box<str>,
    pub list: Box<str>,
    /// The keys, or what is wrong with the list's name.
    pub names: Result<Names, String>,
    /// What the cursor is once everything under way has been taken. It means something while `known`.
    pub tip: Vec<u8>,
    pub known: bool,
    /// Records of it are in doubt.
    pub doubt: Option<Doubt>,
    /// It is never dropped from the table.
    fixed: bool,
    /// Its cursor is being asked for.
    pub asked: bool,
    /// The length of its list was asked for in this life.
    pub measured: bool,
    /// The batch that used it last.
    used: u64,
    /// Its part in that batch.
    pub part: u32,
}

/// Records of the lane were sent and turned away without an answer: bytes that are still under way may push them at any time.
///
/// To find out, the cursor is read and at once moved on to a number that no push ends at, by a compare. From then on whatever is
/// still under way loses its compare, and the cursor as it was read tells what Redis had.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// The numbers that the cursor was to be moved to, and how far Redis had got before: a move may lose its answer, too.
    fences: Vec<(u64, u64)>,
}

impl Doubt {
    /// The cursor is to be moved from where Redis has everything up to `have`, to `fence`.
    pub fn fence(&mut self, fence: u64, have: u64) {
        self.fences.push((fence, have));
    }
}

impl Lane {
    /// How far Redis has got in this lane in `epoch`, if the cursor is `cursor`. Zero if it is of another epoch, or anything else.
    ///
    /// `drains`: a later epoch of the same store began only when all of this one was in Redis.
    pub fn have(&self, cursor: &[u8], epoch: Epoch, drains: bool) -> u64 {
        let Some(at) = Position::parse(cursor) else { return 0 };
        if at.epoch != epoch {
            return if drains && at.epoch > epoch && at.epoch.family() == epoch.family() { u64::MAX } else { 0 };
        }
        let fences = self.doubt.iter().flat_map(|doubt| &doubt.fences);
        fences.rev().find(|(fence, _)| *fence == at.offset).map_or(at.offset, |(_, have)| *have)
    }

    /// What it is found by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The cursor is `cursor`.
    pub fn set_tip(&mut self, cursor: &[u8]) {
        self.tip.clear();
        self.tip.extend_from_slice(cursor);
        self.known = true;
    }
}

/// Lanes, found by name.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    table: Vec<Lane>,
    by_name: HashMap<Box<str>, u32>,
    /// Places of lanes that have numbers.
    numbered: Vec<Option<u32>>,
    batch: u64,
    /// A lane may be in doubt.
    doubts: bool,
}

impl Lanes {
    /// Another batch begins. Places in the table that were learned before may be others now, but for those of lanes in doubt
    /// if `keep` is set.
    pub fn begin(&mut self, keep: bool) {
        self.batch += 1;
        if self.table.len() > LANES_MAX && !keep {
            self.shrink();
        }
    }

    /// Drops the half of the lanes that was not used for longest.
    fn shrink(&mut self) {
        let mut used: Vec<u64> = self.table.iter().map(|lane| lane.used).collect();
        let half = used.len() / 2;
        let (_, median, _) = used.select_nth_unstable(half);
        let oldest = *median;
        self.table.retain(|lane| lane.fixed || lane.doubt.is_some() || lane.used > oldest);
        self.by_name = self.table.iter().zip(0..).map(|(lane, place)| (lane.key.clone(), place)).collect();
        self.numbered.clear();
    }

    /// The place of the lane that is known as `key`, with its part in this batch if it has one. `new` makes the name of its list and
    /// its producer when it is seen for the first time.
    pub fn find<'a>(&mut self, key: &str, new: impl FnOnce() -> (&'a str, String)) -> (usize, Option<u32>) {
        let place = match self.by_name.get(key) {
            Some(place) => *place as usize,
            None => {
                let (list, producer) = new();
                self.add(key, list, &producer)
            }
        };
        self.touch(place)
    }

    /// The place of the lane with this number, if it was [numbered](Self::number).
    pub fn find_numbered(&mut self, number: usize) -> Option<(usize, Option<u32>)> {
        let place = (*self.numbered.get(number)?)?;
        Some(self.touch(place as usize))
    }

    /// The lane at `place` is often asked for by this number. It is never dropped.
    pub fn number(&mut self, number: usize, place: usize) {
        if self.numbered.len() <= number {
            self.numbered.resize(number + 1, None);
        }
        self.numbered[number] = Some(place as u32);
        self.table[place].fixed = true;
    }

    fn add(&mut self, key: &str, list: &str, producer: &str) -> usize {
        let place = self.table.len();
        self.table.push(Lane {
            key: key.into(),
            list: list.into(),
            names: Names::new(list, producer),
            tip: Vec::new(),
            known: false,
            doubt: None,
            fixed: false,
            asked: false,
            measured: false,
            used: 0,
            part: 0,
        });
        self.by_name.insert(key.into(), place as u32);
        place
    }

    fn touch(&mut self, place: usize) -> (usize, Option<u32>) {
        let lane = &mut self.table[place];
        if lane.used == self.batch {
            return (place, Some(lane.part));
        }
        lane.used = self.batch;
        (place, None)
    }

    /// No cursor is believed any more.
    pub fn forget_tips(&mut self) {
        for lane in &mut self.table {
            lane.known = false;
        }
    }

    /// Nothing that anybody remembers is in doubt.
    pub fn forget_doubts(&mut self) {
        if std::mem::take(&mut self.doubts) {
            for lane in &mut self.table {
                lane.doubt = None;
            }
        }
    }

    /// Records of the lane at `place` are in doubt.
    pub fn put_in_doubt(&mut self, place: usize) {
        self.doubts = true;
        let lane = &mut self.table[place];
        lane.known = false;
        lane.doubt.get_or_insert_with(Doubt::default);
    }

    /// The places of the lanes in doubt.
    pub fn in_doubt(&self) -> Vec<usize> {
        (0..self.table.len()).filter(|place| self.table[*place].doubt.is_some()).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

impl std::ops::Index<usize> for Lanes {
    type Output = Lane;

    fn index(&self, place: usize) -> &Lane {
        &self.table[place]
    }
}

impl std::ops::IndexMut<usize> for Lanes {
    fn index_mut(&mut self, place: usize) -> &mut Lane {
        &mut self.table[place]
    }
}

/// A producer of its own: the lowest one that is free is given to each worker that begins.
#[derive(Debug)]
pub(super) struct Slot {
    pub number: u16,
    pub lanes: Lanes,
    pub memory: Memory,
    pub epoch: Epoch,
    /// The number of its next record in the epoch. No two slots have the same: the upper sixteen bits are the slot's own.
    next: u64,
    /// The last frame in the spool that is, or may be, its own.
    pub spooled: Option<Lsn>,
    /// The spool cannot be used for now: its cursors are not this slot's.
    pub bare: bool,
    /// A commit is under way, or ended in a panic.
    pub open: bool,
}

/// Bits of a record's number that count; those above are the slot's.
const COUNTING_BITS: u32 = 48;

impl Slot {
    pub fn new(number: u16) -> Self {
        Self {
            number,
            lanes: Lanes::default(),
            memory: Memory::default(),
            epoch: Epoch(0),
            next: u64::from(number) << COUNTING_BITS,
            spooled: None,
            bare: false,
            open: false,
        }
    }

    /// The name of the producer that a slot with this number is, made of the outlet's.
    pub fn name((number, bare): (u16, bool), outlet: &str) -> String {
        format!("{outlet}:{number}{}", if bare { ":bare" } else { "" })
    }

    /// Numbers for so many records: the first of them. None is given out twice.
    pub fn numbers(&mut self, records: usize) -> Position {
        let offset = self.next;
        self.next += records as u64;
        Position { epoch: self.epoch, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(7);

    fn find(lanes: &mut Lanes, list: &str) -> (usize, Option<u32>) {
        let list = list.to_owned();
        lanes.find(&list.clone(), || (Box::leak(list.into_boxed_str()), "p:0".into()))
    }

    fn at(offset: u64) -> Vec<u8> {
        Position { epoch: E, offset }.to_string().into_bytes()
    }

    #[test]
    fn a_list_has_one_lane_by_whatever_way_it_is_named() {
        let mut lanes = Lanes::default();
        lanes.begin(false);
        assert_eq!(lanes.find_numbered(0), None);
        assert_eq!(find(&mut lanes, "main"), (0, None));
        lanes.number(0, 0);
        lanes[0].part = 5;
        assert_eq!(find(&mut lanes, "main"), (0, Some(5)));
        assert_eq!(find(&mut lanes, "other"), (1, None));
        lanes.begin(false);
        assert_eq!(lanes.find_numbered(0), Some((0, None)));
        assert_eq!(lanes.find_numbered(1), None);
        assert!(lanes[0].names.as_ref().is_ok_and(|names| names.cursor == "{main}:cursor:p:0"));
    }

    #[test]
    fn lanes_are_bounded_and_those_in_doubt_stay() {
        let mut lanes = Lanes::default();
        for n in 0..100_000_u32 {
            lanes.begin(false);
            let (place, _) = find(&mut lanes, &n.to_string());
            if n == 17 {
                lanes[place].doubt = Some(Doubt::default());
            }
            let main = find(&mut lanes, "main").0;
            lanes.number(0, main);
            assert!(lanes.len() <= LANES_MAX + 2);
        }
        assert_eq!(lanes.in_doubt().len(), 1);
        let kept = find(&mut lanes, "17").0;
        assert!(lanes[kept].doubt.is_some());
        let main = find(&mut lanes, "main").0;
        assert_eq!(lanes.find_numbered(0).map(|found| found.0), Some(main));
    }

    #[test]
    fn the_cursor_tells_how_far_redis_has_got() {
        let mut lanes = Lanes::default();
        let lane = find(&mut lanes, "l").0;
        assert_eq!(lanes[lane].have(b"", E, false), 0);
        assert_eq!(lanes[lane].have(b"nonsense", E, true), 0);
        assert_eq!(lanes[lane].have(&at(9), Epoch(8), true), 0);
        assert_eq!(lanes[lane].have(&at(9), E, false), 9);
        // Another life of the same store.
        let (earlier, later) = (Epoch(5 << 32 | 7), Epoch(6 << 32 | 7));
        let cursor = Position { epoch: later, offset: 1 }.to_string();
        let have = |epoch, drains| lanes[lane].have(cursor.as_bytes(), epoch, drains);
        assert_eq!((have(earlier, true), have(earlier, false), have(Epoch(7 << 32 | 7), true)), (u64::MAX, 0, 0));
    }

    #[test]
    fn a_fence_stands_for_what_redis_had_before_it() {
        let mut lanes = Lanes::default();
        let lane = find(&mut lanes, "l").0;
        let mut doubt = Doubt::default();
        doubt.fence(20, 9);
        doubt.fence(21, 12);
        lanes[lane].doubt = Some(doubt);
        let have: Vec<u64> = [9, 12, 20, 21].map(|offset| lanes[lane].have(&at(offset), E, false)).into();
        assert_eq!(have, [9, 12, 9, 12]);
    }
}
