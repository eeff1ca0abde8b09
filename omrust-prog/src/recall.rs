//! Records that were accepted and whose acceptance rsyslog may not have been told of: it hands them in again, and they are told apart.
//! A plain value.
//!
//! What rsyslog does (seen with 8.2302 and 8.2608): when a COMMIT was not answered OK it hands all of the transaction in again, mostly one by one, those that
//! fail again last. When the program ended in the middle of a transaction it goes on with the first message that was not answered;
//! only after a second failure it may begin at the front. Records are compared by a hash of their bytes: two that are the same to
//! the byte cannot be told apart, so what is counted is how often each may come.

use xxhash_rust::xxh3::xxh3_128;

/// What a record is known by.
pub type Mark = u128;

/// The mark of a record.
pub fn mark(record: &[u8]) -> Mark {
    xxh3_128(record)
}

/// What an earlier life has left: its unfinished transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// All its records.
    pub marks: Vec<Mark>,
    /// So many of them, from the front, rsyslog was told `DEFER_COMMIT` for. Meaningless with `settling`.
    pub answered: usize,
    /// The commit had come, so that all of them come again.
    pub settling: bool,
}

impl Unfinished {
    /// Which of them come again, if `first` is the first record that is handed in now. `None`: it belongs to something else.
    pub fn resolve(&self, first: Mark) -> Option<&[Mark]> {
        if self.settling {
            return self.marks.contains(&first).then_some(&self.marks);
        }
        let open = self.answered.min(self.marks.len());
        // The shorter answer first: a record too much suppressed would be a record lost.
        if self.marks.get(open) == Some(&first) {
            return Some(&self.marks[open..]);
        }
        (self.marks.first() == Some(&first)).then_some(&self.marks)
    }
}

/// What may be handed in again.
#[derive(Debug, Clone, Default)]
pub struct Recall {
    /// Each with whether it was handed in again in this turn.
    marks: Vec<(Mark, bool)>,
    /// Where the search begins: records mostly come in the same order.
    next: usize,
    matched: bool,
}

impl Recall {
    /// True if nothing may come again.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// These may come again.
    pub fn remember(&mut self, marks: impl IntoIterator<Item = Mark>) {
        self.marks.extend(marks.into_iter().map(|mark| (mark, false)));
    }

    /// A record is handed in. True if it is one of those, once for each of them.
    pub fn take(&mut self, mark: Mark) -> bool {
        let middle = self.next.min(self.marks.len());
        let (before, behind) = self.marks.split_at_mut(middle);
        let fits = |(known, taken): &&mut (Mark, bool)| *known == mark && !*taken;
        let found = match behind.iter_mut().enumerate().find(|(_, entry)| fits(entry)) {
            Some((at, entry)) => Some((before.len() + at, entry)),
            None => before.iter_mut().enumerate().find(|(_, entry)| fits(entry)),
        };
        let Some((at, entry)) = found else { return false };
        entry.1 = true;
        self.next = at + 1;
        self.matched = true;
        true
    }

    /// The turn, whose records are safe, was answered OK. `records` is how many it had.
    pub fn answered(&mut self, records: usize) {
        if self.marks.is_empty() {
            return;
        }
        if self.matched {
            self.marks.retain(|(_, taken)| !taken);
        } else if records > 0 {
            // Records come again before anything new does: what did not come was given up.
            self.marks.clear();
        }
        self.next = 0;
        self.matched = false;
    }

    /// The turn was answered with an error: all of it comes again.
    pub fn turned_away(&mut self) {
        for (_, taken) in &mut self.marks {
            *taken = false;
        }
        self.next = 0;
        self.matched = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(marks: impl IntoIterator<Item = Mark>) -> Recall {
        let mut recall = Recall::default();
        recall.remember(marks);
        recall
    }

    fn turn(recall: &mut Recall, marks: &[Mark], ok: bool) -> Vec<bool> {
        let taken: Vec<bool> = marks.iter().map(|mark| recall.take(*mark)).collect();
        if ok {
            recall.answered(marks.len());
        } else {
            recall.turned_away();
        }
        taken
    }

    #[test]
    fn one_by_one_and_what_fails_again_comes_last() {
        let mut recall = known(1..=4);
        assert_eq!(turn(&mut recall, &[1], false), [true]);
        for n in 2..=4 {
            assert_eq!(turn(&mut recall, &[n], true), [true]);
        }
        assert_eq!(turn(&mut recall, &[1], true), [true]);
        assert!(recall.is_empty());
    }

    #[test]
    fn whole_with_new_ones_behind() {
        let mut recall = known(1..=3);
        assert_eq!(turn(&mut recall, &[1, 2, 3, 4, 1], true), [true, true, true, false, false]);
        assert!(recall.is_empty());
    }

    #[test]
    fn equal_records_are_counted() {
        let mut recall = known([7, 7, 7]);
        assert_eq!(turn(&mut recall, &[7, 7], true), [true, true]);
        assert_eq!(turn(&mut recall, &[7, 7], true), [true, false]);
    }

    #[test]
    fn what_was_given_up_is_forgotten_with_the_first_turn_that_is_new() {
        let mut recall = known(1..=3);
        assert_eq!(turn(&mut recall, &[], true), [false; 0]);
        assert!(!recall.is_empty());
        assert_eq!(turn(&mut recall, &[9], true), [false]);
        assert!(recall.is_empty());
        assert_eq!(turn(&mut recall, &[1], true), [false]);
    }

    #[test]
    fn an_open_transaction_goes_on_behind_what_was_answered() {
        let left = Unfinished { marks: (1..=8).collect(), answered: 7, settling: false };
        assert_eq!(left.resolve(8), Some(&[8][..]));
        assert_eq!(left.resolve(1).map(<[Mark]>::len), Some(8));
        assert_eq!(left.resolve(9), None);
        assert_eq!(left.resolve(3), None);
        let left = Unfinished { answered: 8, ..left };
        assert_eq!(left.resolve(8), None);
        let settling = Unfinished { settling: true, ..left };
        assert_eq!(settling.resolve(3).map(<[Mark]>::len), Some(8));
    }

    #[test]
    fn equal_records_in_an_open_transaction_lose_none() {
        let left = Unfinished { marks: vec![7; 8], answered: 7, settling: false };
        assert_eq!(left.resolve(7).map(<[Mark]>::len), Some(1));
    }
}
