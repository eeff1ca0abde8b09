//! When to stop pushing to a list because it is long, and when to go on. A plain value: it is told lengths and the time.
//!
//! The length comes with each push's own reply. At the *high water* the list is held back; then, and only then, Redis is asked how long
//! it is, at a growing pause, until it is down to the *low water*, four fifths of the high one. Nothing is ever taken out of a list.
//!
//! What is under way when the mark is reached still arrives: the list may become longer than the mark by what its producers had under
//! way at that moment, and by no more, because whoever gets such a reply, or finds the list held, sends nothing after it.

use std::time::{Duration, Instant};

/// The pause before the first question.
pub const FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two questions.
pub const LONGEST: Duration = Duration::from_secs(1);
/// A list that comes and goes must not fill the log: one pair of lines in this time.
const TELL: Duration = Duration::from_secs(60);

/// The marks of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    high: u64,
    low: u64,
}

impl Marks {
    /// `None` for 0: there is no limit.
    pub fn new(high: u64) -> Option<Self> {
        // At least one less: a list that is let go has room for a record.
        (high > 0).then(|| Self { high, low: (high / 5 * 4 + high % 5 * 4 / 5).min(high - 1) })
    }

    /// From this length on nothing is pushed.
    pub fn high(self) -> u64 {
        self.high
    }

    /// At this length it goes on.
    pub fn low(self) -> u64 {
        self.low
    }
}

/// What there is to say in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// It is held back, at this length.
    Held(u64),
    /// It is let go, at this length.
    Free(u64),
}

/// One list and its marks.
#[derive(Debug)]
pub struct HighWater {
    marks: Marks,
    held: bool,
    pause: Duration,
    /// When the length may be asked for.
    due: Instant,
    /// When it was last told that it is held.
    told: Option<Instant>,
    /// The end of it has to be told.
    open: bool,
}

impl HighWater {
    /// A list that is not held.
    pub fn new(marks: Marks, now: Instant) -> Self {
        Self { marks, held: false, pause: FIRST, due: now, told: None, open: false }
    }

    /// A push was answered: the list is so long. It can only begin a hold: an answer may be older than the last question.
    pub fn pushed(&mut self, length: u64, now: Instant) -> Option<Say> {
        if length < self.marks.high || self.held {
            return None;
        }
        self.held = true;
        self.pause = FIRST;
        self.due = now + FIRST;
        self.tell(length, now)
    }

    /// The length was asked for.
    pub fn asked(&mut self, length: u64, now: Instant) -> Option<Say> {
        if !self.held {
            return self.pushed(length, now);
        }
        if length > self.marks.low {
            return self.tell(length, now);
        }
        self.held = false;
        std::mem::take(&mut self.open).then_some(Say::Free(length))
    }

    /// True while nothing is to be pushed.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// True if the length is to be asked for now; whoever is told so asks, and nobody else before the next pause is over.
    pub fn take_turn(&mut self, now: Instant) -> bool {
        if !self.held || now < self.due {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        self.due = now + self.pause;
        true
    }

    /// How long until the next question.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// True if nothing is lost by forgetting this value.
    pub fn is_idle(&self, now: Instant) -> bool {
        !self.held && self.told.is_none_or(|told| now.duration_since(told) >= TELL)
    }

    fn tell(&mut self, length: u64, now: Instant) -> Option<Say> {
        if self.open || self.told.is_some_and(|told| now.duration_since(told) < TELL) {
            return None;
        }
        self.told = Some(now);
        self.open = true;
        Some(Say::Held(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(high: u64) -> Marks {
        Marks::new(high).expect("a limit")
    }

    #[test]
    fn the_low_water_is_four_fifths() {
        assert_eq!(Marks::new(0), None);
        let low = |high| marks(high).low();
        assert_eq!([1, 2, 5, 1000, 1001].map(low), [0, 1, 4, 800, 800]);
        assert!(low(u64::MAX) < u64::MAX);
    }

    #[test]
    fn held_from_the_high_water_down_to_the_low_one() {
        let now = Instant::now();
        let mut water = HighWater::new(marks(1000), now);
        assert_eq!(water.pushed(999, now), None);
        assert!(!water.is_held() && !water.take_turn(now));
        assert_eq!(water.pushed(1000, now), Some(Say::Held(1000)));
        // Answers to what was under way, and an old one, change nothing.
        assert_eq!((water.pushed(1050, now), water.pushed(10, now)), (None, None));
        assert!(water.is_held());
        assert_eq!(water.asked(801, now), None);
        assert!(water.is_held());
        assert_eq!(water.asked(800, now), Some(Say::Free(800)));
        assert!(!water.is_held());
    }

    #[test]
    fn a_list_that_is_long_at_the_start_is_held() {
        let now = Instant::now();
        let mut water = HighWater::new(marks(10), now);
        assert_eq!(water.asked(9, now), None);
        assert_eq!(water.asked(10, now), Some(Say::Held(10)));
    }

    #[test]
    fn questions_come_at_a_growing_pause_and_one_at_a_time() {
        let begin = Instant::now();
        let mut water = HighWater::new(marks(10), begin);
        water.pushed(10, begin);
        let mut now = begin;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert!(!water.take_turn(now));
            pauses.push(water.wait(now).as_millis());
            now += water.wait(now);
            assert!(water.take_turn(now));
            water.asked(10, now);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_list_that_comes_and_goes_does_not_fill_the_log() {
        let mut now = Instant::now();
        let mut water = HighWater::new(marks(10), now);
        let mut said = Vec::new();
        for _ in 0..100 {
            said.extend(water.pushed(10, now));
            now += Duration::from_millis(100);
            said.extend(water.asked(8, now));
        }
        assert_eq!(said, [Say::Held(10), Say::Free(8)]);
        // One that stays is told, as soon as it may be.
        assert_eq!(water.pushed(10, now), None);
        assert!(!water.is_idle(now));
        now += TELL;
        assert_eq!(water.asked(10, now), Some(Say::Held(10)));
        assert_eq!(water.asked(10, now + TELL), None);
        assert_eq!(water.asked(0, now), Some(Say::Free(0)));
        assert!(water.is_idle(now + TELL));
    }
}
