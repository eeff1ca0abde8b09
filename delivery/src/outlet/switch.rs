//! Which way a batch takes when there is a spool. Plain values.

use std::time::Duration;

/// A backlog of so many records is gone in no time: it is waited for, so that a busy worker gets back to Redis.
const SOON_RECORDS: u64 = 16_384;

/// The way of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Into Redis.
    Push,
    /// Into Redis as soon as what the slot has in the spool is drained. That will not take long.
    Wait,
    /// Into the spool.
    Spool,
}

/// What there is to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Redis is believed to take nothing, or too slowly.
    pub away: bool,
    /// Frames of this slot are in the spool: nothing may overtake them.
    pub behind: bool,
    /// Records in the spool.
    pub backlog: u64,
    /// The caller wants no more waiting.
    pub hurry: bool,
    /// Time since waiting for the backlog was in vain.
    pub in_vain: Option<Duration>,
}

/// Waiting is not tried again for this long after it was in vain.
const VAIN: Duration = Duration::from_secs(1);

pub(super) fn way(now: Situation) -> Way {
    let soon = now.backlog <= SOON_RECORDS && now.in_vain.is_none_or(|ago| ago >= VAIN);
    match now {
        Situation { away: true, .. } | Situation { hurry: true, .. } => Way::Spool,
        Situation { behind: false, .. } => Way::Push,
        _ if soon => Way::Wait,
        _ => Way::Spool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Situation = Situation { away: false, behind: false, backlog: 0, hurry: false, in_vain: None };

    #[test]
    fn redis_is_the_way_unless_something_speaks_against_it() {
        assert_eq!(way(CALM), Way::Push);
        assert_eq!(way(Situation { backlog: 1 << 40, ..CALM }), Way::Push);
        assert_eq!(way(Situation { away: true, ..CALM }), Way::Spool);
        assert_eq!(way(Situation { hurry: true, ..CALM }), Way::Spool);
    }

    #[test]
    fn nothing_overtakes_what_is_in_the_spool() {
        let behind = Situation { behind: true, backlog: 10, ..CALM };
        assert_eq!(way(behind), Way::Wait);
        assert_eq!(way(Situation { backlog: 1 << 20, ..behind }), Way::Spool);
        assert_eq!(way(Situation { away: true, ..behind }), Way::Spool);
        assert_eq!(way(Situation { in_vain: Some(Duration::from_millis(5)), ..behind }), Way::Spool);
        assert_eq!(way(Situation { in_vain: Some(Duration::from_secs(5)), ..behind }), Way::Wait);
    }
}
