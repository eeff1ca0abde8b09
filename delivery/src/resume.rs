//! Where to go on: what the cursor in Redis says, held against what the spool has.

use crate::position::{Epoch, Position};

/// A stretch of one epoch that the spool still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The epoch.
    pub epoch: Epoch,
    /// Its first byte that is still there.
    pub start: u64,
    /// One past its last byte.
    pub end: u64,
}

impl Span {
    fn first(self) -> Position {
        Position { epoch: self.epoch, offset: self.start }
    }

    fn last(self) -> Position {
        Position { epoch: self.epoch, offset: self.end }
    }
}

/// Why the cursor does not tell where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Redis has no cursor, although it once confirmed something: it was emptied, or the cursor was evicted or deleted.
    Missing,
    /// The cursor is not one of ours: another producer uses the same name, or somebody wrote to it.
    Foreign,
    /// Redis went back further than the spool reaches.
    Behind,
    /// The spool is shorter than Redis says it was: its files were cut.
    Ahead,
}

/// Where the stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// The cursor tells it.
    Continue(Position),
    /// Redis went back to an earlier state, and everything since is still in the spool: send it again.
    Rewound(Position),
    /// The cursor does not tell it; this is the best place.
    Lost(Position, Lost),
}

/// Decides where to go on.
///
/// * `cursor` is the value in Redis, empty if there is none.
/// * `held` is what the spool has, oldest first, never empty.
/// * `opened` is where the spool ended when this process opened it: everything behind it is new.
/// * `acked` is the furthest position that Redis is known to have confirmed, `None` if this spool never had a confirmation.
pub fn resume(cursor: &[u8], held: &[Span], opened: Position, acked: Option<Position>) -> Resume {
    let Some(first) = held.first().map(|span| span.first()) else {
        return Resume::Continue(opened);
    };
    let known = acked.map(|acked| clamp(acked, held, opened));
    let Some(cursor) = Position::parse(cursor) else {
        return match known {
            None if cursor.is_empty() => Resume::Continue(first),
            None => Resume::Lost(first, Lost::Foreign),
            Some(known) if cursor.is_empty() => Resume::Lost(known, Lost::Missing),
            Some(known) => Resume::Lost(known, Lost::Foreign),
        };
    };
    if let Some(index) = held.iter().position(|span| span.epoch == cursor.epoch) {
        let span = held[index];
        if cursor < span.first() {
            return Resume::Lost(span.first(), Lost::Behind);
        }
        if cursor <= span.last() {
            return if acked.is_some_and(|acked| acked > cursor) {
                Resume::Rewound(cursor)
            } else {
                Resume::Continue(cursor)
            };
        }
        // The spool lost its end with the machine's power; Redis has it. What came since is in the next epoch.
        return match held.get(index + 1) {
            Some(next) => Resume::Continue(next.first()),
            None => Resume::Lost(opened.max(first), Lost::Ahead),
        };
    }
    match known {
        // A spool that never had a confirmation carries on the cursor of the stream's earlier life.
        None => Resume::Continue(first),
        // Only an epoch of our own tells that Redis went back. To send everything again because another producer uses our
        // cursor would double it all.
        Some(_) if cursor < first && cursor.epoch.family() == first.epoch.family() => Resume::Lost(first, Lost::Behind),
        Some(known) => Resume::Lost(known, Lost::Foreign),
    }
}

/// The nearest position to `position` that `held` reaches. What came since the spool was `opened` is never skipped.
fn clamp(position: Position, held: &[Span], opened: Position) -> Position {
    let first = held[0].first();
    if position < first {
        return first;
    }
    for (index, span) in held.iter().enumerate() {
        if position < span.first() {
            return span.first();
        }
        if position <= span.last() {
            return position;
        }
        if span.epoch == position.epoch {
            // Beyond the end of its epoch: on with the next one.
            return held.get(index + 1).map_or(opened, |next| next.first());
        }
    }
    opened
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs of one spool lie this far apart.
    const STEP: u64 = 1 << 32;
    const E: u64 = 5 * STEP;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn span(epoch: u64, start: u64, end: u64) -> Span {
        Span { epoch: Epoch(epoch), start, end }
    }

    fn go(cursor: &str, held: &[Span], acked: Option<Position>) -> Resume {
        let opened = held.last().expect("held").last();
        resume(cursor.as_bytes(), held, opened, acked)
    }

    #[test]
    fn the_first_start_begins_at_the_beginning() {
        assert_eq!(go("", &[span(E, 0, 9)], None), Resume::Continue(at(E, 0)));
    }

    #[test]
    fn the_cursor_is_believed_within_what_is_held() {
        let held = [span(E, 100, 900)];
        for offset in [100, 500, 900] {
            let cursor = at(E, offset);
            assert_eq!(go(&cursor.to_string(), &held, Some(at(E, 100))), Resume::Continue(cursor));
        }
        let back = at(E, 200);
        assert_eq!(go(&back.to_string(), &held, Some(at(E, 300))), Resume::Rewound(back));
    }

    #[test]
    fn a_new_spool_carries_on_the_old_cursor() {
        assert_eq!(go(&at(3, 77).to_string(), &[span(E, 0, 9)], None), Resume::Continue(at(E, 0)));
        assert_eq!(go(&at(9, 77).to_string(), &[span(E, 0, 9)], None), Resume::Continue(at(E, 0)));
    }

    #[test]
    fn a_spool_that_lost_its_end_with_the_power_goes_on_with_the_next_epoch() {
        let held = [span(E, 0, 50), span(E + STEP, 0, 9)];
        assert_eq!(go(&at(E, 80).to_string(), &held, Some(at(E, 70))), Resume::Continue(at(E + STEP, 0)));
        // Redis had less than the spool: the rest of the old epoch comes first.
        assert_eq!(go(&at(E, 20).to_string(), &held, Some(at(E, 20))), Resume::Continue(at(E, 20)));
    }

    #[test]
    fn the_lost_ones_have_names() {
        let held = [span(E, 100, 900)];
        let acked = Some(at(E, 500));
        assert_eq!(go("", &held, acked), Resume::Lost(at(E, 500), Lost::Missing));
        assert_eq!(go("hello", &held, acked), Resume::Lost(at(E, 500), Lost::Foreign));
        assert_eq!(go("hello", &held, None), Resume::Lost(at(E, 100), Lost::Foreign));
        assert_eq!(go(&at(E + STEP, 1).to_string(), &held, acked), Resume::Lost(at(E, 500), Lost::Foreign));
        assert_eq!(go(&at(E - 1, 7).to_string(), &held, acked), Resume::Lost(at(E, 500), Lost::Foreign));
        assert_eq!(go(&at(E, 99).to_string(), &held, acked), Resume::Lost(at(E, 100), Lost::Behind));
        assert_eq!(go(&at(E - STEP, 7).to_string(), &held, acked), Resume::Lost(at(E, 100), Lost::Behind));
        assert_eq!(go(&at(E, 901).to_string(), &held, acked), Resume::Lost(at(E, 900), Lost::Ahead));
    }

    #[test]
    fn cut_files_never_swallow_what_came_after_the_cut() {
        // Opened at 300 after a cut, grown to 900 since, and Redis says 1000.
        let held = [span(E, 0, 900)];
        let resumed = resume(at(E, 1000).to_string().as_bytes(), &held, at(E, 300), Some(at(E, 200)));
        assert_eq!(resumed, Resume::Lost(at(E, 300), Lost::Ahead));
    }

    #[test]
    fn a_mark_outside_of_what_is_held_is_moved_inside() {
        let held = [span(E, 100, 900), span(E + STEP, 0, 50)];
        let opened = at(E + STEP, 20);
        assert_eq!(clamp(at(E, 5), &held, opened), at(E, 100));
        assert_eq!(clamp(at(E, 950), &held, opened), at(E + STEP, 0));
        assert_eq!(clamp(at(E + STEP, 30), &held, opened), at(E + STEP, 30));
        // Of nobody's knowledge: on with what is new.
        assert_eq!(clamp(at(E + STEP, 70), &held, opened), opened);
        assert_eq!(clamp(at(E + 9 * STEP, 70), &held, opened), opened);
    }
}
