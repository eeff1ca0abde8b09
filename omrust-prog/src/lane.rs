//! One lane of a conversation: the records that were accepted for one list and are not known to be safe, and how much of them was sent ahead.
//! A plain value.

use delivery::position::{Epoch, Position};

use crate::held::Section;

/// A push that goes ahead has so many records or bytes, or more. Measured: with half of it, and with twice as many, transactions took longer.
const PART_RECORDS: usize = 256;
const PART_BYTES: usize = 256 << 10;
/// In a large transaction it has this part of what went before it, so that there are never many pushes under way.
const PART_OF_ALL: usize = 8;

/// One ordered way into one list.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What was accepted since the last OK, each record at its position.
    pub section: Section,
    /// The number of its section among the notes of the transaction.
    pub noted: Option<u32>,
    /// All of it is in Redis or in the spool.
    pub safe: bool,
    /// Records of this turn, which are the last of the section.
    fresh: usize,
    epoch: Epoch,
    /// Records of this life.
    next: u64,
    /// The next push goes ahead when the section has so many records,
    due_records: usize,
    /// or so many bytes.
    due_bytes: usize,
}

impl Lane {
    /// A lane that fills `list` with records of `epoch`.
    pub fn new(list: &str, epoch: Epoch) -> Self {
        Self {
            section: Section::new(list, Position::start(epoch)),
            noted: None,
            safe: false,
            fresh: 0,
            epoch,
            next: 0,
            due_records: PART_RECORDS,
            due_bytes: PART_BYTES,
        }
    }

    /// The position before the next record.
    pub fn next(&self) -> Position {
        Position { epoch: self.epoch, offset: self.next }
    }

    /// One more record.
    pub fn accept(&mut self, record: &[u8]) {
        if self.section.is_empty() {
            self.section.restart(self.next());
        }
        self.section.push(record);
        self.next += 1;
        self.fresh += 1;
        self.safe = false;
    }

    /// Records that are not known to be safe.
    pub fn held(&self) -> usize {
        if self.safe { 0 } else { self.section.len() }
    }

    /// True if enough has come together to send it ahead.
    pub fn is_due(&self) -> bool {
        self.section.len() >= self.due_records || self.section.bytes() >= self.due_bytes
    }

    /// What there is was sent ahead, or could not be: more has to come together for the next time.
    pub fn went_ahead(&mut self) {
        let (records, bytes) = (self.section.len(), self.section.bytes());
        self.due_records = records + PART_RECORDS.max(records / PART_OF_ALL);
        self.due_bytes = bytes + PART_BYTES.max(bytes / PART_OF_ALL);
    }

    /// The records of this turn.
    pub fn fresh(&self) -> impl Iterator<Item = &[u8]> {
        self.section.records(self.section.len() - self.fresh)
    }

    /// The turn has ended. If it was answered OK, nothing of it is needed any more.
    pub fn answered(&mut self, safe: bool) {
        self.fresh = 0;
        if safe {
            self.section.restart(self.next());
            (self.due_records, self.due_bytes) = (PART_RECORDS, PART_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_positions_over_turns_that_were_not_answered_ok() {
        let mut lane = Lane::new("list", Epoch(7));
        lane.accept(b"a");
        lane.accept(b"b");
        lane.answered(false);
        lane.accept(b"c");
        assert_eq!((lane.section.at.offset, lane.held()), (0, 3));
        assert_eq!(lane.fresh().collect::<Vec<_>>(), [b"c"]);
        lane.answered(true);
        lane.accept(b"d");
        assert_eq!((lane.section.at, lane.held()), (Position { epoch: Epoch(7), offset: 3 }, 1));
    }

    #[test]
    fn parts_grow_with_the_transaction() {
        let mut lane = Lane::new("list", Epoch(7));
        let mut parts = Vec::new();
        for _ in 0..100_000 {
            lane.accept(b"r");
            if lane.is_due() {
                parts.push(lane.section.len());
                lane.went_ahead();
            }
        }
        assert_eq!(parts[..4], [256, 512, 768, 1024]);
        assert!(parts.len() < 64, "{parts:?}");
        lane.answered(true);
        lane.accept(&vec![b'x'; PART_BYTES]);
        assert!(lane.is_due());
    }
}
