//! What a slot keeps while workers come and go: its lanes, what it remembers, how far it is in the spool. A plain value.

use std::collections::HashMap;

use super::memory::Memory;
use crate::position::{Epoch, Position};
use crate::push::Names;

/// Lanes of one slot. Beyond it those that were not used for longest go; their cursors are read again when they come back.
pub(super) const LANES_MAX: usize = 16_384;

/// A lane: one list as filled by one slot.
#[derive(Debug)]
pub(super) struct Lane {
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
    pub fn have(&self, cursor: &[u8], epoch: Epoch) -> u64 {
        let Some(at) = Position::parse(cursor).filter(|at| at.epoch == epoch) else { return 0 };
        let fences = self.doubt.iter().flat_map(|doubt| &doubt.fences);
        fences.rev().find(|(fence, _)| *fence == at.offset).map_or(at.offset, |(_, have)| *have)
    }

    /// The cursor is `cursor`.
    pub fn set_tip(&mut self, cursor: &[u8]) {
        self.tip.clear();
        self.tip.extend_from_slice(cursor);
        self.known = true;
    }
}

/// The lanes of a slot, found by the name of their list.
#[derive(Debug)]
pub(super) struct Lanes {
    producer: String,
    table: Vec<Lane>,
    by_name: HashMap<Box<str>, u32>,
    /// Places of the main list (0) and of the lanes that have numbers (1 on), once they were used.
    numbered: Vec<Option<u32>>,
    batch: u64,
}

impl Lanes {
    pub fn new(producer: String) -> Self {
        Self { producer, table: Vec::new(), by_name: HashMap::new(), numbered: Vec::new(), batch: 0 }
    }

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
        self.by_name = self.table.iter().zip(0..).map(|(lane, place)| (lane.list.clone(), place)).collect();
        self.numbered.clear();
    }

    /// The place of `list`, with its part in this batch if it has one.
    pub fn find(&mut self, list: &str) -> (usize, Option<u32>) {
        let place = match self.by_name.get(list) {
            Some(place) => *place as usize,
            None => self.add(list),
        };
        self.touch(place)
    }

    /// The same for the main list (0) or a lane with a number (1 on). `name` is asked for its name at the first use.
    pub fn find_numbered(&mut self, number: usize, name: impl FnOnce() -> String) -> (usize, Option<u32>) {
        if let Some(Some(place)) = self.numbered.get(number) {
            return self.touch(*place as usize);
        }
        let found = self.find(&name());
        if self.numbered.len() <= number {
            self.numbered.resize(number + 1, None);
        }
        self.numbered[number] = Some(found.0 as u32);
        self.table[found.0].fixed = true;
        found
    }

    fn add(&mut self, list: &str) -> usize {
        let place = self.table.len();
        self.table.push(Lane {
            list: list.into(),
            names: Names::new(list, &self.producer),
            tip: Vec::new(),
            known: false,
            doubt: None,
            fixed: false,
            used: 0,
            part: 0,
        });
        self.by_name.insert(list.into(), place as u32);
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

    /// The places of the lanes in doubt.
    pub fn in_doubt(&self) -> Vec<usize> {
        (0..self.table.len()).filter(|place| self.table[*place].doubt.is_some()).collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
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
    /// A commit is under way, or ended in a panic.
    pub open: bool,
}

impl Slot {
    pub fn new(number: u16, producer: &str) -> Self {
        Self { number, lanes: Lanes::new(format!("{producer}:{number}")), memory: Memory::default(), open: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(7);

    fn at(offset: u64) -> Vec<u8> {
        Position { epoch: E, offset }.to_string().into_bytes()
    }

    #[test]
    fn a_list_has_one_lane_by_whatever_way_it_is_named() {
        let mut lanes = Lanes::new("p:0".into());
        lanes.begin(false);
        assert_eq!(lanes.find_numbered(0, || "main".into()), (0, None));
        lanes[0].part = 5;
        assert_eq!(lanes.find("main"), (0, Some(5)));
        assert_eq!(lanes.find_numbered(3, || "main:2".into()), (1, None));
        assert_eq!(lanes.find("other"), (2, None));
        lanes.begin(false);
        assert_eq!(lanes.find_numbered(0, || unreachable!()), (0, None));
        assert!(lanes[0].names.as_ref().is_ok_and(|names| names.cursor == "{main}:cursor:p:0"));
    }

    #[test]
    fn lanes_are_bounded_and_those_in_doubt_stay() {
        let mut lanes = Lanes::new("p:0".into());
        for n in 0..100_000_u32 {
            lanes.begin(false);
            let (place, _) = lanes.find(&n.to_string());
            if n == 17 {
                lanes[place].doubt = Some(Doubt::default());
            }
            lanes.find_numbered(0, || "main".into());
            assert!(lanes.len() <= LANES_MAX + 2);
        }
        assert_eq!(lanes.in_doubt().len(), 1);
        let kept = lanes.find("17").0;
        assert!(lanes[kept].doubt.is_some());
        let main = lanes.find("main").0;
        assert_eq!(lanes.find_numbered(0, || unreachable!()).0, main);
    }

    #[test]
    fn the_cursor_tells_how_far_redis_has_got() {
        let mut lanes = Lanes::new("p:0".into());
        let lane = lanes.find("l").0;
        assert_eq!(lanes[lane].have(b"", E), 0);
        assert_eq!(lanes[lane].have(b"nonsense", E), 0);
        assert_eq!(lanes[lane].have(&at(9), Epoch(8)), 0);
        assert_eq!(lanes[lane].have(&at(9), E), 9);
    }

    #[test]
    fn a_fence_stands_for_what_redis_had_before_it() {
        let mut lanes = Lanes::new("p:0".into());
        let lane = lanes.find("l").0;
        let mut doubt = Doubt::default();
        doubt.fence(20, 9);
        doubt.fence(21, 12);
        lanes[lane].doubt = Some(doubt);
        let have: Vec<u64> = [9, 12, 20, 21].map(|offset| lanes[lane].have(&at(offset), E)).into();
        assert_eq!(have, [9, 12, 9, 12]);
    }
}
