//! What a batch that was turned away left behind, until it is handed in again. A plain value.
//!
//! Whoever is told "later" hands the same records in again: all of them, or one by one, some perhaps never. By then a part of them
//! may be in Redis. The memory holds, in order, what each record was (a hash of list and content) and what is known of it; each
//! record that comes is held against its front.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3;

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Redis said that it has it, or it is parked.
    Done,
    /// Redis turned out to have it.
    Found,
    /// It was sent to the lane at this place in the slot's table; Redis has it if the cursor gets to `end`.
    Maybe {
        /// The lane.
        lane: usize,
        /// The position behind it.
        end: u64,
    },
    /// Redis does not have it.
    Absent,
}

impl Fate {
    /// True if nothing is left to do.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Found)
    }

    fn is_in_doubt(self) -> bool {
        matches!(self, Self::Maybe { .. })
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    hash: u128,
    pub fate: Fate,
    /// How often it was turned away.
    turned_away: u32,
}

/// What a record that is handed in turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// One that was turned away before.
    Known(Entry),
    /// Records before it were turned away after it was, and will come again: it has to wait for them.
    TooEarly,
    /// None that is remembered.
    New,
}

/// The records that were turned away, in order.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: VecDeque<Entry>,
    /// How many of them are in doubt: asked at every commit, while a large batch comes in one by one.
    doubts: usize,
}

/// What a record is known by.
pub(super) fn hash(list: &str, record: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    // No list name holds a NUL and its length stands in front of it: two pairs never give the same bytes.
    hasher.update(&(list.len() as u64).to_le_bytes());
    hasher.update(list.as_bytes());
    hasher.update(record);
    hasher.digest128()
}

impl Memory {
    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets everything. Returns how many records that were.
    pub fn clear(&mut self) -> usize {
        let had = self.entries.len();
        *self = Self::default();
        had
    }

    /// Learns what became of the records in doubt: `have` tells how far Redis has got in a lane, or that nobody knows yet.
    /// Returns how many of them Redis has.
    pub fn learn(&mut self, mut have: impl FnMut(usize) -> Option<u64>) -> u64 {
        let mut found = 0;
        for entry in &mut self.entries {
            if let Fate::Maybe { lane, end } = entry.fate
                && let Some(have) = have(lane)
            {
                entry.fate = if end <= have { Fate::Found } else { Fate::Absent };
                self.doubts -= 1;
                found += u64::from(end <= have);
            }
        }
        found
    }

    /// True if a record is in doubt.
    pub fn is_in_doubt(&self) -> bool {
        self.doubts > 0
    }

    /// A record is handed in. If it is known, it and what lies before it are taken out: those were given up.
    ///
    /// A record may be handed in while one before it waits to be handed in again: a host that was turned away with a single record of
    /// a batch may go on with the next ones and come back. They must not overtake it, nor make it forgotten.
    pub fn take(&mut self, hash: u128) -> Match {
        let Some(at) = self.entries.iter().position(|entry| entry.hash == hash) else {
            return Match::New;
        };
        let entry = self.entries[at];
        let waits = self.entries.iter().take(at).any(|before| before.turned_away > entry.turned_away);
        match (waits, entry.fate.is_done()) {
            (true, false) => return Match::TooEarly,
            (true, true) => drop(self.entries.remove(at)),
            (false, _) => {
                let gone = self.entries.drain(..=at).filter(|entry| entry.fate.is_in_doubt()).count();
                self.doubts -= gone;
            }
        }
        Match::Known(entry)
    }

    /// The record that is known by `hash` is turned away where it stands. It is searched from `near` on; returns what comes behind it.
    pub fn turn_away(&mut self, hash: u128, near: usize) -> usize {
        let behind = self.entries.iter().skip(near).position(|entry| entry.hash == hash).map(|at| near + at);
        let Some(at) = behind.or_else(|| self.entries.iter().position(|entry| entry.hash == hash)) else { return near };
        let entry = &mut self.entries[at];
        entry.turned_away = entry.turned_away.saturating_add(1);
        at + 1
    }

    /// These records are turned away; they come before all that is still remembered.
    pub fn put_back(&mut self, entries: impl DoubleEndedIterator<Item = Entry>) {
        for mut entry in entries.rev() {
            entry.turned_away = entry.turned_away.saturating_add(1);
            self.doubts += usize::from(entry.fate.is_in_doubt());
            self.entries.push_front(entry);
        }
    }
}

impl Entry {
    /// A record that was never turned away.
    pub fn new(hash: u128, fate: Fate) -> Self {
        Self { hash, fate, turned_away: 0 }
    }

    /// The same record with another fate.
    pub fn with(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(n: u32) -> u128 {
        hash("l", &n.to_le_bytes())
    }

    fn memory(fates: &[Fate]) -> Memory {
        let mut memory = Memory::default();
        memory.put_back(fates.iter().zip(0..).map(|(fate, n)| Entry::new(h(n), *fate)).collect::<Vec<_>>().into_iter());
        memory
    }

    fn fate(found: Match) -> Option<Fate> {
        match found {
            Match::Known(entry) => Some(entry.fate),
            Match::TooEarly | Match::New => None,
        }
    }

    #[test]
    fn a_hash_knows_list_and_record_apart() {
        assert_ne!(hash("a", b"bc"), hash("ab", b"c"));
        assert_ne!(hash("a", b"x"), hash("b", b"x"));
        assert_eq!(hash("a", b"x"), hash("a", b"x"));
    }

    #[test]
    fn a_batch_that_comes_again_is_recognised_in_order() {
        let mut memory =
            memory(&[Fate::Done, Fate::Maybe { lane: 0, end: 7 }, Fate::Maybe { lane: 0, end: 8 }, Fate::Absent]);
        assert!(memory.is_in_doubt());
        assert_eq!(memory.learn(|_| Some(7)), 1);
        assert!(!memory.is_in_doubt());
        let fates: Vec<_> = (0..4).map(|n| fate(memory.take(h(n)))).collect();
        assert_eq!(fates, [Some(Fate::Done), Some(Fate::Found), Some(Fate::Absent), Some(Fate::Absent)]);
        assert!(memory.is_empty());
        assert_eq!(memory.take(h(0)), Match::New);
    }

    #[test]
    fn the_count_of_records_in_doubt_is_that_of_the_entries() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut memory = Memory::default();
        for _ in 0..5_000 {
            match random.u8(..5) {
                0 => {
                    let fates = [Fate::Done, Fate::Found, Fate::Absent, Fate::Maybe { lane: 0, end: random.u64(..9) }];
                    let entries: Vec<Entry> = (0..random.u32(..6))
                        .map(|_| Entry::new(h(random.u32(..20)), fates[random.usize(..4)]))
                        .collect();
                    memory.put_back(entries.into_iter());
                }
                1 => _ = memory.turn_away(h(random.u32(..20)), random.usize(..3)),
                2 => _ = memory.learn(|_| Some(5).filter(|_| random.bool())),
                3 if random.u8(..20) == 0 => _ = memory.clear(),
                _ => _ = memory.take(h(random.u32(..20))),
            }
            let in_doubt = memory.entries.iter().filter(|entry| entry.fate.is_in_doubt()).count();
            assert_eq!((memory.doubts, memory.is_in_doubt()), (in_doubt, in_doubt > 0));
        }
    }

    #[test]
    fn records_that_were_given_up_are_dropped() {
        let mut memory = memory(&[Fate::Absent, Fate::Absent, Fate::Done, Fate::Absent]);
        assert_eq!(fate(memory.take(h(2))), Some(Fate::Done));
        assert_eq!(memory.len(), 1);
        assert_eq!(memory.take(h(0)), Match::New);
        assert_eq!(fate(memory.take(h(3))), Some(Fate::Absent));
    }

    #[test]
    fn equal_records_are_as_many_as_they_were() {
        let mut memory = Memory::default();
        memory.put_back([Fate::Done, Fate::Absent, Fate::Absent].map(|fate| Entry::new(h(1), fate)).into_iter());
        let fates: Vec<_> = (0..3).map(|_| fate(memory.take(h(1)))).collect();
        assert_eq!(fates, [Some(Fate::Done), Some(Fate::Absent), Some(Fate::Absent)]);
        assert_eq!(memory.take(h(1)), Match::New);
    }

    #[test]
    fn a_record_does_not_overtake_one_that_was_turned_away_again() {
        let mut memory = memory(&[Fate::Absent; 3]);
        // One by one: the first is turned away again, then the others come.
        let Match::Known(first) = memory.take(h(0)) else { panic!("it is remembered") };
        memory.put_back([first].into_iter());
        for n in [1, 2] {
            assert_eq!(memory.take(h(n)), Match::TooEarly);
            memory.turn_away(h(n), 0);
        }
        // Then all of them once more.
        for n in 0..3 {
            assert_eq!(fate(memory.take(h(n))), Some(Fate::Absent));
        }
    }

    #[test]
    fn a_record_that_is_done_does_not_make_one_forgotten_that_waits() {
        let mut memory = memory(&[Fate::Done, Fate::Done, Fate::Absent]);
        memory.turn_away(h(0), 0);
        assert_eq!(fate(memory.take(h(1))), Some(Fate::Done));
        assert_eq!(memory.take(h(2)), Match::TooEarly);
        assert_eq!(fate(memory.take(h(0))), Some(Fate::Done));
        assert_eq!(fate(memory.take(h(2))), Some(Fate::Absent));
    }

    #[test]
    fn a_record_that_never_comes_back_holds_nobody_up_twice() {
        let mut memory = memory(&[Fate::Absent; 3]);
        let Match::Known(first) = memory.take(h(0)) else { panic!("it is remembered") };
        memory.put_back([first].into_iter());
        assert_eq!(memory.take(h(1)), Match::TooEarly);
        memory.turn_away(h(1), 0);
        assert_eq!(fate(memory.take(h(1))), Some(Fate::Absent));
        assert_eq!(fate(memory.take(h(2))), Some(Fate::Absent));
    }
}
